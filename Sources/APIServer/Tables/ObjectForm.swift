import KubernetesAPI
import Serialization
import Store

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

    /// Objects as the text of a list or a table.
    ///
    /// - Parameter shown: an object as clients see it, but for its resource version.
    func list(
        _ objects: [StoredObject], _ kind: ResourceKind, columns: [TableColumn], version: String, metadata: JSON,
        now: Timestamp, shown: (JSON) -> JSON
    ) -> [UInt8] {
        var writer = JSONListWriter()
        // Lists are long, and their objects alike: memory for them is taken once.
        func reserve(_ done: Int) {
            guard done == Self.sample, objects.count > done else { return }
            writer.reserve(writer.count / done * objects.count / 16 * 17)
        }
        func head(_ kind: String, _ rows: StaticString) {
            writer.text("\"kind\":")
            writer.value(.string(kind))
            writer.text(",\"metadata\":")
            writer.value(metadata)
            writer.text(rows)
        }
        func apiVersion(_ text: String) {
            writer.text("\"apiVersion\":")
            writer.value(.string(text))
            writer.text(",")
        }
        writer.text("{")
        switch self {
        case .full, .metadata:
            let isFull = self == .full
            apiVersion(isFull ? kind.apiVersion(version) : "meta.k8s.io/v1")
            writer.text("\"items\":[")
            for (index, stored) in objects.enumerated() {
                if index > 0 { writer.text(",") }
                reserve(index)
                let revision = JSON.string(String(stored.revision))
                if isFull {
                    writer.value(shown(stored.object), setting: "resourceVersion", of: "metadata", to: revision)
                } else {
                    Self.partial(stored.object, revision, &writer)
                }
            }
            writer.text("],")
            head(isFull ? kind.kind + "List" : "PartialObjectMetadataList", "}")
        case .table(let tableVersion, let include):
            apiVersion("meta.k8s.io/" + tableVersion)
            writer.text("\"columnDefinitions\":")
            writer.value(.array(columns.map(\.definition)))
            writer.text(",")
            head("Table", ",\"rows\":[")
            for (index, stored) in objects.enumerated() {
                if index > 0 { writer.text(",") }
                reserve(index)
                let revision = JSON.string(String(stored.revision))
                let object = shown(stored.object)
                let view = KubernetesObject(json: object)
                writer.text("{\"cells\":[")
                for (number, column) in columns.enumerated() {
                    if number > 0 { writer.text(",") }
                    writer.value(column.cell(view, now))
                }
                writer.text("]")
                switch include {
                case "Object":
                    writer.text(",\"object\":")
                    writer.value(object, setting: "resourceVersion", of: "metadata", to: revision)
                case "Metadata":
                    writer.text(",\"object\":")
                    Self.partial(object, revision, &writer)
                default: break
                }
                writer.text("}")
            }
            writer.text("]}")
        }
        writer.text("\n")
        return writer.finish()
    }

    /// After so many objects it is known about how long a list is.
    private static let sample = 64

    /// The metadata of an object with its resource version.
    private static func partial(_ object: JSON, _ revision: JSON, _ writer: inout JSONListWriter) {
        writer.text("{\"apiVersion\":\"meta.k8s.io/v1\",\"kind\":\"PartialObjectMetadata\",\"metadata\":")
        writer.value(object["metadata"] ?? .object([:]), setting: "resourceVersion", to: revision)
        writer.text("}")
    }

    /// One object.
    func one(_ object: JSON, columns: [TableColumn], now: Timestamp, withColumns: Bool = true) -> JSON {
        switch self {
        case .full: return object
        case .metadata: return Self.partial(object)
        case .table:
            let version = object["metadata"]?["resourceVersion"] ?? ""
            return table([object], columns, metadata: ["resourceVersion": version], now: now, withColumns: withColumns)
        }
    }

    /// Objects that were made for one answer, and have no resource versions.
    func many(_ objects: [JSON], _ kind: ResourceKind, columns: [TableColumn], now: Timestamp) -> JSON {
        switch self {
        case .full:
            [
                "kind": .string(kind.kind + "List"), "apiVersion": .string(kind.apiVersion), "metadata": [:],
                "items": .array(objects),
            ]
        case .metadata:
            [
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": [:],
                "items": .array(objects.map(Self.partial)),
            ]
        case .table: table(objects, columns, metadata: [:], now: now, withColumns: true)
        }
    }

    private func table(
        _ objects: [JSON], _ columns: [TableColumn], metadata: JSON, now: Timestamp, withColumns: Bool
    ) -> JSON {
        guard case .table(let version, let include) = self else { return .null }
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
