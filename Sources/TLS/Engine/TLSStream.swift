public import IO

/// TLS over a socket, itself a byte stream.
///
/// Errors of TLS arrive as `SystemError` with EPROTO and the reason as operation. `@unchecked Sendable`: touched on the loop of the stream below only.
public final class TLSStream: DirectStream, @unchecked Sendable {
    private static let protocolError: Int32 = 71  // EPROTO
    private static let connectionReset: Int32 = 104  // ECONNRESET
    /// A record with its header and tag.
    private static let blockBytes = 16 * 1024 + 512

    private let stream: SocketStream
    private let engine: TLSEngine
    private var isFlushing = false
    private var flushFailure: SystemError?
    private var flushWaiters: [CheckedContinuation<Void, Never>] = []
    private var isClosed = false

    private init(_ stream: SocketStream, _ engine: TLSEngine) {
        self.stream = stream
        self.engine = engine
    }

    /// Does the server's handshake.
    public static func accept(_ stream: SocketStream, _ context: TLSContext) async throws(TLSError) -> TLSStream {
        let secured = TLSStream(stream, try TLSEngine(context))
        try await secured.handshake()
        return secured
    }

    /// Does the client's handshake.
    ///
    /// - Parameters:
    ///   - serverName: the host name or address that the server's certificate must be good for.
    ///   - indicates: the name sent as SNI when it is not to be checked against the certificate.
    ///   - protocols: the ALPN names to offer instead of the context's.
    public static func connect(
        _ stream: SocketStream, _ context: TLSContext, serverName: String?, indicates: String? = nil,
        offering protocols: [String]? = nil
    ) async throws(TLSError) -> TLSStream {
        let secured = TLSStream(
            stream,
            try TLSEngine(context, serverName: serverName, indicates: indicates, applicationProtocols: protocols))
        try await secured.handshake()
        return secured
    }

    /// The peer's certificate, if it has one.
    public var peerCertificate: Certificate? { get throws(TLSError) { try engine.peerCertificate } }

    /// What the peer's certificate says; nil when it has none, and from then on: a connection that is open for days need not hold it, nor the
    /// certificates beside it.
    public func takePeer() -> PeerFacts? { engine.takePeer() }

    /// The protocol agreed upon by ALPN.
    public var applicationProtocol: String? { engine.applicationProtocol }

    private func handshake() async throws(TLSError) {
        do throws(TLSError) {
            while true {
                let isComplete: Bool
                do throws(TLSError) {
                    isComplete = try engine.handshake()
                } catch {
                    // The peer gets the alert that says why.
                    try? await flush()
                    throw error
                }
                try await wired { () async throws(SystemError) in try await self.flush() }
                if isComplete { return }
                var received: [UInt8] = []
                try await wired { () async throws(SystemError) in
                    received = try await self.stream.read(upTo: TLSStream.blockBytes)
                }
                guard !received.isEmpty else { throw TLSError("TLS handshake", "the peer closed the connection") }
                engine.receive(received.span.bytes)
            }
        } catch {
            close()
            throw error
        }
    }

    private func wired(_ body: () async throws(SystemError) -> Void) async throws(TLSError) {
        do throws(SystemError) {
            try await body()
        } catch {
            throw TLSError("TLS handshake", error.description)
        }
    }

    /// Waits for plain bytes; none at the proper end.
    ///
    /// A connection that ends without TLS's own end is an error: somebody may have cut it.
    public func read(upTo count: Int) async throws(SystemError) -> [UInt8] {
        while true {
            guard !isClosed else { throw SystemError(TLSStream.cancelled, "read") }
            var failure: TLSError?
            var result = TLSEngine.ReadResult.end
            let bytes = [UInt8](unsafeUninitializedCapacity: min(count, TLSEngine.recordBytes)) { buffer, initialized in
                do throws(TLSError) {
                    result = try engine.read(into: UnsafeMutableRawBufferPointer(buffer))
                    if case .bytes(let read) = result { initialized = read }
                } catch {
                    failure = error
                }
            }
            // Reading may answer: alerts, key updates.
            if engine.hasOutput { try await flush() }
            if let failure { throw SystemError(TLSStream.protocolError, failure.description) }
            switch result {
            case .bytes: return bytes
            case .end: return []
            case .needsInput:
                let received = try await stream.read(upTo: TLSStream.blockBytes)
                guard !received.isEmpty else {
                    throw SystemError(TLSStream.connectionReset, "TLS read: the connection ended without close_notify")
                }
                engine.receive(received.span.bytes)
            }
        }
    }

    private static let cancelled: Int32 = 125  // ECANCELED

    /// Encrypts and writes all bytes.
    public func write(_ bytes: [UInt8]) async throws(SystemError) {
        var start = 0
        // A large answer to a slow reader is not there a second time, encrypted.
        repeat {
            guard !isClosed else { throw SystemError(TLSStream.cancelled, "write") }
            let end = min(bytes.count, start + TLSStream.encryptedAtOnce)
            do throws(TLSError) {
                try engine.write(bytes.span.bytes.extracting(start..<end))
            } catch {
                throw SystemError(TLSStream.protocolError, error.description)
            }
            try await flush()
            start = end
        } while start < bytes.count
    }

    /// Plain bytes of one write that are encrypted before the socket has taken the ones before them.
    private static let encryptedAtOnce = 256 * 1024

    /// Writes what the engine has for the peer; one task at a time, the others wait for it.
    private func flush() async throws(SystemError) {
        if isFlushing {
            await withCheckedContinuation { continuation in
                guard isFlushing else { return continuation.resume() }
                flushWaiters.append(continuation)
            }
            if let flushFailure { throw flushFailure }
            return
        }
        isFlushing = true
        defer {
            isFlushing = false
            for waiter in flushWaiters { waiter.resume() }
            flushWaiters = []
        }
        do throws(SystemError) {
            while engine.hasOutput {
                var output: [UInt8] = []
                engine.takeOutput(into: &output)
                try await stream.write(output)
            }
        } catch {
            flushFailure = error
            throw error
        }
    }

    /// Ends both directions, after telling the peer if the socket takes the record at once.
    public func close() {
        guard !isClosed else { return }
        isClosed = true
        engine.shutdown()
        // One record of some 24 bytes; if the socket is full, the peer does not read anyway.
        if !isFlushing, !stream.isBlocked { engine.takeOutput { _ = stream.socket.write($0) } }
        stream.close()
    }

    // MARK: Without a task

    /// Has `handler` told in place of waiting tasks; after the handshake.
    public func handOver(to handler: any ReadinessHandler) { stream.handOver(to: handler) }

    /// Whether something was kept.
    public var isBlocked: Bool { stream.isBlocked }

    /// Decrypts what has come, and gives it to `body`.
    public func readReady(_ body: (UnsafeRawBufferPointer) -> Bool) throws(SystemError) -> ReadyEnd {
        guard !isClosed else { throw SystemError(TLSStream.cancelled, "read") }
        var end = ReadyEnd.empty
        var failure: TLSError?
        /// Whether there may be more.
        func open(_ bytes: UnsafeRawBufferPointer) -> Bool {
            var rest = bytes
            let plain = stream.loop.scratch.plain
            while !isClosed {
                var taken = 0
                let result: TLSEngine.ReadResult
                do throws(TLSError) {
                    result = try engine.open(rest, taken: &taken, into: plain)
                } catch {
                    failure = error
                    return false
                }
                rest = UnsafeRawBufferPointer(rebasing: rest[taken...])
                switch result {
                case .needsInput: if rest.isEmpty { return true }
                case .end:
                    end = .ended
                    return false
                case .bytes(let count):
                    guard body(UnsafeRawBufferPointer(rebasing: plain[..<count])) else {
                        end = .stopped
                        return false
                    }
                    // A full buffer may have left something inside.
                    if rest.isEmpty, count < plain.count, !engine.endsNext { return true }
                }
            }
            return false
        }
        // What came with the last bytes of the handshake.
        if let bytes = engine.takeReceived(), !bytes.withUnsafeBytes(open), failure == nil, end != .empty { return end }
        if failure == nil {
            switch try stream.readReady(open) {
            case .empty: break
            case .stopped: if end == .empty, failure == nil { end = .stopped }
            case .ended:
                throw SystemError(TLSStream.connectionReset, "TLS read: the connection ended without close_notify")
            }
        }
        // Reading may answer: alerts, key updates.
        try writeEngine()
        if let failure { throw SystemError(TLSStream.protocolError, failure.description) }
        return end
    }

    private func writeEngine() throws(SystemError) {
        guard engine.hasOutput, !isClosed else { return }
        var output: [UInt8] = []
        engine.takeOutput(into: &output)
        var failure: SystemError?
        output.withUnsafeBytes { bytes in
            do throws(SystemError) {
                try stream.writeReady(bytes)
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
    }

    /// Plain bytes that are encrypted before they are written.
    private static let sealedAtOnce = 64 * 1024

    /// Encrypts bytes and writes them.
    public func writeReady(_ bytes: UnsafeRawBufferPointer) throws(SystemError) {
        guard !isClosed else { throw SystemError(TLSStream.cancelled, "write") }
        try writeEngine()
        let sealed = stream.loop.scratch.sealed
        var rest = bytes
        while !rest.isEmpty {
            let piece = UnsafeRawBufferPointer(rebasing: rest.prefix(TLSStream.sealedAtOnce))
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(piece.count))
            precondition(TLSEngine.sealedBytesMax(piece.count) <= sealed.count, "too much to be encrypted at once")
            let count: Int
            do throws(TLSError) {
                count = try engine.seal(piece, into: sealed)
            } catch {
                throw SystemError(TLSStream.protocolError, error.description)
            }
            try stream.writeReady(UnsafeRawBufferPointer(rebasing: sealed[..<count]))
        }
    }

    /// Goes on with what was kept.
    public func writeKept() throws(SystemError) { try stream.writeKept() }
}
