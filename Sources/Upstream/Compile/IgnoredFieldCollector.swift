internal import Synchronization

/// Notes the ignored fields that a configuration sets while it is compiled, each with its path and the reason.
///
/// The mutex is there because compiling may happen on any thread; nobody waits for it.
public final class IgnoredFieldCollector: Sendable {
    /// Where notes go; nil is nowhere.
    @TaskLocal public static var current: IgnoredFieldCollector?

    private let lines = Mutex<[String]>([])

    /// Nothing noted.
    public init() {}

    /// Notes a field.
    public func note(_ path: String, _ reason: String) {
        lines.withLock { $0.append("\(path): ignored: \(reason)") }
    }

    /// What was noted, sorted and each once.
    public var report: [String] { Set(lines.withLock(\.self)).sorted() }

    /// Notes what `body` compiles.
    public func collecting<Result, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
        let result = IgnoredFieldCollector.$current.withValue(self) {
            do throws(Failure) {
                return Swift.Result<Result, Failure>.success(try body())
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }
}
