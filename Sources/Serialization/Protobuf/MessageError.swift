/// Why a message could not be read: the field, as a path from the root, and what is wrong with it.
public struct MessageError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The field, for example `static_resources.listeners[0].name`; empty when it is the message itself.
    public var path: String
    /// What is wrong, for example `unknown field`.
    public var problem: String

    /// An error at the place that is being read; callers further out add their part of the path.
    public init(_ problem: String, path: String = "") {
        self.path = path
        self.problem = problem
    }

    /// The path, a colon and the problem.
    public var description: String { path.isEmpty ? problem : "\(path): \(problem)" }

    /// The same error seen from one level further out: `component` is a field name or `[index]`.
    public func inside(_ component: String) -> MessageError {
        if path.isEmpty { return MessageError(problem, path: component) }
        return MessageError(problem, path: path.hasPrefix("[") ? component + path : component + "." + path)
    }
}
