/// The kinds of the API, found by what clients call them.
public struct ResourceKinds: Sendable {
    /// The kinds in the order of discovery.
    public let all: [ResourceKind]
    private let byPath: [String: ResourceKind]
    private let byKind: [String: ResourceKind]
    private let byStore: [String: ResourceKind]

    /// Everything we serve.
    public static let standard = ResourceKinds(ResourceKind.standard)

    /// An index of `kinds`.
    ///
    /// As with a real Kubernetes, where groups of CustomResourceDefinitions come last and by their names: that decides whose
    /// `gateways` a plain `kubectl get gateway` means (the Gateway API's; Istio's are `gw`).
    public init(_ kinds: [ResourceKind]) {
        let custom = Set(kinds.map(\.group).filter { $0.hasSuffix(".istio.io") || $0 == "gateway.networking.k8s.io" })
        all =
            kinds.filter { !custom.contains($0.group) }
            + custom.sorted().flatMap { group in kinds.filter { $0.group == group } }
        var byPath: [String: ResourceKind] = [:]
        var byKind: [String: ResourceKind] = [:]
        var byStore: [String: ResourceKind] = [:]
        for kind in kinds {
            if kind.viewOf == nil { byStore[kind.storeResource] = kind }
            for version in kind.versions {
                byPath[kind.apiVersion(version) + "/" + kind.plural] = kind
                byKind[kind.apiVersion(version) + "/" + kind.kind] = kind
            }
        }
        self.byPath = byPath
        self.byKind = byKind
        self.byStore = byStore
    }

    /// The kind served at `plural` under `group/version`.
    public func kind(apiVersion: String, plural: String) -> ResourceKind? { byPath[apiVersion + "/" + plural] }
    /// The kind that an object names itself.
    public func kind(apiVersion: String, kind: String) -> ResourceKind? { byKind[apiVersion + "/" + kind] }
    /// The kind of a place in the store.
    public func kind(storeResource: String) -> ResourceKind? { byStore[storeResource] }

    /// The groups in their order, each with its versions, preferred first; the core group has an empty name.
    public var groups: [(name: String, versions: [String])] {
        var result: [(name: String, versions: [String])] = []
        for kind in all {
            if let index = result.firstIndex(where: { $0.name == kind.group }) {
                let known = result[index].versions
                result[index].versions += kind.versions.filter { !known.contains($0) }
            } else {
                result.append((kind.group, kind.versions))
            }
        }
        return result
    }

    /// The kinds of one group version.
    public func kinds(group: String, version: String) -> [ResourceKind] {
        all.filter { $0.group == group && $0.versions.contains(version) }
    }
}
