public import HTTP
public import IO

/// How the agent of the node of that name is asked: a client for it, or why there is none.
///
/// Called on the API's loop.
public typealias NodeClients = @Sendable (_ node: String) throws(StatusError) -> HTTPClient

/// Clients of the one agent behind the socket at `path`, whichever node is named.
public func nodeClients(socket path: String, on loop: EventLoop) -> NodeClients {
    let client = HTTPClient(to: .unix(path), on: loop)
    return { _ throws(StatusError) in client }
}

extension StatusError {
    /// The agent of a node, which alone knows the answer, cannot be asked.
    public static func agentUnreachable(_ node: String, _ why: String) -> StatusError {
        StatusError(
            code: 503, reason: "ServiceUnavailable", message: "the agent of node \(node) does not answer: \(why)")
    }
}
