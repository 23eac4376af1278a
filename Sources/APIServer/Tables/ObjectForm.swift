import KubernetesAPI
import Serialization

/// The form in which a client wants objects: content negotiation.
enum ObjectForm: Hashable {
    /// As they are.
    case full
    /// As rows of a table; each row carries the object as `includeObject` says.
    case table(version: String, includeObject: String)
    /// Only their metadata.
    case metadata

    /// What the `Accept` header asks for first, of what we can do.
    init(accept: String, includeObject: String?) throws(StatusError) {
        if accept.isEmpty {
            self = .full
            return
        }
        for range in accept.split(separator: ",") {
            let parts = range.split(separator: ";").map { $0.filter { $0 != " " } }
            guard let type = parts.first, ["application/json", "application/*", "*/*"].contains(type) else { continue }
            let parameters = Dictionary(
                parts.dropFirst().compactMap { part -> (String, String)? in
                    let pair = part.split(separator: "=", maxSplits: 1)
                    return pair.count == 2 ? (String(pair[0]), String(pair[1])) : nil
                }, uniquingKeysWith: { first, _ in first })
            switch parameters["as"] {
            case nil:
                self = .full
                return
            case "Table":
                let include = includeObject ?? "Metadata"
                guard ["None", "Metadata", "Object"].contains(include) else {
                    throw .badRequest("Invalid value: \"\(include)\": must be one of Object, Metadata or None")
                }
                self = .table(version: parameters["v"] ?? "v1", includeObject: include)
                return
            case "PartialObjectMetadata", "PartialObjectMetadataList":
                self = .metadata
                return
            default: continue
            }
        }
        throw StatusError(
            code: 406, reason: "NotAcceptable",
            message:
                "only the following media types are accepted: application/json, application/json;as=Table;v=v1;g=meta.k8s.io"
        )
    }

    /// Objects as a list or a table.
    func list(_ objects: [JSON], _ kind: ResourceKind, version: String, metadata: JSON, now: Timestamp) -> JSON {
        switch self {
        case .full:
            return [
                "kind": .string(kind.kind + "List"), "apiVersion": .string(kind.apiVersion(version)),
                "metadata": metadata,
                "items": .array(objects),
            ]
        case .metadata:
            return [
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
                "items": .array(objects.map(Self.partial)),
            ]
        case .table: return table(objects, kind, metadata: metadata, now: now, withColumns: true)
        }
    }

    /// One object.
    func one(_ object: JSON, _ kind: ResourceKind, now: Timestamp, withColumns: Bool = true) -> JSON {
        switch self {
        case .full: return object
        case .metadata: return Self.partial(object)
        case .table:
            let version = object["metadata"]?["resourceVersion"] ?? ""
            return table([object], kind, metadata: ["resourceVersion": version], now: now, withColumns: withColumns)
        }
    }

    private func table(
        _ objects: [JSON], _ kind: ResourceKind, metadata: JSON, now: Timestamp, withColumns: Bool
    ) -> JSON {
        guard case .table(let version, let include) = self else { return .null }
        let columns = TableColumn.columns(of: kind)
        let rows: [JSON] = objects.map { object in
            let view = KubernetesObject(json: object)
            var row: JSON = ["cells": .array(columns.map { $0.cell(view, now) })]
            switch include {
            case "Object": row["object"] = object
            case "Metadata": row["object"] = Self.partial(object)
            default: break
            }
            return row
        }
        return [
            "kind": "Table", "apiVersion": .string("meta.k8s.io/" + version), "metadata": metadata,
            "columnDefinitions": withColumns ? .array(columns.map(\.definition)) : .null, "rows": .array(rows),
        ]
    }

    private static func partial(_ object: JSON) -> JSON {
        [
            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
            "metadata": object["metadata"] ?? .object([:]),
        ]
    }
}
