internal import HTTP
internal import IO

/// One request on its way to a host: an HTTP/1.1 connection in use, or one stream of an HTTP/2 connection.
protocol UpstreamStream: AnyObject {
    var httpVersion: HTTPVersion { get }
    var localAddress: SocketAddress? { get }
    /// The connection's TLS; nil for plain text.
    var tlsFacts: TLSFacts? { get }
    /// Whether the host reads slower than the client writes; `UpstreamClient.requestMayContinue` follows.
    var requestIsBlocked: Bool { get }

    /// Sends the head; `sendBody` and, always, `sendEnd` follow.
    func begin(_ request: borrowing RequestHead, isUpgrade: Bool, for client: any UpstreamClient)
    func sendBody(_ bytes: UnsafeRawBufferPointer)
    func sendEnd(_ trailers: borrowing HeaderTable)
    /// The client ended its side of a tunnel.
    func sendTunnelEnd()
    /// The client takes more of the response.
    func responseMayContinue()
    /// The request was given up: nothing more is said to its client.
    func abandon()
}

extension UpstreamStream {
    var tlsFacts: TLSFacts? { nil }
}

/// Who gets the response: the router, a mirrored request, a call of a filter's own.
protocol UpstreamClient: AnyObject {
    /// Whether what comes has no place to go; `UpstreamStream.responseMayContinue` follows.
    var responseIsPaused: Bool { get }
    /// The host takes bytes again.
    func requestMayContinue()
    func responseInterim(_ head: borrowing ResponseHead)
    /// Takes the head, by swapping: what is left in `head` is its storage for the next one.
    func responseHead(_ head: inout ResponseHead)
    func responseBody(_ bytes: UnsafeRawBufferPointer)
    /// The response is complete, and the stream has let go of its client.
    func responseEnd(_ trailers: borrowing HeaderTable)
    /// The connection or stream ended before the response did.
    func upstreamFailed(_ failure: UpstreamFailure, onReusedConnection: Bool)
}

/// Why an exchange with a host ended without a whole response.
enum UpstreamFailure {
    /// The connection was closed or reset.
    case terminated(SystemError?)
    /// The host reset the stream (HTTP/2).
    case reset(code: UInt32)
    /// The host refused the stream before it looked at the request (HTTP/2 REFUSED_STREAM, GOAWAY).
    case refused
    /// What it sent is no HTTP.
    case protocolError(String)
}
