import KubernetesAPI
import Serialization

/// What clients send: JSON, or a patch in one of its forms.
enum RequestBody {
    /// A patch, ready to be applied.
    enum Patch {
        case strategic(JSON)
        case merge(JSON)
        case operations(JSON)
        case apply(JSON)

        func applied(to current: JSON, _ kind: ResourceKind) throws(StatusError) -> JSON {
            do {
                switch self {
                case .strategic(let patch): return try StrategicMergePatch().apply(patch, to: current, of: kind)
                case .merge(let patch): return MergePatch.apply(patch, to: current)
                case .operations(let patch): return try JSONPatch.apply(patch, to: current)
                case .apply(let config): return config
                }
            } catch {
                let isTest = error.description.contains("testing value")
                if case .operations = self, !isTest {
                    throw .invalidPatch(error.description)
                }
                throw isTest ? .invalidPatch(error.description) : .badRequest(error.description)
            }
        }
    }

    /// The media type without parameters, in lower case.
    private static func type(_ request: APIRequest) -> String {
        let first = request.contentType.split(separator: ";").first ?? ""
        return first.filter { $0 != " " }.lowercased()
    }

    /// The object in the body.
    ///
    /// Version 1.20 of kubectl sends none of the types at all for some creates: that is JSON.
    static func json(_ request: APIRequest) throws(StatusError) -> JSON {
        var duplicates: [String] = []
        return try json(request, duplicates: &duplicates)
    }

    /// The object in the body, and which of its fields are there twice: what becomes of it, the field validation says.
    static func json(_ request: APIRequest, duplicates: inout [String]) throws(StatusError) -> JSON {
        switch type(request) {
        case "", "application/json": return try parsed(request.body, &duplicates)
        case "application/yaml": return try yaml(request.body)
        case "application/vnd.kubernetes.protobuf": return try ProtobufBody.object(request.body)
        case let other:
            throw .unsupportedMediaType(
                "the body of the request was in an unknown format - accepted media types include: application/json, "
                    + "application/yaml, application/vnd.kubernetes.protobuf (got \(other))")
        }
    }

    static func patch(
        _ request: APIRequest, _ kind: ResourceKind, duplicates: inout [String]
    ) throws(StatusError) -> Patch {
        switch type(request) {
        case "application/strategic-merge-patch+json":
            guard kind.isBuiltIn else {
                throw .unsupportedMediaType(
                    "the body of the request was in an unknown format - accepted media types include: "
                        + "application/json-patch+json, application/merge-patch+json")
            }
            return .strategic(try parsed(request.body, &duplicates))
        case "application/merge-patch+json": return .merge(try parsed(request.body, &duplicates))
        case "application/json-patch+json": return .operations(try parsed(request.body, &duplicates))
        case "application/apply-patch+yaml":
            return .apply(try yaml(request.body))
        default:
            throw .unsupportedMediaType(
                "the body of the request was in an unknown format - accepted media types include: "
                    + "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json"
            )
        }
    }

    private static func parsed(_ bytes: [UInt8], _ duplicates: inout [String]) throws(StatusError) -> JSON {
        do {
            return try JSON.parse(bytes, duplicates: &duplicates)
        } catch {
            throw .badRequest("error decoding the body: \(error)")
        }
    }

    private static func yaml(_ bytes: [UInt8]) throws(StatusError) -> JSON {
        do {
            let documents = try YAML.parse(String(decoding: bytes, as: UTF8.self))
            guard let first = documents.first, documents.count == 1 else {
                throw StatusError.badRequest("the body must be one YAML document")
            }
            return first.json
        } catch let error as StatusError {
            throw error
        } catch {
            throw .badRequest("error decoding the body: \(error)")
        }
    }
}

extension StatusError {
    /// The patch is well-formed and cannot be applied to the object.
    static func invalidPatch(_ why: String) -> StatusError {
        StatusError(
            code: 422, reason: "Invalid",
            message: "the server rejected our request due to an error in our request: \(why)")
    }
}
