import Etcd
import Glibc
import HTTP
import IO
import Serialization
import Synchronization
import TLS
import Telemetry
import Testing

@testable import Store

@Suite("The store in etcd, when something breaks", .serialized, .timeLimit(.minutes(4)))
struct EtcdFaultTests {
    /// `patience` is short where an etcd that says nothing is to be noticed; everywhere else a machine with much to do has its time.
    private func configuration(
        _ servers: EtcdServer..., patience: Duration = .seconds(20)
    ) throws -> EtcdConfiguration {
        var configuration = EtcdConfiguration(endpoints: try servers.map { try #require(EtcdEndpoint($0.url)) })
        configuration.connectTimeout = patience
        configuration.callTimeout = patience
        configuration.watchSilence = patience + .seconds(1)
        return configuration
    }

    private func onLoop(_ body: @escaping @Sendable (EventLoop) async throws -> Void) async throws {
        let loop = try EventLoop.start(name: "faults")
        defer { loop.stop() }
        try await Task(executorPreference: loop) { try await body(loop) }.value
    }

    @Test("two servers on one etcd see each other's writes, and lose none while both write all the time")
    func shared() async throws {
        let server = try await EtcdServer.shared()
        try await onLoop { loop in
            let run = FaultRun(try configuration(server), on: loop)
            try await run.begin(servers: 2, writersEach: 4)
            try await run.progress(300)
            try await run.finish()
            #expect(run.stores.contains { $0.counters.overtaken.value > 0 }, "they got into each other's way")
        }
    }

    @Test("etcd is killed three times under continuous writes: nothing acknowledged is lost, watchers miss nothing")
    func killed() async throws {
        let server = try await EtcdServer()
        try await onLoop { loop in
            let run = FaultRun(try configuration(server), on: loop)
            try await run.begin(servers: 2, writersEach: 3)
            for _ in 0..<3 {
                try await run.progress(60)
                try server.kill()
                try await run.refused(6)
                try await server.start()
            }
            try await run.progress(60)
            try await run.finish()
        }
    }

    @Test(
        "servers and etcd are cut off from each other in the middle of writes, twice, and go on when the network is back"
    )
    func cut() async throws {
        let network = try CutNetwork()
        var wish = EtcdServer.Wish()
        wish.namespace = (network.far, CutNetwork.farAddress, network.near)
        let server = try await EtcdServer(wish)
        try await onLoop { loop in
            let target = try #require(SocketAddress("\(CutNetwork.farAddress):\(server.port)"))
            let relay = try Relay(to: target, from: network.near, on: loop)
            var through = try configuration(server, patience: .seconds(2))
            through.endpoints = [try #require(EtcdEndpoint(relay.url))]
            let run = FaultRun(through, on: loop)
            try await run.begin(servers: 2, writersEach: 3)
            for _ in 0..<2 {
                try await run.progress(60)
                try network.cut()
                try await run.refused(6)
                try network.heal()
            }
            try await run.progress(60)
            try await run.finish()
            relay.close()
        }
        withExtendedLifetime(network) {}
    }

    @Test("a server that was killed has told nothing that the next one does not find")
    func serverKilled() async throws {
        let server = try await EtcdServer.shared()
        try await onLoop { loop in
            let run = FaultRun(try configuration(server), on: loop)
            try await run.begin(servers: 2, writersEach: 3)
            try await run.progress(60)
            // What is on its way stays on its way: the connection ends in the middle of it.
            let victim = try await run.open()
            for index in 0..<50 { _ = try victim.create(pod("v\(index)", "victim"), [:], .synced) }
            (victim as? EtcdStore)?.abandon()
            try await run.progress(60)
            try await run.finish()
        }
    }

    @Test("a server begins while others write without a pause")
    func beginsUnderLoad() async throws {
        let server = try await EtcdServer.shared()
        try await onLoop { loop in
            let run = FaultRun(try configuration(server), on: loop)
            // So much that reading it takes longer than the others need for a write.
            let filler = try await run.open()
            for index in 0..<2_000 {
                let key = StoreKey(resource: "core/configmaps", namespace: "default", name: "c\(index)")
                _ = try filler.create(key, ["data": .string(String(repeating: "x", count: 200))], .relaxed)
            }
            try await filler.settled()
            await filler.close()
            try await run.begin(servers: 2, writersEach: 3)
            try await run.progress(60)
            let late = try await run.open()
            #expect(late.list("core/configmaps", namespace: nil).count == 2_000)
            let made = try late.create(StoreKey(resource: "core/nodes", namespace: "", name: "late"), [:], .synced)
            #expect(made.revision > 4_000)
            await late.close()
            try await run.finish()
        }
    }

    @Test(
        "a server that takes its time between looking and writing gets its turn while another one writes without a pause"
    )
    func turns() async throws {
        let server = try await EtcdServer.shared()
        let prefix = "/turns-\(UInt64.random(in: 0 ... .max))"
        let isDone = Mutex(false)
        async let busy: Void = onLoop { loop in
            let run = FaultRun(try configuration(server), prefix: prefix, on: loop)
            try await run.begin(servers: 1, writersEach: 12)
            while !isDone.withLock({ $0 }) { await loop.sleep(for: .milliseconds(5)) }
            try await run.finish()
        }
        do {
            // A loop of its own: while it is busy with a request the other one goes on.
            try await onLoop { loop in
                defer { isDone.withLock { $0 = true } }
                let store = try await open(try configuration(server), prefix, on: loop)
                try await until(loop) { !store.list("core/pods", namespace: nil).isEmpty }
                for number in 0..<5 {
                    var attempts = 0
                    while true {
                        attempts += 1
                        let end = MonotonicTime.now + .milliseconds(40)
                        while MonotonicTime.now < end {}
                        do throws(StoreError) {
                            let key = StoreKey(resource: "core/nodes", namespace: "", name: "slow-\(number)")
                            _ = try store.create(key, [:], .synced)
                            try await store.settlement()?.wait()
                            break
                        } catch {
                            // The API tries as often before it asks its client to come again (`APIRouter.attemptsMax`).
                            try #require(error == .overtaken && attempts < 20, "\(error) at attempt \(attempts)")
                        }
                    }
                }
                #expect(store.counters.overtaken.value > 0, "it was overtaken")
                await store.close()
            }
        }
        try await busy
    }

    @Test("who asks at the time of the write learns that it was taken back, however late he waits")
    func takenBack() async throws {
        let server = try await EtcdServer.shared()
        try await onLoop { loop in
            let relay = try Relay(to: .ip(.v4(0x7f00_0001), port: server.port), on: loop)
            var through = try configuration(server)
            through.endpoints = [try #require(EtcdEndpoint(relay.url))]
            let prefix = "/back-\(UInt64.random(in: 0 ... .max))"
            let store = try await open(through, prefix, on: loop)
            let other = try await open(try configuration(server), prefix, on: loop)
            _ = try store.create(pod("mine"), [:], .synced)
            let settlement = try #require(try store.settlement())
            relay.cut()
            _ = try other.create(pod("theirs"), [:], .synced)
            try await other.settled()
            relay.heal()
            try await until(loop) { store.get(pod("theirs")) != nil }
            #expect(store.get(pod("mine")) == nil)
            #expect(try store.settlement() == nil, "what is left is safe")
            await #expect(throws: StoreError.overtaken) { try await settlement.wait() }
            await store.close()
            await other.close()
            relay.close()
        }
    }

    @Test("with several endpoints the next one is asked when one is gone")
    func failover() async throws {
        let server = try await EtcdServer.shared()
        let gone = try await EtcdServer()
        try await onLoop { loop in
            var configuration = try configuration(gone, server)
            try gone.kill()
            let client = EtcdClient(configuration, on: loop)
            let status = try await client.call(.status, EtcdStatusRequest())
            #expect(status.version.hasPrefix("3."))
            #expect(client.member?.description == server.url)
            client.close()
            configuration.endpoints.removeLast()
            let lonely = EtcdClient(configuration, on: loop)
            await #expect { _ = try await lonely.call(.status, EtcdStatusRequest()) } throws: {
                ($0 as? GRPCStatus)?.code == .unavailable && "\($0)".contains(gone.url)
            }
            lonely.close()
        }
    }

    @Test("a server that comes back after a compaction reads everything anew, and its watchers are told to list again")
    func compaction() async throws {
        let server = try await EtcdServer()
        try await onLoop { loop in
            let relay = try Relay(to: .ip(.v4(0x7f00_0001), port: server.port), on: loop)
            var through = try configuration(server)
            through.endpoints = [try #require(EtcdEndpoint(relay.url))]
            let prefix = "/compaction"
            let sleeper = try await open(through, prefix, on: loop)
            let other = try await open(try configuration(server), prefix, on: loop)
            for index in 0..<10 { _ = try other.create(pod("p\(index)"), [:], .synced) }
            try await other.settled()
            try await sleeper.refreshed()
            let watcher = try Watcher(sleeper, "core/pods", from: sleeper.revision, on: loop)
            relay.cut()
            for index in 10..<20 {
                _ = try other.create(pod("p\(index)"), [:], .synced)
                try await other.settled()
            }
            await other.compact(upTo: other.etcdRevision)
            relay.heal()
            try await watcher.until { $0.isLost }
            #expect(sleeper.list("core/pods", namespace: nil) == other.list("core/pods", namespace: nil))
            #expect(sleeper.revision == other.revision)
            #expect(sleeper.counters.reloads.value == 2, "at the beginning, and now")
            // Compacted, but nothing was missed: a server that comes back then needs no list.
            let second = try Watcher(sleeper, "core/pods", from: sleeper.revision, on: loop)
            relay.cut()
            await other.compact(upTo: other.etcdRevision)
            relay.heal()
            _ = try other.create(pod("last"), [:], .synced)
            try await second.until { $0.events.count == 1 || $0.isLost }
            #expect(!second.isLost)
            #expect(sleeper.counters.reloads.value == 2)
            await sleeper.close()
            await other.close()
            relay.close()
        }
    }

    @Test("answers that are lost make no write happen twice, and none be told lost that happened")
    func lostAnswers() async throws {
        let server = try await EtcdServer.shared()
        try await onLoop { loop in
            let relay = try Relay(to: .ip(.v4(0x7f00_0001), port: server.port), on: loop)
            var through = try configuration(server)
            through.endpoints = [try #require(EtcdEndpoint(relay.url))]
            let prefix = "/lost-\(UInt64.random(in: 0 ... .max))"
            let store = try await open(through, prefix, on: loop)
            let other = try await open(try configuration(server), prefix, on: loop)
            let watcher = try Watcher(store, "core/pods", from: store.revision, on: loop)
            for round in 0..<4 {
                relay.swallowsAnswers = true
                let made = try store.create(pod("mine-\(round)"), [:], .synced)
                let shared = Shared(store)
                let waiting = Task(executorPreference: loop) { try await shared.store.settled() }
                // It has happened, as another server sees; its maker does not know.
                try await until(loop) { other.get(made.key) != nil }
                #expect(store.settledRevision < made.revision)
                if round % 2 == 0 {
                    _ = try other.create(pod("theirs-\(round)"), [:], .synced)
                    try await other.settled()
                }
                relay.cut()
                relay.heal()
                try await waiting.value
                #expect(store.get(made.key) == made)
            }
            try await store.refreshed()
            try await watcher.until { $0.events.count == 6 }
            #expect(store.list("core/pods", namespace: nil) == other.list("core/pods", namespace: nil))
            #expect(Set(watcher.events.map(\.object.revision)).count == 6)
            #expect(store.counters.overtaken.value == 0)
            await store.close()
            await other.close()
            relay.close()
        }
    }

    @Test("etcd that was set back to an older state takes writes again, and revisions do not fall")
    func setBack() async throws {
        let server = try await EtcdServer()
        try await onLoop { loop in
            let prefix = "/back"
            let store = try await open(try configuration(server), prefix, on: loop)
            for index in 0..<10 { _ = try store.create(pod("p\(index)"), [:], .synced) }
            try await store.settled()
            var command = Child.Command([
                "/usr/bin/etcdctl", "--endpoints", server.url, "snapshot", "save", server.directory + "/snapshot",
            ])
            command.environment.append("ETCDCTL_API=3")
            try #require(try Child.run(command).0.isSuccess)
            for index in 10..<20 { _ = try store.create(pod("p\(index)"), [:], .synced) }
            try await store.settled()
            let before = store.revision
            let watcher = try Watcher(store, "core/pods", from: before, on: loop)
            try server.kill()
            try server.restore(server.directory + "/snapshot")
            try await server.start()
            try await watcher.until { $0.isLost }
            #expect(store.list("core/pods", namespace: nil).count == 10)
            #expect(store.revision >= before)
            let made = try store.create(pod("new"), [:], .synced)
            try await store.settled()
            #expect(made.revision > before)
            await store.close()
        }
    }

    private func open(_ configuration: EtcdConfiguration, _ prefix: String, on loop: EventLoop) async throws
        -> EtcdStore
    {
        var options = EtcdStore.Options()
        options.prefix = prefix
        return try await EtcdStore.open(EtcdClient(configuration, on: loop), options)
    }

    private func until(_ loop: EventLoop, _ isDone: () -> Bool) async throws {
        let deadline = loop.now + .seconds(60)
        while !isDone() {
            guard loop.now < deadline else { throw Missing(what: "the condition within a minute") }
            await loop.sleep(for: .milliseconds(2))
        }
    }

    @Test("objects that another program changes behind the clock's back are read anew, not mistaken")
    func tampered() async throws {
        let server = try await EtcdServer.shared()
        try await onLoop { loop in
            let run = FaultRun(try configuration(server), on: loop)
            let store = try await run.open()
            _ = try store.create(pod("a"), ["x": 1], .synced)
            try await store.settled()
            let watcher = try Watcher(store, "core/pods", from: store.revision, on: loop)
            let client = EtcdClient(run.configuration, on: loop)
            var delete = EtcdDeleteRangeRequest()
            delete.key = Array("\(run.prefix)/objects/core/pods/default/a".utf8)
            var operation = EtcdRequestOp()
            operation.request = .requestDeleteRange(delete)
            var request = EtcdTxnRequest()
            request.success = [operation]
            _ = try await client.call(.txn, request)
            try await watcher.until { $0.isLost }
            #expect(store.get(pod("a")) == nil)
            _ = try store.create(pod("b"), [:], .synced)
            try await store.settled()
            client.close()
            await store.close()
        }
    }

    @Test("TLS with client certificates: the right one is taken, none and a wrong server are refused")
    func tls() async throws {
        let files = try TestAuthority()
        let server = try await EtcdServer(
            EtcdServer.Wish(tls: (files.path("server.pem"), files.path("server.key"), files.path("ca.pem"))))
        try await onLoop { loop in
            var settings = StoreSettings()
            settings.address = try #require(StoreAddress("etcd=" + server.url))
            settings.authorityFile = files.path("ca.pem")
            settings.certificateFile = files.path("client.pem")
            settings.keyFile = files.path("client.key")
            let store = try await settings.open(directory: files.directory, on: loop, seconds: 1_800_000_000)
            _ = try store.create(pod("a"), [:], .synced)
            try await store.settled()
            await store.close()
            var bare = settings
            bare.certificateFile = nil
            bare.keyFile = nil
            let bareSettings = bare
            await #expect(throws: StoreError.self) {
                _ = try await bareSettings.open(directory: files.directory, on: loop, seconds: 0)
            }
            let other = try TestAuthority()
            var foreign = settings
            foreign.authorityFile = other.path("ca.pem")
            let foreignSettings = foreign
            await #expect(throws: StoreError.self) {
                _ = try await foreignSettings.open(directory: files.directory, on: loop, seconds: 0)
            }
        }
    }

    @Test("ATK-39 etcd's users: a wrong password is refused; a token that etcd has forgotten is renewed")
    func users() async throws {
        let server = try await EtcdServer()
        for words in ["user add root:secret", "role add root", "user grant-role root root", "auth enable"] {
            var command = Child.Command(
                ["/usr/bin/etcdctl", "--endpoints", server.url] + words.split(separator: " ").map(String.init))
            command.environment.append("ETCDCTL_API=3")
            let (status, output) = try Child.run(command)
            try #require(status.isSuccess, "etcdctl \(words): \(String(decoding: output, as: UTF8.self))")
        }
        try await onLoop { loop in
            var configuration = try configuration(server)
            configuration.user = "root"
            configuration.password = "secret"
            let run = FaultRun(configuration, on: loop)
            try await run.begin(servers: 1, writersEach: 2)
            try await run.progress(20)
            try server.kill()
            try await server.start()
            try await run.progress(20)
            try await run.finish()
            configuration.password = "wrong"
            let wrong = EtcdClient(configuration, on: loop)
            await #expect { _ = try await wrong.call(.status, EtcdStatusRequest()) } throws: {
                [.invalidArgument, .unauthenticated].contains(($0 as? GRPCStatus)?.code)
            }
            configuration.user = nil
            let nobody = FaultRun(configuration, on: loop)
            await #expect(throws: StoreError.self) { _ = try await nobody.open() }
        }
    }

    @Test("ATK-38 one of several servers decides; when it dies or leaves another does, never two")
    func leadership() async throws {
        let server = try await EtcdServer.shared()
        try await onLoop { loop in
            let run = FaultRun(try configuration(server), on: loop)
            var stores: [EtcdStore] = []
            for _ in 0..<3 { stores.append(try #require(try await run.open() as? EtcdStore)) }
            let turns = Turns(loop)
            for (index, store) in stores.enumerated() { store.campaign { turns.changed(index, $0) } }
            try await turns.until { $0.leaders.count == 1 }
            let first = try #require(turns.leaders.first)
            stores[first].abandon()
            turns.changed(first, false)
            try await turns.until { $0.leaders.subtracting([first]).count == 1 }
            let second = try #require(turns.leaders.subtracting([first]).first)
            await stores[second].close()
            try await turns.until { $0.leaders.subtracting([first, second]).count == 1 }
            #expect(!turns.wereTwo)
            for store in stores { await store.close() }
        }
    }

    @Test("ATK-38 the times of an election: the dead are followed within five seconds, the silent step down before")
    func electionTimes() {
        // The lease of the dead ends, and at the latest the next try after that succeeds.
        #expect(.seconds(EtcdLeadership.leaseSeconds) + EtcdLeadership.interval < .seconds(5))
        #expect(EtcdLeadership.silence + EtcdLeadership.interval <= .seconds(EtcdLeadership.leaseSeconds))
    }
}

/// Who decides, as it changes.
///
/// `@unchecked Sendable`: used on one loop.
final class Turns: @unchecked Sendable {
    private(set) var leaders: Set<Int> = []
    private(set) var wereTwo = false
    private let loop: EventLoop

    init(_ loop: EventLoop) { self.loop = loop }

    func changed(_ index: Int, _ leads: Bool) {
        if leads { leaders.insert(index) } else { leaders.remove(index) }
        wereTwo = wereTwo || leaders.count > 1
    }

    func until(_ isDone: (Turns) -> Bool) async throws {
        let deadline = loop.now + .seconds(60)
        while !isDone(self) {
            guard loop.now < deadline else { throw Missing(what: "a leader within a minute, there are \(leaders)") }
            await loop.sleep(for: .milliseconds(10))
        }
    }
}

/// Two network namespaces with a cable between them that can be cut.
final class CutNetwork: Sendable {
    static let nearAddress = "198.18.37.1"
    static let farAddress = "198.18.37.2"
    let near: NetworkNamespace
    let far: NetworkNamespace

    init() throws {
        near = try NetworkNamespace.create()
        far = try NetworkNamespace.create()
        try ip("link add near type veth peer name far netns /proc/\(getpid())/fd/\(far.fd)", near)
        for (name, address, namespace) in [("near", Self.nearAddress, near), ("far", Self.farAddress, far)] {
            try ip("addr add \(address)/24 dev \(name)", namespace)
            try ip("link set \(name) up", namespace)
            try ip("link set lo up", namespace)
        }
    }

    func cut() throws { try ip("link set near down", near) }
    func heal() throws { try ip("link set near up", near) }

    private func ip(_ words: String, _ namespace: NetworkNamespace) throws {
        var command = Child.Command(["/sbin/ip"] + words.split(separator: " ").map(String.init))
        command.networkNamespace = namespace.fd
        let (status, output) = try Child.run(command)
        try #require(status.isSuccess, "ip \(words): \(String(decoding: output, as: UTF8.self))")
    }
}

/// An authority with a server's and a client's certificate, in files.
final class TestAuthority: Sendable {
    let directory: String

    init() throws {
        var template = Array("/tmp/skein-etcd-tls-XXXXXX".utf8CString)
        directory = try #require(mkdtemp(&template).map { String(cString: $0) })
        let now = WallClock.now.seconds
        let authority = try CertificateAuthority.make(
            subject: DistinguishedName(commonName: "test CA"), key: try PrivateKey.makeP256(), notBefore: now - 60,
            notAfter: now + 3600)
        try File.write(path("ca.pem"), authority.certificate.pem)
        for (name, usage) in [("server", CertificateAuthority.Usage.server), ("client", .client)] {
            let key = try PrivateKey.makeP256()
            let leaf = CertificateAuthority.Leaf(
                subject: DistinguishedName(commonName: name, organizations: []),
                alternativeNames: usage == .server ? [.ip([127, 0, 0, 1])] : [], usage: usage, notBefore: now - 60,
                notAfter: now + 3600)
            try File.write(path(name + ".pem"), try authority.sign(leaf, for: key.publicKey).pem)
            try File.write(path(name + ".key"), key.pem, mode: 0o600)
        }
    }

    deinit { try? File.removeTree(directory) }

    func path(_ name: String) -> String { directory + "/" + name }
}
