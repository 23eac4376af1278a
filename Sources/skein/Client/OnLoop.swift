internal import IO

/// Runs async work of a command on an event loop of its own, on the calling thread, and hands over what came of it.
func onLoop<Value: Sendable>(
    _ body: @escaping @Sendable (EventLoop) async throws(CommandError) -> Value
) throws(CommandError) -> Value {
    let loop: EventLoop
    do throws(SystemError) {
        loop = try EventLoop()
    } catch {
        throw CommandError(error)
    }
    let outcome = Outcome<Value>()
    Task(executorPreference: loop) {
        do throws(CommandError) {
            outcome.result = .success(try await body(loop))
        } catch {
            outcome.result = .failure(error)
        }
        loop.stop()
    }
    loop.run()
    guard let result = outcome.result else { throw CommandError("the event loop ended early") }
    return try result.get()
}

/// Written by the loop's task, read when the loop has ended; both on one thread.
private final class Outcome<Value: Sendable>: @unchecked Sendable {
    var result: Result<Value, CommandError>?
}
