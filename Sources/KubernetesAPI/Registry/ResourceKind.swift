/// A kind of object that the API serves.
public struct ResourceKind: Sendable, Hashable {
    /// The API group; empty for the core group.
    public var group: String
    /// The versions under which it is served, the preferred one first; all of them show one and the same object.
    public var versions: [String]
    /// `Deployment`.
    public var kind: String
    /// `deployments`.
    public var plural: String
    /// `deployment`.
    public var singular: String
    /// `deploy`.
    public var shortNames: [String]
    /// `all`.
    public var categories: [String]
    /// Whether its objects live in namespaces.
    public var isNamespaced: Bool
    /// Its sub-resources: `status`, `scale`, `log`.
    public var subresources: [String]
    /// What clients may do with it.
    public var verbs: [String]
    /// Its type in the schema table; empty for kinds that somebody has defined.
    public var schema: String
    /// The place in the store of the kind that this is another form of (`ObjectView`); nil for kinds of their own.
    public var viewOf: String?
    /// Whether somebody has defined it (CustomResourceDefinition).
    public var isCustom = false

    /// A kind; what is not told follows from its name.
    public init(
        _ group: String, _ versions: [String], _ kind: String, _ plural: String, short: [String] = [],
        categories: [String] = [], isNamespaced: Bool = true, subresources: [String] = [],
        verbs: [String] = standardVerbs,
        schema: String? = nil, viewOf: String? = nil
    ) {
        self.viewOf = viewOf
        self.group = group
        self.versions = versions
        self.kind = kind
        self.plural = plural
        singular = kind.lowercased()
        shortNames = short
        self.categories = categories
        self.isNamespaced = isNamespaced
        self.subresources = subresources
        self.verbs = verbs
        self.schema = schema ?? kind
    }

    /// What most kinds allow.
    public static let standardVerbs = [
        "create", "delete", "deletecollection", "get", "list", "patch", "update", "watch",
    ]

    /// The version that objects are stored in and that clients prefer.
    public var preferredVersion: String { versions.first ?? "v1" }
    /// `apps/v1` or `v1`.
    public var apiVersion: String { apiVersion(preferredVersion) }
    /// The API version text for one of the versions.
    ///
    /// The version of a view in another group has that group with it already.
    public func apiVersion(_ version: String) -> String {
        group.isEmpty || version.contains("/") ? version : group + "/" + version
    }
    /// `deployments.apps` or `pods`: how messages name the resource.
    public var qualifiedPlural: String { group.isEmpty ? plural : plural + "." + group }
    /// `Deployment.apps` or `Pod`: how messages name the kind.
    public var qualifiedKind: String { group.isEmpty ? kind : kind + "." + group }
    /// Where the store keeps its objects: `apps/deployments`, `core/pods`.
    public var storeResource: String { viewOf ?? (group.isEmpty ? "core" : group) + "/" + plural }
    /// Whether strategic merge patches apply: kinds defined by CRD elsewhere know JSON merge patch only.
    public var isBuiltIn: Bool { !isCustom && !group.hasSuffix("istio.io") && group != "gateway.networking.k8s.io" }
    /// Whether `metadata.generation` counts changes of its `spec`.
    public var hasGeneration: Bool {
        isCustom
            || subresources.contains("status")
                && !(group.isEmpty
                    && ["Service", "Namespace", "Node", "PersistentVolume", "PersistentVolumeClaim"].contains(kind))
    }
}
