public import IO
import Telemetry

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
    var wantsSecurity = false
    var securityBits: UInt8 = 0

    init() {}

    init(_ query: DNSMessage) {
        if let options = query.additionals.first(where: { $0.type == .opt }) {
            wantsSecurity = options.ttl & 0x8000 != 0  // The bit DO (RFC 3225).
        }
        securityBits = query.securityBits
    }
}

/// An answer of another server.
struct ForwardedAnswer {
    /// Where it comes from.
    enum Source {
        case server
        case cache
        /// From the cache after its end, because no server answers.
        case stale
    }

    /// The message, without the OPT record of whoever made it.
    var bytes: [UInt8]
    /// Until when it may be given again as it is; nil: not at all.
    var expires: MonotonicTime?
    var source: Source
}

/// Asks other servers: by UDP, by TCP when the answer did not fit, or by TLS; each server in turn; and remembers the answers.
///
/// Each query in a datagram has a random id, a socket of its own and so a random port, and random letters in its name (0x20);
/// only an answer from the asked server to the asked question in these letters counts. Equal questions that are under way are
/// asked once. Owned by its loop: everything is to be called there (hence unchecked).
public final class Forwarder: @unchecked Sendable {
    /// How many questions may be under way.
    public static let inFlightMax = 512
    /// The size of datagrams that we take: what passes everywhere in one piece (dnsflagday.net 2020).
    static let datagramSize: UInt16 = 1232
    /// When a server has not answered, others are asked first for so long.
    static let avoidance = Duration.seconds(10)
    /// How long a client waits while there is an answer that has ended (RFC 8767 §5).
    static let stalePatience = Duration.milliseconds(700)

    /// The loop that owns it.
    public let loop: EventLoop
    /// What it has done.
    public let counts: DNSCounts
    private(set) var plan: ForwardingPlan
    private var cache = AnswerCache()
    private var flights: [AnswerCache.Key: Flight] = [:]
    private var streams: [Upstream: UpstreamStream] = [:]
    private var avoided: [Upstream: MonotonicTime] = [:]
    /// Servers that do not understand EDNS.
    private var plain: Set<Upstream> = []
    private var turn = 0
    private var generator = SystemRandomNumberGenerator()

    /// A forwarder that asks those servers.
    public convenience init(_ configuration: ResolverConfiguration, on loop: EventLoop) {
        var plan = ForwardingPlan(UpstreamGroup(configuration))
        if let ttlMax = configuration.ttlMax { plan.cache.ttlMax = ttlMax }
        self.init(plan, on: loop)
    }

    /// A forwarder of that plan, which counts there.
    public init(_ plan: ForwardingPlan, on loop: EventLoop, counts: DNSCounts = DNSCounts()) {
        self.plan = plan
        self.loop = loop
        self.counts = counts
        cache.settings = plan.cache
    }

    /// Asks by another plan from now on, and forgets what servers of the old one have said; on the loop.
    public func use(_ plan: ForwardingPlan) {
        assert(loop.isOnLoop)
        guard plan != self.plan else { return }
        self.plan = plan
        cache = AnswerCache()
        cache.settings = plan.cache
        plain = []
        avoided = [:]
        // What is under way ends as it was begun.
        let left = streams.values
        streams = [:]
        for stream in left { stream.close() }
        tellSizes()
    }

    private func tellSizes() {
        counts.cacheEntries.set(Int64(clamping: cache.count))
        counts.cacheBytes.set(Int64(clamping: cache.byteCount))
    }

    /// Asks a question on the loop; the answer comes there too, perhaps at once.
    func ask(
        _ question: Question, _ options: QueryOptions = QueryOptions(),
        _ completion: @escaping (Result<ForwardedAnswer, LookupFailure>) -> Void
    ) {
        assert(loop.isOnLoop)
        let key = AnswerCache.Key(question: question, options: options)
        let hit = cache.answer(key, now: loop.now)
        if let hit, !hit.isStale {
            return completion(.success(ForwardedAnswer(bytes: hit.bytes, expires: hit.expires, source: .cache)))
        }
        let stale = hit.map { ForwardedAnswer(bytes: $0.bytes, expires: nil, source: .stale) }
        if let stale, hit?.hasFailed == true { return completion(.success(stale)) }
        if let flight = flights[key] {
            if let stale, flight.hasWaited { return completion(.success(stale)) }
            guard flight.completions.count < Self.inFlightMax else { return completion(.failure(.tooBusy)) }
            flight.completions.append(completion)
            return
        }
        if stale == nil, let failure = cache.failure(key, now: loop.now) { return completion(.failure(failure)) }
        guard let group = plan.group(for: question.name), !group.servers.isEmpty else {
            return completion(.failure(.refused(.refused)))
        }
        guard flights.count < Self.inFlightMax else {
            return completion(stale.map(Result.success) ?? .failure(.tooBusy))
        }
        let flight = Flight(key, group, order(group))
        flight.completions = [completion]
        flight.stale = stale
        flights[key] = flight
        if let stale {
            flight.patience = loop.schedule(after: Self.stalePatience) {
                flight.hasWaited = true
                flight.tell(.success(stale))
            }
        }
        next(flight)
    }

    /// In which order servers are asked: those that have not answered lately last.
    private func order(_ group: UpstreamGroup) -> [Upstream] {
        var servers = group.servers
        if group.rotates {
            turn &+= 1
            let first = Int(turn.magnitude % UInt(servers.count))
            servers = Array(servers[first...] + servers[..<first])
        }
        guard !avoided.isEmpty else { return servers }
        avoided = avoided.filter { loop.now < $0.value }
        return servers.filter { avoided[$0] == nil } + servers.filter { avoided[$0] != nil }
    }

    /// Tries the next server.
    private func next(_ flight: Flight) {
        flight.stop()
        guard flight.tries < flight.order.count * flight.group.attempts else {
            return fail(flight, flight.lastCode.map(LookupFailure.refused) ?? .timedOut)
        }
        let server = flight.order[flight.tries % flight.order.count]
        flight.tries += 1
        attempt(server, flight)
    }

    private func attempt(_ server: Upstream, _ flight: Flight) {
        flight.stop()
        let sent = counts.asked(server.transport)
        guard case .datagrams = server.transport else {
            sent.add()
            return askByStream(server, flight)
        }
        let id = UInt16.random(in: 0...UInt16.max, using: &generator)
        var question = flight.key.question
        question.name = question.name.mixed(using: &generator)
        do throws(SystemError) {
            let exchange = try Exchange(server.address, question, id, on: loop) { [self] reply in
                received(reply, server, flight)
            }
            flight.cancel = { exchange.close() }
            wait(for: server, flight)
            sent.add()
            try exchange.send(query(flight.key, question, id, to: server))
        } catch {
            unanswered(server)
            // This server cannot even be sent to; the next one perhaps.
            next(flight)
        }
    }

    private func wait(for server: Upstream, _ flight: Flight) {
        flight.timer = loop.schedule(after: flight.group.timeout) { [self] in
            counts.upstreamTimeouts.add()
            unanswered(server)
            next(flight)
        }
    }

    private func unanswered(_ server: Upstream) { avoided[server] = loop.now + Self.avoidance }

    private func query(_ key: AnswerCache.Key, _ question: Question, _ id: UInt16, to server: Upstream) -> [UInt8] {
        var message = DNSMessage(id: id, question: question)
        message.securityBits = key.options.securityBits
        if !plain.contains(server) {
            let flags: UInt32 = key.options.wantsSecurity ? 0x8000 : 0
            message.additionals = [
                Record(name: .root, ttl: flags, value: .other(.opt, []), recordClass: Self.datagramSize)
            ]
        }
        return message.bytes()
    }

    private func received(_ reply: Reply, _ server: Upstream, _ flight: Flight) {
        guard flights[flight.key] === flight else { return }
        switch reply {
        case .answer(let message, _) where message.isTruncated: askByStream(server, flight)
        case .answer(let message, let bytes): conclude(message, bytes, server, flight)
        case .otherLetters:
            counts.otherLetters.add()
            askByStream(server, flight)
        case .unreachable:
            unanswered(server)
            next(flight)
        }
    }

    private func askByStream(_ server: Upstream, _ flight: Flight) {
        flight.stop()
        if case .datagrams = server.transport { counts.askedByStream.add() }
        let stream: UpstreamStream
        if let known = streams[server] {
            stream = known
        } else {
            stream = UpstreamStream(server, timeout: flight.group.timeout, on: loop, counts)
            streams[server] = stream
        }
        let id = UInt16.random(in: 0...UInt16.max, using: &generator)
        let question = flight.key.question
        wait(for: server, flight)
        var isAnswered = false
        let cancel = stream.ask(query(flight.key, question, id, to: server), id, question) { [self] reply in
            isAnswered = true
            guard flights[flight.key] === flight else { return }
            guard case .answer(let message, let bytes)? = reply, !message.isTruncated else {
                unanswered(server)
                // Not in the middle of what the connection is doing.
                return loop.execute { [self] in if flights[flight.key] === flight { next(flight) } }
            }
            conclude(message, bytes, server, flight)
        }
        if !isAnswered { flight.cancel = cancel }
    }

    private func conclude(_ message: DNSMessage, _ bytes: [UInt8], _ server: Upstream, _ flight: Flight) {
        avoided[server] = nil
        let hasOptions = !plain.contains(server)
        if hasOptions, message.code == .formatError || message.code == .notImplemented || message.hasExtendedCode {
            // An old server, or one that dislikes what we say of ourselves (RFC 6891 §6.2.2): once more, plainly.
            if plain.count >= 1000 { plain = [] }
            plain.insert(server)
            return attempt(server, flight)
        }
        guard message.code == .success || message.code == .nameError else {
            flight.lastCode = message.code
            return next(flight)  // Another server may know more.
        }
        let bytes = message.withoutOptions(bytes)
        let expires = cache.keep(message, bytes, for: flight.key, now: loop.now)
        finish(flight, .success(ForwardedAnswer(bytes: bytes, expires: expires, source: .server)))
    }

    private func fail(_ flight: Flight, _ failure: LookupFailure) {
        counts.upstreamFailures.add()
        cache.fail(flight.key, failure, now: loop.now)
        finish(flight, flight.stale.map(Result.success) ?? .failure(failure))
    }

    private func finish(_ flight: Flight, _ result: Result<ForwardedAnswer, LookupFailure>) {
        flight.stop()
        flight.patience?.cancel()
        flights[flight.key] = nil
        tellSizes()
        flight.tell(result)
    }
}

/// One question that is under way.
///
/// Unchecked, because it never leaves the forwarder's loop.
private final class Flight: @unchecked Sendable {
    let key: AnswerCache.Key
    let group: UpstreamGroup
    let order: [Upstream]
    var completions: [(Result<ForwardedAnswer, LookupFailure>) -> Void] = []
    /// An answer that has ended, for when no other comes.
    var stale: ForwardedAnswer?
    var patience: LoopTimer?
    /// Whether everybody was told what there was, because no answer came.
    var hasWaited = false
    var tries = 0
    var lastCode: ResponseCode?
    var cancel: (() -> Void)?
    var timer: LoopTimer?

    init(_ key: AnswerCache.Key, _ group: UpstreamGroup, _ order: [Upstream]) {
        self.key = key
        self.group = group
        self.order = order
    }

    func stop() {
        timer?.cancel()
        timer = nil
        let cancel = cancel
        self.cancel = nil
        cancel?()
    }

    /// Answers everybody who waits.
    func tell(_ result: Result<ForwardedAnswer, LookupFailure>) {
        let completions = completions
        self.completions = []
        for completion in completions { completion(result) }
    }
}
