/// Parses the requests of one downstream connection, one after the other.
///
/// Pure and incremental: feed it what was read, in any pieces, and act on each event. The head is in `head` from the `head` event until the call that
/// follows `end`; move it out with `swap(&parser.head, &mine)` to keep it longer and to give the parser a table with capacity.
/// After an error the parser stays failed: answer `error.status` and close.
public struct HTTP1RequestParser: Sendable {
    private enum State: Sendable {
        case head, body, failed(HTTP1Error)
    }

    /// The current request's head.
    public var head = RequestHead()
    /// The current request's trailers, complete with the `end` event.
    public private(set) var trailers = HeaderTable()

    private let limits: HTTP1Limits
    private var state = State.head
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

    /// Whether no byte of a request has arrived since the last one ended: the connection may be closed without loss.
    public var isBetweenRequests: Bool {
        if case .head = state { return scanner.isUntouched }
        return false
    }

    /// The next event in `input` from `offset` on, which moves behind what was consumed.
    public mutating func next(_ input: RawSpan, _ offset: inout Int) throws(HTTP1Error) -> HTTP1Event {
        do throws(HTTP1Error) {
            switch state {
            case .failed(let error): throw error
            case .head:
                if isFresh {
                    head.removeAll()
                    trailers.removeAll()
                    recorder?.begin()
                    isFresh = false
                }
                let start = offset
                let isWhole = try scanner.scan(input, &offset, into: &head.headers, limits: limits)
                recorder?.take(input.extracting(start..<offset))
                guard isWhole else { return .needMore }
                head.spelling = recorder?.finish(head.headers)
                try HTTP1StartLine.parseRequest(scanner.startLine, into: &head)
                try HTTP1Framing.ofRequest(&head)
                decoder = HTTP1BodyDecoder(head.body)
                state = .body
                return .head
            case .body:
                switch try decoder.next(input, &offset, trailers: &trailers, limits: limits) {
                case .needMore: return .needMore
                case .body(let range): return .body(range)
                case .end:
                    state = .head
                    isFresh = true
                    scanner = .head()
                    return .end
                }
            }
        } catch {
            state = .failed(error)
            throw error
        }
    }

    /// Ends a request whose `head.body` is `none`, in the place of the call of `next` that would say `end`.
    public mutating func finishWithoutBody() {
        guard case .body = state, decoder.isComplete else { return }
        state = .head
        isFresh = true
        scanner = .head()
    }

    /// Makes everything that follows opaque `body`: after a 2xx to CONNECT or a 101 went out.
    ///
    /// Call it between the request's `end` and the next `next`; until then nothing behind the request is looked at (ATK-14).
    public mutating func switchToTunnel() {
        decoder = HTTP1BodyDecoder(.tunnel)
        state = .body
    }

    /// The peer closed its side: nil between requests, `end` for a tunnel, an error in the middle of a request.
    public mutating func inputEnded() throws(HTTP1Error) -> HTTP1Event? {
        switch state {
        case .failed(let error): throw error
        case .head: if scanner.isUntouched { return nil }
        case .body: if decoder.endsWithInput { return .end }
        }
        state = .failed(.truncated)
        throw .truncated
    }
}
