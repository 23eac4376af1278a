internal import CNGHTTP2
public import IO

/// One HTTP/2 connection without its transport: bytes in, calls of its delegates and bytes out.
///
/// Owned by one loop, not `Sendable`. The owner gives it what it reads (`receive`) and sends what `produce` writes; between the two, delegates
/// submit heads and bodies. Flow control is tied to the reader: the peer's window grows by what `consumed` reports. Streams, their heads and
/// queues are used again, so that a warm connection allocates little.
public final class HTTP2Session {
    /// Which side of the connection.
    public enum Role: Sendable {
        /// Answers requests.
        case server
        /// Sends requests.
        case client
    }

    let role: Role
    /// The bounds it works in.
    public let limits: HTTP2Limits
    /// Hears of the connection.
    ///
    /// Neither counted nor checked: it owns the session, and nobody else calls that. A weak reference would make each use of the delegate dear.
    public unowned(unsafe) var delegate: (any HTTP2SessionDelegate)?
    let raw: OpaquePointer
    // Not checked for exclusive access, like all that is touched for each frame: calls come from one loop, one at a time.
    @exclusivity(unchecked) var budget: HTTP2FrameBudget
    /// The time of the present `receive`.
    var now: MonotonicTime?

    /// All streams ever needed at once, by slot; nghttp2's user data is a slot plus one, never a pointer.
    @exclusivity(unchecked) private var streams: [HTTP2Stream] = []
    /// The same objects, and those of them that are free, without counting references: `streams` never lets go of one before the session ends.
    @exclusivity(unchecked) private var slots: [Unmanaged<HTTP2Stream>] = []
    @exclusivity(unchecked) private var free: [Unmanaged<HTTP2Stream>] = []
    /// The stream whose head is being received; one of `streams`.
    @exclusivity(unchecked) var receiving: Unmanaged<HTTP2Stream>?
    @exclusivity(unchecked) var continuations = 0
    /// The highest stream that the peer has begun, and those that we have reset lately.
    @exclusivity(unchecked) var streamsSeen: Int32 = 0
    @exclusivity(unchecked) var resets = HTTP2ResetMemory()
    /// The peer's initial window, and its streams' windows before the SETTINGS frame being received.
    var peerWindow: Int64 = 65_535
    var windowsBefore: [(Int32, Int32)] = []
    /// What ended the connection from our side.
    var violation: HTTP2Error?

    /// nghttp2 is at work: it must not be entered again.
    private var isAtWork = false
    /// What `frame` could not say to its caller.
    private var outputFailure: HTTP2Error?
    /// Whom `produce` was given: not counted, because its caller holds it.
    unowned(unsafe) var output: (any HTTP2Output)?
    @exclusivity(unchecked) var produced = 0
    var produceLimit = 0
    /// Field lists on their way to nghttp2, which copies them.
    @exclusivity(unchecked) var fields = HTTP2FieldList()
    let scratch: HTTP2Scratch
    /// A copy of its own, because to reach the shared one costs a call.
    let names = HeaderNames.shared
    private let memory: HTTP2Memory
    /// Memory of heads on their way to nghttp2, which streams take for as long as they need it.
    var blocks: HTTP2Blocks { memory.blocks }
    /// The stream that was looked up last: DATA, its end and its close mostly follow each other.
    @exclusivity(unchecked) private var latest: Unmanaged<HTTP2Stream>?

    /// A session at the beginning of a connection; its first output is the preface.
    ///
    /// Sessions of one loop may share their memory.
    public init(
        _ role: Role, limits: HTTP2Limits = HTTP2Limits(), memory: HTTP2Memory = HTTP2Memory()
    ) throws(HTTP2Error) {
        self.role = role
        self.memory = memory
        self.limits = limits
        budget = HTTP2FrameBudget(limits)
        scratch = HTTP2Scratch()
        guard let raw = HTTP2Callbacks.makeSession(role, limits, memory) else {
            throw HTTP2Error(HTTP2Code.internalError, "no memory for a session")
        }
        self.raw = raw
        nghttp2_session_set_user_data(raw, Unmanaged.passUnretained(self).toOpaque())
        try submitSettings()
    }

    private func submitSettings() throws(HTTP2Error) {
        var settings: [nghttp2_settings_entry] = []
        func add(_ id: nghttp2_settings_id, _ value: UInt32) {
            settings.append(nghttp2_settings_entry(settings_id: Int32(id.rawValue), value: value))
        }
        add(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits.streamWindow)
        add(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, UInt32(clamping: limits.headBytes))
        if limits.headerTableBytes != 4096 { add(NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, limits.headerTableBytes) }
        if limits.frameBytes != 16_384 { add(NGHTTP2_SETTINGS_MAX_FRAME_SIZE, limits.frameBytes) }
        if role == .server {
            add(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits.concurrentStreams)
            if limits.allowsConnect { add(NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1) }
        } else {
            add(NGHTTP2_SETTINGS_ENABLE_PUSH, 0)
        }
        try checked(nghttp2_submit_settings(raw, UInt8(NGHTTP2_FLAG_NONE.rawValue), settings, settings.count))
        try checked(nghttp2_session_set_local_window_size(raw, 0, 0, Int32(clamping: limits.connectionWindow)))
    }

    deinit {
        nghttp2_session_del(raw)
        fields.free()
    }

    @discardableResult
    func checked(_ result: Int32) throws(HTTP2Error) -> Int32 {
        guard result < 0 else { return result }
        throw HTTP2Error(HTTP2Code.internalError, String(cString: nghttp2_strerror(result)))
    }

    // MARK: The wire

    /// Takes bytes that came from the peer and tells the delegates what they mean.
    ///
    /// After an error only the output (a GOAWAY) is left to send. The time lets budgets refill.
    public func receive(_ bytes: UnsafeRawBufferPointer, at now: MonotonicTime? = nil) throws(HTTP2Error) {
        guard !bytes.isEmpty else { return }
        self.now = now
        isAtWork = true
        let result = nghttp2_session_mem_recv(
            raw, bytes.assumingMemoryBound(to: UInt8.self).baseAddress, bytes.count)
        isAtWork = false
        if let violation { throw violation }
        guard result < 0 else { return }
        let code = Int32(clamping: result)
        if code == NGHTTP2_ERR_FLOODED.rawValue { delegate?.count(.outbound_control_flood) }
        let isFlood = code == NGHTTP2_ERR_FLOODED.rawValue
        let error = HTTP2Error(
            isFlood ? HTTP2Code.enhanceYourCalm : HTTP2Code.protocolError, String(cString: nghttp2_strerror(code)))
        violation = error
        nghttp2_session_terminate_session(raw, error.code)
        throw error
    }

    /// Takes bytes that came from the peer.
    public func receive(_ bytes: RawSpan, at now: MonotonicTime? = nil) throws(HTTP2Error) {
        // A typed throw cannot leave the closure of withUnsafeBytes.
        var failure: HTTP2Error?
        bytes.withUnsafeBytes { bytes in
            do throws(HTTP2Error) {
                try receive(bytes, at: now)
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
    }

    /// The stream whose head has begun and not ended; 0 when there is none.
    ///
    /// There is at most one (RFC 9113 §6.10).
    public var streamOfOpenHead: Int32 { receiving?._withUnsafeGuaranteedRef { $0.id } ?? 0 }

    /// Whether there may be bytes for the peer.
    public var hasOutput: Bool { nghttp2_session_want_write(raw) != 0 }

    /// Whether the connection has ended: nothing more will be read or written.
    public var isFinished: Bool { nghttp2_session_want_read(raw) == 0 && !hasOutput }

    /// Writes bytes for the peer, not much more than `limit`; call again when they are sent.
    public func produce(into output: any HTTP2Output, upTo limit: Int) throws(HTTP2Error) {
        if let outputFailure { throw outputFailure }
        self.output = output
        produced = 0
        produceLimit = limit
        isAtWork = true
        defer {
            self.output = nil
            isAtWork = false
        }
        while produced < limit {
            var bytes: UnsafePointer<UInt8>?
            let count = nghttp2_session_mem_send(raw, &bytes)
            if count < 0 {
                throw HTTP2Error(HTTP2Code.internalError, String(cString: nghttp2_strerror(Int32(clamping: count))))
            }
            guard count > 0, let bytes else { return }
            output.append(UnsafeRawBufferPointer(start: bytes, count: count))
            produced &+= count
        }
    }

    /// Writes what was submitted as soon as a message is complete, unless nghttp2 is at work on this connection: then `produce` will.
    ///
    /// What nghttp2 needs for a message is used again for the next one while it is still in the processor's cache. A failure shows with
    /// the next `produce`.
    public func frame(into output: any HTTP2Output, upTo limit: Int) {
        guard !isAtWork, limit > 0 else { return }
        do throws(HTTP2Error) {
            try produce(into: output, upTo: limit)
        } catch {
            outputFailure = error
        }
    }

    /// Appends bytes for the peer to an array, not much more than 64 KiB at once; call again when they are sent.
    public func takeOutput(into buffer: inout [UInt8]) throws(HTTP2Error) {
        let output = HTTP2ArrayOutput()
        swap(&output.bytes, &buffer)
        defer { swap(&output.bytes, &buffer) }
        try produce(into: output, upTo: 64 * 1024)
    }

    /// Ends the connection because the peer exceeds a budget.
    func calm(_ counter: HTTP2Counter) {
        guard violation == nil else { return }
        violation = HTTP2Error(HTTP2Code.enhanceYourCalm, "\(counter)")
        delegate?.count(counter)
        nghttp2_session_terminate_session(raw, HTTP2Code.enhanceYourCalm)
    }

    // MARK: Streams by slot

    /// The stream of an id of the wire.
    ///
    /// Good as long as the session is, though it may come to be another stream.
    @inline(__always)
    func find(id: Int32) -> Unmanaged<HTTP2Stream>? {
        if let latest, latest._withUnsafeGuaranteedRef({ $0.id == id && $0.isOpen }) { return latest }
        latest = find(slot: nghttp2_session_get_stream_user_data(raw, id), id: id)
        return latest
    }

    @inline(__always)
    func find(slot user: UnsafeMutableRawPointer?, id: Int32) -> Unmanaged<HTTP2Stream>? {
        let slot = Int(bitPattern: user) &- 1
        guard slots.indices.contains(slot) else { return nil }
        let found = slots[slot]
        return found._withUnsafeGuaranteedRef({ $0.isOpen && $0.id == id }) ? found : nil
    }

    func stream(id: Int32) -> HTTP2Stream? { find(id: id)?.takeUnretainedValue() }

    func takeStream(id: Int32) -> Unmanaged<HTTP2Stream> {
        budget.streamOpened()
        let taken: Unmanaged<HTTP2Stream>
        if let kept = free.popLast() {
            taken = kept
        } else {
            let stream = HTTP2Stream(slot: streams.count)
            streams.append(stream)
            taken = .passUnretained(stream)
            slots.append(taken)
        }
        taken._withUnsafeGuaranteedRef { $0.begin(id: id) }
        return taken
    }

    func release(_ stream: HTTP2Stream) {
        giveQueue(stream)
        blocks.give(&stream.held)
        stream.end()
        free.append(.passUnretained(stream))
    }

    /// Memory for a body that begins to wait.
    func takeQueue(_ stream: HTTP2Stream) {
        if stream.queue.capacity == 0 { stream.queue = memory.takeQueue() }
    }

    /// A body has left.
    func giveQueue(_ stream: HTTP2Stream) {
        stream.queueOffset = 0
        guard stream.queue.capacity > 0 else { return }
        var queue: [UInt8] = []
        swap(&queue, &stream.queue)
        memory.give(queue: consume queue, most: limits.queueKeptBytes)
    }

    /// How many streams are open.
    public var streamCount: Int { streams.count &- free.count }

    /// Visits the open streams; the body may end them.
    public func forEachStream(_ body: (HTTP2Stream) -> Void) {
        for stream in streams where stream.isOpen { body(stream) }
    }

    /// The connection is gone: all streams end with it.
    public func abandonStreams(code: UInt32) {
        for stream in streams where stream.isOpen {
            stream.isEndedByUs = true
            close(stream, code: code)
        }
    }

    /// A stream that nghttp2 never made: its HEADERS could not be sent.
    func closeUnsent(id: Int32) {
        for stream in streams where stream.isOpen && stream.id == id {
            return close(stream, code: HTTP2Code.refusedStream)
        }
    }

    func close(_ stream: HTTP2Stream, code closedBy: UInt32) {
        // One that both sides have ended closes before our reset is sent.
        let code = closedBy == HTTP2Code.noError ? stream.refusalCode : closedBy
        // What nobody has read still counts on the connection's window: give it back.
        if stream.unconsumedBytes > 0 {
            nghttp2_session_consume_connection(raw, stream.unconsumedBytes)
            stream.unconsumedBytes = 0
        }
        if receiving?.toOpaque() == Unmanaged.passUnretained(stream).toOpaque() { receiving = nil }
        // Whoever makes us end requests that we work on, by resetting them or by provoking us to, does that by budget.
        if role == .server, code != HTTP2Code.noError, stream.delegate != nil, !stream.isLocalEnded,
            !stream.isEndedByUs, !budget.resetReceived(at: now)
        {
            calm(.premature_resets_flood)
        }
        stream.isOpen = false
        stream.delegate.take()?.closed(stream, code: code)
        release(stream)
    }
}

/// Digits of a head on its way to nghttp2: memory that does not move.
final class HTTP2Scratch {
    static let byteCount = 32
    let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: HTTP2Scratch.byteCount)
    /// What nghttp2 asks for bodies; copied with each submission.
    var provider = HTTP2Callbacks.provider()

    deinit { bytes.deallocate() }

    /// Writes a number in decimal from a position on; how many digits.
    func write(_ number: Int, at start: Int) -> Int {
        var rest = UInt64(clamping: number)
        var (used, next) = (1, rest / 10)
        while next > 0 {
            used &+= 1
            next /= 10
        }
        precondition(start >= 0 && start <= Self.byteCount &- used, "a number beyond the scratch memory")
        var position = start &+ used
        repeat {
            position &-= 1
            bytes[position] = 0x30 &+ UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        } while position > start
        return used
    }
}

/// Output that is kept in an array.
final class HTTP2ArrayOutput: HTTP2Output {
    @exclusivity(unchecked) var bytes: [UInt8] = []

    func append(_ bytes: UnsafeRawBufferPointer) { self.bytes.append(contentsOf: bytes) }
}
