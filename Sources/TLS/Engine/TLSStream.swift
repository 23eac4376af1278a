public import IO

/// TLS over any byte stream, itself a byte stream.
///
/// Errors of TLS arrive as `SystemError` with EPROTO and the reason as operation. `@unchecked Sendable`: touched on the loop of the stream below only.
public final class TLSStream: ByteStream, @unchecked Sendable {
    private static let protocolError: Int32 = 71  // EPROTO
    private static let connectionReset: Int32 = 104  // ECONNRESET
    /// A record with its header and tag.
    private static let blockBytes = 16 * 1024 + 512

    private let stream: any ByteStream
    private let engine: TLSEngine
    private var isFlushing = false
    private var flushFailure: SystemError?
    private var flushWaiters: [CheckedContinuation<Void, Never>] = []
    private var isClosed = false

    private init(_ stream: any ByteStream, _ engine: TLSEngine) {
        self.stream = stream
        self.engine = engine
    }

    /// Does the server's handshake.
    public static func accept(_ stream: any ByteStream, _ context: TLSContext) async throws(TLSError) -> TLSStream {
        let secured = TLSStream(stream, try TLSEngine(context))
        try await secured.handshake()
        return secured
    }

    /// Does the client's handshake.
    ///
    /// - Parameters:
    ///   - serverName: the host name or address that the server's certificate must be good for.
    ///   - indicates: the name sent as SNI when it is not to be checked against the certificate.
    public static func connect(
        _ stream: any ByteStream, _ context: TLSContext, serverName: String?, indicates: String? = nil
    ) async throws(TLSError) -> TLSStream {
        let secured = TLSStream(stream, try TLSEngine(context, serverName: serverName, indicates: indicates))
        try await secured.handshake()
        return secured
    }

    /// The peer's certificate, if it has one.
    public var peerCertificate: Certificate? { get throws(TLSError) { try engine.peerCertificate } }

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
        guard !isClosed else { throw SystemError(TLSStream.cancelled, "write") }
        do throws(TLSError) {
            try engine.write(bytes.span.bytes)
        } catch {
            throw SystemError(TLSStream.protocolError, error.description)
        }
        try await flush()
    }

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
        guard engine.hasOutput, !isFlushing else { return stream.close() }
        var output: [UInt8] = []
        engine.takeOutput(into: &output)
        guard let socket = stream as? SocketStream else { return stream.close() }
        // One record of some 24 bytes; if the socket is full, the peer does not read anyway.
        _ = output.withUnsafeBytes { socket.socket.write($0) }
        stream.close()
    }
}
