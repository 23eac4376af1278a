import KubernetesAPI
import Serialization

/// What the server tells about itself: versions, groups and resources, in the plain and in the aggregated form.
struct Discovery {
    let kinds: ResourceKinds

    /// What `/version` answers.
    ///
    /// The number is the API level that clients may expect, not ours.
    static let version: JSON = [
        "major": "1", "minor": "32", "gitVersion": "v1.32.0+skein", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none", "compiler": "swift", "platform": "linux/amd64",
    ]

    /// The parameters of the aggregated form that the client accepts: `v2` or `v2beta1`.
    static func aggregatedVersion(accept: String) -> String? {
        for range in accept.split(separator: ",") where range.contains("as=APIGroupDiscoveryList") {
            if range.contains("v=v2;") || range.hasSuffix("v=v2") { return "v2" }
            if range.contains("v=v2beta1") { return "v2beta1" }
        }
        return nil
    }

    /// `/api` or `/apis` in the aggregated form.
    func aggregated(isCore: Bool, version: String) -> JSON {
        let groups = kinds.groups.filter { $0.name.isEmpty == isCore }
        return [
            "kind": "APIGroupDiscoveryList", "apiVersion": .string("apidiscovery.k8s.io/" + version), "metadata": [:],
            "items": .array(
                groups.map { group in
                    [
                        "metadata": ["name": .string(group.name), "creationTimestamp": .null],
                        "versions": .array(
                            group.versions.map { version in
                                [
                                    "version": .string(version), "freshness": "Current",
                                    "resources": .array(
                                        kinds.kinds(group: group.name, version: version).map { aggregated($0, version) }
                                    ),
                                ]
                            }),
                    ]
                }),
        ]
    }

    private func aggregated(_ kind: ResourceKind, _ version: String) -> JSON {
        func response(_ group: String, _ version: String, _ name: String) -> JSON {
            ["group": .string(group), "version": .string(version), "kind": .string(name)]
        }
        var entry: JSON = [
            "resource": .string(kind.plural), "singularResource": .string(kind.singular),
            "responseKind": response(kind.group, version, kind.kind),
            "scope": kind.isNamespaced ? "Namespaced" : "Cluster",
            "verbs": .array(kind.verbs.map { .string($0) }),
        ]
        if !kind.shortNames.isEmpty { entry["shortNames"] = .array(kind.shortNames.map { .string($0) }) }
        if !kind.categories.isEmpty { entry["categories"] = .array(kind.categories.map { .string($0) }) }
        if !kind.subresources.isEmpty {
            entry["subresources"] = .array(
                kind.subresources.map { name in
                    [
                        "subresource": .string(name), "verbs": verbs(of: name),
                        "responseKind": Self.foreign(name, of: kind).map { response($0.group, $0.version, $0.kind) }
                            ?? response(kind.group, version, kind.kind),
                    ]
                })
        }
        return entry
    }

    private func verbs(of subresource: String) -> JSON {
        switch subresource {
        case "log": ["get"]
        case "token", "eviction": ["create"]
        case "proxy": ["create", "delete", "get", "patch", "update"]
        case "exec", "attach", "portforward": ["create", "get"]
        default: ["get", "patch", "update"]
        }
    }

    private static func foreign(
        _ subresource: String, of kind: ResourceKind
    ) -> (group: String, version: String, kind: String)? {
        if subresource == "proxy" { return ("", "v1", kind.kind + "ProxyOptions") }
        return foreign[subresource]
    }

    /// Sub-resources whose objects are of another kind.
    private static let foreign = [
        "scale": (group: "autoscaling", version: "v1", kind: "Scale"),
        "exec": (group: "", version: "v1", kind: "PodExecOptions"),
        "attach": (group: "", version: "v1", kind: "PodAttachOptions"),
        "portforward": (group: "", version: "v1", kind: "PodPortForwardOptions"),
        "eviction": (group: "policy", version: "v1", kind: "Eviction"),
        "token": (group: "authentication.k8s.io", version: "v1", kind: "TokenRequest"),
    ]

    /// `/api` in the plain form.
    static let coreVersions: JSON = [
        "kind": "APIVersions", "versions": ["v1"],
        "serverAddressByClientCIDRs": [["clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1:6443"]],
    ]

    /// `/apis` in the plain form.
    var groupList: JSON {
        [
            "kind": "APIGroupList", "apiVersion": "v1",
            "groups": .array(kinds.groups.filter { !$0.name.isEmpty }.map { group($0.name, $0.versions) }),
        ]
    }

    /// `/apis/GROUP`.
    func group(named name: String) -> JSON? {
        guard let found = kinds.groups.first(where: { $0.name == name && !name.isEmpty }) else { return nil }
        var json = group(found.name, found.versions)
        json["kind"] = "APIGroup"
        json["apiVersion"] = "v1"
        return json
    }

    private func group(_ name: String, _ versions: [String]) -> JSON {
        let all: [JSON] = versions.map { ["groupVersion": .string(name + "/" + $0), "version": .string($0)] }
        return ["name": .string(name), "versions": .array(all), "preferredVersion": all.first ?? .null]
    }

    /// `/api/v1` and `/apis/GROUP/VERSION`.
    func resources(group: String, version: String) -> JSON? {
        let found = kinds.kinds(group: group, version: version)
        guard !found.isEmpty else { return nil }
        var entries: [JSON] = []
        for kind in found {
            var entry: JSON = [
                "name": .string(kind.plural), "singularName": .string(kind.singular),
                "namespaced": .bool(kind.isNamespaced),
                "kind": .string(kind.kind), "verbs": .array(kind.verbs.map { .string($0) }),
            ]
            if !kind.shortNames.isEmpty { entry["shortNames"] = .array(kind.shortNames.map { .string($0) }) }
            if !kind.categories.isEmpty { entry["categories"] = .array(kind.categories.map { .string($0) }) }
            entries.append(entry)
            for name in kind.subresources {
                var entry: JSON = [
                    "name": .string(kind.plural + "/" + name), "singularName": "",
                    "namespaced": .bool(kind.isNamespaced),
                    "kind": .string(Self.foreign(name, of: kind)?.kind ?? kind.kind), "verbs": verbs(of: name),
                ]
                if let foreign = Self.foreign(name, of: kind), !foreign.group.isEmpty {
                    entry["group"] = .string(foreign.group)
                    entry["version"] = .string(foreign.version)
                }
                entries.append(entry)
            }
        }
        return [
            "kind": "APIResourceList", "apiVersion": "v1",
            "groupVersion": .string(group.isEmpty ? version : group + "/" + version), "resources": .array(entries),
        ]
    }
}
