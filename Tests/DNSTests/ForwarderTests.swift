import IO
import Synchronization
import TLS
import Telemetry
import Testing

@testable import DNS

/// What a forwarder answers.
private func ask(
    _ forwarder: Forwarder, _ text: String, _ type: RecordType = .a
) async -> Result<ForwardedAnswer, LookupFailure> {
    await withCheckedContinuation { continuation in
        forwarder.ask(Question(name: name(text), type: type)) { continuation.resume(returning: $0) }
    }
}

private func addresses(_ result: Result<ForwardedAnswer, LookupFailure>) throws -> [IPAddress] {
    try DNSMessage(parsing: result.get().bytes).answers.compactMap {
        if case .address(let address) = $0.value { address } else { nil }
    }
}

private func plan(_ server: Upstream) -> ForwardingPlan {
    var group = UpstreamGroup([server])
    group.timeout = .seconds(10)
    return ForwardingPlan(group)
}

/// A server behind TLS that answers every query with one address.
private final class TLSServer: @unchecked Sendable {
    let address: SocketAddress
    let connections = Mutex(0)
    private let context: TLSContext

    init(_ identity: TLSIdentity, on loop: EventLoop) throws {
        var configuration = TLSConfiguration()
        configuration.identities = [identity]
        configuration.peerCertificate = .notVerified
        configuration.applicationProtocols = ["dot"]
        context = try TLSContext(configuration, role: .server)
        let socket = try Socket.listen(on: .ip(.v4(0x7F00_0001), port: 0))
        address = try #require(socket.localAddress)
        let listener = try SocketListener(socket, on: loop)
        Task(executorPreference: loop) {
            while let socket = try? await listener.accept(), let stream = try? SocketStream(socket, on: loop) {
                Task(executorPreference: loop) { await self.serve(stream) }
            }
        }
    }

    private func serve(_ plain: SocketStream) async {
        guard let stream = try? await TLSStream.accept(plain, context) else { return }
        connections.withLock { $0 += 1 }
        while let bytes = await readFramed(stream), let query = try? DNSMessage(parsing: bytes) {
            let answer = addressAnswer(query, [.v4(0x0505_0505)]).bytes()
            try? await stream.write([UInt8(answer.count >> 8), UInt8(answer.count & 0xFF)] + answer)
        }
        stream.close()
    }
}

@Suite("Forwarding")
struct ForwarderTests {
    private static let one = IPAddress.v4(0x0102_0304)

    @Test("ATK-43 each question goes out in random letters, from a random port; an answer in others counts by TCP only")
    func letters() async throws {
        let long = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnop.example"
        try await onLoop { loop in
            let names = Mutex<Set<[UInt8]>>([])
            let server = try ScriptedServer(on: loop) { query, byTCP in
                names.withLock { set in for question in query.questions where !byTCP { set.insert(question.name.wire) }
                }
                var answer = addressAnswer(query, [byTCP ? Self.one : .v4(6)])
                if !byTCP { answer.questions = [Question(name: name(long), type: .a)] }
                return [answer.bytes()]
            }
            for _ in 0..<4 {
                let forwarder = Forwarder(plan(Upstream(server.address)), on: loop)
                #expect(try addresses(await ask(forwarder, long)) == [Self.one])
                #expect(forwarder.counts.otherLetters.value == 1)
                #expect(forwarder.counts.askedByStream.value == 1)
            }
            #expect(names.withLock(\.count) > 1)
        }
    }

    @Test("the servers of the longest domain are asked; of a domain without servers nobody is")
    func domains() async throws {
        try await onLoop { loop in
            let outside = try ScriptedServer(on: loop) { query, _ in [addressAnswer(query, [.v4(1)]).bytes()] }
            let company = try ScriptedServer(on: loop) { query, _ in [addressAnswer(query, [.v4(2)]).bytes()] }
            let plan = ForwardingPlan([
                .root: UpstreamGroup([Upstream(outside.address)]),
                name("corp.example"): UpstreamGroup([Upstream(company.address)]),
                name("closed.corp.example"): UpstreamGroup([]),
            ])
            let forwarder = Forwarder(plan, on: loop)
            #expect(try addresses(await ask(forwarder, "www.example")) == [.v4(1)])
            #expect(try addresses(await ask(forwarder, "corp.example")) == [.v4(2)])
            #expect(try addresses(await ask(forwarder, "a.b.CORP.example")) == [.v4(2)])
            #expect(try addresses(await ask(forwarder, "xcorp.example")) == [.v4(1)])
            let closed = await ask(forwarder, "x.closed.corp.example")
            #expect(throws: LookupFailure.refused(.refused)) { try closed.get() }
            // Another plan: what the old servers have said is forgotten.
            forwarder.use(ForwardingPlan(UpstreamGroup([Upstream(company.address)])))
            #expect(try addresses(await ask(forwarder, "www.example")) == [.v4(2)])
        }
    }

    @Test("questions go by TLS over one connection, to a server that has the right certificate only")
    func overTLS() async throws {
        let now: Int64 = WallClock.now.seconds
        let authority = try CertificateAuthority.make(
            subject: DistinguishedName(commonName: "names"), key: PrivateKey.makeP256(), notBefore: now - 3600,
            notAfter: now + 3600)
        let key = try PrivateKey.makeP256()
        let leaf = CertificateAuthority.Leaf(
            subject: DistinguishedName(commonName: "dns"), alternativeNames: [.dns("dns.example")], usage: .server,
            notBefore: now - 3600, notAfter: now + 3600)
        let identity = TLSIdentity(chain: [try authority.sign(leaf, for: key.publicKey)], key: key)
        let file = "/tmp/skein-dns-\(UInt64.random(in: 0 ... .max)).pem"
        try File.write(file, authority.certificate.pem, mode: 0o600)
        defer { try? File.remove(file) }
        try await onLoop { loop in
            let server = try TLSServer(identity, on: loop)
            let good = Forwarder(
                plan(Upstream(server.address, .tls(serverName: "dns.example", authorities: file))), on: loop)
            for index in 0..<3 {
                #expect(try addresses(await ask(good, "n\(index).example")) == [.v4(0x0505_0505)])
            }
            #expect(server.connections.withLock(\.self) == 1)
            #expect(good.counts.askedByTLS.value == 3)
            let wrong = Forwarder(
                plan(Upstream(server.address, .tls(serverName: "other.example", authorities: file))), on: loop)
            let refused = await ask(wrong, "n.example")
            #expect(throws: LookupFailure.timedOut) { try refused.get() }
            #expect(wrong.counts.tlsFailures.value == 2)
            let strange = Forwarder(
                plan(Upstream(server.address, .tls(serverName: "dns.example", authorities: nil))), on: loop)
            let untrusted = await ask(strange, "n.example")
            #expect(throws: LookupFailure.timedOut) { try untrusted.get() }
        }
    }

    @Test("many questions by TCP share a connection, and each gets its own answer")
    func pipelined() async throws {
        try await onLoop { loop in
            let backend = DNSServer(on: loop, zone: ZoneTests.zone, forwarder: nil)
            let (datagrams, streams) = try samePort()
            let address = try #require(streams.localAddress)
            try backend.serve(datagrams: datagrams)
            try backend.serve(streams: streams)
            let forwarder = Forwarder(plan(Upstream(address, .stream)), on: loop)
            let left = Mutex(20)
            await withCheckedContinuation { continuation in
                for index in 0..<20 {
                    let text = index % 2 == 0 ? "web.default.svc.cluster.local" : "db.shop.svc.cluster.local"
                    forwarder.ask(
                        Question(
                            name: name("\(text)"), type: index < 2 ? .a : RecordType(rawValue: UInt16(300 + index)))
                    ) {
                        if index < 2 { #expect((try? addresses($0).count) == index + 1) }
                        let isLast = left.withLock { left in
                            left -= 1
                            return left == 0
                        }
                        if isLast { continuation.resume() }
                    }
                }
            }
            #expect(forwarder.counts.askedByStream.value == 20)
            #expect(backend.counts.streamQueries.value == 20)
            backend.stop()
        }
    }

    @Test("an answer that has ended is given while no server answers, with a TTL of 30 seconds")
    func stale() async throws {
        try await onLoop { loop in
            let isLame = Atomic(false)
            let server = try ScriptedServer(on: loop) { query, _ in
                isLame.load(ordering: .relaxed)
                    ? [query.response(.serverFailure).bytes()] : [addressAnswer(query, [Self.one], ttl: 1).bytes()]
            }
            let forwarder = Forwarder(plan(Upstream(server.address)), on: loop)
            #expect(try await ask(forwarder, "a.example").get().source == .server)
            isLame.store(true, ordering: .relaxed)
            await loop.sleep(for: .milliseconds(1100))
            let old = try await ask(forwarder, "a.example").get()
            #expect(old.source == .stale && old.expires == nil)
            #expect(try DNSMessage(parsing: old.bytes).answers.first?.ttl == AnswerCache.staleTTL)
            let asked = server.asked.withLock(\.count)
            // The servers have just failed: they are left alone.
            #expect(try await ask(forwarder, "a.example").get().source == .stale)
            #expect(server.asked.withLock(\.count) == asked)
        }
    }

    @Test("an answer that has ended is there for as long as was said, and no longer")
    func staleBound() throws {
        var cache = AnswerCache()
        cache.settings.staleMax = .seconds(100)
        let start = MonotonicTime(nanoseconds: 1_000_000_000)
        let message = addressAnswer(
            DNSMessage(id: 1, question: Question(name: name("x"), type: .a)), [Self.one], ttl: 10)
        let key = AnswerCache.Key(question: Question(name: name("X"), type: .a), options: QueryOptions())
        cache.keep(message, message.bytes(), for: key, now: start)
        let ended = cache.answer(key, now: start + .seconds(10))
        #expect(ended?.isStale == true)
        cache.fail(key, .timedOut, now: start + .seconds(10))
        let failed = cache.answer(key, now: start + .seconds(20))
        #expect(failed?.hasFailed == true)
        let tried = cache.answer(key, now: start + .seconds(41))
        #expect(tried?.hasFailed == false)
        let gone = cache.answer(key, now: start + .seconds(110))
        #expect(gone == nil)
    }

    @Test("a question that nobody could answer is not asked again at once")
    func failures() async throws {
        try await onLoop { loop in
            let lame = try ScriptedServer(on: loop) { query, _ in [query.response(.serverFailure).bytes()] }
            var plan = plan(Upstream(lame.address))
            plan.cache.failureTTL = .seconds(300)
            let forwarder = Forwarder(plan, on: loop)
            for _ in 0..<3 {
                let answer = await ask(forwarder, "a.example")
                #expect(throws: LookupFailure.refused(.serverFailure)) { try answer.get() }
            }
            #expect(lame.asked.withLock(\.count) == 2)
        }
    }

    @Test("a server that does not understand EDNS is asked without")
    func plainServer() async throws {
        try await onLoop { loop in
            let old = try ScriptedServer(on: loop) { query, _ in
                query.datagramSize == nil
                    ? [addressAnswer(query, [Self.one]).bytes()] : [query.response(.formatError).bytes()]
            }
            let forwarder = Forwarder(plan(Upstream(old.address)), on: loop)
            #expect(try addresses(await ask(forwarder, "a.example")) == [Self.one])
            #expect(try addresses(await ask(forwarder, "b.example")) == [Self.one])
            #expect(old.asked.withLock(\.count) == 3)
        }
    }

    @Test("where nobody listens the next server is asked at once, and first from then on")
    func unreachable() async throws {
        try await onLoop { loop in
            let gone = try Socket.datagram(on: .ip(.v4(0x7F00_0001), port: 0))
            let nowhere = try #require(gone.localAddress)
            gone.close()
            let good = try ScriptedServer(on: loop) { query, _ in [addressAnswer(query, [Self.one]).bytes()] }
            var group = UpstreamGroup([Upstream(nowhere), Upstream(good.address)])
            group.timeout = .seconds(30)
            let forwarder = Forwarder(ForwardingPlan(group), on: loop)
            #expect(try addresses(await ask(forwarder, "a.example")) == [Self.one])
            #expect(try addresses(await ask(forwarder, "b.example")) == [Self.one])
            #expect(forwarder.counts.upstreamTimeouts.value == 0)
            #expect(forwarder.counts.askedByDatagram.value == 3)
        }
    }
}
