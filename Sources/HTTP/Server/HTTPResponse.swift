public import IO

/// What a handler answers.
public struct HTTPResponse: Sendable {
    /// What follows the head.
    public enum Body: Sendable {
        /// These bytes.
        case bytes([UInt8])
        /// What the closure writes, each piece sent at once; the answer ends when it returns.
        ///
        /// The task that runs it is cancelled when the client goes away.
        case stream(@Sendable (HTTPBodyWriter) async throws(HTTPError) -> Void)
        /// Another protocol (with status 101): the closure gets the connection and ends it by returning.
        case upgrade(@Sendable (any ByteStream) async -> Void)
    }

    /// Status and fields.
    public var head: ResponseHead
    /// What follows the head.
    public var body: Body
    /// Whether the connection is closed after it.
    public var closesConnection = false

    /// An answer of a head made elsewhere.
    public init(_ head: ResponseHead, _ body: Body) {
        self.head = head
        self.body = body
    }

    /// An answer of some bytes.
    public init(status: UInt16, contentType: StaticString? = nil, body: [UInt8] = []) {
        head = ResponseHead(status: status)
        if let contentType { head.headers.append(.contentType, constant: contentType) }
        self.body = .bytes(body)
    }

    /// An answer of some text.
    public init(status: UInt16, text: String) {
        self.init(status: status, contentType: "text/plain; charset=utf-8", body: Array(text.utf8))
    }

    /// An answer that goes on as long as the closure writes: a watch, a log that is followed.
    public static func stream(
        status: UInt16 = 200, contentType: StaticString,
        _ write: @escaping @Sendable (HTTPBodyWriter) async throws(HTTPError) -> Void
    ) -> HTTPResponse {
        var head = ResponseHead(status: status)
        head.headers.append(.contentType, constant: contentType)
        return HTTPResponse(head, .stream(write))
    }
}

/// Writes the body of a streamed answer.
///
/// `@unchecked Sendable`: used on the connection's loop only.
public final class HTTPBodyWriter: @unchecked Sendable {
    private let stream: any ByteStream
    private let isChunked: Bool
    private let isSilent: Bool
    private let input: HTTPInput
    private(set) var hasFailed = false

    init(_ stream: any ByteStream, _ input: HTTPInput, isChunked: Bool, isSilent: Bool) {
        self.stream = stream
        self.input = input
        self.isChunked = isChunked
        self.isSilent = isSilent
    }

    /// Whether the client has ended the connection: nobody reads any more.
    public var isClientGone: Bool { input.isEnded || hasFailed }

    /// Sends a piece at once; fails with `closed` when the client is gone.
    ///
    /// Waits while the client does not read.
    public func write(_ bytes: [UInt8]) async throws(HTTPError) {
        guard !isClientGone else { throw .closed }
        guard !bytes.isEmpty, !isSilent else { return }
        var output: [UInt8]
        if isChunked {
            output = []
            output.reserveCapacity(bytes.count + 20)
            HTTP1Serializer.appendChunk(bytes.span.bytes, to: &output)
        } else {
            output = bytes
        }
        try await send(output)
    }

    /// Sends text at once.
    public func write(_ text: String) async throws(HTTPError) { try await write(Array(text.utf8)) }

    /// Ends the connection at once: a write that waits for the client fails.
    public func close() {
        hasFailed = true
        stream.close()
    }

    func finish() async throws(HTTPError) {
        guard isChunked, !isSilent else { return }
        var output: [UInt8] = []
        HTTP1Serializer.appendLastChunk(to: &output)
        try await send(output)
    }

    private func send(_ bytes: [UInt8]) async throws(HTTPError) {
        do throws(SystemError) {
            try await stream.write(bytes)
        } catch {
            hasFailed = true
            throw .closed
        }
    }
}
