import Serialization

// What a Gateway of Istio cannot say, and the TLS settings that Sidecars have, too.
extension Validator {
    /// The rules of Gateways.
    mutating func gateway(_ object: KubernetesObject) {
        // VirtualServices name a Gateway by one label.
        check("metadata.name", object.name, IstioNames.labelProblem)
        for (index, server) in (object.spec["servers"]?.array ?? []).enumerated() {
            self.server(server, "spec.servers[\(index)]")
        }
    }

    private mutating func server(_ server: JSON, _ path: String) {
        let view = KubernetesObject(json: server)
        for (position, written) in view.strings("hosts").enumerated() {
            host(written, "\(path).hosts[\(position)]")
        }
        let bind = view.string("bind")
        let isSocket = bind.hasPrefix("unix://")
        if isSocket {
            check("\(path).bind", String(bind.dropFirst("unix://".count)), IstioNames.socketProblem)
            if let number = server["port"]?["number"]?.int, number != 0 {
                add(.invalid("\(path).port.number", String(number), "must be 0: a Unix socket has no port"))
            }
        } else {
            if !bind.isEmpty, !AddressRange.isAddress(bind) {
                add(.invalid("\(path).bind", text: bind, "must be an IP address or unix:///PATH"))
            }
            if let number = server["port"]?["number"]?.int, let problem = Names.portProblem(number) {
                add(.invalid("\(path).port.number", String(number), problem))
            }
        }
        let spoken = server["port"]?["protocol"]?.string ?? ""
        if !spoken.isEmpty { portProtocol(spoken, "\(path).port.protocol") }
        if let target = server["port"]?["targetPort"]?.int, target > 0 {
            add(.forbidden("\(path).port.targetPort", "a gateway listens on the number itself"))
        }
        if let tls = server["tls"] {
            serverTLS(tls, "\(path).tls")
            security(tls, of: spoken, path)
        } else if IstioNames.tlsProtocols.contains(spoken.uppercased()) {
            add(.required("\(path).tls", "\(spoken) needs TLS settings"))
        }
    }

    /// Whether TLS settings go with what a port speaks.
    private mutating func security(_ tls: JSON, of spoken: String, _ path: String) {
        let name = spoken.uppercased()
        guard IstioNames.protocols.contains(name), !IstioNames.tlsProtocols.contains(name) else { return }
        // A redirect to HTTPS is all that plain HTTP can have there.
        let ends = !["", "PASSTHROUGH", "AUTO_PASSTHROUGH"].contains(tls["mode"]?.string ?? "")
        let files = ["caCertificates", "privateKey", "serverCertificate"].contains { !(tls[$0]?.string ?? "").isEmpty }
        if !IstioNames.httpProtocols.contains(name) || ends || files {
            add(.forbidden("\(path).tls", "\(spoken) is no TLS: use HTTPS or TLS"))
        }
    }

    /// A host of a server, `NAMESPACE/HOST` or without the namespace.
    private mutating func host(_ written: String, _ path: String) {
        let parts = written.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        if parts.count == 2, let namespace = parts.first, namespace != "*", namespace != ".",
            !IstioNames.isLabel(namespace)
        {
            add(.invalid(path, text: written, "before the / stands a namespace, \"*\" or \".\""))
        }
        let host = parts.last ?? ""
        if host != "*", !host.contains(".") && !AddressRange.isAddress(host) {
            add(.invalid(path, text: written, "must be a full name, with dots: nobody resolves it from here"))
        } else if host.hasPrefix("*"), host != "*", !host.hasPrefix("*.") {
            add(.invalid(path, text: written, "a wildcard stands for whole parts: *.example.com"))
        } else if !AddressRange.isAddress(host) {
            check(path, host, IstioNames.patternProblem)
        }
    }

    /// What a port speaks; empty where it may be found out.
    mutating func portProtocol(_ text: String, _ path: String) {
        if !IstioNames.protocols.contains(text.uppercased()) { add(.notSupported(path, text, IstioNames.protocols)) }
    }

    /// TLS settings of servers, without what goes with a port.
    mutating func serverTLS(_ tls: JSON, _ path: String) {
        let view = KubernetesObject(json: tls)
        let mode = tls["mode"]?.string ?? "PASSTHROUGH"
        let lists = ["credentialNames", "tlsCertificates"].filter { !(tls[$0]?.array ?? []).isEmpty }
        func given(_ names: [String]) -> [String] { names.filter { !view.string($0).isEmpty } }
        if mode == "ISTIO_MUTUAL" {
            let others = given(["serverCertificate", "privateKey", "caCertificates", "credentialName"]) + lists
            for name in others {
                add(.forbidden("\(path).\(name)", "ISTIO_MUTUAL uses the mesh's certificates: others cannot be given"))
            }
            return
        }
        let isFile = given(["serverCertificate", "privateKey"]).count == 2
        let sources = given(["credentialName"]) + lists + (isFile ? ["serverCertificate"] : [])
        if let second = sources.dropFirst().first {
            add(.forbidden("\(path).\(second)", "\(sources.joined(separator: " and ")) exclude each other"))
        }
        let hasCredentials = !view.string("credentialName").isEmpty || lists.contains("credentialNames")
        if ["SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL"].contains(mode) {
            if hasCredentials { return }
            certificates(tls, view, mode, path)
        }
        if !view.string("caCrl").isEmpty {
            if mode == "SIMPLE" { add(.forbidden("\(path).caCrl", "SIMPLE asks for no certificates of clients")) }
            if !view.string("credentialName").isEmpty {
                add(.forbidden("\(path).caCrl", "the Secret that credentialName names has the list"))
            }
        }
    }

    /// Certificates in files: what is served is read from Secrets, and `Mesh/Analysis` says so.
    private mutating func certificates(_ tls: JSON, _ view: KubernetesObject, _ mode: String, _ path: String) {
        if mode != "SIMPLE", view.string("caCertificates").isEmpty {
            add(.required("\(path).caCertificates", "\(mode) needs authorities for certificates of clients"))
        }
        let pairs = tls["tlsCertificates"]?.array ?? []
        for (index, pair) in pairs.enumerated() {
            for name in ["serverCertificate", "privateKey"] where (pair[name]?.string ?? "").isEmpty {
                add(.required("\(path).tlsCertificates[\(index)].\(name)"))
            }
        }
        guard pairs.isEmpty else { return }
        let missing = ["serverCertificate", "privateKey"].filter { view.string($0).isEmpty }
        if missing.count == 2 {
            add(.required("\(path).credentialName", "\(mode) needs a certificate: name its Secret"))
        } else if let name = missing.first {
            add(.required("\(path).\(name)", "certificate and key go together"))
        }
    }
}
