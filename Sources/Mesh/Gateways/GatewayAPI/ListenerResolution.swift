import KubernetesAPI
import Serialization

/// Finds the listeners of our Gateways and ListenerSets, and what is wrong with them.
struct ListenerResolution {
    typealias Listener = GatewayAPIModel.Listener
    typealias Finding = GatewayAPIModel.Finding

    let objects: MeshObjects
    let grants: ReferenceGrants

    func resolve(_ model: inout GatewayAPIModel) {
        let sets = objects.inOrder(.listenerSet)
        for object in objects.inOrder(.gatewayAPIGateway) {
            let gateway = GatewayAPI.Gateway(json: object.json)
            guard model.classes.contains(gateway.className) else { continue }
            let key = NamespacedName(namespace: object.namespace, name: object.name)
            var entry = GatewayAPIModel.Gateway(key: key, gateway: gateway, refusal: refusal(gateway))
            if let reference = gateway.backendCertificate {
                let (secret, problem) = certificate(reference, kind: "Gateway", namespace: key.namespace)
                entry.backendCertificate = problem == nil ? secret : nil
                entry.backendCertificateProblem = problem.map {
                    Finding(
                        reason: $0.reason == "RefNotPermitted" ? $0.reason : "InvalidClientCertificateRef",
                        message: "spec.tls.backend.clientCertificateRef: " + $0.message)
                }
            }
            var found = gateway.listeners.enumerated().map { index, listener in
                self.listener(listener, index, .gateway(key), key, gateway)
            }
            markConflicts(&found)
            for set in sets where names(set, key) {
                let setKey = NamespacedName(namespace: set.namespace, name: set.name)
                guard allows(gateway.allowedListeners, namespace: set.namespace, own: key.namespace) else {
                    model.refusedSets[setKey] = Finding(
                        reason: "NotAllowed",
                        message: "spec.allowedListeners of Gateway \(key) does not let namespace \(set.namespace) in")
                    continue
                }
                for (index, listener) in GatewayAPI.ListenerSet(json: set.json).listeners.enumerated() {
                    var new = self.listener(listener, index, .listenerSet(setKey), key, gateway)
                    new.conflict =
                        found.lazy.filter { $0.conflict == nil }
                        .compactMap { Self.conflict(new, with: $0) }.first
                    found.append(new)
                }
            }
            if entry.refusal != nil {
                for index in found.indices where found[index].refusal == nil { found[index].refusal = entry.refusal }
            }
            entry.usesSharedAddress = gateway.addresses.contains {
                $0.type == "Hostname" && $0.value == Mesh.gatewayServiceHost
            }
            for index in found.indices where found[index].isServed {
                let rival = rival(of: found[index], in: model.listeners)
                if entry.usesSharedAddress { found[index].refusal = rival } else { found[index].sharedConflict = rival }
            }
            entry.listeners = Array(model.listeners.count..<model.listeners.count + found.count)
            model.listeners += found
            model.gateways.append(entry)
        }
        openDoors(&model)
    }

    /// Gives each port of each Gateway one of the pod's.
    private func openDoors(_ model: inout GatewayAPIModel) {
        let own = Set(model.gateways.lazy.filter { !$0.usesSharedAddress && $0.refusal == nil }.map(\.key))
        let listeners = model.listeners.indices.filter { own.contains(model.listeners[$0].gateway) }
        let istio = objects.inOrder(.gateway).flatMap { IstioGateway(json: $0.json).servers.compactMap(\.port) }
        model.doors = GatewayDoors(
            listeners.compactMap { index in
                let listener = model.listeners[index]
                return listener.port.map { GatewayDoors.Door(gateway: listener.gateway, port: $0) }
            }, taken: Set(istio + model.listeners.map(\.listener.port)))
        for index in listeners {
            let listener = model.listeners[index]
            guard let port = listener.port, model.doors.target(listener.gateway, port) == nil else { continue }
            model.listeners[index].refusal = Finding(
                reason: "PortUnavailable",
                message: "all \(GatewayDoors.range.count) ports that the gateway has for addresses are in use")
        }
    }

    private func names(_ set: KubernetesObject, _ gateway: NamespacedName) -> Bool {
        let parent = GatewayAPI.ListenerSet(json: set.json).parent
        return (parent.group ?? GatewayAPI.group) == GatewayAPI.group
            && (parent.kind.isEmpty || parent.kind == "Gateway") && parent.name == gateway.name
            && (parent.namespace ?? set.namespace) == gateway.namespace
    }

    private func refusal(_ gateway: GatewayAPI.Gateway) -> Finding? {
        if gateway.hasParameters {
            return Finding(
                reason: "InvalidParameters", message: "spec.infrastructure.parametersRef: there are no parameters")
        }
        if let address = gateway.addresses.first(where: { !["IPAddress", "Hostname"].contains($0.type) }) {
            return Finding(
                reason: "UnsupportedAddress", message: "spec.addresses: type \(address.type) is not supported")
        }
        return nil
    }

    /// Whether a namespace is among those meant (I-14).
    func allows(_ choice: GatewayAPI.NamespaceChoice, namespace: String, own: String) -> Bool {
        switch choice.from {
        case "All": return true
        case "Same": return namespace == own
        case "Selector":
            guard let selector = choice.selector,
                let object = objects.object(.namespace, NamespacedName(namespace: "", name: namespace))
            else { return false }
            var labels = object.metadata.labels
            labels["kubernetes.io/metadata.name"] = namespace
            return selector.matcher.matches(labels)
        default: return false
        }
    }

    // MARK: One listener

    private func listener(
        _ listener: GatewayAPI.Listener, _ index: Int, _ owner: GatewayAPIModel.Owner, _ gateway: NamespacedName,
        _ object: GatewayAPI.Gateway
    ) -> Listener {
        var found = Listener(owner: owner, gateway: gateway, index: index, listener: listener)
        switch (listener.protocolName, listener.tlsMode) {
        case ("HTTP", _): found.wire = .http
        case ("TCP", _): found.wire = .tcp
        case ("UDP", _): found.wire = .udp
        case ("HTTPS", "Terminate"): found.wire = .https
        case ("TLS", "Terminate"): found.wire = .tlsTerminate
        case ("TLS", "Passthrough"): found.wire = .tlsPassthrough
        case ("HTTPS", let mode):
            found.wire = .https
            found.refusal = Finding(
                reason: "UnsupportedValue",
                message: "tls.mode \(mode): HTTPS is terminated here; use protocol TLS (I-17)")
        default:
            found.refusal = Finding(
                reason: "UnsupportedProtocol", message: "protocol \(listener.protocolName) is not supported")
        }
        if !(1...65535).contains(listener.port) {
            found.refusal = Finding(reason: "PortUnavailable", message: "port \(listener.port) is no port")
        } else if [15000, 15020, 15021].contains(listener.port) {
            found.refusal = Finding(
                reason: "PortUnavailable", message: "port \(listener.port) is the gateway's own")
        }
        if !listener.hostname.isEmpty, !RouteSyntax.isHost(listener.hostname) {
            found.refusal = Finding(
                reason: "UnsupportedValue", message: "hostname: \"\(listener.hostname)\" is no host name")
        }
        for (name, value) in listener.tlsOptions.sorted(by: { $0.key < $1.key })
        where ListenerOptions.problem(name, value, found.wire) != nil {
            found.refusal = Finding(
                reason: "UnsupportedValue",
                message: "tls.options: \(ListenerOptions.problem(name, value, found.wire) ?? "")")
        }
        kinds(&found)
        if found.wire?.needsCertificate == true {
            certificates(&found)
            trust(&found, object)
        }
        return found
    }

    /// The kinds of routes that the protocol carries and the listener lets in.
    private func kinds(_ found: inout Listener) {
        let fitting = found.wire?.kinds ?? []
        let wanted = found.listener.allowedKinds
        guard !wanted.isEmpty else {
            found.kinds = fitting
            return
        }
        for reference in wanted {
            if (reference.group ?? GatewayAPI.group) == GatewayAPI.group,
                let kind = GatewayAPIModel.RouteKind(rawValue: reference.kind), fitting.contains(kind)
            {
                if !found.kinds.contains(kind) { found.kinds.append(kind) }
            } else {
                found.unresolved.append(
                    Finding(
                        reason: "InvalidRouteKinds",
                        message: "allowedRoutes.kinds: \(reference.kind) does not fit protocol "
                            + found.listener.protocolName))
            }
        }
    }

    private func certificates(_ found: inout Listener) {
        let references = found.listener.certificateRefs
        if references.isEmpty {
            found.unresolved.append(
                Finding(reason: "InvalidCertificateRef", message: "tls.certificateRefs: a certificate is required"))
        }
        for (index, reference) in references.enumerated() {
            let (key, problem) = certificate(
                reference, kind: found.owner.kind, namespace: found.owner.key.namespace)
            if let problem {
                found.unresolved.append(
                    Finding(reason: problem.reason, message: "tls.certificateRefs[\(index)]: \(problem.message)"))
            } else {
                found.certificates.append(key)
            }
        }
    }

    /// The Secret that a reference means, and why it cannot be used.
    private func certificate(
        _ reference: GatewayAPI.Reference, kind: String, namespace: String
    ) -> (key: NamespacedName, problem: Finding?) {
        let key = NamespacedName(namespace: reference.namespace ?? namespace, name: reference.name)
        func invalid(_ message: String) -> (NamespacedName, Finding?) {
            (key, Finding(reason: "InvalidCertificateRef", message: message))
        }
        guard (reference.group ?? "").isEmpty, reference.kind.isEmpty || reference.kind == "Secret" else {
            let group = reference.group ?? ""
            return invalid("\(reference.kind)\(group.isEmpty ? "" : " of group \(group)") is no Secret")
        }
        guard grants.allow(kind, in: namespace, toGroup: "", kind: "Secret", key) else {
            return (
                key,
                Finding(
                    reason: "RefNotPermitted",
                    message: "no ReferenceGrant in namespace \(key.namespace) lets \(kind)s of namespace \(namespace) "
                        + "refer to Secret \(key.name) (I-13)")
            )
        }
        guard let secret = objects.object(.secret, key) else { return invalid("there is no Secret \(key)") }
        if let problem = GatewaySecrets.problem(certificateIn: secret) { return invalid("Secret \(key): \(problem)") }
        return (key, nil)
    }

    /// How certificates of clients are checked at this port.
    private func trust(_ found: inout Listener, _ gateway: GatewayAPI.Gateway) {
        let mode = found.listener.tlsOptions[ListenerOptions.terminateMode]
        guard let validation = gateway.clientValidation(port: found.listener.port) else {
            return trustByOption(&found, mode)
        }
        var authorities: [String] = []
        for reference in validation.caCertificateRefs {
            let key = NamespacedName(namespace: reference.namespace ?? found.gateway.namespace, name: reference.name)
            let group = reference.group ?? ""
            guard group.isEmpty, ["ConfigMap", "Secret"].contains(reference.kind) else {
                found.unresolved.append(
                    Finding(
                        reason: "InvalidCACertificateKind",
                        message: "client validation: \(reference.kind) is neither ConfigMap nor Secret"))
                continue
            }
            guard grants.allow("Gateway", in: found.gateway.namespace, toGroup: "", kind: reference.kind, key) else {
                found.unresolved.append(
                    Finding(
                        reason: "RefNotPermitted",
                        message: "client validation: no ReferenceGrant for \(reference.kind) \(key) (I-13)"))
                continue
            }
            if let problem = GatewaySecrets.problem(authorityIn: reference.kind, key, objects) {
                found.unresolved.append(
                    Finding(reason: "InvalidCACertificateRef", message: "client validation: \(problem)"))
                continue
            }
            authorities.append(GatewaySecrets.authorityName(reference.kind, key))
        }
        if authorities.count > 1 {
            found.refusal = Finding(
                reason: "UnsupportedValue", message: "client validation: more than one caCertificateRef")
        } else if let authority = authorities.first {
            found.clientTrust = GatewayAPIModel.ClientTrust(
                authority: authority,
                isRequired: mode.map { $0 != "OPTIONAL_MUTUAL" } ?? !validation.allowsInsecureFallback,
                allowsUntrusted: mode == nil && validation.allowsInsecureFallback)
        } else {
            // Fail closed: a listener that shall ask for certificates never serves without.
            found.refusal = Finding(
                reason: "NoValidCACertificate", message: "client validation: no certificate authority can be used")
        }
    }

    /// `gateway.istio.io/tls-terminate-mode`: authorities for clients stand beside the certificate, as with Istio's Gateways.
    private func trustByOption(_ found: inout Listener, _ mode: String?) {
        guard let mode, mode == "MUTUAL" || mode == "OPTIONAL_MUTUAL", let secret = found.certificates.first else {
            return
        }
        if let problem = GatewaySecrets.problem(authorityIn: "Secret", secret, objects) {
            found.refusal = Finding(reason: "NoValidCACertificate", message: "tls.options: \(mode): \(problem)")
            return
        }
        found.clientTrust = GatewayAPIModel.ClientTrust(
            authority: GatewaySecrets.authorityName("Secret", secret), isRequired: mode == "MUTUAL",
            allowsUntrusted: false)
    }

    // MARK: Conflicts (I-9)

    /// All listeners of a Gateway that claim the same are refused; none wins.
    private func markConflicts(_ listeners: inout [Listener]) {
        let all = listeners
        for index in all.indices {
            listeners[index].conflict =
                all.indices.lazy.filter { $0 != index }
                .compactMap { Self.conflict(all[index], with: all[$0]) }.first
        }
    }

    /// What two listeners cannot both have; TLS settings do not tell them apart.
    static func conflict(_ one: Listener, with other: Listener) -> Finding? {
        guard let left = one.wire, let right = other.wire, one.listener.port == other.listener.port,
            (left == .udp) == (right == .udp)
        else { return nil }
        let name = "listener \(other.listener.name) of \(other.owner.kind) \(other.owner.key)"
        let isSameFamily = left == right || (left.isTLS && right.isTLS)
        if !isSameFamily {
            return Finding(
                reason: "ProtocolConflict", message: "port \(one.listener.port): \(name) speaks something else")
        }
        if left == .tcp || left == .udp {
            return Finding(reason: "ProtocolConflict", message: "port \(one.listener.port) is claimed by \(name), too")
        }
        guard one.host == other.host else { return nil }
        if one.listener.protocolName != other.listener.protocolName {
            return Finding(
                reason: "ProtocolConflict", message: "host \(one.host) is claimed by \(name) with another protocol")
        }
        return Finding(reason: "HostnameConflict", message: "host \(one.host) is claimed by \(name), too")
    }

    /// All Gateways share the pod's own ports: what an older Gateway has there is not available, unless both want the same.
    private func rival(of listener: Listener, in older: [Listener]) -> Finding? {
        for other in older where other.isShared && other.gateway != listener.gateway {
            guard let conflict = Self.conflict(listener, with: other) else { continue }
            let canShare =
                listener.wire == other.wire && listener.wire != .tcp && listener.wire != .udp
                && listener.certificates == other.certificates && listener.clientTrust == other.clientTrust
            if canShare { continue }
            return Finding(reason: "PortUnavailable", message: conflict.message)
        }
        return nil
    }
}

/// What may stand in `tls.options` of a listener: Istio's own names.
enum ListenerOptions {
    /// What is asked of clients: `SIMPLE` (nothing), `MUTUAL` or `OPTIONAL_MUTUAL`.
    static let terminateMode = "gateway.istio.io/tls-terminate-mode"
    /// OpenSSL's names of cipher suites, with commas between.
    static let cipherSuites = "gateway.istio.io/tls-cipher-suites"

    /// Why an option cannot be heeded; nil when it can.
    static func problem(_ name: String, _ value: String, _ wire: GatewayAPIModel.Wire?) -> String? {
        guard wire?.needsCertificate == true else { return "\(name) has no meaning where TLS is not ended" }
        switch name {
        case cipherSuites: return suites(value).isEmpty ? "\(name) is empty" : nil
        case terminateMode:
            return ["SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL"].contains(value)
                ? nil : "\(name) \(value) is none of SIMPLE, MUTUAL and OPTIONAL_MUTUAL"
        default: return "\(name) is not known here"
        }
    }

    /// The names in a list.
    static func suites(_ text: String) -> [String] {
        text.split(separator: ",").map { $0.filter { $0 != " " } }.filter { !$0.isEmpty }
    }
}
