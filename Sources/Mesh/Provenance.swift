public import EnvoyAPI
import Serialization

/// Where a piece of configuration came from: an object and the field in it (decision 4).
///
/// Never a revision, so that a change elsewhere in the object does not change the output.
public struct Provenance: Sendable, Hashable {
    /// The key in `filter_metadata`.
    public static let metadataKey = "skein.provenance"

    /// The kind of the object.
    public var kind: String
    /// Namespace and name.
    public var object: NamespacedName
    /// The path of the field: `spec.http[0].route[1]`.
    public var field: String

    /// Names a place.
    public init(kind: String, object: NamespacedName, field: String) {
        self.kind = kind
        self.object = object
        self.field = field
    }

    /// A service, or a field of it.
    static func service(_ key: NamespacedName, _ field: String = "spec") -> Provenance {
        Provenance(kind: "Service", object: key, field: field)
    }

    /// The place that metadata tells; `nil` when it tells none.
    public init?(metadata: Metadata) {
        guard let json = metadata.filterMetadata[Self.metadataKey], let kind = json["kind"]?.string else { return nil }
        self.kind = kind
        object = NamespacedName(
            namespace: json["namespace"]?.string ?? "", name: json["name"]?.string ?? "")
        field = json["field"]?.string ?? ""
    }

    /// The place as Envoy metadata.
    public var metadata: Metadata {
        var metadata = Metadata()
        metadata.filterMetadata[Self.metadataKey] = json
        return metadata
    }

    // MARK: Patches

    /// The key in `filter_metadata` under which a listener or cluster names the EnvoyFilters that have changed it.
    public static let patchesKey = "skein.patches"

    /// The patches of EnvoyFilters that have changed a resource, in their order.
    public static func patches(in metadata: Metadata?) -> [Provenance] {
        (metadata?.filterMetadata[patchesKey]?["places"]?.array ?? []).compactMap { Provenance(json: $0) }
    }

    /// Adds it to the patches that a resource's metadata names.
    func note(in metadata: inout Metadata?) {
        var places = metadata?.filterMetadata[Self.patchesKey]?["places"]?.array ?? []
        guard !places.contains(json) else { return }
        places.append(json)
        var all = metadata ?? Metadata()
        all.filterMetadata[Self.patchesKey] = ["places": .array(places)]
        metadata = all
    }
}
