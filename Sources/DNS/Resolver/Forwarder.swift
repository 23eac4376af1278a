public import IO

/// Why no answer came.
public enum LookupFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// No server answered in time.
    case timedOut
    /// Too many questions are under way already.
    case tooBusy
    /// There is no such name.
    case noSuchName
    /// The name has no address of the wanted family.
    case noAddress
    /// The text is no name.
    case badName
    /// The servers could not find out.
    case refused(ResponseCode)

    /// A sentence for people.
    public var description: String {
        switch self {
        case .timedOut: "no DNS server answered in time"
        case .tooBusy: "too many DNS queries are under way"
        case .noSuchName: "no such name"
        case .noAddress: "the name has no address"
        case .badName: "this is no host name"
        case .refused(let code): "the DNS server answered \(code)"
        }
    }
}

/// The part of a query besides its question that changes the answer.
struct QueryOptions: Hashable, Sendable {
    var hasEDNS = false
    var wantsSecurity = false
    var securityBits: UInt8 = 0

    init() {}

    init(_ query: DNSMessage) {
        if let options = query.additionals.first(where: { $0.type == .opt }) {
            hasEDNS = true
            wantsSecurity = options.ttl & 0x8000 != 0  // The bit DO (RFC 3225).
        }
        securityBits = query.securityBits
    }
}

/// Asks other servers: by UDP, by TCP when the answer did not fit, each server in turn, and remembers the answers.
///
/// Each query has a random id and a socket of its own, and so a random port; only an answer from the asked server to
/// the asked question counts. Equal questions that are under way are asked once. Owned by its loop: everything is to
/// be called there (hence unchecked).
public final class Forwarder: @unchecked Sendable {
    /// How many questions may be under way.
    public static let inFlightMax = 512
    /// The size of datagrams that we take: what passes everywhere in one piece (dnsflagday.net 2020).
    static let datagramSize: UInt16 = 1232

    /// The loop that owns it.
    public let loop: EventLoop
    private let configuration: ResolverConfiguration
    private var cache = AnswerCache()
    private var flights: [AnswerCache.Key: Flight] = [:]

    /// A forwarder that asks those servers.
    public init(_ configuration: ResolverConfiguration, on loop: EventLoop) {
        self.configuration = configuration
        self.loop = loop
    }

    /// Asks a question on the loop; the answer comes there too, perhaps at once.
    func ask(
        _ question: Question, _ options: QueryOptions = QueryOptions(),
        _ completion: @escaping (Result<[UInt8], LookupFailure>) -> Void
    ) {
        assert(loop.isOnLoop)
        let key = AnswerCache.Key(question: question, options: options)
        if let bytes = cache.answer(key, now: loop.now) { return completion(.success(bytes)) }
        if let flight = flights[key] {
            guard flight.completions.count < Self.inFlightMax else { return completion(.failure(.tooBusy)) }
            flight.completions.append(completion)
            return
        }
        guard flights.count < Self.inFlightMax else { return completion(.failure(.tooBusy)) }
        let flight = Flight(key)
        flight.completions = [completion]
        flights[key] = flight
        next(flight)
    }

    /// Tries the next server.
    private func next(_ flight: Flight) {
        flight.stop()
        let count = configuration.servers.count
        while flight.tries < count * configuration.attempts {
            let server = configuration.servers[flight.tries % count]
            flight.tries += 1
            let (query, id) = query(flight.key)
            do throws(SystemError) {
                let any: IPAddress = server.address?.isV6 == true ? .v6(high: 0, low: 0) : .v4(0)
                let socket = try Socket.datagram(on: .ip(any, port: 0))
                let exchange = try Exchange(socket, server, flight.key.question, id, on: loop) { [self] answer in
                    received(answer, server, flight)
                }
                flight.exchange = exchange
                flight.timer = loop.schedule(after: configuration.timeout) { [self] in next(flight) }
                try exchange.send(query)
                return
            } catch {
                flight.stop()  // This server cannot even be sent to; the next one perhaps.
            }
        }
        finish(flight, .failure(flight.lastCode.map(LookupFailure.refused) ?? .timedOut))
    }

    private func query(_ key: AnswerCache.Key) -> (bytes: [UInt8], id: UInt16) {
        let id = UInt16.random(in: 0...UInt16.max)
        var message = DNSMessage(id: id, question: key.question)
        message.securityBits = key.options.securityBits
        if key.options.hasEDNS {
            let flags: UInt32 = key.options.wantsSecurity ? 0x8000 : 0
            message.additionals = [
                Record(name: .root, ttl: flags, value: .other(.opt, []), recordClass: Self.datagramSize)
            ]
        }
        return (message.bytes(), id)
    }

    private func received(_ answer: (message: DNSMessage, bytes: [UInt8]), _ server: SocketAddress, _ flight: Flight) {
        guard flights[flight.key] === flight else { return }
        if answer.message.isTruncated { return askByTCP(server, flight) }
        conclude(answer, flight)
    }

    private func conclude(_ answer: (message: DNSMessage, bytes: [UInt8]), _ flight: Flight) {
        guard answer.message.code == .success || answer.message.code == .nameError else {
            flight.lastCode = answer.message.code
            return next(flight)  // Another server may know more.
        }
        cache.keep(answer.message, answer.bytes, for: flight.key, now: loop.now)
        finish(flight, .success(answer.bytes))
    }

    private func finish(_ flight: Flight, _ result: Result<[UInt8], LookupFailure>) {
        flight.stop()
        flights[flight.key] = nil
        let completions = flight.completions
        flight.completions = []
        for completion in completions { completion(result) }
    }

    private func askByTCP(_ server: SocketAddress, _ flight: Flight) {
        flight.stop()
        let (query, id) = query(flight.key)
        let timeout = configuration.timeout
        Task(executorPreference: loop) {
            let answer = await Self.exchangeByTCP(query, id, flight.key.question, server, self.loop, timeout)
            guard self.flights[flight.key] === flight else { return }
            guard let answer else { return self.next(flight) }
            self.conclude(answer, flight)
        }
    }

    private static func exchangeByTCP(
        _ query: [UInt8], _ id: UInt16, _ question: Question, _ server: SocketAddress, _ loop: EventLoop,
        _ timeout: Duration
    ) async -> (message: DNSMessage, bytes: [UInt8])? {
        guard let stream = try? await SocketStream.connect(to: server, on: loop, timeout: timeout) else { return nil }
        defer { stream.close() }
        let timer = loop.schedule(after: timeout) { stream.close() }
        defer { timer.cancel() }
        let length = [UInt8(query.count >> 8), UInt8(query.count & 0xFF)]
        guard (try? await stream.write(length + query)) != nil,
            let bytes = await readFramed(stream), let message = Exchange.check(bytes, id, question)
        else { return nil }
        return (message, bytes)
    }
}

/// Reads one message with its length in front (RFC 1035 §4.2.2); nil at the end.
func readFramed(_ stream: SocketStream) async -> [UInt8]? {
    var bytes: [UInt8] = []
    var wanted = 2
    while bytes.count < wanted {
        guard let more = try? await stream.read(upTo: wanted - bytes.count), !more.isEmpty else { return nil }
        bytes += more
        if bytes.count == 2 { wanted = 2 + Int(bytes[0]) << 8 + Int(bytes[1]) }
    }
    return Array(bytes.dropFirst(2))
}

/// One question that is under way.
///
/// Unchecked, because it never leaves the forwarder's loop.
private final class Flight: @unchecked Sendable {
    let key: AnswerCache.Key
    var completions: [(Result<[UInt8], LookupFailure>) -> Void] = []
    var tries = 0
    var lastCode: ResponseCode?
    var exchange: Exchange?
    var timer: LoopTimer?

    init(_ key: AnswerCache.Key) { self.key = key }

    func stop() {
        timer?.cancel()
        timer = nil
        exchange?.close()
        exchange = nil
    }
}

/// One query in a datagram, and the wait for its answer.
private final class Exchange: ReadinessHandler {
    private let socket: Socket
    private let server: SocketAddress
    private let question: Question
    private let id: UInt16
    private let completion: ((message: DNSMessage, bytes: [UInt8])) -> Void
    private var registration: Registration?

    init(
        _ socket: Socket, _ server: SocketAddress, _ question: Question, _ id: UInt16, on loop: EventLoop,
        _ completion: @escaping ((message: DNSMessage, bytes: [UInt8])) -> Void
    ) throws(SystemError) {
        self.socket = socket
        self.server = server
        self.question = question
        self.id = id
        self.completion = completion
        registration = try loop.register(socket.fd, self)
    }

    func send(_ query: [UInt8]) throws(SystemError) {
        let result = query.withUnsafeBytes { bytes in
            Result { () throws(SystemError) in try socket.send(bytes, to: server) }
        }
        try result.get()
    }

    func ready(_ readiness: Readiness) {
        var buffer = [UInt8](repeating: 0, count: 65_535)
        while registration != nil {
            let received = buffer.withUnsafeMutableBytes { space in try? socket.receive(into: space) }
            guard let received else { return }
            // What comes from elsewhere or answers something else is somebody's guess: wait on.
            guard received.from == server else { continue }
            let bytes = Array(buffer[..<received.count])
            guard let message = Self.check(bytes, id, question) else { continue }
            return completion((message, bytes))
        }
    }

    func close() {
        registration?.cancel()
        registration = nil
        socket.close()
    }

    /// The message, if it answers that query.
    static func check(_ bytes: [UInt8], _ id: UInt16, _ question: Question) -> DNSMessage? {
        guard DNSMessage.id(of: bytes) == id, let message = try? DNSMessage(parsing: bytes) else { return nil }
        guard message.isResponse, message.opcode == 0, message.questions == [question] else { return nil }
        return message
    }
}
