import Serialization

// What the definitions of the Gateway API refuse of routes beyond the bounds of single fields.
extension Validator {
    /// Matches of all rules of a route together.
    private static let matchesMax = 128

    /// The rules of the Gateway API's kinds.
    mutating func gatewayAPI(_ object: KubernetesObject) {
        let spec = object.spec
        switch object.kind {
        case "GatewayClass": gatewayClass(spec)
        case "Gateway":
            listeners(spec)
            addresses(spec)
            infrastructure(spec)
        case "ListenerSet": listeners(spec)
        case "BackendTLSPolicy":
            backendTargets(spec["targetRefs"]?.array ?? [])
            backendTLS(spec["validation"] ?? .object([:]), "spec.validation")
        case "HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute": route(object)
        default: break
        }
    }

    private mutating func route(_ object: KubernetesObject) {
        let spec = object.spec
        for (index, host) in KubernetesObject(json: spec).strings("hostnames").enumerated() {
            hostname(host, "spec.hostnames[\(index)]")
        }
        parents(spec["parentRefs"]?.array ?? [], namespace: object.namespace)
        var names: Set<String> = []
        var matches = 0
        for (index, rule) in (spec["rules"]?.array ?? []).enumerated() {
            let path = "spec.rules[\(index)]"
            if let name = rule["name"]?.string {
                check("\(path).name", name, Names.dns1123SubdomainProblem)
                if !names.insert(name).inserted { add(.duplicate("\(path).name", "\"\(name)\"")) }
            }
            matches += rule["matches"]?.array?.count ?? 0
            self.rule(rule, path)
        }
        if matches > Self.matchesMax {
            add(.invalid("spec.rules", String(matches), "must have at most \(Self.matchesMax) matches together"))
        }
    }

    /// Several references to one parent are told apart by section or port.
    private mutating func parents(_ parents: [JSON], namespace: String) {
        func key(_ parent: JSON) -> [String] {
            let view = KubernetesObject(json: parent)
            let owner = view.string("namespace").isEmpty ? namespace : view.string("namespace")
            return [view.string("group"), view.string("kind"), owner, view.string("name")]
        }
        let all = Dictionary(grouping: parents, by: key)
        var seen: Set<JSON> = []
        for (index, parent) in parents.enumerated() where all[key(parent)]?.count ?? 0 > 1 {
            let path = "spec.parentRefs[\(index)]"
            if (parent["sectionName"]?.string ?? "").isEmpty, parent["port"] == nil {
                add(.required("\(path).sectionName", "the parent is referred to more than once"))
            } else if !seen.insert(parent).inserted {
                add(.duplicate(path, Self.short(parent)))
            }
        }
    }

    /// A DNS name, or `*.` and one.
    mutating func hostname(_ host: String, _ path: String) {
        check(path, host, host.hasPrefix("*") ? Names.wildcardProblem : Names.dns1123SubdomainProblem)
    }

    private mutating func rule(_ rule: JSON, _ path: String) {
        let matches = rule["matches"]?.array ?? []
        for (index, match) in matches.enumerated() { self.match(match, "\(path).matches[\(index)]") }
        let filters = rule["filters"]?.array ?? []
        self.filters(filters, matches, path)
        let backends = rule["backendRefs"]?.array ?? []
        if !backends.isEmpty, filters.contains(where: { $0["type"] == "RequestRedirect" }) {
            add(.forbidden("\(path).backendRefs", "a RequestRedirect sends nothing to a backend"))
        }
        for (index, backend) in backends.enumerated() {
            reference(backend, "\(path).backendRefs[\(index)]")
            self.filters(backend["filters"]?.array ?? [], matches, "\(path).backendRefs[\(index)]")
        }
        let request = rule["timeouts"]?["request"]?.string ?? ""
        let backendRequest = rule["timeouts"]?["backendRequest"]?.string ?? ""
        span(request, "\(path).timeouts.request")
        span(backendRequest, "\(path).timeouts.backendRequest")
        if let whole = Self.duration(request), let part = Self.duration(backendRequest), whole > 0, part > whole {
            add(.invalid("\(path).timeouts", text: backendRequest, "backendRequest is longer than request"))
        }
        span(rule["retry"]?["backoff"]?.string ?? "", "\(path).retry.backoff")
        span(rule["sessionPersistence"]?["absoluteTimeout"]?.string ?? "", "\(path).sessionPersistence.absoluteTimeout")
    }

    /// A time as the Gateway API writes it: up to four whole numbers with the units h, m, s and ms.
    private mutating func span(_ text: String, _ path: String) {
        guard !text.isEmpty else { return }
        var rest = text[...]
        var parts = 0
        while let unit = Self.part(&rest), !unit.isEmpty { parts += 1 }
        if !rest.isEmpty || !(1...4).contains(parts) {
            add(.invalid(path, text: text, "must be whole numbers with the units h, m, s and ms, such as 1m30s"))
        }
    }

    /// Takes one number with its unit.
    private static func part(_ rest: inout Substring) -> String? {
        let digits = rest.prefix { ("0"..."9").contains($0) }
        guard (1...5).contains(digits.count) else { return nil }
        let after = rest.dropFirst(digits.count)
        guard let unit = ["ms", "h", "m", "s"].first(where: { after.hasPrefix($0) }) else { return nil }
        rest = after.dropFirst(unit.count)
        return unit
    }

    /// A Service is reached at a port.
    private mutating func reference(_ backend: JSON, _ path: String) {
        if let group = backend["group"]?.string, !group.isEmpty {
            check("\(path).group", group, Names.dns1123SubdomainProblem)
        }
        if let kind = backend["kind"]?.string, !Self.isKind(kind) {
            add(.invalid("\(path).kind", text: kind, "must be the name of a kind, such as Service"))
        }
        if backend["port"] == nil, backend["kind"]?.string ?? "Service" == "Service",
            (backend["group"]?.string ?? "").isEmpty
        {
            add(.required("\(path).port", "a Service is reached at a port"))
        }
    }

    // MARK: Matches

    private static let wrongInPaths = ["//", "/./", "/../", "%2f", "%2F", "#"]

    private mutating func match(_ match: JSON, _ path: String) {
        for list in ["headers", "queryParams"] {
            var names: Set<String> = []
            for (index, entry) in (match[list]?.array ?? []).enumerated() {
                let name = entry["name"]?.string ?? ""
                if list == "headers", !name.isEmpty, !IstioNames.isToken(name) {
                    add(.invalid("\(path).\(list)", text: name, "must be the name of a header"))
                }
                if !names.insert(name).inserted {
                    add(.duplicate("\(path).\(list)[\(index)]", "{\"name\":\"\(name)\"}"))
                }
            }
        }
        if let uri = match["path"], let text = uri["value"]?.string, uri["type"]?.string != "RegularExpression" {
            let isAbsolute = text.hasPrefix("/") && !Self.wrongInPaths.contains(where: text.contains)
            if !isAbsolute || text.hasSuffix("/..") || text.hasSuffix("/.") || !Self.isPath(text) {
                add(
                    .invalid(
                        "\(path).path.value", text: text,
                        "must be an absolute path of letters that need no escape, without //, /./, /../, %2f and #"))
            }
        }
        guard let method = match["method"], method.object != nil else { return }
        let (service, name) = (method["service"]?.string, method["method"]?.string)
        if service == nil, name == nil { add(.required("\(path).method", "service, method or both")) }
        guard method["type"]?.string ?? "Exact" == "Exact" else { return }
        let areNames =
            (service ?? "a").split(separator: ".", omittingEmptySubsequences: false).enumerated()
            .allSatisfy { $0.offset == 0 && $0.element.isEmpty || Self.isWord($0.element) }
            && Self.isWord((name ?? "a")[...])
        if !areNames || service == "." || service == "" {
            add(.invalid("\(path).method", Self.short(method), "must be the names of a service and a method"))
        }
    }

    /// What RFC 3986 lets a path consist of.
    private static func isPath(_ text: String) -> Bool {
        var hexadecimals = 0
        for byte in text.utf8 {
            let isDigit = (0x30...0x39).contains(byte)
            if hexadecimals > 0 {
                guard isDigit || (0x61...0x66).contains(byte | 0x20) else { return false }
                hexadecimals -= 1
            } else if byte == 0x25 {
                hexadecimals = 2
            } else if !isDigit, !(0x61...0x7A).contains(byte | 0x20), !"/-._~!$&'()*+,;=:@".utf8.contains(byte) {
                return false
            }
        }
        return hexadecimals == 0
    }

    private static func isWord(_ text: Substring) -> Bool {
        guard let first = text.utf8.first, !(0x30...0x39).contains(first) else { return false }
        return text.utf8.allSatisfy {
            $0 == 0x5F || (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0)
        }
    }

    // MARK: Filters

    /// The member that each type of filter has.
    private static let members = [
        "RequestHeaderModifier": "requestHeaderModifier", "ResponseHeaderModifier": "responseHeaderModifier",
        "RequestMirror": "requestMirror", "RequestRedirect": "requestRedirect", "URLRewrite": "urlRewrite",
        "ExtensionRef": "extensionRef", "CORS": "cors", "ExternalAuth": "externalAuth",
    ]
    /// Those of which there may be several.
    private static let repeatable = ["RequestMirror", "ExtensionRef"]

    private mutating func filters(_ filters: [JSON], _ matches: [JSON], _ place: String) {
        let path = "\(place).filters"
        let types = filters.map { $0["type"]?.string ?? "" }
        if types.contains("RequestRedirect"), types.contains("URLRewrite") {
            add(.forbidden(path, "RequestRedirect and URLRewrite exclude each other"))
        }
        for (index, (filter, own)) in zip(filters, types).enumerated() {
            let here = "\(path)[\(index)]"
            if types.prefix(index).contains(own), !Self.repeatable.contains(own) {
                add(.duplicate("\(here).type", "\"\(own)\""))
            }
            for (type, member) in Self.members.sorted(by: { $0.key < $1.key }) {
                if type == own, filter[member] == nil { add(.required("\(here).\(member)")) }
                if type != own, filter[member] != nil {
                    add(.forbidden("\(here).\(member)", "belongs to a filter of type \(type)"))
                }
            }
            for name in ["requestHeaderModifier", "responseHeaderModifier"] {
                if let change = filter[name] { headers(change, "\(here).\(name)") }
            }
            for name in ["requestRedirect", "urlRewrite"] {
                if let change = filter[name]?["path"] {
                    pathChange(change, matches, "\(here).\(name).path", "\(here).path")
                }
            }
            if let mirror = filter["requestMirror"] { self.mirror(mirror, "\(here).requestMirror") }
            if let ask = filter["externalAuth"] { externalAuth(ask, "\(here).externalAuth") }
            let origins = KubernetesObject(json: filter["cors"] ?? .object([:])).strings("allowOrigins")
            for (position, origin) in origins.enumerated() where !Self.isOrigin(origin) {
                add(
                    .invalid(
                        "\(here).cors.allowOrigins[\(position)]", text: origin,
                        "must be \"*\" or SCHEME://HOST[:PORT], where the host may begin with *."))
            }
            for list in ["allowOrigins", "allowMethods", "allowHeaders"] {
                let all = KubernetesObject(json: filter["cors"] ?? .object([:])).strings(list)
                if all.count > 1, all.contains("*") {
                    add(.forbidden("\(here).cors.\(list)", "\"*\" stands for all: nothing can stand beside it"))
                }
            }
        }
    }

    /// `*`, or `http(s)://HOST[:PORT]`, where the host may begin with `*.`.
    private static func isOrigin(_ text: String) -> Bool {
        if text == "*" { return true }
        guard let scheme = ["https://", "http://"].first(where: text.hasPrefix) else { return false }
        let parts = text.dropFirst(scheme.count).split(
            separator: ":", maxSplits: 1, omittingEmptySubsequences: false
        ).map(String.init)
        if parts.count == 2, UInt16(parts.last ?? "").map({ $0 > 0 }) != true { return false }
        let host = parts.first ?? ""
        return IstioNames.hostProblem(host.hasPrefix("*.") ? String(host.dropFirst(2)) : host) == nil
            || AddressRange.isAddress(host)
    }

    private mutating func externalAuth(_ ask: JSON, _ path: String) {
        for (spoken, member) in [("GRPC", "grpc"), ("HTTP", "http")] {
            if ask["protocol"]?.string == spoken, ask[member] == nil { add(.required("\(path).\(member)")) }
            if ask["protocol"]?.string != spoken, ask[member] != nil {
                add(.forbidden("\(path).\(member)", "belongs to the protocol \(spoken)"))
            }
        }
    }

    private mutating func headers(_ change: JSON, _ path: String) {
        var removed: Set<String> = []
        for (index, name) in KubernetesObject(json: change).strings("remove").enumerated()
        where !removed.insert(name).inserted {
            add(.duplicate("\(path).remove[\(index)]", "\"\(name)\""))
        }
        for list in ["set", "add"] {
            var names: Set<String> = []
            for (index, entry) in (change[list]?.array ?? []).enumerated() {
                let name = entry["name"]?.string ?? ""
                if !name.isEmpty, !IstioNames.isToken(name) {
                    add(.invalid("\(path).\(list)[\(index)].name", text: name, "must be the name of a header"))
                }
                let value = entry["value"]?.string ?? ""
                if value.utf8.contains(where: { $0 < 0x20 && $0 != 0x09 || $0 == 0x7F }) {
                    add(.invalid("\(path).\(list)[\(index)].value", text: "…", "must not have control characters"))
                }
                if !names.insert(name).inserted {
                    add(.duplicate("\(path).\(list)[\(index)]", "{\"name\":\"\(name)\"}"))
                }
            }
        }
    }

    /// - Parameter shown: Where the analysis tells what does not fit the matches.
    private mutating func pathChange(_ change: JSON, _ matches: [JSON], _ path: String, _ shown: String) {
        for (type, member) in [("ReplaceFullPath", "replaceFullPath"), ("ReplacePrefixMatch", "replacePrefixMatch")] {
            if change["type"]?.string == type, change[member] == nil { add(.required("\(path).\(member)")) }
            if change["type"]?.string != type, change[member] != nil {
                add(.forbidden("\(path).\(member)", "belongs to the type \(type)"))
            }
        }
        if change["type"] == "ReplacePrefixMatch",
            matches.count != 1 || matches.first?["path"]?["type"]?.string ?? "PathPrefix" != "PathPrefix"
        {
            add(.forbidden(shown, "ReplacePrefixMatch needs exactly one match, of type PathPrefix"))
        }
    }

    private mutating func mirror(_ mirror: JSON, _ path: String) {
        reference(mirror["backendRef"] ?? .object([:]), "\(path).backendRef")
        if mirror["percent"] != nil, mirror["fraction"] != nil {
            add(.forbidden("\(path).fraction", "percent and fraction exclude each other"))
        }
        if let part = mirror["fraction"]?["numerator"]?.int, let whole = mirror["fraction"]?["denominator"]?.int,
            part > whole
        {
            add(.invalid("\(path).fraction.numerator", String(part), "must be less than or equal to denominator"))
        }
    }
}
