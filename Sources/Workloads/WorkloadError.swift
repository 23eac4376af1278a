public import IO

/// Why a pod or container cannot be run as asked.
public struct WorkloadError: Error, Sendable, Hashable, CustomStringConvertible {
    /// One CamelCase word, as Kubernetes shows it in `state.waiting.reason`.
    public var reason: String
    /// What, where (the field's path) and what to do, in one line.
    public var message: String

    /// A failure for that reason.
    public init(_ reason: String, _ message: String) {
        self.reason = reason
        self.message = message
    }

    /// A system call that failed while doing `what`.
    public init(_ reason: String, _ what: String, _ error: SystemError) {
        self.init(reason, "\(what): \(error)")
    }

    /// A field that says something we cannot do.
    static func field(_ path: String, _ problem: String) -> WorkloadError {
        WorkloadError("CreateContainerConfigError", "\(path): \(problem)")
    }

    /// `ErrImageNeverPull: …`.
    public var description: String { "\(reason): \(message)" }
}
