import IO

/// Runs a body on a loop of its own.
func onLoop<T: Sendable>(_ body: @escaping @Sendable (EventLoop) async throws -> T) async throws -> T {
    let loop = try EventLoop.start(name: "dns-test")
    defer { loop.stop() }
    return try await Task(executorPreference: loop) { try await body(loop) }.value
}
