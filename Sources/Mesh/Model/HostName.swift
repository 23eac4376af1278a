/// Host names of services and rules (section R of the semantics).
enum HostName {
    /// The full name of a service.
    static func ofService(_ key: NamespacedName) -> String {
        "\(key.name).\(key.namespace).svc.\(Mesh.clusterDomain)"
    }

    /// The full form of a host in a rule: a name without dots gets the namespace of the rule.
    static func expanded(_ host: String, ruleNamespace: String) -> String {
        let lower = host.lowercased()
        if lower.contains(".") || lower.contains("*") || lower.isEmpty { return lower }
        return "\(lower).\(ruleNamespace).svc.\(Mesh.clusterDomain)"
    }

    /// The namespace of a full service name; `nil` for any other name.
    static func namespace(ofService host: String) -> String? {
        let suffix = ".svc.\(Mesh.clusterDomain)"
        guard host.hasSuffix(suffix) else { return nil }
        let parts = host.dropLast(suffix.count).split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 2 ? String(parts[1]) : nil
    }

    /// Whether the name has a wildcard.
    static func isWildcard(_ host: String) -> Bool { host.hasPrefix("*") }

    /// Whether `pattern` (a name, `*` or `*.suffix`) covers `host`, which may be a wildcard itself.
    static func covers(_ pattern: String, _ host: String) -> Bool {
        guard isWildcard(pattern) else { return pattern == host }
        let suffix = pattern.dropFirst()
        let rest = isWildcard(host) ? host.dropFirst() : Substring(host)
        return rest.hasSuffix(suffix) && (isWildcard(host) || rest.count > suffix.count || suffix.isEmpty)
    }

    /// The more specific of two names, when one covers the other.
    static func intersection(_ left: String, _ right: String) -> String? {
        if covers(left, right) { return right }
        if covers(right, left) { return left }
        return nil
    }

    /// What callers in `callerNamespace` may type for a service; the trailing dot makes a name absolute.
    static func forms(of key: NamespacedName, callerNamespace: String) -> [String] {
        let full = ofService(key)
        var forms = [full, full + ".", "\(key.name).\(key.namespace)", "\(key.name).\(key.namespace).svc"]
        if key.namespace == callerNamespace { forms.append(key.name) }
        return forms
    }

    /// Virtual host domains for hosts on a port: each with and without the port; IPv6 addresses in brackets.
    static func domains(_ hosts: [String], port: Int) -> [String] {
        hosts.flatMap { host -> [String] in
            if host == "*" { return ["*"] }
            let written = host.contains(":") ? "[\(host)]" : host
            return [written, "\(written):\(port)"]
        }
    }

    /// Whether some namespace sees both of two things.
    static func meet(_ one: [String], _ owner: String, _ other: [String], _ otherOwner: String) -> Bool {
        if one.isEmpty || one.contains("*") {
            return other.isEmpty || other.contains { $0 != "~" }
        }
        return one.contains { name in
            let namespace = name == "." ? owner : name
            return namespace != "~" && isVisible(exportTo: other, owner: otherOwner, to: namespace)
        }
    }

    /// Whether a namespace sees something.
    static func isVisible(exportTo: [String], owner: String, to namespace: String) -> Bool {
        if exportTo.isEmpty { return true }
        return exportTo.contains { $0 == "*" || $0 == namespace || ($0 == "." && owner == namespace) }
    }
}
