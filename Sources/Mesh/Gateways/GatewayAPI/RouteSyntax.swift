import KubernetesAPI

/// Values of routes that no proxy would take: the API's own schema refuses them, but not every way into the store asks it.
enum RouteSyntax {
    typealias Finding = GatewayAPIModel.Finding

    /// The first value that cannot be used; the route is refused for it, so that it holds up no other.
    static func problem(_ route: GatewayAPIModel.Route) -> Finding? {
        func unsupported(_ message: String) -> Finding { Finding(reason: "UnsupportedValue", message: message) }
        for (index, host) in route.route.hostnames.enumerated() where !isHost(host) {
            return unsupported("spec.hostnames[\(index)]: \"\(host)\" is no host name")
        }
        for (index, rule) in route.route.rules.enumerated() {
            for (position, match) in rule.matches.enumerated() {
                if let problem = problem(match) {
                    return unsupported("spec.rules[\(index)].matches[\(position)].\(problem)")
                }
            }
            let filters = rule.filters + rule.backends.flatMap(\.filters)
            for filter in filters {
                if let problem = problem(filter) { return unsupported("spec.rules[\(index)].filters: \(problem)") }
            }
        }
        return nil
    }

    private static func problem(_ match: GatewayAPI.Match) -> String? {
        if let method = match.grpcMethod {
            if method.isRegularExpression {
                for text in [method.service, method.method] {
                    if let problem = RegexSyntax.problem(text) { return "method: \(problem)" }
                }
            } else if [method.service, method.method].contains(where: { $0.contains { "/?# ".contains($0) } }) {
                return "method: not the name of a service and a method"
            }
        } else if match.pathType == "RegularExpression" {
            if let problem = RegexSyntax.problem(match.path) { return "path.value: \(problem)" }
        } else if !isPath(match.path) {
            return "path.value: \"\(match.path)\" is no absolute path"
        }
        for header in match.headers {
            if !isToken(header.name) { return "headers: \"\(header.name)\" is no header name" }
            if header.isRegularExpression, let problem = RegexSyntax.problem(header.value) {
                return "headers: \(header.name): \(problem)"
            }
        }
        for parameter in match.queryParams {
            if parameter.name.isEmpty { return "queryParams: a name is required" }
            if parameter.isRegularExpression, let problem = RegexSyntax.problem(parameter.value) {
                return "queryParams: \(parameter.name): \(problem)"
            }
        }
        return nil
    }

    private static func problem(_ filter: GatewayAPI.Filter) -> String? {
        for change in [filter.requestHeaders, filter.responseHeaders].compactMap({ $0 }) {
            for name in (change.set + change.add).map(\.name) + change.remove where !isToken(name) {
                return "\"\(name)\" is no header name"
            }
            for pair in change.set + change.add
            where pair.value.unicodeScalars.contains(where: { $0.value < 0x20 && $0 != "\t" }) {
                return "the value of \(pair.name) has a control character"
            }
        }
        for path in [filter.redirect?.path, filter.rewrite?.path].compactMap({ $0 }) {
            switch path {
            case .full(let text), .prefix(let text):
                if !text.isEmpty, !isPath(text) { return "\"\(text)\" is no absolute path" }
            }
        }
        for host in [filter.redirect?.hostname, filter.rewrite?.hostname].compactMap({ $0 }) {
            if !host.isEmpty, !isHost(host) || host.hasPrefix("*") { return "\"\(host)\" is no host name" }
        }
        return nil
    }

    /// A host name, or a wildcard in the place of its first label.
    static func isHost(_ host: String) -> Bool {
        let labels = (host.hasPrefix("*.") ? host.dropFirst(2) : Substring(host)).split(
            separator: ".", omittingEmptySubsequences: false)
        return host.utf8.count <= 253
            && labels.allSatisfy { label in
                !label.isEmpty && label.utf8.count <= 63 && !label.hasPrefix("-") && !label.hasSuffix("-")
                    && label.utf8.allSatisfy { isAlphanumeric($0) || $0 == 0x2d || $0 == 0x5f }
            }
    }

    private static func isPath(_ path: String) -> Bool {
        path.hasPrefix("/") && !path.contains("//")
            && path.unicodeScalars.allSatisfy { $0.value > 0x20 && $0 != "?" && $0 != "#" && $0.value != 0x7f }
    }

    /// A header's name (RFC 9110 section 5.6.2); a pseudo header is none.
    private static func isToken(_ name: String) -> Bool {
        !name.isEmpty && name.utf8.allSatisfy { isAlphanumeric($0) || Array("!#$%&'*+-.^_`|~".utf8).contains($0) }
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
    }
}
