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
        metadata.filterMetadata[Self.metadataKey] = .object([
            "kind": .string(kind), "namespace": .string(object.namespace), "name": .string(object.name),
            "field": .string(field),
        ])
        return metadata
    }
}
