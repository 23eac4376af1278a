internal import HTTP
internal import IO

/// The version of HTTP that a client or a host speaks.
enum HTTPVersion: Sendable {
    case http10, http11, http2

    /// As access logs and `%PROTOCOL%` write it.
    var text: StaticString {
        switch self {
        case .http10: "HTTP/1.0"
        case .http11: "HTTP/1.1"
        case .http2: "HTTP/2"
        }
    }
}

/// What a codec needs to know of the request whose answer it writes.
struct AnsweredRequest {
    var method: HTTPMethod
    /// The minor version of HTTP/1 (0 or 1).
    var minorVersion: UInt8
    var opensTunnel: Bool
}

/// The client's side of one stream: an HTTP/1.1 connection, or one stream of an HTTP/2 connection.
///
/// The codec calls `HTTPStream` with what it parsed; `HTTPStream` answers through this.
protocol DownstreamStream: AnyObject {
    var info: ConnectionInfo { get }
    var worker: Worker { get }
    var manager: HTTPConnectionManager { get }
    var httpVersion: HTTPVersion { get }
    /// Whether the client reads slower than the upstream writes; `HTTPStream.responseMayContinue` follows.
    var responseIsBlocked: Bool { get }

    /// An interim response (1xx, RFC 9110 §15.2); the final one follows.
    func sendInterim(_ head: borrowing ResponseHead)
    /// The response's head; `sendBody` and, always, `sendEnd` follow.
    func sendHead(_ response: inout ResponseHead, to request: AnsweredRequest)
    func sendBody(_ bytes: UnsafeRawBufferPointer)
    func sendEnd(_ trailers: borrowing HeaderTable)
    /// The request side has room again: read on.
    func requestMayContinue()
    /// A deadline of the stream may have come closer.
    func armTimer()
    /// The stream is over; `isReset`: its response is incomplete, which only a reset can say.
    func streamEnded(isReset: Bool)
}

/// A client's connection as its manager sees it, whatever version it speaks.
protocol DownstreamConnection: AnyObject {
    /// Whether it may be closed without losing a request that we know of.
    var isIdle: Bool { get }
    var idleSince: MonotonicTime { get }
    var httpVersion: HTTPVersion { get }
    /// Bytes that wait for a slow client: what the overload manager ends first.
    var bufferedBytes: Int { get }
    /// Says with the next response that no further request is taken.
    func drain()
    /// Closes at once.
    func close()
    /// Closes an idle connection, saying so where the protocol can.
    func closeGracefully()
    /// Ends at once what is still under way: the drain time is over.
    func cutOff()
}

extension DownstreamConnection {
    /// Nothing that anybody has counted.
    var bufferedBytes: Int { 0 }

    func closeGracefully() { close() }
}
