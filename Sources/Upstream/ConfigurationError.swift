/// A configuration that cannot be compiled: the path of the field, and what is wrong with it.
///
/// The same text is the start-up error, the NACK and the object's status:
/// `virtual_hosts[0].routes[2].match.safe_regex.regex: missing ): (`.
public struct ConfigurationError: Error, Sendable, Hashable, CustomStringConvertible {
    /// Where, in proto field names: `virtual_hosts[0].routes[2].timeout`.
    public var path: String
    /// What is wrong, and what to do where that is known.
    public var reason: String

    /// An error at a field.
    public init(at path: String, _ reason: String) {
        self.path = path
        self.reason = reason
    }

    /// `path: reason`, or the reason alone for the whole object.
    public var description: String { path.isEmpty ? reason : "\(path): \(reason)" }

    /// The error for a field that Skein knows and does not act on.
    static func unsupported(at path: String, _ detail: String = "") -> ConfigurationError {
        ConfigurationError(at: path, "not supported yet" + (detail.isEmpty ? "" : " (\(detail))"))
    }
}

/// The path of a field while a message is compiled.
struct FieldPath: Sendable, Hashable {
    let text: String

    init(_ text: String = "") { self.text = text }

    static func / (path: FieldPath, field: String) -> FieldPath {
        FieldPath(path.text.isEmpty ? field : path.text + "." + field)
    }

    subscript(index: Int) -> FieldPath { FieldPath("\(text)[\(index)]") }

    subscript(key: String) -> FieldPath { FieldPath("\(text)[\(key)]") }

    func error(_ reason: String) -> ConfigurationError { ConfigurationError(at: text, reason) }

    func unsupported(_ detail: String = "") -> ConfigurationError {
        ConfigurationError.unsupported(at: text, detail)
    }
}
