internal import IO

/// The node agent as the supervisor sees it.
final class Node: Sendable {
    init(_ options: UpOptions, on loop: EventLoop) throws(CommandError) {}
    func start() async throws(CommandError) {}
    func stop(leavesPods: Bool) async {}
    func tearDown() {}
    static func tearDown(dataDirectory: String, runDirectory: String) throws(CommandError) {}
}
