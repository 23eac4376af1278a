import KubernetesAPI
import Serialization

/// What somebody wants to do.
struct AccessAttributes: Sendable, Hashable {
    /// The verb: `get`, `list`, `create` and so on.
    var verb: String
    /// The API group.
    var group = ""
    /// The plural of the kind; empty for a path.
    var resource = ""
    /// The sub-resource; empty for the object.
    var subresource = ""
    /// The namespace; empty at the cluster scope.
    var namespace = ""
    /// The object; empty for all.
    var name = ""
    /// A path that is no resource.
    var path = ""

    /// The resource with its sub-resource: `pods/log`.
    var qualifiedResource: String { subresource.isEmpty ? resource : resource + "/" + subresource }

    /// As Kubernetes says who may not: `cannot list resource "pods" in API group "" in the namespace "default"`.
    var description: String {
        if resource.isEmpty { return "cannot \(verb) path \"\(path)\"" }
        let scope = namespace.isEmpty ? "at the cluster scope" : "in the namespace \"\(namespace)\""
        return "cannot \(verb) resource \"\(qualifiedResource)\" in API group \"\(group)\" \(scope)"
    }
}

/// One rule of a role: everything that it names may be done.
struct PolicyRule: Sendable, Hashable {
    var verbs: [String] = []
    var groups: [String] = []
    var resources: [String] = []
    var names: [String] = []
    var paths: [String] = []

    /// From an element of `rules`.
    init(json: JSON) {
        let view = KubernetesObject(json: json)
        verbs = view.strings("verbs")
        groups = view.strings("apiGroups")
        resources = view.strings("resources")
        names = view.strings("resourceNames")
        paths = view.strings("nonResourceURLs")
    }

    /// A rule about one thing.
    init(verb: String, group: String, resource: String, name: String?) {
        verbs = [verb]
        groups = [group]
        resources = [resource]
        names = name.map { [$0] } ?? []
    }

    /// A rule about one path.
    init(verb: String, path: String) {
        verbs = [verb]
        paths = [path]
    }

    /// As an element of `rules`.
    var json: JSON {
        var json: JSON = ["verbs": .array(verbs.map { .string($0) })]
        for (name, list) in [
            ("apiGroups", groups), ("resources", resources), ("resourceNames", names), ("nonResourceURLs", paths),
        ] where !list.isEmpty { json[name] = .array(list.map { .string($0) }) }
        return json
    }

    /// Whether the rule allows that.
    func allows(_ wish: AccessAttributes) -> Bool {
        guard has(verbs, wish.verb) else { return false }
        guard !wish.resource.isEmpty else { return paths.contains { Self.covers(path: $0, wish.path) } }
        guard has(groups, wish.group), names.isEmpty || names.contains(wish.name) else { return false }
        let full = wish.qualifiedResource
        return resources.contains {
            $0 == "*" || $0 == full || (!wish.subresource.isEmpty && $0 == "*/" + wish.subresource)
        }
    }

    private func has(_ list: [String], _ value: String) -> Bool { list.contains(value) || list.contains("*") }

    private static func covers(path rule: String, _ path: String) -> Bool {
        rule == "*" || rule == path || (rule.hasSuffix("*") && path.hasPrefix(rule.dropLast()))
    }

    /// The most single rights that a rule is taken apart into.
    static let partsMax = 10_000

    /// Every single right that the rule gives; `nil` when there are too many to look at.
    var parts: [PolicyRule]? {
        let named = max(names.count, 1)
        let (resourceCount, overflow) = groups.count.multipliedReportingOverflow(by: resources.count * named)
        guard !overflow, (resourceCount + paths.count) * max(verbs.count, 1) <= Self.partsMax else { return nil }
        var result: [PolicyRule] = []
        for verb in verbs {
            for path in paths { result.append(PolicyRule(verb: verb, path: path)) }
            for group in groups {
                for resource in resources {
                    for name in names.isEmpty ? [nil] : names.map(Optional.some) {
                        result.append(PolicyRule(verb: verb, group: group, resource: resource, name: name))
                    }
                }
            }
        }
        return result
    }

    /// Whether this rule gives at least what a single right gives.
    func covers(_ part: PolicyRule) -> Bool {
        guard has(verbs, part.verbs.first ?? "") else { return false }
        if let path = part.paths.first { return paths.contains { Self.covers(path: $0, path) } }
        guard let resource = part.resources.first, has(groups, part.groups.first ?? "") else { return false }
        let anySub = resource.split(separator: "/").dropFirst().first.map { "*/" + $0 }
        guard resources.contains(where: { $0 == "*" || $0 == resource || $0 == anySub }) else { return false }
        guard !names.isEmpty else { return true }
        return part.names.first.map(names.contains) ?? false
    }
}
