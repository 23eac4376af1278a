import KubernetesAPI
import Serialization

/// Bodies in Kubernetes' protobuf form, which kubectl 1.32 and later send for typed creates.
///
/// The envelope is `k8s\0` and a message `Unknown` {1: TypeMeta {1: apiVersion, 2: kind}, 2: raw}; raw is the object in the
/// field numbers of its API. A type or field that is not in our table is an error: nothing is dropped silently.
enum ProtobufBody {
    private static let magic: [UInt8] = [0x6b, 0x38, 0x73, 0x00]
    private static let depthMax = 32

    static func object(_ bytes: [UInt8]) throws(StatusError) -> JSON {
        guard bytes.starts(with: magic) else { throw .badRequest("the protobuf body does not begin with k8s\\0") }
        var apiVersion = ""
        var kind = ""
        var raw: ArraySlice<UInt8> = []
        for field in try fields(bytes[magic.count...]) {
            switch field.number {
            case 1:
                for inner in try fields(field.bytes) {
                    if inner.number == 1 { apiVersion = try text(inner.bytes) }
                    if inner.number == 2 { kind = try text(inner.bytes) }
                }
            case 2: raw = field.bytes
            default: break
            }
        }
        var object = JSON.object([:])
        if kind == "TokenRequest" {
            object["spec"] = try tokenRequest(raw)
        } else if kind == "Eviction" {
            for field in try fields(raw) {
                switch field.number {
                case 1: object["metadata"] = try message(field.bytes, "ObjectMeta", "ObjectMeta", depth: 0)
                case 2: object["deleteOptions"] = try deleteOptions(field.bytes)
                default: break
                }
            }
        } else if kind != "DeleteOptions" {
            let known = ResourceKinds.standard.kind(apiVersion: apiVersion, kind: kind)
            let version = apiVersion.split(separator: "/").last.map(String.init) ?? ""
            // A view has its own fields, and so its own numbers.
            let schema = known.map { ObjectView($0, version: version)?.schema ?? $0.schema }
            guard let schema = schema ?? (kind == "Scale" ? kind : nil),
                ProtobufNumbers.byType[schema] != nil
            else {
                throw .unsupportedMediaType(
                    "\(kind) of \(apiVersion) is not read from protobuf: send JSON (kubectl apply -f does)")
            }
            object = try message(raw, schema, schema, depth: 0)
        } else if !raw.isEmpty {
            object = try deleteOptions(raw)
        }
        object["apiVersion"] = .string(apiVersion)
        object["kind"] = .string(kind)
        return object
    }

    /// The `spec` of a TokenRequest; its metadata and status are nobody's to set.
    private static func tokenRequest(_ raw: ArraySlice<UInt8>) throws(StatusError) -> JSON {
        var spec = JSON.object([:])
        for part in try fields(raw) where part.number == 2 {
            for field in try fields(part.bytes) {
                switch field.number {
                case 1: spec["audiences"] = .array((spec["audiences"]?.array ?? []) + [.string(try text(field.bytes))])
                case 3:
                    var bound = JSON.object([:])
                    for inner in try fields(field.bytes) {
                        guard let name = [1: "kind", 2: "apiVersion", 3: "name", 4: "uid"][inner.number] else {
                            continue
                        }
                        bound[name] = .string(try text(inner.bytes))
                    }
                    spec["boundObjectRef"] = bound
                case 4: spec["expirationSeconds"] = .integer(Int64(bitPattern: field.varint))
                default: break
                }
            }
        }
        return spec
    }

    private static func deleteOptions(_ raw: ArraySlice<UInt8>) throws(StatusError) -> JSON {
        var options = JSON.object([:])
        for field in try fields(raw) {
            switch field.number {
            case 1: options["gracePeriodSeconds"] = .integer(Int64(bitPattern: field.varint))
            case 2:
                var preconditions = JSON.object([:])
                for inner in try fields(field.bytes) {
                    preconditions[inner.number == 1 ? "uid" : "resourceVersion"] = .string(try text(inner.bytes))
                }
                options["preconditions"] = preconditions
            case 3: options["orphanDependents"] = .bool(field.varint != 0)
            case 4: options["propagationPolicy"] = .string(try text(field.bytes))
            case 5: options["dryRun"] = [.string(try text(field.bytes))]
            default: break
            }
        }
        return options
    }

    private struct Field {
        var number: Int
        var varint: UInt64 = 0
        var bytes: ArraySlice<UInt8> = []
    }

    /// The fields of a message in their order.
    private static func fields(_ bytes: ArraySlice<UInt8>) throws(StatusError) -> [Field] {
        var result: [Field] = []
        var rest = bytes
        func broken() -> StatusError { .badRequest("the protobuf body is broken") }
        func varint() throws(StatusError) -> UInt64 {
            var value: UInt64 = 0
            for shift in stride(from: UInt64(0), to: 70, by: 7) {
                guard let byte = rest.popFirst() else { throw broken() }
                value |= UInt64(byte & 0x7f) << shift
                if byte < 0x80 { return value }
            }
            throw broken()
        }
        while !rest.isEmpty {
            let tag = try varint()
            guard let number = Int(exactly: tag >> 3), number > 0 else { throw broken() }
            var field = Field(number: number)
            switch tag & 7 {
            case 0: field.varint = try varint()
            case 1, 5:
                let count = tag & 7 == 1 ? 8 : 4
                guard rest.count >= count else { throw broken() }
                rest = rest.dropFirst(count)
            case 2:
                guard let count = Int(exactly: try varint()), rest.count >= count else { throw broken() }
                field.bytes = rest.prefix(count)
                rest = rest.dropFirst(count)
            default: throw broken()
            }
            result.append(field)
        }
        return result
    }

    private static func text(_ bytes: ArraySlice<UInt8>) throws(StatusError) -> String {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw .badRequest("a text of the protobuf body is no UTF-8")
        }
        return text
    }

    /// A message of `type`, whose numbers are listed under `numbers`.
    private static func message(
        _ bytes: ArraySlice<UInt8>, _ type: String, _ numbers: String, depth: Int
    ) throws(StatusError) -> JSON {
        guard depth < depthMax else { throw .badRequest("the protobuf body is nested too deep") }
        let schema = SchemaTable.standard.types[type]
        var members: [String: JSON] = [:]
        for field in try fields(bytes) {
            guard let known = ProtobufNumbers.byType[numbers]?[field.number] else {
                throw .unsupportedMediaType(
                    "field \(field.number) of \(type) is not read from protobuf: send JSON (kubectl apply -f does)")
            }
            let name = known.name
            // Written by the system, never by the creator.
            if name == "status" || name == "managedFields" { continue }
            if name == "*" {
                let inner = try message(field.bytes, type, numbers + "*", depth: depth + 1)
                members.merge(inner.object ?? [:]) { _, new in new }
                continue
            }
            let fieldType = name == "metadata" ? .reference("ObjectMeta") : known.type ?? schema?[name]?.type ?? .any
            switch fieldType {
            case .array(let element):
                if let value = try value(field, element, name, depth: depth) {
                    members[name] = .array((members[name]?.array ?? []) + [value])
                }
            case .map(let element):
                var key = ""
                var entry = JSON.string("")
                for part in try fields(field.bytes) {
                    if part.number == 1 { key = try text(part.bytes) }
                    if part.number == 2 { entry = try value(part, element, name, depth: depth) ?? .string("") }
                }
                var map = members[name] ?? .object([:])
                map[key] = entry
                members[name] = map
            default:
                guard let value = try value(field, fieldType, name, depth: depth) else { continue }
                // proto2 writes absent texts and numbers as "" and 0.
                let isZero = value == .string("") || value == .integer(0) || value == .bool(false)
                if !isZero || known.hasMeaningfulZero { members[name] = value }
            }
        }
        return .object(members)
    }

    private static func value(
        _ field: Field, _ type: FieldType, _ name: String, depth: Int
    ) throws(StatusError) -> JSON? {
        switch type {
        case .string, .duration: return .string(try text(field.bytes))
        case .bytes: return .string(Base64.encode(field.bytes))
        case .bool: return .bool(field.varint != 0)
        case .integer: return .integer(Int64(bitPattern: field.varint))
        case .quantity:
            return .string(
                try fields(field.bytes).first { $0.number == 1 }.map { part throws(StatusError) in try text(part.bytes)
                } ?? "0")
        case .intOrString:
            let parts = try fields(field.bytes)
            if parts.first(where: { $0.number == 1 })?.varint == 1 {
                return .string(try text(parts.first { $0.number == 3 }?.bytes ?? []))
            }
            return .integer(Int64(bitPattern: parts.first { $0.number == 2 }?.varint ?? 0))
        case .time:
            let parts = try fields(field.bytes)
            guard let seconds = parts.first(where: { $0.number == 1 })?.varint else { return nil }
            // Only texts with microseconds have any.
            let nanoseconds = Int32(truncatingIfNeeded: parts.first { $0.number == 2 }?.varint ?? 0)
            let time = Timestamp(seconds: Int64(bitPattern: seconds), nanoseconds: max(0, nanoseconds))
            return .string(nanoseconds > 0 ? time.microsecondsText : time.secondsText)
        case .reference(let inner):
            guard ProtobufNumbers.byType[inner] != nil else {
                throw .unsupportedMediaType("\(name) is not read from protobuf: send JSON (kubectl apply -f does)")
            }
            return try message(field.bytes, inner, inner, depth: depth + 1)
        case .any, .number, .array, .map:
            throw .unsupportedMediaType("\(name) is not read from protobuf: send JSON (kubectl apply -f does)")
        }
    }
}
