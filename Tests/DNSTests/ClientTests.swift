import IO
import Telemetry
import Testing

@testable import DNS

/// A client with a socket of its own.
private final class Client: ReadinessHandler, @unchecked Sendable {
    private let socket: Socket
    private var registration: Registration?
    private var waiter: CheckedContinuation<[UInt8], Never>?

    init(_ server: SocketAddress, on loop: EventLoop) throws {
        socket = try Socket.datagram(connectedTo: server)
        registration = try loop.register(socket.fd, self)
    }

    func ready(_ readiness: Readiness) {
        var buffer = [UInt8](repeating: 0, count: 4096)
        while let received = buffer.withUnsafeMutableBytes({ space in try? socket.receiveDatagram(into: space) }) {
            waiter?.resume(returning: Array(buffer[..<received.count]))
            waiter = nil
        }
    }

    func ask(_ bytes: [UInt8]) async -> [UInt8] {
        await withCheckedContinuation { continuation in
            waiter = continuation
            bytes.withUnsafeBytes { try? socket.sendDatagram($0) }
        }
    }

    func ask(_ query: DNSMessage) async throws -> DNSMessage { try DNSMessage(parsing: await ask(query.bytes())) }
}

private func withEDNS(_ query: DNSMessage, size: UInt16 = 4096, flags: UInt32 = 0) -> DNSMessage {
    var query = query
    query.additionals = [Record(name: .root, ttl: flags, value: .other(.opt, []), recordClass: size)]
    return query
}

private func query(_ text: String, _ type: RecordType = .a, id: UInt16 = 7) -> DNSMessage {
    DNSMessage(id: id, question: Question(name: name(text), type: type))
}

/// A server of the test's zone and a client of it.
private func withServer(
    _ forwarder: @escaping @Sendable (EventLoop) throws -> Forwarder? = { _ in nil },
    _ body: @escaping @Sendable (DNSServer, Client, EventLoop) async throws -> Void
) async throws {
    try await onLoop { loop in
        let server = DNSServer(on: loop, zone: ZoneTests.zone, forwarder: try forwarder(loop))
        let socket = try Socket.datagram(on: .ip(.v4(0x7F00_0001), port: 0))
        let address = try #require(socket.localAddress)
        try server.serve(datagrams: socket)
        try await body(server, try Client(address, on: loop), loop)
        server.stop()
    }
}

/// A zone of somebody else's.
private struct OtherZone: NameZone {
    func answer(_ question: Question, rotation: Int) -> Zone.Answer? {
        guard question.name.isWithin(name("consul")) else { return nil }
        var answer = Zone.Answer()
        answer.answers = [Record(name: question.name, ttl: 1, value: .address(.v4(9)))]
        return answer
    }
}

@Suite("What clients of the name server see")
struct ClientTests {
    @Test("a question that comes again is answered by the bytes kept, in the letters, id and size of this client")
    func ready() async throws {
        try await withServer { server, client, _ async throws in
            let first = try await client.ask(query("web.default.svc.cluster.local"))
            #expect(server.counts.fromReady.value == 0)
            var again = try await client.ask(withEDNS(query("web.default.svc.cluster.local", id: 8)))
            #expect(again.datagramSize == 1232)
            again = try await client.ask(withEDNS(query("WEB.Default.svc.cluster.LOCAL", id: 9), flags: 0x8000))
            again = try await client.ask(withEDNS(query("WEB.Default.svc.cluster.LOCAL", id: 10), flags: 0x8000))
            #expect(server.counts.fromReady.value == 1)
            #expect(again.id == 10 && again.isAuthoritative)
            #expect(again.questions.first?.name.wire == name("WEB.Default.svc.cluster.LOCAL").wire)
            #expect(again.additionals.first { $0.type == .opt }?.ttl == 0x8000)
            again.additionals = []
            #expect(again.answers == first.answers)
            let plain = try await client.ask(query("web.default.svc.cluster.local", id: 11))
            #expect(plain.additionals.isEmpty && plain.answers == first.answers && plain.id == 11)
            #expect(server.counts.fromReady.value == 2)
            // Another type is another question, also where the letters' bit is all that differs.
            for type in [65, 97, 65, 97] as [UInt16] {
                let other = try await client.ask(query("web.default.svc.cluster.local", RecordType(rawValue: type)))
                #expect(other.questions.first?.type.rawValue == type && other.answers.isEmpty)
            }
        }
    }

    @Test("several addresses take turns, and a new zone counts at once")
    func turns() async throws {
        try await withServer { server, client, _ async throws in
            var firsts: Set<Record.Value> = []
            for _ in 0..<6 {
                let answer = try await client.ask(query("db.shop.svc.cluster.local"))
                #expect(Set(answer.answers.map(\.value)).count == 2)
                if let first = answer.answers.first { firsts.insert(first.value) }
            }
            #expect(server.counts.fromReady.value == 5)
            #expect(firsts.count == 2)
            var db = ServiceNames(name: "db", namespace: "shop")
            db.clusterIPs = [.v4(77)]
            server.publish(Zone(services: [db]))
            let answer = try await client.ask(query("db.shop.svc.cluster.local"))
            #expect(answer.answers.map(\.value) == [.address(.v4(77))])
        }
    }

    @Test("an answer of another server is kept with the time that is left, without what was said of its connection")
    func forwarded() async throws {
        let asked = Counter()
        try await withServer({ loop in
            let upstream = try ScriptedServer(on: loop) { query, _ in
                asked.add()
                var answer = withEDNS(addressAnswer(query, [.v4(3)], ttl: 200), size: 555)
                answer.isResponse = true
                return [answer.bytes()]
            }
            return Forwarder(configuration(upstream.address), on: loop)
        }) { server, client, loop async throws in
            let first = try await client.ask(query("www.example"))
            #expect(first.answers.map(\.value) == [.address(.v4(3))])
            #expect(first.additionals.isEmpty)
            await loop.sleep(for: .milliseconds(1050))
            let again = try await client.ask(query("WWW.example", id: 99))
            #expect(server.counts.fromReady.value == 1)
            let left = try #require(again.answers.first)
            #expect(left.ttl < 200)
            #expect(again.id == 99)
            _ = try await client.ask(withEDNS(query("www.example")))
            #expect(server.counts.fromCache.value == 1)
            #expect(asked.value == 1)
            // Who does not want others to be asked is told nothing that they have said.
            var local = query("www.example")
            local.wantsRecursion = false
            #expect(try await client.ask(local).code == .refused)
        }
    }

    @Test("ATK-43 a client that asks more often than it may is refused, others are not")
    func rate() async throws {
        try await withServer { server, client, loop async throws in
            var settings = NameSettings(UpstreamGroup([]))
            settings.clientRate = 3
            server.use(settings)
            var codes: [ResponseCode] = []
            for _ in 0..<40 { codes.append(try await client.ask(query("web.default.svc.cluster.local")).code) }
            #expect(codes.prefix(3) == [.success, .success, .success])
            #expect(codes.contains(.refused))
            #expect(server.counts.limited.value == UInt64(codes.count { $0 == .refused }))
        }
        var limits = ClientLimits(rate: 2)
        let start = MonotonicTime(nanoseconds: 5_000_000_000)
        func allowed(_ number: UInt32, _ times: Int, after pause: Duration = .zero) -> [Bool] {
            (0..<times).map { _ in limits.allows(IPAddress.v4(number).clientKey, now: start + pause) }
        }
        #expect(allowed(1, 4) == [true, true, false, false])
        #expect(allowed(2, 1) == [true])
        #expect(allowed(1, 1, after: .milliseconds(499)) == [false])
        #expect(allowed(1, 2, after: .milliseconds(500)) == [true, false])
        #expect(allowed(1, 4, after: .seconds(60)) == [true, true, false, false])
        // A hundred thousand clients take no more memory than a few, and each may ask.
        #expect((10..<100_010).allSatisfy { allowed($0, 1) == [true] })
    }

    @Test("the query log writes lines of its domains, so many a second, and counts the others")
    func logged() async throws {
        let counts = DNSCounts()
        let log = QueryLog(counts, linesPerSecond: 3)
        func line(_ text: String, at second: UInt64) -> Bool {
            log.write(
                LoggedQuery(
                    client: .ip(.v4(1), port: 5), transport: "udp", question: query(text).questions.first,
                    code: .success, source: .zone, duration: .microseconds(3), queryBytes: 40, answerBytes: 60),
                now: MonotonicTime(nanoseconds: second * 1_000_000_000))
        }
        #expect(!log.isOn)
        log.domains = [name("example.org")]
        #expect(log.isOn)
        #expect(!line("www.example.com", at: 1))
        #expect((0..<3).allSatisfy { _ in line("www.example.org", at: 1) })
        #expect(!line("www.example.org", at: 1))
        #expect(line("www.example.org", at: 2))
        #expect(counts.unlogged.value == 1)
    }

    @Test("EDNS of another version is answered BADVERS, a transfer of the zone is refused")
    func strange() async throws {
        try await withServer { _, client, _ async throws in
            let version = try await client.ask(withEDNS(query("web.default.svc.cluster.local"), flags: 1 << 16))
            #expect(version.answers.isEmpty)
            #expect(version.additionals.first?.ttl ?? 0 >> 24 == 1 << 24)
            for type in [251, 252] as [UInt16] {
                #expect(try await client.ask(query("cluster.local", RecordType(rawValue: type))).code == .refused)
            }
        }
    }

    @Test("a further zone is answered beside the cluster's, and can be withdrawn")
    func further() async throws {
        try await withServer { server, client, _ async throws in
            #expect(try await client.ask(query("web.service.consul")).code == .refused)
            server.publish(OtherZone(), as: "registry")
            #expect(try await client.ask(query("web.service.consul")).answers.map(\.value) == [.address(.v4(9))])
            #expect(try await client.ask(query("web.default.svc.cluster.local")).answers.count == 1)
            server.withdraw("registry")
            #expect(try await client.ask(query("web.service.consul")).code == .refused)
        }
    }

    @Test("S-18 a name that the search path has made longer is found at once where that is switched on")
    func shortcuts() async throws {
        try await withServer({ loop in
            let upstream = try ScriptedServer(on: loop) { query, _ in
                query.questions.first?.name == name("api.example.com")
                    ? [addressAnswer(query, [.v4(3)]).bytes()] : [query.response(.nameError).bytes()]
            }
            return Forwarder(configuration(upstream.address), on: loop)
        }) { server, client, _ async throws in
            let long = query("api.example.com.shop.svc.cluster.local")
            #expect(try await client.ask(long).code == .nameError)
            var settings = NameSettings(UpstreamGroup([]))
            settings.plan = ForwardingPlan(try #require(server.forwardingPlan?.groups[.root]))
            settings.usesShortcuts = true
            server.use(settings)
            let answer = try await client.ask(long)
            #expect(answer.answers.map(\.value) == [.cname(name("api.example.com")), .address(.v4(3))])
            let near = try await client.ask(query("web.default.shop.svc.cluster.local"))
            #expect(near.answers.last?.value == .address(.v4(0x0A60_0005)))
            #expect(try await client.ask(query("no.example.com.shop.svc.cluster.local")).code == .nameError)
            #expect(try await client.ask(query("nothing.shop.svc.cluster.local")).code == .nameError)
        }
    }

    @Test(
        "ATK-43 damaged queries are taken for plain ones only when they are messages, and answered alike",
        arguments: 0..<8)
    func damaged(seed: UInt64) async throws {
        try await onLoop { loop in
            var generator = SeededGenerator(state: seed &* 977 &+ 13)
            let server = DNSServer(on: loop, zone: ZoneTests.zone, forwarder: nil)
            let names = [
                "web.default.svc.cluster.local", "db.shop.svc.cluster.local", "X.Cluster.local", "example.com",
            ]
            let space = UnsafeMutableRawBufferPointer.allocate(byteCount: DatagramBatch.sentBytesMax, alignment: 8)
            defer { space.deallocate() }
            var (plainCount, deniedCount) = (0, 0)
            for _ in 0..<2000 {
                var message = query(names[Int(generator.next() % 4)], generator.next() % 2 == 0 ? .a : .srv)
                if generator.next() % 2 == 0 { message = withEDNS(message) }
                var bytes = message.bytes()
                for _ in 0..<(generator.next() % 3) {
                    bytes[Int(generator.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: generator.next())
                }
                if generator.next() % 8 == 0 { bytes.removeLast(Int(generator.next() % 12)) }
                let plain = bytes.withUnsafeBytes { PlainQuery($0, seed: server.ready.seed) }
                guard let plain else { continue }
                plainCount += 1
                let read = try DNSMessage(parsing: bytes)
                #expect(read.questions.first.map { $0.name.wire.count + 1 } == plain.nameLength)
                var made: [UInt8]?
                server.handle(bytes, limit: nil, plain: plain) { made = $0 }
                let denied = bytes.withUnsafeBytes { server.deny(plain, $0, into: space) }
                if let denied {
                    let quick = try DNSMessage(parsing: Array(space[..<denied]))
                    let whole = try DNSMessage(parsing: try #require(made))
                    #expect(quick == whole)
                    deniedCount += 1
                    continue
                }
                let written = bytes.withUnsafeBytes {
                    server.ready.write(plain, $0, into: space, limit: 1232, now: loop.now)
                }
                guard let written else { continue }
                var ready = try DNSMessage(parsing: Array(space[..<written]))
                var whole = try DNSMessage(parsing: try #require(made))
                ready.answers.sort { "\($0)" < "\($1)" }
                whole.answers.sort { "\($0)" < "\($1)" }
                ready.additionals.sort { "\($0)" < "\($1)" }
                whole.additionals.sort { "\($0)" < "\($1)" }
                #expect(ready == whole)
            }
            #expect(plainCount > 500)
            #expect(deniedCount > 20)
        }
    }
}

/// Numbers that are the same at each run.
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
        return value ^ value >> 31
    }
}
