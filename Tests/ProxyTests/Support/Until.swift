import IO

/// What a test waited for has not come.
struct NeverCame: Error, CustomStringConvertible {
    let description: String
}

/// Waits for what another thread or peer brings about; it is looked at every few milliseconds, and given up after long.
func until(
    _ what: @autoclosure () -> String = "the condition", file: StaticString = #fileID, line: UInt = #line,
    _ condition: () async throws -> Bool
) async throws {
    let clock = ContinuousClock()
    let end = clock.now + .seconds(60)
    while try await !condition() {
        guard clock.now < end else { throw NeverCame(description: "\(what()) at \(file):\(line) never came") }
        try await Task.sleep(for: .milliseconds(2))
    }
}
