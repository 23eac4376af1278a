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
///
/// A chain of steps: it becomes text only when there is an error to tell, for a configuration has many fields and hardly an
/// error.
struct FieldPath: Sendable {
    private final class Step: Sendable {
        enum Name: Sendable {
            case field(String)
            case index(Int)
            case key(String)
        }
        let name: Name
        let parent: Step?

        init(_ name: Name, _ parent: Step?) {
            self.name = name
            self.parent = parent
        }
    }

    private let last: Step?

    init(_ text: String = "") { last = text.isEmpty ? nil : Step(.field(text), nil) }

    private init(_ step: Step) { last = step }

    var text: String {
        var names: [Step.Name] = []
        var step = last
        while let here = step {
            names.append(here.name)
            step = here.parent
        }
        var text = ""
        for name in names.reversed() {
            switch name {
            case .field(let field): text += text.isEmpty ? field : "." + field
            case .index(let index): text += "[\(index)]"
            case .key(let key): text += "[\(key)]"
            }
        }
        return text
    }

    static func / (path: FieldPath, field: String) -> FieldPath { FieldPath(Step(.field(field), path.last)) }

    subscript(index: Int) -> FieldPath { FieldPath(Step(.index(index), last)) }

    subscript(key: String) -> FieldPath { FieldPath(Step(.key(key), last)) }

    func error(_ reason: String) -> ConfigurationError { ConfigurationError(at: text, reason) }

    func unsupported(_ detail: String = "") -> ConfigurationError {
        ConfigurationError.unsupported(at: text, detail)
    }
}
