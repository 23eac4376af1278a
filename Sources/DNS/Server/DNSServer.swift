public import IO
import Telemetry

/// Answers queries on sockets that others have bound: names of the cluster from a zone, all others through a forwarder.
///
/// The module's parts: `Messages` reads and writes DNS messages, `Zone` answers for the cluster, `Resolver` asks other
/// servers, `Server` is what clients speak to, `Settings` is what an operator says (README.md).
///
/// Owned by its loop (hence unchecked): everything but `publish`, `withdraw`, `use` and `stop` is to be called there.
public final class DNSServer: @unchecked Sendable {
    /// How many queries may wait for other servers; what comes on top is answered SERVFAIL at once.
    public static let pendingMax = 1024
    /// How many of them may be of one client.
    public static let clientPendingMax = 256
    /// How many TCP connections are served at a time.
    public static let streamsMax = 64
    /// How long a TCP connection may take for one query, or between two.
    public static let streamTimeout = Duration.seconds(10)
    /// The largest datagram that we send, whatever the client would take (dnsflagday.net 2020).
    static let datagramMax = 1232

    /// What it has answered so far.
    public let counts: DNSCounts
    let loop: EventLoop
    let log = Logger("dns")
    private let forwarder: Forwarder?
    private var zone: Zone
    private var others: [(name: String, zone: any NameZone)] = []
    private var pending = 0
    private var pendingByClient: [IPAddress: Int] = [:]
    private var rotation = 0
    private var usesShortcuts = false
    var ready = ReadyAnswers()
    var limits = ClientLimits(rate: NameSettings.defaultClientRate)
    let queryLog: QueryLog
    lazy var batch = DatagramBatch()
    var streams = 0
    var sources: [DatagramSource] = []
    var listeners: [SocketListener] = []
    var hasStopped = false

    /// A server on that loop that forwards what the zone does not know; without forwarder it refuses that.
    public init(on loop: EventLoop, zone: Zone = Zone(services: []), forwarder: Forwarder?) {
        self.loop = loop
        self.zone = zone
        self.forwarder = forwarder
        counts = forwarder?.counts ?? DNSCounts()
        queryLog = QueryLog(counts)
    }

    /// Answers for the cluster from this zone from now on; from any thread.
    public func publish(_ zone: Zone) {
        loop.execute { [self] in
            self.zone = zone
            ready.clear()
        }
    }

    /// Answers from one more zone from now on, in the place of the one that had this name; from any thread.
    ///
    /// The cluster's zone is asked first, then these in the order in which their names came, then other servers.
    public func publish(_ zone: any NameZone, as name: String) {
        loop.execute { [self] in
            if let index = others.firstIndex(where: { $0.name == name }) {
                others[index].zone = zone
            } else {
                others.append((name, zone))
            }
            ready.clear()
        }
    }

    /// No longer answers from the zone of that name; from any thread.
    public func withdraw(_ name: String) {
        loop.execute { [self] in
            others.removeAll { $0.name == name }
            ready.clear()
        }
    }

    /// Does as these settings say from now on; from any thread.
    public func use(_ settings: NameSettings) {
        loop.execute { [self] in
            forwarder?.use(settings.plan)
            limits.rate = settings.clientRate
            queryLog.domains = settings.logs
            usesShortcuts = settings.usesShortcuts
            counts.settingsProblems.set(Int64(clamping: settings.problems.count))
            ready.clear()
        }
    }

    /// Who is asked for which name; nil without a forwarder.
    var forwardingPlan: ForwardingPlan? { forwarder?.plan }

    /// Ends serving and closes the sockets; from any thread.
    public func stop() {
        loop.execute { [self] in
            hasStopped = true
            for source in sources { source.close() }
            for listener in listeners { listener.close() }
            sources = []
            listeners = []
        }
    }

    /// Serves a bound socket that is given by its descriptor, which the server takes over; from any thread.
    ///
    /// - Parameters:
    ///   - isStream: whether it is a listening TCP socket.
    ///   - failed: called on the loop when it cannot be served.
    public func serve(
        descriptor: Int32, isStream: Bool, failed: @escaping @Sendable (SystemError) -> Void
    ) {
        loop.execute { [self] in
            do throws(SystemError) {
                let socket = Socket(adopting: descriptor)
                if isStream { try serve(streams: socket) } else { try serve(datagrams: socket) }
            } catch { failed(error) }
        }
    }

    /// Serves a bound UDP socket, which the server takes over.
    public func serve(datagrams socket: Socket) throws(SystemError) {
        assert(loop.isOnLoop)
        sources.append(try DatagramSource(socket, self))
    }

    /// Serves a listening TCP socket, which the server takes over.
    public func serve(streams socket: Socket) throws(SystemError) {
        assert(loop.isOnLoop)
        let listener = try SocketListener(socket, on: loop)
        listeners.append(listener)
        Task(executorPreference: loop) { await self.accept(from: listener) }
    }
}

extension DNSServer {
    /// Answers one query; `reply` gets nothing when there is nothing to say (a response, or no header).
    ///
    /// - Parameters:
    ///   - limit: the longest answer; nil: what a datagram may be.
    ///   - client: who asks.
    ///   - plain: the same query as it was looked for among the ready answers.
    func handle(
        _ bytes: [UInt8], limit: Int?, from client: SocketAddress? = nil, plain: PlainQuery? = nil,
        _ reply: @escaping ([UInt8]?) -> Void
    ) {
        let query: DNSMessage
        do throws(DNSFormatError) {
            query = try DNSMessage(parsing: bytes)
        } catch {
            guard let answer = Self.formatError(bytes) else { return reply(nil) }
            count(limit == nil)
            counts.otherAnswers.add()
            return reply(answer)
        }
        guard !query.isResponse else { return reply(nil) }  // Answering answers makes loops.
        count(limit == nil)
        let exchange = ClientExchange(
            self, query, bytes.count, limit: limit, client: client, plain: plain, generation: ready.generation, reply)
        if let version = query.optionsVersion, version > 0 {
            return exchange.finish(query.response(.success), .nobody, extendedCode: 1)  // BADVERS, 16.
        }
        guard query.opcode == 0 else { return exchange.finish(query.response(.notImplemented), .nobody) }
        guard query.questions.count == 1, let question = query.questions.first else {
            return exchange.finish(query.response(.formatError), .nobody)
        }
        // Zones are transferred to nobody.
        guard question.recordClass == Question.internet, !RecordType.transfers.contains(question.type) else {
            return exchange.finish(query.response(.refused), .nobody)
        }
        rotation &+= 1
        guard let answer = answer(question) else { return forward(exchange, question) }
        var response = query.response(answer.code)
        response.isAuthoritative = true
        response.answers = answer.answers
        response.authorities = answer.authorities
        response.additionals = answer.additionals
        guard let target = answer.pending, question.type != .cname, question.type != .any else {
            return exchange.finish(response, .zone, isLasting: true)
        }
        ask(Question(name: target, type: question.type), QueryOptions(), client) { result in
            if case .success(let answer) = result, let more = try? DNSMessage(parsing: answer.bytes) {
                response.answers += more.answers
                if more.answers.isEmpty { response.authorities = more.authorities }
                response.code = more.code
            } else {
                response.code = .serverFailure
            }
            exchange.finish(response, .servers)
        }
    }

    /// Writes at once that there is no such name in the cluster, into `space`; how long that is, or nil where it takes more to know.
    func deny(
        _ query: PlainQuery, _ datagram: UnsafeRawBufferPointer, into space: UnsafeMutableRawBufferPointer
    ) -> Int? {
        guard !usesShortcuts else { return nil }
        let end = PlainQuery.questionStart + query.nameLength
        let name = Name(wire: Array(datagram[PlainQuery.questionStart..<(end - 1)]))
        guard let record = zone.denial(of: name) else { return nil }
        let question = PlainQuery.questionStart + query.questionLength
        let option = query.datagramSize == nil ? [] : Self.optionRecord(wantsSecurity: query.options & 0b1000 != 0)
        let count = question + 2 + record.count + option.count
        // Shorter than every client takes.
        guard count <= 512, count <= space.count else { return nil }
        space.copyMemory(from: UnsafeRawBufferPointer(rebasing: datagram[..<question]))
        let pointer = 0xC000 | UInt16(end - zone.domainLength)
        space[question] = UInt8(pointer >> 8)
        space[question + 1] = UInt8(pointer & 0xFF)
        UnsafeMutableRawBufferPointer(rebasing: space[(question + 2)...]).copyBytes(from: record)
        UnsafeMutableRawBufferPointer(rebasing: space[(count - option.count)...]).copyBytes(from: option)
        // A response, with authority; RD as it came, RA.
        space[2] = 0x84 | datagram[2] & 1
        space[3] = 0x80 | ResponseCode.nameError.rawValue
        for index in 4..<12 { space[index] = 0 }
        space[5] = 1
        space[9] = 1
        space[11] = option.isEmpty ? 0 : 1
        return count
    }

    private func count(_ isDatagram: Bool) { (isDatagram ? counts.datagrams : counts.streamQueries).add() }

    /// What our zones say, with the short cut through a client's search path where that is switched on.
    private func answer(_ question: Question) -> Zone.Answer? {
        guard let answer = zone.answer(question, rotation: rotation) else {
            return others.lazy.compactMap { $0.zone.answer(question, rotation: self.rotation) }.first
        }
        guard usesShortcuts, answer.code == .nameError, question.type == .a || question.type == .aaaa,
            let real = zone.searched(question.name)
        else { return answer }
        var shortcut = Zone.Answer()
        let target = zone.shortcut(real) ?? real
        shortcut.answers = [Record(name: question.name, ttl: Zone.ttl, value: .cname(target))]
        let next = Question(name: target, type: question.type)
        guard
            let found = zone.answer(next, rotation: rotation)
                ?? others.lazy.compactMap({ $0.zone.answer(next, rotation: self.rotation) }).first
        else {
            shortcut.pending = real
            return shortcut
        }
        guard found.code == .success else { return answer }
        shortcut.answers += found.answers
        shortcut.authorities = found.authorities
        shortcut.pending = found.pending
        return shortcut
    }

    private func forward(_ exchange: ClientExchange, _ question: Question) {
        let query = exchange.query
        guard forwarder != nil, query.wantsRecursion else { return exchange.finish(query.response(.refused), .nobody) }
        ask(question, QueryOptions(query), exchange.client) { result in
            switch result {
            case .success(let answer) where answer.bytes.count >= 12 + question.name.wire.count:
                exchange.finish(answer, question)
            case .failure(.refused(.refused)): exchange.finish(query.response(.refused), .servers)
            default: exchange.finish(query.response(.serverFailure), .servers)
            }
        }
    }

    private func ask(
        _ question: Question, _ options: QueryOptions, _ client: SocketAddress?,
        _ completion: @escaping (Result<ForwardedAnswer, LookupFailure>) -> Void
    ) {
        let address = client?.address ?? .v4(0)
        guard let forwarder, pending < Self.pendingMax, pendingByClient[address, default: 0] < Self.clientPendingMax
        else {
            if forwarder != nil { counts.crowded.add() }
            return completion(.failure(.tooBusy))
        }
        pending += 1
        pendingByClient[address, default: 0] += 1
        forwarder.ask(question, options) { [self] result in
            pending -= 1
            pendingByClient[address, default: 1] -= 1
            if pendingByClient[address] == 0 { pendingByClient[address] = nil }
            completion(result)
        }
    }

    /// The answer to bytes that have the header of a query and are none.
    private static func formatError(_ bytes: [UInt8]) -> [UInt8]? {
        guard let id = DNSMessage.id(of: bytes), bytes[2] & 0x80 == 0 else { return nil }
        var response = DNSMessage()
        response.id = id
        response.isResponse = true
        response.opcode = bytes[2] >> 3 & 0xF
        response.code = .formatError
        return response.bytes()
    }

    /// Our OPT record: the size of datagrams that we take, and the client's DO bit (RFC 3225 §3).
    static func optionRecord(wantsSecurity: Bool, extendedCode: UInt8 = 0) -> [UInt8] {
        let size = Forwarder.datagramSize
        return [
            0, 0, 41, UInt8(size >> 8), UInt8(size & 0xFF), extendedCode, 0, wantsSecurity ? 0x80 : 0, 0, 0, 0,
        ]
    }
}

/// One query of a client, until it is answered.
final class ClientExchange {
    let query: DNSMessage
    let client: SocketAddress?
    private let server: DNSServer
    private let queryBytes: Int
    private let limit: Int
    private let isDatagram: Bool
    private let plain: PlainQuery?
    private let generation: UInt32
    private let begin: MonotonicTime
    private let reply: ([UInt8]?) -> Void

    init(
        _ server: DNSServer, _ query: DNSMessage, _ queryBytes: Int, limit: Int?, client: SocketAddress?,
        plain: PlainQuery?, generation: UInt32, _ reply: @escaping ([UInt8]?) -> Void
    ) {
        self.server = server
        self.query = query
        self.queryBytes = queryBytes
        self.limit = limit ?? min(query.datagramSize ?? 512, DNSServer.datagramMax)
        isDatagram = limit == nil
        self.client = client
        self.plain = plain
        self.generation = generation
        begin = server.queryLog.isOn ? .now : server.loop.now
        self.reply = reply
    }

    private var optionBytes: Int { query.datagramSize == nil ? 0 : 11 }

    /// Answers with a message.
    ///
    /// - Parameter isLasting: Whether the same may be said again until the zones change.
    func finish(
        _ response: DNSMessage, _ source: LoggedQuery.Source, isLasting: Bool = false, extendedCode: UInt8 = 0
    ) {
        let bytes = response.bytes(limit: limit - optionBytes)
        if isLasting { keep(bytes, until: MonotonicTime(nanoseconds: .max), ages: false) }
        if source == .zone { server.counts.fromZone.add() }
        send(bytes, source, extendedCode: extendedCode)
    }

    /// Answers with what another server has said.
    func finish(_ answer: ForwardedAnswer, _ question: Question) {
        let source: LoggedQuery.Source
        switch answer.source {
        case .server:
            source = .servers
            server.counts.fromServers.add()
        case .cache:
            source = .cache
            server.counts.fromCache.add()
        case .stale:
            source = .stale
            server.counts.fromStale.add()
        }
        guard answer.bytes.count + optionBytes <= limit else {
            var response = query.response(.success)
            response.isTruncated = true
            return send(response.bytes(limit: limit), source)
        }
        var bytes = answer.bytes
        bytes[0] = UInt8(query.id >> 8)
        bytes[1] = UInt8(query.id & 0xFF)
        // The name in the letters of this client: the answer may have been made for another one.
        bytes.replaceSubrange(12..<(12 + question.name.wire.count), with: question.name.wire)
        if let expires = answer.expires { keep(bytes, until: expires, ages: true) }
        send(bytes, source)
    }

    private func keep(_ bytes: [UInt8], until expires: MonotonicTime, ages: Bool) {
        // Zones that have changed meanwhile may say something else.
        guard let plain, generation == server.ready.generation, bytes.count >= 12 + plain.questionLength,
            bytes[2] & 0x02 == 0
        else { return }
        bytes.withUnsafeBytes { bytes in
            let question = UnsafeRawBufferPointer(rebasing: bytes[12..<(12 + plain.questionLength)])
            server.ready.keep(
                Array(bytes), for: plain, question, now: server.loop.now, expires: expires, ages: ages)
        }
    }

    private func send(_ bytes: [UInt8], _ source: LoggedQuery.Source, extendedCode: UInt8 = 0) {
        var bytes = bytes
        if query.datagramSize != nil {
            bytes += DNSServer.optionRecord(
                wantsSecurity: QueryOptions(query).wantsSecurity, extendedCode: extendedCode)
            let count = (UInt16(bytes[10]) << 8 | UInt16(bytes[11])) &+ 1
            bytes[10] = UInt8(count >> 8)
            bytes[11] = UInt8(count & 0xFF)
        }
        if bytes[2] & 0x02 != 0 { server.counts.truncated.add() }
        let code = bytes[3] & 0x0F
        server.counts.answered(code)
        if server.queryLog.isOn {
            let now = MonotonicTime.now
            server.queryLog.write(
                LoggedQuery(
                    client: client, transport: isDatagram ? "udp" : "tcp", question: query.questions.first,
                    code: ResponseCode(rawValue: code), source: source, duration: now - begin, queryBytes: queryBytes,
                    answerBytes: bytes.count), now: now)
        }
        reply(bytes)
    }
}
