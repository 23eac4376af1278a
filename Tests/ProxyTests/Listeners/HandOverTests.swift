import EnvoyAPI
import Glibc
import IO
import Serialization
import Synchronization
import Telemetry
import Testing

@testable import Proxy

@Suite("Listeners: connections that one loop hands over to another")
struct HandOverTests {
    /// Two loops with a listener of one socket, which belongs to the first; what that accepts first goes to the second.
    private final class Pair: Sendable {
        let workers: [WorkerHandle]
        let address: IO.SocketAddress
        let metrics: ListenerMetrics
        private let gate = Atomic<Bool>(false)

        init() async throws {
            let set = MetricSet(workers: 2)
            let overload = OverloadState()
            let workers = try (0..<2).map {
                try WorkerHandle(index: $0, metrics: set, drainTime: .seconds(30), overload: overload)
            }
            let config = try ListenerConfig(
                compiling: Self.message, at: "listener", context: CompileContext(metrics: set, secrets: SecretStore()))
            let socket = try config.openSocket(config.addresses[0], on: config.address)
            guard let bound = socket.localAddress else { throw NeverCame(description: "the socket's address") }
            let descriptor = socket.release()
            let peers = workers.map { WorkerPeer($0) }
            for (index, worker) in workers.enumerated() {
                _ = await worker.ask {
                    $0.peers = peers
                    $0.publish(config, sockets: [index == 0 ? Socket(adopting: descriptor) : nil])
                }
            }
            metrics = set.listener(config.address.description)
            // The first loop has so many more connections than the second that it hands the next one over.
            for _ in 0..<10 { metrics.balance.add(0) }
            (self.workers, address) = (workers, bound)
        }

        deinit { for worker in workers { worker.loop.stop() } }

        private static var message: Listener {
            var listener = Listener()
            listener.name = "echo"
            var socket = EnvoyAPI.SocketAddress()
            socket.address = "127.0.0.1"
            socket.portSpecifier = .portValue(0)
            var address = Address()
            address.address = .socketAddress(socket)
            listener.address = address
            var filter = Filter()
            filter.name = "envoy.filters.network.echo"
            filter.configType = .typedConfig(AnyMessage(packing: Echo()))
            var chain = FilterChain()
            chain.filters = [filter]
            listener.filterChains = [chain]
            return listener
        }

        /// Keeps the first loop from doing anything until `open`.
        func shut() async throws {
            let isShut = Atomic<Bool>(false)
            let box = Flag(isShut)
            workers[0].send { [self] _ in
                box.set()
                while !gate.load(ordering: .acquiring) { usleep(500) }
            }
            try await until("the loop that stands still") { box.isSet }
        }

        func open() { gate.store(true, ordering: .releasing) }

        func count(_ cell: ListenerMetrics.Cell) -> [UInt64] {
            (0..<2).map { metrics.block.value(cell.rawValue, row: $0) }
        }
    }

    private final class Flag: Sendable {
        private let value: Atomic<Bool>
        init(_ value: consuming Atomic<Bool>) { self.value = value }
        func set() { value.store(true, ordering: .releasing) }
        var isSet: Bool { value.load(ordering: .acquiring) }
    }

    @Test("a connection is handed over and served by the loop that has fewer")
    func handedOver() async throws {
        try await onLoop { loop in
            let pair = try await Pair()
            let client = try await Wire.connect(to: pair.address, on: loop)
            try await client.write("hello")
            #expect(try await client.read(5) == "hello")
            #expect(pair.count(.downstream_cx_total) == [0, 1])
        }
    }

    @Test("a connection that waits while listeners come to their end is served, whichever loop ends first")
    func atTheEnd() async throws {
        try await onLoop { loop in
            let pair = try await Pair()
            try await pair.shut()
            let client = try await Wire.connect(to: pair.address, on: loop)
            let ends = Task { await pair.workers.endHandOvers { $0.drainAll() } }
            // The second loop has not let go of its listener: the first one has not answered yet.
            let has = await pair.workers[1].ask { $0.listener(named: "echo") != nil }
            #expect(has == true)
            pair.open()
            await ends.value
            try await client.write("hello")
            #expect(try await client.read(5) == "hello")
            #expect(pair.count(.downstream_cx_handover_fail) == [0, 0])
            #expect(pair.count(.downstream_cx_total).reduce(0, +) == 1)
        }
    }

    @Test("a connection on its way to a loop is served by that when listeners come to their end meanwhile")
    func onItsWay() async throws {
        try await onLoop { loop in
            let pair = try await Pair()
            // Here the loop that takes stands still, and the connection lies in its mailbox.
            let gate = Flag(Atomic(false))
            pair.workers[1].send { _ in while !gate.isSet { usleep(500) } }
            let client = try await Wire.connect(to: pair.address, on: loop)
            let before = pair.metrics.balance
            try await until("the connection in the mailbox") { before.count(of: 1) == 1 }
            let ends = Task { await pair.workers.endHandOvers { $0.drainAll() } }
            gate.set()
            await ends.value
            try await client.write("hello")
            #expect(try await client.read(5) == "hello")
            #expect(pair.count(.downstream_cx_total) == [0, 1])
        }
    }

    @Test("a connection whose listener has gone everywhere is closed and counted")
    func goneEverywhere() async throws {
        try await onLoop { loop in
            let pair = try await Pair()
            try await pair.shut()
            let client = try await Wire.connect(to: pair.address, on: loop)
            // Both end at once, and loops still hand over: what `endHandOvers` is there against.
            for worker in pair.workers.reversed() { worker.send { $0.drainAll() } }
            _ = await pair.workers[1].ask { _ in }
            pair.open()
            #expect(await client.readToEnd() == "")
            try await until("the counter") { pair.count(.downstream_cx_handover_fail).reduce(0, +) == 1 }
            #expect(pair.count(.downstream_cx_handover_fail) == [1, 0])
            #expect(pair.count(.downstream_cx_total) == [0, 0])
        }
    }
}
