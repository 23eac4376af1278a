public import KubernetesAPI
public import Serialization

/// An error as Kubernetes answers it: kubectl prints `reason` and `message`, controllers act on `reason`.
public struct StatusError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The HTTP status.
    public var code: Int
    /// `NotFound`, `Conflict`, …; empty when Kubernetes has no word for it.
    public var reason: String
    /// For people.
    public var message: String
    /// What it is about: name, group, kind, uid, causes.
    public var details: [String: JSON]

    /// An error.
    public init(code: Int, reason: String, message: String, details: [String: JSON] = [:]) {
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
    }

    /// The message.
    public var description: String { message }

    /// The `Status` object.
    public var json: JSON {
        var status: JSON = [
            "kind": "Status", "apiVersion": "v1", "metadata": [:], "status": "Failure", "message": .string(message),
            "code": .integer(Int64(code)),
        ]
        if !reason.isEmpty { status["reason"] = .string(reason) }
        if !details.isEmpty { status["details"] = .object(details) }
        return status
    }

    private static func about(_ kind: ResourceKind, _ name: String) -> [String: JSON] {
        var details: [String: JSON] = ["name": .string(name), "kind": .string(kind.plural)]
        if !kind.group.isEmpty { details["group"] = .string(kind.group) }
        return details
    }

    /// No such object.
    public static func notFound(_ kind: ResourceKind, _ name: String) -> StatusError {
        StatusError(
            code: 404, reason: "NotFound", message: "\(kind.qualifiedPlural) \"\(name)\" not found",
            details: about(kind, name))
    }

    /// No such path.
    public static let noSuchPath = StatusError(
        code: 404, reason: "NotFound", message: "the server could not find the requested resource", details: [:])

    /// An object of that name is there.
    public static func alreadyExists(_ kind: ResourceKind, _ name: String) -> StatusError {
        StatusError(
            code: 409, reason: "AlreadyExists", message: "\(kind.qualifiedPlural) \"\(name)\" already exists",
            details: about(kind, name))
    }

    /// Somebody else was faster.
    public static func conflict(
        _ kind: ResourceKind, _ name: String,
        _ why: String = "the object has been modified; please apply your changes to the latest version and try again"
    ) -> StatusError {
        StatusError(
            code: 409, reason: "Conflict",
            message: "Operation cannot be fulfilled on \(kind.qualifiedPlural) \"\(name)\": \(why)",
            details: about(kind, name))
    }

    /// The object breaks rules.
    public static func invalid(_ kind: ResourceKind, _ name: String, _ problems: [FieldProblem]) -> StatusError {
        let text =
            problems.count == 1
            ? problems.first?.description ?? "" : "[" + problems.map(\.description).joined(separator: ", ") + "]"
        var details = about(kind, name)
        details["kind"] = .string(kind.kind)
        details["causes"] = .array(
            problems.map {
                ["reason": .string($0.reason.rawValue), "message": .string($0.message), "field": .string($0.path)]
            })
        return StatusError(
            code: 422, reason: "Invalid", message: "\(kind.qualifiedKind) \"\(name)\" is invalid: \(text)",
            details: details)
    }

    /// The options of a request break rules.
    static func invalidOptions(_ kind: String, _ problems: [FieldProblem]) -> StatusError {
        .invalid(ResourceKind("meta.k8s.io", ["v1"], kind, ""), "", problems)
    }

    /// The request cannot be understood.
    public static func badRequest(_ message: String) -> StatusError {
        StatusError(code: 400, reason: "BadRequest", message: message)
    }

    /// The caller may not do that.
    public static func forbidden(_ kind: ResourceKind, _ name: String, _ why: String) -> StatusError {
        let shown = name.isEmpty ? kind.qualifiedPlural : "\(kind.qualifiedPlural) \"\(name)\""
        return StatusError(
            code: 403, reason: "Forbidden", message: "\(shown) is forbidden: \(why)", details: about(kind, name))
    }

    /// Nobody knows who calls.
    public static let unauthorized = StatusError(code: 401, reason: "Unauthorized", message: "Unauthorized")

    /// The method is not allowed here.
    public static func methodNotAllowed(
        _ message: String = "the server does not allow this method on the requested resource"
    ) -> StatusError {
        StatusError(code: 405, reason: "MethodNotAllowed", message: message)
    }

    /// The body is of a kind we do not read.
    public static func unsupportedMediaType(_ message: String) -> StatusError {
        StatusError(code: 415, reason: "UnsupportedMediaType", message: message)
    }

    /// The changes since that revision are forgotten: list anew.
    public static func expired(_ message: String) -> StatusError {
        StatusError(code: 410, reason: "Expired", message: message)
    }

    /// Too much at once: try again.
    static func tooManyRequests(_ message: String) -> StatusError {
        StatusError(code: 429, reason: "TooManyRequests", message: message, details: ["retryAfterSeconds": 1])
    }

    /// Something of ours failed.
    public static func internalError(_ message: String) -> StatusError {
        StatusError(code: 500, reason: "InternalError", message: "Internal error occurred: \(message)")
    }
}
