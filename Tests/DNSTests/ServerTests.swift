import IO
import Synchronization
import Testing

@testable import DNS

@Suite("Resolver and server over sockets")
struct ServerTests {
    private static let one = IPAddress.v4(0x0102_0304)
    private static let six = IPAddress.v6(high: 0xFD00_0000_0000_0000, low: 1)

    @Test("a host has the addresses of both families; the answer is kept")
    func resolve() async throws {
        try await onLoop { loop in
            let server = try ScriptedServer(on: loop) { query, _ in
                [addressAnswer(query, [Self.one, Self.six]).bytes()]
            }
            let resolver = DNSResolver(
                on: loop, configuration: configuration(server.address), hosts: HostsFile(text: ""))
            let found = try await resolver.resolve("host.example")
            #expect(found.addresses == [Self.one, Self.six])
            #expect(found.ttl == .seconds(60))
            #expect(try await resolver.resolve("HOST.example").addresses.count == 2)
            #expect(try await resolver.resolve("host.example", .v6).addresses == [Self.six])
            #expect(server.asked.withLock(\.self) == ["host.example A", "host.example AAAA"])
        }
    }

    @Test("addresses of a family that the machine has not are left out, and nothing is kept, where that is said")
    func choices() async throws {
        try await onLoop { loop in
            let server = try ScriptedServer(on: loop) { query, _ in
                [addressAnswer(query, [Self.one, Self.six]).bytes()]
            }
            var settings = configuration(server.address)
            settings.onlyRoutable = true
            settings.ttlMax = 0
            let resolver = DNSResolver(on: loop, configuration: settings, hosts: HostsFile(text: ""))
            let families = AddressFamilies.ofMachine()
            let found = try? await resolver.resolve("host.example")
            #expect(found?.addresses ?? [] == [Self.one, Self.six].filter(families.contains))
            _ = try? await resolver.resolve("host.example", .v4)
            #expect(server.asked.withLock { $0.count { $0 == "host.example A" } } == 2)
            #expect(AddressFamilies(hasV4: true, hasV6: false).contains(Self.one))
            #expect(!AddressFamilies(hasV4: true, hasV6: false).contains(Self.six))
        }
    }

    @Test("literal addresses and the hosts file need no server")
    func withoutServer() async throws {
        try await onLoop { loop in
            let hosts = HostsFile(text: "127.0.0.1 localhost\n1.2.3.4 a b # c\n::1 localhost\nnonsense x")
            let resolver = DNSResolver(on: loop, configuration: ResolverConfiguration(servers: []), hosts: hosts)
            let literal = try await resolver.resolve("10.0.0.1")
            #expect(literal.addresses.map(\.description) == ["10.0.0.1"])
            #expect(try await resolver.resolve("::1", .v6).addresses.map(\.description) == ["::1"])
            #expect(try await resolver.resolve("LOCALHOST").addresses.map(\.description) == ["127.0.0.1", "::1"])
            #expect(try await resolver.resolve("b", .v4).addresses == [Self.one])
            await #expect(throws: LookupFailure.noAddress) { try await resolver.resolve("10.0.0.1", .v6) }
            await #expect(throws: LookupFailure.badName) { try await resolver.resolve("a..b") }
            await #expect(throws: LookupFailure.timedOut) { try await resolver.resolve("elsewhere") }
        }
    }

    @Test("short names are looked for in the search domains first, long ones as they are")
    func search() async throws {
        try await onLoop { loop in
            let server = try ScriptedServer(on: loop) { query, _ in
                let isThere = query.questions.first?.name == name("web.default.svc.cluster.local")
                return [(isThere ? addressAnswer(query, [Self.one]) : query.response(.nameError)).bytes()]
            }
            var settings = ResolverConfiguration(
                text: "search x.local default.svc.cluster.local\noptions ndots:5 timeout:1 # x\nnameserver 127.0.0.1\n")
            settings.servers = [server.address]
            let resolver = DNSResolver(on: loop, configuration: settings, hosts: HostsFile(text: ""))
            #expect(try await resolver.resolve("web", .v4).addresses == [Self.one])
            #expect(server.asked.withLock(\.self) == ["web.x.local A", "web.default.svc.cluster.local A"])
            await #expect(throws: LookupFailure.noSuchName) { try await resolver.resolve("web.", .v4) }
            #expect(server.asked.withLock { $0.last } == "web A")
        }
    }

    @Test("a silent server is asked again, then the next one; all silent is a failure")
    func silence() async throws {
        try await onLoop { loop in
            let silent = try ScriptedServer(on: loop) { _, _ in [] }
            let lame = try ScriptedServer(on: loop) { query, _ in [query.response(.serverFailure).bytes()] }
            let good = try ScriptedServer(on: loop) { query, _ in [addressAnswer(query, [Self.one]).bytes()] }
            let resolver = DNSResolver(
                on: loop, configuration: impatient(silent.address, lame.address, good.address),
                hosts: HostsFile(text: ""))
            #expect(try await resolver.resolve("a", .v4).addresses == [Self.one])
            let none = DNSResolver(on: loop, configuration: impatient(silent.address), hosts: HostsFile(text: ""))
            await #expect(throws: LookupFailure.timedOut) { try await none.resolve("a", .v4) }
            #expect(silent.asked.withLock(\.count) == 3)
            let refusing = DNSResolver(on: loop, configuration: configuration(lame.address), hosts: HostsFile(text: ""))
            await #expect(throws: LookupFailure.refused(.serverFailure)) { try await refusing.resolve("a", .v4) }
        }
    }

    @Test("a truncated answer is asked for by TCP")
    func truncated() async throws {
        try await onLoop { loop in
            let many = (1...200).map { IPAddress.v4(UInt32($0)) }
            let server = try ScriptedServer(on: loop) { query, byTCP in
                [addressAnswer(query, many).bytes(limit: byTCP ? 65_535 : 512)]
            }
            let resolver = DNSResolver(
                on: loop, configuration: configuration(server.address), hosts: HostsFile(text: ""))
            #expect(try await resolver.resolve("many", .v4).addresses == many)
            #expect(server.asked.withLock(\.self) == ["many A", "many A tcp"])
        }
    }

    @Test("ATK-43 answers with another id or another question, queries and noise count for nothing")
    func guesses() async throws {
        try await onLoop { loop in
            let server = try ScriptedServer(on: loop) { query, _ in
                var wrongID = addressAnswer(query, [IPAddress.v4(6)])
                wrongID.id &+= 1
                var wrongQuestion = addressAnswer(query, [IPAddress.v4(6)])
                wrongQuestion.questions = [Question(name: name("other"), type: .a)]
                var noResponse = addressAnswer(query, [IPAddress.v4(6)])
                noResponse.isResponse = false
                let noise = Array(query.bytes().prefix(13))
                return [wrongID, wrongQuestion, noResponse].map { $0.bytes() } + [
                    noise, addressAnswer(query, [Self.one]).bytes(),
                ]
            }
            let resolver = DNSResolver(
                on: loop, configuration: configuration(server.address), hosts: HostsFile(text: ""))
            #expect(try await resolver.resolve("a", .v4).addresses == [Self.one])
            #expect(server.asked.withLock(\.count) == 1)
        }
    }

    @Test("the server answers for the cluster itself and forwards the rest, by UDP and TCP")
    func server() async throws {
        try await onLoop { loop in
            let upstream = try ScriptedServer(on: loop) { query, byTCP in
                [addressAnswer(query, (1...100).map { IPAddress.v4($0) }).bytes(limit: byTCP ? 65_535 : 512)]
            }
            let server = DNSServer(
                on: loop, zone: ZoneTests.zone, forwarder: Forwarder(configuration(upstream.address), on: loop))
            let (datagrams, streams) = try samePort()
            let address = try #require(datagrams.localAddress)
            try server.serve(datagrams: datagrams)
            try server.serve(streams: streams)
            let resolver = DNSResolver(on: loop, configuration: configuration(address), hosts: HostsFile(text: ""))

            #expect(
                try await resolver.resolve("web.default.svc.cluster.local").addresses.map(\.description) == [
                    "10.96.0.5"
                ])
            await #expect(throws: LookupFailure.noSuchName) {
                try await resolver.resolve("api.example.com.default.svc.cluster.local")
            }
            #expect(upstream.asked.withLock(\.count) == 0)
            #expect(try await resolver.resolve("big.example", .v4).addresses.count == 100)
            #expect(upstream.asked.withLock(\.self) == ["big.example A", "big.example A tcp"])
            // The target of the alias is asked for elsewhere.
            #expect(try await resolver.resolve("out.shop.svc.cluster.local", .v4).addresses.count == 100)
            server.stop()
        }
    }

    @Test("queries that are none get an error, responses get nothing")
    func refusals() async throws {
        try await onLoop { loop in
            let server = DNSServer(on: loop, zone: ZoneTests.zone, forwarder: nil)
            func answer(_ bytes: [UInt8]) -> DNSMessage? {
                var result: DNSMessage?
                server.handle(bytes, limit: nil) { answer in result = answer.flatMap { try? DNSMessage(parsing: $0) } }
                return result
            }
            let question = Question(name: name("web.default.svc.cluster.local"), type: .a)
            var query = DNSMessage(id: 5, question: question)
            #expect(answer(query.bytes())?.answers.count == 1)
            #expect(answer(query.bytes())?.isAuthoritative == true)
            #expect(answer(Array(query.bytes().dropLast()))?.code == .formatError)
            #expect(answer([1, 2, 3]) == nil)
            query.opcode = 5
            #expect(answer(query.bytes())?.code == .notImplemented)
            query.opcode = 0
            query.questions = [Question(name: question.name, type: .a, recordClass: 3)]
            #expect(answer(query.bytes())?.code == .refused)
            query.questions = []
            #expect(answer(query.bytes())?.code == .formatError)
            query.questions = [Question(name: name("example.com"), type: .a)]
            #expect(answer(query.bytes())?.code == .refused)
            query.questions = [question]
            query.isResponse = true
            #expect(answer(query.bytes()) == nil)
        }
    }

    @Test("S-19 a negative answer is kept no longer than the SOA minimum, and not at all without SOA")
    func negativeTTL() {
        var message = DNSMessage(id: 1, question: Question(name: name("x"), type: .a)).response(.nameError)
        #expect(CacheSettings().ttl(of: message) == nil)
        let soa = Record.Value.soa(
            server: .root, mailbox: .root, serial: 1, refresh: 1, retry: 1, expire: 1, minimum: 7)
        message.authorities = [Record(name: .root, ttl: 3600, value: soa)]
        #expect(CacheSettings().ttl(of: message) == 7)
        message.code = .serverFailure
        #expect(CacheSettings().ttl(of: message) == nil)
        message.code = .success
        message.answers = [Record(name: name("x"), ttl: 1000, value: .address(.v4(1)))]
        #expect(CacheSettings().ttl(of: message) == 300)
    }

    @Test("the cache has a bound, and hands out the time that is left")
    func cache() throws {
        var cache = AnswerCache()
        let start = MonotonicTime(nanoseconds: 1_000_000_000)
        for index in 0..<(AnswerCache.entriesMax + 500) {
            let question = Question(name: name("n\(index)"), type: .a)
            let message = addressAnswer(DNSMessage(id: 1, question: question), [Self.one], ttl: 10)
            cache.keep(
                message, message.bytes(), for: AnswerCache.Key(question: question, options: QueryOptions()), now: start)
        }
        #expect(cache.count <= AnswerCache.entriesMax)
        let last = Question(name: name("N\(AnswerCache.entriesMax + 499)"), type: .a)
        let key = AnswerCache.Key(question: last, options: QueryOptions())
        let found = cache.answer(key, now: start + .seconds(4))
        let hit = try #require(found)
        #expect(try DNSMessage(parsing: hit.bytes).answers.first?.ttl == 6)
        #expect(!hit.isStale)
        #expect(cache.byteCount <= AnswerCache.bytesMax)
    }
}
