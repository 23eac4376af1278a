import Serialization

// What a VirtualService cannot say, whatever else there is. What depends on other objects `Mesh/Analysis` says.
extension Validator {
    /// The longest regular expression: the program of a longer one may be too large for a proxy.
    private static let regexBytesMax = 1024
    private static let methods = [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*",
    ]
    private static let pseudoHeaders = [":method", ":scheme", ":authority", ":path", ":status"]

    /// The rules of VirtualServices beyond those of their weights.
    mutating func routing(_ object: KubernetesObject) {
        let spec = object.spec
        let view = KubernetesObject(json: spec)
        let gateways = view.strings("gateways")
        gatewayNames(gateways, "spec.gateways")
        let isForGateways = !gateways.isEmpty && !gateways.contains("mesh")
        let tls = spec["tls"]?.array ?? []
        let hasServerNames = tls.contains { route in
            (route["match"]?.array ?? []).contains { !($0["sniHosts"]?.array ?? []).isEmpty }
        }
        for (index, host) in view.strings("hosts").enumerated()
        // `outbound_.PORT_._.HOST` is what a gateway with AUTO_PASSTHROUGH is asked for.
        where !(isForGateways && hasServerNames && host.hasPrefix("outbound_")) && !AddressRange.isAddress(host) {
            check("spec.hosts[\(index)]", host, IstioNames.patternProblem)
        }
        for (index, route) in (spec["http"]?.array ?? []).enumerated() {
            http(route, "spec.http[\(index)]", isForGateways: isForGateways)
        }
        for list in ["tls", "tcp"] {
            for (index, route) in (spec[list]?.array ?? []).enumerated() {
                let path = "spec.\(list)[\(index)]"
                for (position, match) in (route["match"]?.array ?? []).enumerated() {
                    callers(match, "\(path).match[\(position)]")
                    for (number, name) in KubernetesObject(json: match).strings("sniHosts").enumerated()
                    where !(isForGateways && name.hasPrefix("outbound_")) && !AddressRange.isAddress(name) {
                        check("\(path).match[\(position)].sniHosts[\(number)]", name, IstioNames.patternProblem)
                    }
                }
                for (position, entry) in (route["route"]?.array ?? []).enumerated() {
                    destination(entry["destination"], "\(path).route[\(position)].destination")
                }
            }
        }
    }

    /// `NAMESPACE/NAME`, or a name in the own namespace.
    private mutating func gatewayNames(_ names: [String], _ path: String) {
        for (index, name) in names.enumerated() {
            let parts = name.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
            let isName =
                parts.count == 2 ? parts.allSatisfy { IstioNames.isLabel($0) } : IstioNames.hostProblem(name) == nil
            if !isName { add(.invalid("\(path)[\(index)]", text: name, "must be NAME or NAMESPACE/NAME of a Gateway")) }
        }
    }

    /// Who sends the request or connection.
    private mutating func callers(_ match: JSON, _ path: String) {
        let view = KubernetesObject(json: match)
        labels("\(path).sourceLabels", view.map("sourceLabels"))
        gatewayNames(view.strings("gateways"), "\(path).gateways")
        let namespace = view.string("sourceNamespace")
        if !namespace.isEmpty { check("\(path).sourceNamespace", namespace, IstioNames.labelProblem) }
    }

    private mutating func http(_ route: JSON, _ path: String, isForGateways: Bool) {
        for (position, match) in (route["match"]?.array ?? []).enumerated() {
            condition(match, "\(path).match[\(position)]", isForGateways: isForGateways)
        }
        headers(route["headers"], "\(path).headers")
        for (position, entry) in (route["route"]?.array ?? []).enumerated() {
            destination(entry["destination"], "\(path).route[\(position)].destination")
            headers(entry["headers"], "\(path).route[\(position)].headers")
        }
        destination(route["mirror"], "\(path).mirror")
        for (position, entry) in (route["mirrors"]?.array ?? []).enumerated() {
            destination(entry["destination"], "\(path).mirrors[\(position)].destination")
        }
        for name in ["mirrorPercent", "mirror_percent"] {
            if let share = route[name]?.int, share > 100 {
                add(.invalid("\(path).\(name)", String(share), "must be less than or equal to 100"))
            }
        }
        if let policy = route["corsPolicy"] { cors(policy, "\(path).corsPolicy") }
        redirect(route, path)
        rewrite(route, path)
        if let fault = route["fault"] { self.fault(fault, "\(path).fault") }
        for other in ["redirect", "directResponse"] where route[other] != nil && route["fault"] != nil {
            add(.forbidden("\(path).fault", "what \(other) answers has no faults"))
        }
    }

    // MARK: Conditions

    private mutating func condition(_ match: JSON, _ path: String, isForGateways: Bool) {
        callers(match, path)
        for name in ["headers", "withoutHeaders", "queryParams"] {
            for (key, text) in (match[name]?.object ?? [:]).sorted(by: { $0.key < $1.key }) {
                let here = "\(path).\(name)[\(key)]"
                if name != "queryParams" { conditionHeader(key, here, isForGateways: isForGateways) }
                // There `*` is no expression: it means that there is none of that name.
                if name == "withoutHeaders", text["regex"] == "*" { continue }
                self.text(text, here)
            }
        }
        for name in ["scheme", "method", "authority"] {
            if let text = match[name] { self.text(text, "\(path).\(name)") }
        }
        // Every path begins with the empty text.
        if let text = match["uri"] { self.text(text, "\(path).uri", mayBeEmpty: true) }
    }

    private mutating func conditionHeader(_ name: String, _ path: String, isForGateways: Bool) {
        if name.lowercased().hasPrefix("@request.auth.claims") {
            if !isForGateways {
                add(.forbidden(path, "claims of tokens choose routes at gateways alone: name them in spec.gateways"))
            }
        } else if !Self.pseudoHeaders.contains(name), !IstioNames.isToken(name) {
            add(.invalid(path, text: name, "must be the name of a header"))
        }
    }

    private mutating func text(_ match: JSON, _ path: String, mayBeEmpty: Bool = false) {
        if match["prefix"] == "", !mayBeEmpty {
            add(.invalid("\(path).prefix", text: "", "must not be empty: every text begins with that"))
        }
        guard let regex = match["regex"]?.string else { return }
        if regex.isEmpty { add(.invalid("\(path).regex", text: "", "must not be empty")) }
        expression(regex, "\(path).regex")
    }

    private mutating func expression(_ regex: String, _ path: String) {
        if regex.utf8.count > Self.regexBytesMax { add(.tooLong(path, Self.regexBytesMax)) }
    }

    // MARK: What is done

    /// A host, and a subset and port of it.
    mutating func destination(_ destination: JSON?, _ path: String) {
        guard let destination else { return }
        let view = KubernetesObject(json: destination)
        let (host, subset) = (view.string("host"), view.string("subset"))
        if host == "*" {
            add(.invalid("\(path).host", text: host, "must be the name of one service"))
        } else if !host.isEmpty {
            check("\(path).host", host, IstioNames.patternProblem)
        }
        if !subset.isEmpty { check("\(path).subset", subset, IstioNames.labelProblem) }
        if let port = destination["port"] { number(port["number"], "\(path).port.number") }
    }

    /// A port that must be there.
    mutating func number(_ port: JSON?, _ path: String) {
        guard let number = port?.int else { return add(.required(path)) }
        if let problem = Names.portProblem(number) { add(.invalid(path, String(number), problem)) }
    }

    private mutating func headers(_ headers: JSON?, _ path: String) {
        for message in ["request", "response"] {
            guard let operations = headers?[message] else { continue }
            for action in ["add", "set"] {
                for (name, text) in (operations[action]?.object ?? [:]).sorted(by: { $0.key < $1.key }) {
                    let here = "\(path).\(message).\(action)[\(name)]"
                    if name.isEmpty { add(.invalid(here, text: name, "must be the name of a header")) }
                    check(here, text.string ?? "", IstioNames.headerTextProblem)
                }
            }
            for (index, name) in KubernetesObject(json: operations).strings("remove").enumerated() where name.isEmpty {
                add(.invalid("\(path).\(message).remove[\(index)]", text: name, "must be the name of a header"))
            }
        }
    }

    private mutating func redirect(_ route: JSON, _ path: String) {
        guard let redirect = route["redirect"] else { return }
        let view = KubernetesObject(json: redirect)
        let members = ["uri", "prefixRewrite", "authority", "scheme"]
        if members.allSatisfy({ view.string($0).isEmpty }), redirect["port"] == nil, redirect["derivePort"] == nil {
            add(.required("\(path).redirect", "one of uri, prefixRewrite, authority, scheme and port"))
        }
        let scheme = view.string("scheme")
        if !["", "http", "https"].contains(scheme) {
            add(.notSupported("\(path).redirect.scheme", scheme, ["http", "https"]))
        }
        guard !view.string("prefixRewrite").isEmpty else { return }
        for (position, match) in (route["match"]?.array ?? []).enumerated() {
            if let uri = match["uri"], uri["prefix"] == nil {
                add(.invalid("\(path).match[\(position)].uri", Self.short(uri), "prefixRewrite goes with prefix alone"))
            }
        }
    }

    private mutating func rewrite(_ route: JSON, _ path: String) {
        let written = route["rewrite"]
        let view = KubernetesObject(json: written ?? .object([:]))
        if let written, written["uriRegexRewrite"] == nil, view.string("uri").isEmpty, view.string("authority").isEmpty
        {
            add(.required("\(path).rewrite", "one of uri, uriRegexRewrite and authority"))
        }
        if let regex = written?["uriRegexRewrite"] {
            if (regex["rewrite"]?.string ?? "").isEmpty { add(.required("\(path).rewrite.uriRegexRewrite.rewrite")) }
            expression(regex["match"]?.string ?? "", "\(path).rewrite.uriRegexRewrite.match")
        }
        // The host is set once.
        var earlier = view.string("authority").isEmpty ? nil : "\(path).rewrite.authority"
        for action in ["set", "add"] {
            let names = (route["headers"]?["request"]?[action]?.object ?? [:]).keys.sorted()
            for name in names where [":authority", "host"].contains(name.lowercased()) {
                let here = "\(path).headers.request.\(action)[\(name)]"
                if let earlier { add(.forbidden(here, "\(earlier) sets the host already")) }
                earlier = here
            }
        }
    }

    private mutating func cors(_ policy: JSON, _ path: String) {
        let view = KubernetesObject(json: policy)
        for (index, origin) in (policy["allowOrigins"]?.array ?? []).enumerated() {
            let here = "\(path).allowOrigins[\(index)]"
            let texts = ["exact", "prefix", "regex"].compactMap { origin[$0]?.string }
            if texts.allSatisfy(\.isEmpty) { add(.required(here, "exact, prefix or regex")) }
            expression(origin["regex"]?.string ?? "", "\(here).regex")
        }
        for (index, method) in view.strings("allowMethods").enumerated() where !Self.methods.contains(method) {
            add(.notSupported("\(path).allowMethods[\(index)]", method, Self.methods))
        }
        for list in ["allowHeaders", "exposeHeaders"] {
            for (index, name) in view.strings(list).enumerated() where !IstioNames.isToken(name) {
                add(.invalid("\(path).\(list)[\(index)]", text: name, "must be the name of a header, or *"))
            }
        }
        let age = view.string("maxAge")
        if let nanoseconds = Self.duration(age), nanoseconds.truncatingRemainder(dividingBy: 1e9) != 0 {
            add(.invalid("\(path).maxAge", text: age, "must be whole seconds"))
        }
    }

    private mutating func fault(_ fault: JSON, _ path: String) {
        if fault["delay"] == nil, fault["abort"] == nil { add(.required(path, "delay or abort")) }
        for name in ["delay", "abort"] {
            // What is smaller than one in a million is none to a proxy.
            if let share = fault[name]?["percentage"]?["value"]?.double, share > 0, share < 0.0001 {
                add(.invalid("\(path).\(name).percentage.value", "\(share)", "must be 0, or at least 0.0001"))
            }
        }
        if fault["delay"]?["exponentialDelay"] != nil {
            add(.forbidden("\(path).delay.exponentialDelay", "no proxy can do that: use fixedDelay"))
        }
        if fault["abort"]?["http2Error"] != nil {
            add(.forbidden("\(path).abort.http2Error", "no proxy can do that: use httpStatus or grpcStatus"))
        }
    }
}
