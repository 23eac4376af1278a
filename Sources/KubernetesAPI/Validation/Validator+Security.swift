import Serialization

// What cannot mean anything in Istio's security kinds: such an object would open or shut something by mistake.
extension Validator {
    /// The rules of the kinds of `security.istio.io`.
    mutating func security(_ object: KubernetesObject) {
        let spec = object.spec
        switch object.kind {
        case "PeerAuthentication": peer(spec)
        case "RequestAuthentication": tokens(spec)
        case "AuthorizationPolicy": authorization(spec)
        default: break
        }
    }

    private mutating func peer(_ spec: JSON) {
        let ports = spec["portLevelMtls"]?.object ?? [:]
        if !ports.isEmpty, (spec["selector"]?["matchLabels"]?.object ?? [:]).isEmpty {
            add(.forbidden("spec.portLevelMtls", "ports are those of the workloads that a selector chooses"))
        }
        for port in ports.keys.sorted() where UInt16(port).map({ $0 > 0 }) != true {
            add(.invalid("spec.portLevelMtls", text: port, "must be between 1 and 65535, inclusive"))
        }
    }

    private mutating func tokens(_ spec: JSON) {
        for (index, rule) in (spec["jwtRules"]?.array ?? []).enumerated() {
            let here = "spec.jwtRules[\(index)]"
            let view = KubernetesObject(json: rule)
            let place = view.string("jwksUri").isEmpty ? view.string("jwks_uri") : view.string("jwksUri")
            if view.string("issuer").isEmpty, place.isEmpty { add(.required("\(here).issuer", "issuer or jwksUri")) }
            if !view.string("jwks").isEmpty, !view.string("jwksUri").isEmpty {
                add(.forbidden("\(here).jwks", "jwks and jwksUri exclude each other"))
            }
            if !view.string("jwks").isEmpty {
                if let keys = try? JSON.parse(view.string("jwks")), let list = keys["keys"]?.array, !list.isEmpty {
                    // Good enough to be looked at by the proxy.
                } else {
                    add(.invalid("\(here).jwks", "…", "must be a JSON Web Key Set with keys"))
                }
            }
            let uri = view.string("jwksUri")
            if !uri.isEmpty, !uri.hasPrefix("http://"), !uri.hasPrefix("https://") {
                add(.invalid("\(here).jwksUri", text: uri, "must begin with http:// or https://"))
            } else if !uri.isEmpty, !Self.hasPort(uri) {
                add(.invalid("\(here).jwksUri", text: uri, "must have a number between 1 and 65535 for a port"))
            }
            for (position, claim) in (rule["outputClaimToHeaders"]?.array ?? []).enumerated() {
                let header = claim["header"]?.string ?? ""
                guard !header.isEmpty, !Self.isPlainHeader(header) else { continue }
                add(
                    .invalid(
                        "\(here).outputClaimToHeaders[\(position)].header", text: header,
                        "must consist of letters, digits, '-' and '_'"))
            }
        }
    }

    /// Whether what stands behind the host of an address is a port, or nothing.
    private static func hasPort(_ uri: String) -> Bool {
        let rest = uri.drop { $0 != ":" }.dropFirst(3)
        let authority = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        // What stands in brackets is an IPv6 address.
        let host = authority.lastIndex(of: "]").map { authority[$0...] } ?? authority
        guard let colon = host.lastIndex(of: ":") else { return true }
        let port = host[host.index(after: colon)...]
        return port.isEmpty || UInt16(port).map { $0 > 0 } == true
    }

    /// A policy that only counts what it would do can be ALLOW or DENY; nothing else is tried that way.
    mutating func dryRun(_ object: KubernetesObject) {
        guard let text = object.metadata.annotations["istio.io/dry-run"] else { return }
        let path = "metadata.annotations[istio.io/dry-run]"
        if object.kind != "AuthorizationPolicy" {
            add(.forbidden(path, "only an AuthorizationPolicy can be tried"))
        } else if !["true", "false"].contains(text) {
            add(.notSupported(path, text, ["true", "false"]))
        } else if let action = object.spec["action"]?.string, action != "ALLOW", action != "DENY" {
            add(.forbidden(path, "only ALLOW and DENY can be tried, not \(action)"))
        }
    }

    private mutating func authorization(_ spec: JSON) {
        let provider = spec["provider"]?["name"]?.string ?? ""
        if spec["action"]?.string == "CUSTOM" {
            if provider.isEmpty { add(.required("spec.provider.name", "CUSTOM asks a provider")) }
            if spec["rules"] == nil {
                add(.required("spec.rules", "without rules nobody is asked; rules: [{}] asks for every request"))
            }
        } else if spec["provider"] != nil {
            add(.forbidden("spec.provider", "only CUSTOM asks a provider"))
        }
        for (index, rule) in (spec["rules"]?.array ?? []).enumerated() {
            let here = "spec.rules[\(index)]"
            for (position, from) in (rule["from"]?.array ?? []).enumerated() {
                source(from["source"], "\(here).from[\(position)].source")
            }
            for (position, to) in (rule["to"]?.array ?? []).enumerated() {
                operation(to["operation"], "\(here).to[\(position)].operation")
            }
            for (position, condition) in (rule["when"]?.array ?? []).enumerated() {
                self.condition(condition, "\(here).when[\(position)]")
            }
        }
    }

    private mutating func source(_ source: JSON?, _ path: String) {
        guard let source, case .object(let members) = source, !members.isEmpty else {
            return add(.required(path, "an empty source would mean everybody; leave from out for that"))
        }
        let view = KubernetesObject(json: source)
        for name in ["ipBlocks", "notIpBlocks", "remoteIpBlocks", "notRemoteIpBlocks"] {
            blocks(view.strings(name), "\(path).\(name)")
        }
        if source["serviceAccounts"] ?? source["notServiceAccounts"] != nil,
            source["principals"] ?? source["notPrincipals"] ?? source["namespaces"] ?? source["notNamespaces"] != nil
        {
            add(.forbidden("\(path).serviceAccounts", "may not stand beside principals or namespaces"))
        }
        for name in ["serviceAccounts", "notServiceAccounts"] { accounts(view.strings(name), "\(path).\(name)") }
        for name in ["trustDomains", "notTrustDomains"] { domains(view.strings(name), "\(path).\(name)") }
        for (name, values) in members.sorted(by: { $0.key < $1.key }) {
            texts((values.array ?? []).compactMap(\.string), "\(path).\(name)")
        }
    }

    /// `NAME` or `NAMESPACE/NAME`.
    private mutating func accounts(_ values: [String], _ path: String) {
        for (index, text) in values.enumerated() where !text.isEmpty {
            let parts = text.split(separator: "/", omittingEmptySubsequences: false)
            if text.contains("*") || parts.count > 2 || parts.contains(where: \.isEmpty) {
                add(.invalid("\(path)[\(index)]", text: text, "must be NAME or NAMESPACE/NAME, without wildcards"))
            }
        }
    }

    /// A trust domain, with a wildcard at one end at most.
    private mutating func domains(_ values: [String], _ path: String) {
        for (index, text) in values.enumerated() {
            let inner = text.dropFirst(text.hasPrefix("*") ? 1 : 0)
            let rest = text.hasPrefix("*") ? inner : inner.dropLast(inner.hasSuffix("*") ? 1 : 0)
            if rest.contains("*") || rest.contains("/") {
                add(.invalid("\(path)[\(index)]", text: text, "must have one * at most, at an end, and no /"))
            }
        }
    }

    private mutating func operation(_ operation: JSON?, _ path: String) {
        guard let operation, case .object(let members) = operation, !members.isEmpty else {
            return add(.required(path, "an empty operation would mean everything; leave to out for that"))
        }
        for name in ["ports", "notPorts"] {
            for (index, port) in KubernetesObject(json: operation).strings(name).enumerated()
            where UInt16(port).map({ $0 > 0 }) != true {
                add(.invalid("\(path).\(name)[\(index)]", text: port, "must be between 1 and 65535, inclusive"))
            }
        }
        for name in ["paths", "notPaths"] {
            for (index, text) in KubernetesObject(json: operation).strings(name).enumerated()
            where text.contains("{") || text.contains("}") {
                if let problem = Self.templateProblem(text) {
                    add(.invalid("\(path).\(name)[\(index)]", text: text, problem))
                }
            }
        }
        for (name, values) in members.sorted(by: { $0.key < $1.key }) {
            texts((values.array ?? []).compactMap(\.string), "\(path).\(name)")
        }
    }

    /// What is wrong with a path that has template operators.
    private static func templateProblem(_ text: String) -> String? {
        var hasAny = false
        for segment in text.split(separator: "/", omittingEmptySubsequences: false) {
            if hasAny, segment.contains("{") { return "{**} must be the last operator" }
            guard segment.contains("{") || segment.contains("}") || segment.contains("*") else { continue }
            guard segment == "{*}" || segment == "{**}" else {
                return "{*} and {**} stand for whole segments, and no other wildcard may stand beside them"
            }
            hasAny = hasAny || segment == "{**}"
        }
        return nil
    }

    private mutating func texts(_ values: [String], _ path: String) {
        for (index, text) in values.enumerated() where text.isEmpty {
            add(.invalid("\(path)[\(index)]", text: text, "must not be empty"))
        }
    }

    private mutating func blocks(_ blocks: [String], _ path: String) {
        for (index, block) in blocks.enumerated() where !Self.isBlock(block) {
            add(.invalid("\(path)[\(index)]", text: block, "must be an IP address or a block such as 10.0.0.0/8"))
        }
    }

    /// Whether a text is an address or a block; enough to keep names and typing mistakes out.
    private static func isBlock(_ text: String) -> Bool {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count <= 2, let address = parts.first, !address.isEmpty else { return false }
        let isV6 = address.contains(":")
        if parts.count == 2 {
            guard let length = Int(parts[1]), (0...(isV6 ? 128 : 32)).contains(length) else { return false }
        }
        if isV6 { return address.allSatisfy { $0.isHexDigit || $0 == ":" || $0 == "." } && address.count <= 45 }
        let numbers = address.split(separator: ".", omittingEmptySubsequences: false)
        return numbers.count == 4 && numbers.allSatisfy { UInt8($0) != nil }
    }

    private mutating func condition(_ condition: JSON, _ path: String) {
        let view = KubernetesObject(json: condition)
        let key = view.string("key")
        guard Self.isConditionKey(key) else {
            return add(.notSupported("\(path).key", key, Self.conditionKeys))
        }
        if view.strings("values").isEmpty, view.strings("notValues").isEmpty {
            add(.required("\(path).values", "values or notValues"))
        }
        for name in ["values", "notValues"] {
            if key == "source.serviceAccount" { accounts(view.strings(name), "\(path).\(name)") }
            if key == "source.trustDomain" { domains(view.strings(name), "\(path).\(name)") }
            if key == "source.ip" || key == "remote.ip" || key == "destination.ip" {
                blocks(view.strings(name), "\(path).\(name)")
            }
            for (index, port) in view.strings(name).enumerated()
            where key == "destination.port" && UInt16(port).map({ $0 > 0 }) != true {
                add(.invalid("\(path).\(name)[\(index)]", text: port, "must be between 1 and 65535, inclusive"))
            }
        }
    }

    private static let conditionKeys = [
        "request.headers[NAME]", "source.ip", "remote.ip", "source.namespace", "source.principal",
        "source.serviceAccount", "source.trustDomain", "request.auth.principal", "request.auth.audiences",
        "request.auth.presenter",
        "request.auth.claims[NAME]", "destination.ip", "destination.port", "connection.sni",
        "experimental.envoy.filters.FILTER[NAME]",
    ]

    private static func isConditionKey(_ key: String) -> Bool {
        if conditionKeys.contains(key), !key.contains("[") { return true }
        guard let open = key.firstIndex(of: "["), key.hasSuffix("]"), !key.contains("[]") else { return false }
        let name = key[..<open]
        return name == "request.headers" || name == "request.auth.claims"
            || name.hasPrefix("experimental.envoy.filters.") && name != "experimental.envoy.filters."
    }
}
