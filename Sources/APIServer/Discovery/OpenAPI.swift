import KubernetesAPI
import Serialization

/// OpenAPI documents made from the schema table.
///
/// With them kubectl leaves validation to the server (`fieldValidation` on the patch operation), finds merge keys, and
/// explains fields.
struct OpenAPI {
    let kinds: ResourceKinds
    var definitions: [String: CustomDefinition] = [:]
    let table = SchemaTable.standard

    /// `/openapi/v3`.
    var index: JSON {
        var paths: JSON = [:]
        for group in kinds.groups {
            for version in group.versions {
                let path = Self.path(group.name, version)
                // The schema changes with the program only; a client may keep the document as long as this text stays.
                paths[path] = ["serverRelativeURL": .string("/openapi/v3/\(path)?hash=\(hash(group.name, version))")]
            }
        }
        return ["paths": paths]
    }

    private static func path(_ group: String, _ version: String) -> String {
        group.isEmpty ? "api/" + version : "apis/" + group + "/" + version
    }

    /// FNV-1a of the document.
    private func hash(_ group: String, _ version: String) -> String {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in document(group: group, version: version)?.bytes ?? [] {
            hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3
        }
        return String(hash, radix: 16, uppercase: true)
    }

    /// `/openapi/v3/apis/GROUP/VERSION`.
    func document(group: String, version: String) -> JSON? {
        let found = kinds.kinds(group: group, version: version)
        guard !found.isEmpty else { return nil }
        var schemas: [String: JSON] = [:]
        var paths: JSON = [:]
        for kind in found {
            add(kind, version, to: &schemas)
            let base =
                "/" + Self.path(group, version) + (kind.isNamespaced ? "/namespaces/{namespace}/" : "/") + kind.plural
            paths[base] = ["get": operation("list", kind, version), "post": operation("post", kind, version)]
            paths[base + "/{name}"] = [
                "get": operation("get", kind, version), "put": operation("put", kind, version),
                "patch": operation("patch", kind, version), "delete": operation("delete", kind, version),
            ]
        }
        return [
            "openapi": "3.0.0", "info": ["title": "Skein", "version": "v1.32.0"], "paths": paths,
            "components": ["schemas": .object(schemas)],
        ]
    }

    /// `/openapi/v2` as JSON: the schemas of all versions as Swagger definitions.
    var version2Document: JSON {
        var definitions: [String: JSON] = [:]
        var paths: JSON = [:]
        for group in kinds.groups {
            for version in group.versions {
                for kind in kinds.kinds(group: group.name, version: version) { add(kind, version, to: &definitions) }
                for (path, item) in document(group: group.name, version: version)?["paths"]?.object ?? [:] {
                    paths[path] = Self.swagger(item)
                }
            }
        }
        return [
            "swagger": "2.0", "info": ["title": "Skein", "version": "v1.32.0"], "paths": paths,
            "definitions": .object(definitions.mapValues(Self.swagger)),
        ]
    }

    /// The same with references and contents as version 2 writes them.
    private static func swagger(_ json: JSON) -> JSON {
        switch json {
        case .object(var members):
            if case .string(let reference)? = members["$ref"] {
                members["$ref"] = .string("#/definitions/" + (reference.split(separator: "/").last ?? ""))
            }
            // Version 2 knows no wrapping of references.
            if let parts = members["allOf"]?.array, parts.count == 1, let reference = parts[0]["$ref"]?.string {
                members["allOf"] = nil
                members["$ref"] = .string("#/definitions/" + (reference.split(separator: "/").last ?? ""))
            }
            if members["oneOf"] != nil, members["format"] == "int-or-string" {
                members["oneOf"] = nil
                members["type"] = "string"
            } else if members["oneOf"] != nil, members["type"] == nil {
                members["oneOf"] = nil
                members["type"] = "string"
            }
            if let content = members["content"]?["application/json"] {
                members["content"] = nil
                members["schema"] = content["schema"]
            }
            if members["in"] == "query" {
                members["schema"] = nil
                members["type"] = "string"
            }
            return .object(members.mapValues(swagger))
        case .array(let elements): return .array(elements.map(swagger))
        default: return json
        }
    }

    private func identity(_ kind: ResourceKind, _ version: String) -> JSON {
        ["group": .string(kind.group), "version": .string(version), "kind": .string(kind.kind)]
    }

    private func operation(_ action: String, _ kind: ResourceKind, _ version: String) -> JSON {
        let reference: JSON = ["$ref": .string("#/components/schemas/" + name(kind, version))]
        var operation: JSON = [
            "x-kubernetes-action": .string(action), "x-kubernetes-group-version-kind": identity(kind, version),
            "responses": [
                "200": ["description": "OK", "content": ["application/json": ["schema": reference]]]
            ],
        ]
        if ["post", "put", "patch"].contains(action) {
            operation["parameters"] = .array(
                ["dryRun", "fieldManager", "fieldValidation"].map {
                    ["name": .string($0), "in": "query", "schema": ["type": "string", "uniqueItems": true]]
                })
        }
        return operation
    }

    private func name(_ kind: ResourceKind, _ version: String) -> String {
        if let view = ObjectView(kind, version: version) { return table.types[view.schema]?.fullName ?? view.schema }
        guard let full = table.types[kind.schema]?.fullName else {
            return kind.group.split(separator: ".").reversed().joined(separator: ".") + "." + version + "." + kind.kind
        }
        guard version != kind.preferredVersion else { return full }
        return full.split(separator: ".").map { $0 == kind.preferredVersion[...] ? Substring(version) : $0 }.joined(
            separator: ".")
    }

    private func add(_ kind: ResourceKind, _ version: String, to schemas: inout [String: JSON]) {
        if let definition = definitions[kind.storeResource]?.versions[version] {
            addType("ObjectMeta", to: &schemas)
            var schema = definition.schema.json
            schema["x-kubernetes-group-version-kind"] = [identity(kind, version)]
            schema["properties"]?["apiVersion"] = ["type": "string"]
            schema["properties"]?["kind"] = ["type": "string"]
            schema["properties"]?["metadata"] = [
                "$ref": .string("#/components/schemas/" + (table.types["ObjectMeta"]?.fullName ?? ""))
            ]
            schemas[name(kind, version)] = schema
            return
        }
        guard let type = table.types[ObjectView(kind, version: version)?.schema ?? kind.schema] else { return }
        var properties: [String: JSON] = [
            "apiVersion": ["type": "string", "description": "The version of this representation of the object."],
            "kind": ["type": "string", "description": "The kind of the object."],
            "metadata": ["$ref": .string("#/components/schemas/" + (table.types["ObjectMeta"]?.fullName ?? ""))],
        ]
        properties.merge(members(type, &schemas)) { own, _ in own }
        addType("ObjectMeta", to: &schemas)
        schemas[name(kind, version)] = [
            "type": "object", "description": .string("\(kind.kind) of \(kind.apiVersion(version))."),
            "properties": .object(properties), "x-kubernetes-group-version-kind": [identity(kind, version)],
        ]
    }

    private func addType(_ name: String, to schemas: inout [String: JSON]) {
        guard let type = table.types[name], schemas[type.fullName] == nil else { return }
        schemas[type.fullName] = [:]  // Ends the recursion of types that contain themselves.
        var schema: JSON = ["type": "object", "properties": .object(members(type, &schemas))]
        let required = type.fields.filter(\.isRequired)
        if !required.isEmpty { schema["required"] = .array(required.map { .string($0.name) }) }
        schemas[type.fullName] = schema
    }

    private func members(_ type: SchemaType, _ schemas: inout [String: JSON]) -> [String: JSON] {
        var properties: [String: JSON] = [:]
        for field in type.fields {
            var schema = schemaOf(field.type, &schemas)
            if let value = field.defaultValue, schema["$ref"] == nil { schema["default"] = value }
            if !field.allowed.isEmpty { schema["enum"] = .array(field.allowed.map { .string($0) }) }
            bound(&schema, field)
            var strategy: [String] = []
            if field.isMerged { strategy.append("merge") }
            if field.retainsKeys { strategy.append("retainKeys") }
            if !strategy.isEmpty {
                if let reference = schema["$ref"] { schema = ["allOf": [["$ref": reference]]] }
                schema["x-kubernetes-patch-strategy"] = .string(strategy.joined(separator: ","))
            }
            if let key = field.mergeKey { schema["x-kubernetes-patch-merge-key"] = .string(key) }
            properties[field.name] = schema
        }
        return properties
    }

    private func bound(_ schema: inout JSON, _ field: SchemaField) {
        guard field.bounds.number != nil || field.bounds.length != nil || field.bounds.count != nil else { return }
        let (list, inner): (String?, String?) =
            switch field.type {
            case .array: ("Items", "items")
            case .map: ("Properties", "additionalProperties")
            default: (nil, nil)
            }
        if let count = field.bounds.count, let list {
            if count.lowerBound > 0 { schema["min\(list)"] = .integer(Int64(count.lowerBound)) }
            if count.upperBound < .max { schema["max\(list)"] = .integer(Int64(count.upperBound)) }
        }
        var element = inner.flatMap { schema[$0] } ?? schema
        guard element["$ref"] == nil else { return }
        if let number = field.bounds.number {
            if number.lowerBound.isFinite { element["minimum"] = .number(number.lowerBound) }
            if number.upperBound.isFinite { element["maximum"] = .number(number.upperBound) }
        }
        if let length = field.bounds.length {
            if length.lowerBound > 0 { element["minLength"] = .integer(Int64(length.lowerBound)) }
            if length.upperBound < .max { element["maxLength"] = .integer(Int64(length.upperBound)) }
        }
        if let inner { schema[inner] = element } else { schema = element }
    }

    private func schemaOf(_ type: FieldType, _ schemas: inout [String: JSON]) -> JSON {
        switch type {
        case .string, .duration: return ["type": "string"]
        case .time: return ["type": "string", "format": "date-time"]
        case .bytes: return ["type": "string", "format": "byte"]
        case .integer(let name, _): return ["type": "integer", "format": .string(name)]
        case .number: return ["type": "number", "format": "double"]
        case .bool: return ["type": "boolean"]
        case .intOrString: return ["oneOf": [["type": "integer"], ["type": "string"]], "format": "int-or-string"]
        case .quantity: return ["oneOf": [["type": "string"], ["type": "number"]]]
        case .any: return ["type": "object", "x-kubernetes-preserve-unknown-fields": true]
        case .reference(let name):
            addType(name, to: &schemas)
            return ["$ref": .string("#/components/schemas/" + (table.types[name]?.fullName ?? name))]
        case .array(let element): return ["type": "array", "items": schemaOf(element, &schemas)]
        case .map(let element): return ["type": "object", "additionalProperties": schemaOf(element, &schemas)]
        }
    }
}
