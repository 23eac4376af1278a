import IO
import TLS
import Telemetry

/// A connection to a server, TCP or TLS, on which many queries are under way (RFC 7766, RFC 7858).
///
/// Opened with the first query, and closed when none has come for a while. Owned by its loop (hence unchecked).
final class UpstreamStream: @unchecked Sendable {
    /// How many queries may be under way on it.
    static let inFlightMax = 256
    /// How long it stays open without a query.
    static let idleTime = Duration.seconds(10)
    /// The authorities of the machine.
    private static let systemAuthorities = "/etc/ssl/certs/ca-certificates.crt"

    private struct Waiter {
        var question: Question
        var completion: (Reply?) -> Void
        /// Each query is one of its own: an id may come again when the one before has been given up.
        var number: UInt64
    }

    private let upstream: Upstream
    private let timeout: Duration
    private let loop: EventLoop
    private let counts: DNSCounts
    private var stream: (any ByteStream)?
    private var isOpening = false
    private var waiters: [UInt16: Waiter] = [:]
    private var unsent: [[UInt8]] = []
    private var isWriting = false
    private var idle: LoopTimer?
    private var numbers: UInt64 = 0
    private var context: TLSContext?

    init(_ upstream: Upstream, timeout: Duration, on loop: EventLoop, _ counts: DNSCounts) {
        self.upstream = upstream
        self.timeout = timeout
        self.loop = loop
        self.counts = counts
    }

    /// Sends a query; nil when the connection failed or has no room.
    ///
    /// What is given back takes the wait back.
    ///
    /// - Parameter id: That of the query; another one is taken where it is in use.
    func ask(
        _ query: [UInt8], _ id: UInt16, _ question: Question, _ completion: @escaping (Reply?) -> Void
    ) -> () -> Void {
        guard waiters.count < Self.inFlightMax, query.count > 2 else {
            completion(nil)
            return {}
        }
        var (id, query) = (id, query)
        while waiters[id] != nil { id &+= 1 }
        query[0] = UInt8(id >> 8)
        query[1] = UInt8(id & 0xFF)
        numbers += 1
        let number = numbers
        waiters[id] = Waiter(question: question, completion: completion, number: number)
        unsent.append([UInt8(query.count >> 8), UInt8(query.count & 0xFF)] + query)
        idle?.cancel()
        open()
        return { [weak self] in
            guard let self, waiters[id]?.number == number else { return }
            waiters[id] = nil
            rest()
        }
    }

    /// Ends it; what is under way is answered with nil.
    func close() {
        idle?.cancel()
        stream?.close()
        stream = nil
        unsent = []
        let left = waiters.values
        waiters = [:]
        for waiter in left { waiter.completion(nil) }
    }

    private func open() {
        guard stream == nil else { return flush() }
        guard !isOpening else { return }
        isOpening = true
        Task(executorPreference: loop) {
            let opened = await self.connect()
            self.isOpening = false
            self.stream = opened
            guard let opened else { return self.close() }
            self.flush()
            await self.read(opened)
            if self.stream === opened { self.close() }
            opened.close()
        }
    }

    private func connect() async -> (any ByteStream)? {
        guard let plain = try? await SocketStream.connect(to: upstream.address, on: loop, timeout: timeout) else {
            return nil
        }
        guard case .tls(let name, let authorities) = upstream.transport else { return plain }
        let timer = loop.schedule(after: timeout) { plain.close() }
        defer { timer.cancel() }
        do throws(TLSError) {
            let context = try self.context(authorities)
            return try await TLSStream.connect(plain, context, serverName: name)
        } catch {
            counts.tlsFailures.add()
            plain.close()
            return nil
        }
    }

    private func context(_ authorities: String?) throws(TLSError) -> TLSContext {
        if let context { return context }
        let file = authorities ?? Self.systemAuthorities
        let pem: [UInt8]
        do throws(SystemError) { pem = try File.read(file) } catch { throw TLSError("TLS authorities", "\(error)") }
        var configuration = TLSConfiguration()
        configuration.trust = try Certificate.all(pem: pem, skippingDamaged: true)
        configuration.applicationProtocols = ["dot"]
        let context = try TLSContext(configuration, role: .client)
        self.context = context
        return context
    }

    private func read(_ stream: any ByteStream) async {
        while self.stream === stream, let bytes = await readFramed(stream) {
            guard let id = DNSMessage.id(of: bytes), let waiter = waiters[id] else { continue }
            // Nobody else speaks on this connection: letters do not matter here.
            let reply = Exchange.check(bytes, id, waiter.question)
            waiters[id] = nil
            rest()
            if case .otherLetters? = reply, let message = try? DNSMessage(parsing: bytes) {
                waiter.completion(.answer(message, bytes))
            } else {
                waiter.completion(reply)
            }
        }
    }

    private func flush() {
        guard let stream, !isWriting, !unsent.isEmpty else { return }
        isWriting = true
        let bytes = unsent.reduce(into: [UInt8]()) { $0 += $1 }
        unsent = []
        Task(executorPreference: loop) {
            let isWritten = (try? await stream.write(bytes)) != nil
            self.isWriting = false
            guard self.stream === stream else { return self.flush() }
            if isWritten { self.flush() } else { self.close() }
        }
    }

    private func rest() {
        guard waiters.isEmpty else { return }
        idle?.cancel()
        idle = loop.schedule(after: Self.idleTime) { [weak self] in self?.close() }
    }
}

/// Reads one message with its length in front (RFC 1035 §4.2.2); nil at the end.
func readFramed(_ stream: any ByteStream) async -> [UInt8]? {
    var bytes: [UInt8] = []
    var wanted = 2
    while bytes.count < wanted {
        guard let more = try? await stream.read(upTo: wanted - bytes.count), !more.isEmpty else { return nil }
        bytes += more
        if bytes.count == 2 { wanted = 2 + Int(bytes[0]) << 8 + Int(bytes[1]) }
    }
    return Array(bytes.dropFirst(2))
}
