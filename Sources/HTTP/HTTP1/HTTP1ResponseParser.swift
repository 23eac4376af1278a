/// Parses the responses of one upstream connection, each after its request was announced.
///
/// Like `HTTP1RequestParser`. A 1xx response gives `head` then `end` like any other; `head.isInterim` tells that the real one follows.
/// With 101, or a 2xx to CONNECT, `head.body` is `tunnel` and all that follows is `body`.
public struct HTTP1ResponseParser: Sendable {
    private enum State: Sendable {
        case idle, head, body, failed(HTTP1Error)
    }

    /// The current response's head.
    public var head = ResponseHead()
    /// The current response's trailers, complete with the `end` event.
    public private(set) var trailers = HeaderTable()

    private let limits: HTTP1Limits
    private var state = State.idle
    private var method = HTTPMethod.get
    private var interim = 0
    /// Whether the response being read is interim; `head` itself may have been moved out.
    private var isInterim = false
    private var isFresh = true
    private var scanner = HTTP1HeadScanner.head()
    private var decoder = HTTP1BodyDecoder(.none)

    /// Keeps the names' case, where it matters.
    private var recorder: HTTP1SpellingRecorder?

    /// A parser at the beginning of a connection.
    ///
    /// - Parameter spelling: What `head.spelling` keeps; nil is nothing.
    public init(limits: HTTP1Limits = HTTP1Limits(), spelling: HTTP1Spelling.Rule? = nil) {
        self.limits = limits
        recorder = spelling.map { HTTP1SpellingRecorder($0) }
    }

    /// Whether no response is expected: the connection is free for a request.
    public var isIdle: Bool { if case .idle = state { true } else { false } }

    /// Announces that a request was sent; its method decides whether a body may follow.
    public mutating func expectResponse(to method: HTTPMethod) {
        guard case .idle = state else { preconditionFailure("the response before this one is not complete") }
        self.method = method
        interim = 0
        state = .head
        isFresh = true
    }

    /// The next event in `input` from `offset` on, which moves behind what was consumed.
    public mutating func next(_ input: RawSpan, _ offset: inout Int) throws(HTTP1Error) -> HTTP1Event {
        do throws(HTTP1Error) {
            switch state {
            case .failed(let error): throw error
            case .idle:
                if offset < input.byteCount { throw .unsolicited }
                return .needMore
            case .head:
                if isFresh {
                    head.removeAll()
                    trailers.removeAll()
                    scanner = .head()
                    recorder?.begin()
                    isFresh = false
                }
                let start = offset
                let isWhole = try scanner.scan(input, &offset, into: &head.headers, limits: limits)
                recorder?.take(input.extracting(start..<offset))
                guard isWhole else { return .needMore }
                try HTTP1StartLine.parseResponse(scanner.startLine, into: &head)
                head.spelling = recorder?.finish(
                    head.headers, reason: HTTP1StartLine.reason(of: scanner.startLine))
                try HTTP1Framing.ofResponse(&head, to: method)
                isInterim = head.isInterim
                if isInterim {
                    interim &+= 1
                    if interim > HTTP1Limits.interimResponses {
                        throw .tooManyInterimResponses(limit: HTTP1Limits.interimResponses)
                    }
                }
                decoder = HTTP1BodyDecoder(head.body)
                state = .body
                return .head
            case .body:
                switch try decoder.next(input, &offset, trailers: &trailers, limits: limits) {
                case .needMore: return .needMore
                case .body(let range): return .body(range)
                case .end:
                    state = isInterim ? .head : .idle
                    isFresh = true
                    return .end
                }
            }
        } catch {
            state = .failed(error)
            throw error
        }
    }

    /// The peer closed its side: nil when no response is expected, `end` when the close ends the body, an error otherwise.
    public mutating func inputEnded() throws(HTTP1Error) -> HTTP1Event? {
        switch state {
        case .failed(let error): throw error
        case .idle: return nil
        case .head: break
        case .body:
            if decoder.endsWithInput {
                state = .idle
                return .end
            }
        }
        state = .failed(.truncated)
        throw .truncated
    }
}
