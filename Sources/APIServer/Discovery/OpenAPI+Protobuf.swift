import Serialization

/// `/openapi/v2` as a protobuf message, the only form in which kubectl up to 1.28 takes it.
///
/// Source of the numbers: gnostic's `openapi.v2` (OpenAPIv2.proto). Told is what clients read: the definitions with what
/// validation and `explain` need, and the operations with their kind and query parameters.
enum OpenAPIMessage {
    /// The message of a document of version 2.
    static func document(_ json: JSON) -> [UInt8] {
        text(1, json["swagger"]) + message(2, text(1, json["info"]?["title"]) + text(2, json["info"]?["version"]))
            + message(8, sorted(json["paths"]).flatMap { message(2, text(1, $0.key) + message(2, item($0.value))) })
            + message(9, schemas(json["definitions"]))
    }

    private static let operations = [("get", 2), ("put", 3), ("post", 4), ("delete", 5), ("patch", 8)]

    private static func item(_ json: JSON) -> [UInt8] {
        operations.flatMap { name, number in json[name].map { message(number, operation($0)) } ?? [] }
    }

    private static func operation(_ json: JSON) -> [UInt8] {
        var bytes: [UInt8] = []
        for parameter in json["parameters"]?.array ?? [] where parameter["in"] == "query" {
            // Parameters item, parameter, not of the body, of the query.
            let query = text(2, "query") + text(4, parameter["name"]) + text(6, "string")
            bytes += message(8, message(1, message(2, message(3, query))))
        }
        for (code, response) in sorted(json["responses"]) {
            var value = text(1, response["description"])
            if let schema = response["schema"] { value += message(2, message(1, self.schema(schema))) }
            bytes += message(9, message(1, text(1, code) + message(2, message(1, value))))
        }
        return bytes + extensions(13, json)
    }

    private static func schemas(_ json: JSON?) -> [UInt8] {
        sorted(json).flatMap { message(1, text(1, $0.key) + message(2, schema($0.value))) }
    }

    private static func schema(_ json: JSON) -> [UInt8] {
        var bytes = text(1, json["$ref"]) + text(2, json["format"]) + text(4, json["description"])
        if let value = json["default"] { bytes += message(5, any(value)) }
        for name in json["required"]?.array ?? [] { bytes += text(19, name) }
        for value in json["enum"]?.array ?? [] { bytes += message(20, any(value)) }
        switch json["additionalProperties"] {
        case .bool(let isAllowed)?: bytes += message(21, [0x10, isAllowed ? 1 : 0])
        case let element?: bytes += message(21, message(1, schema(element)))
        case nil: break
        }
        // Without a type anything goes; with `object`, clients take a list or a number for a mistake.
        let isAnything =
            json["x-kubernetes-preserve-unknown-fields"] == true && json["properties"] == nil
            && json["additionalProperties"] == nil
        if !isAnything, json["type"] != nil { bytes += message(22, text(1, json["type"])) }
        if let element = json["items"] { bytes += message(23, message(1, schema(element))) }
        for part in json["allOf"]?.array ?? [] { bytes += message(24, schema(part)) }
        if json["properties"] != nil { bytes += message(25, schemas(json["properties"])) }
        return bytes + extensions(31, json)
    }

    private static func extensions(_ number: Int, _ json: JSON) -> [UInt8] {
        sorted(json).filter { $0.key.hasPrefix("x-") }
            .flatMap { message(number, text(1, $0.key) + message(2, any($0.value))) }
    }

    /// A value as YAML, of which JSON is a part.
    private static func any(_ value: JSON) -> [UInt8] { text(2, value.text) }

    private static func sorted(_ json: JSON?) -> [(key: String, value: JSON)] {
        (json?.object ?? [:]).sorted { $0.key < $1.key }
    }

    private static func text(_ number: Int, _ value: JSON?) -> [UInt8] {
        value?.string.map { text(number, $0) } ?? []
    }

    private static func text(_ number: Int, _ value: String) -> [UInt8] { message(number, Array(value.utf8)) }

    private static func message(_ number: Int, _ body: [UInt8]) -> [UInt8] {
        varint(number << 3 | 2) + varint(body.count) + body
    }

    private static func varint(_ value: Int) -> [UInt8] {
        var (rest, bytes) = (UInt(bitPattern: value), [UInt8]())
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        return bytes + [UInt8(truncatingIfNeeded: rest)]
    }
}
