/// One thing that is wrong with a field, as Kubernetes says it.
public struct FieldProblem: Error, Sendable, Hashable, CustomStringConvertible {
    /// The cause's machine-readable reason.
    public enum Reason: String, Sendable, Hashable {
        /// The value is not allowed.
        case invalid = "FieldValueInvalid"
        /// The value is missing.
        case required = "FieldValueRequired"
        /// The value is none of a list.
        case notSupported = "FieldValueNotSupported"
        /// The value is there twice.
        case duplicate = "FieldValueDuplicate"
        /// The field must not be set, or not be changed.
        case forbidden = "FieldValueForbidden"
        /// The value has too many bytes.
        case tooLong = "FieldValueTooLong"
        /// The value refers to something that is not there.
        case notFound = "FieldValueNotFound"
    }

    /// The field: `spec.ports[0].port`.
    public var path: String
    /// What kind of problem it is.
    public var reason: Reason
    /// The problem without the path.
    public var message: String
    /// The whole line.
    public var description: String { path.isEmpty ? message : "\(path): \(message)" }

    private init(_ path: String, _ reason: Reason, _ message: String) {
        self.path = path
        self.reason = reason
        self.message = message
    }

    static func make(_ path: String, _ reason: Reason, _ message: String) -> FieldProblem {
        FieldProblem(path, reason, message)
    }

    /// The same with the code under which the mesh's documentation has it.
    public func coded(_ code: String) -> FieldProblem { FieldProblem(path, reason, "\(message) [\(code)]") }

    /// The value, shown as it is, breaks a rule.
    public static func invalid(_ path: String, _ value: String, _ rule: String) -> FieldProblem {
        FieldProblem(path, .invalid, "Invalid value: \(value): \(rule)")
    }
    /// The text breaks a rule.
    public static func invalid(_ path: String, text: String, _ rule: String) -> FieldProblem {
        FieldProblem(path, .invalid, "Invalid value: \"\(text)\": \(rule)")
    }
    /// The field must be there.
    public static func required(_ path: String, _ why: String = "") -> FieldProblem {
        FieldProblem(path, .required, why.isEmpty ? "Required value" : "Required value: \(why)")
    }
    /// The text is none of `allowed`.
    public static func notSupported(_ path: String, _ value: String, _ allowed: [String]) -> FieldProblem {
        let list = allowed.map { "\"\($0)\"" }.joined(separator: ", ")
        return FieldProblem(path, .notSupported, "Unsupported value: \"\(value)\": supported values: \(list)")
    }
    /// The text is there twice.
    public static func duplicate(_ path: String, _ value: String) -> FieldProblem {
        FieldProblem(path, .duplicate, "Duplicate value: \(value)")
    }
    /// The value has more bytes than `most`.
    public static func tooLong(_ path: String, _ most: Int) -> FieldProblem {
        FieldProblem(path, .tooLong, "Too long: may not be more than \(most) bytes")
    }
    /// The field must not be set or changed.
    public static func forbidden(_ path: String, _ why: String) -> FieldProblem {
        FieldProblem(path, .forbidden, "Forbidden: \(why)")
    }
}
