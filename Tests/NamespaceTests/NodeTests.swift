import Glibc
import IO
import Testing

@testable import Network

/// Machines on one link, each with its own node block 10.244.N.0/24, N from 1.
final class Laboratory: Sendable {
    struct Machine: Sendable {
        var number: Int
        var namespace: NetworkNamespace
        var runDirectory: String
        var name: String { "node-\(number)" }
    }

    /// The switch between them.
    let link: NetworkNamespace
    let machines: [Machine]
    /// Bytes of the largest packet between machines.
    static let linkMTU = 1500

    init(_ count: Int) throws {
        let link = try NetworkNamespace.create()
        let bridge = try link.run(catching: { () throws(NetworkError) in
            let routes = try RouteSocket()
            try routes.setUp(1)
            try routes.addBridge("br0", mtu: Laboratory.linkMTU, group: 0)
            return try routes.link("br0")?.index ?? 0
        }).get()
        var machines: [Machine] = []
        for number in 1...count {
            let namespace = try NetworkNamespace.create()
            let suffix = Environment.randomBytes(6).map { String($0, radix: 16) }.joined()
            let machine = Machine(number: number, namespace: namespace, runDirectory: "/tmp/skein-test-\(suffix)")
            try File.makeDirectory(machine.runDirectory, mode: 0o700)
            try link.run(catching: { () throws(NetworkError) in
                let routes = try RouteSocket()
                try routes.addVirtualPair(
                    "port\(number)", hardware: [2, 1, 0, 0, 0, UInt8(number)], group: 0, mtu: Laboratory.linkMTU,
                    peer: "eth0", peerHardware: [2, 2, 0, 0, 0, UInt8(number)], peerNamespace: namespace.fd)
                try routes.setMaster("port\(number)", bridge)
            }).get()
            try machine.inside { () throws(NetworkError) in
                let routes = try RouteSocket()
                try routes.setUp(1)
                guard let device = try routes.link("eth0")?.index, let address = IPAddress("192.0.2.\(number)") else {
                    throw .invalid("no link")
                }
                try routes.setUp(device)
                try routes.addAddress(address, length: 24, to: device)
            }
            machines.append(machine)
        }
        self.link = link
        self.machines = machines
    }

    /// Cuts a machine off, or connects it again.
    func plug(_ machine: Machine, _ isIn: Bool) throws {
        try link.run(catching: { () throws(NetworkError) in
            try RouteSocket().setUp("port\(machine.number)", isIn)
        }).get()
    }

    func end() {
        for machine in machines {
            do {
                try machine.inside { () throws(NetworkError) in
                    try NetworkInventory.tearDown(runDirectory: machine.runDirectory)
                }
                try File.removeTree(machine.runDirectory)
            } catch { Console.error("tear-down of a machine: \(error)\n") }
        }
    }
}

extension Laboratory.Machine {
    @discardableResult
    func inside<Value: Sendable>(
        _ body: @escaping @Sendable () throws(NetworkError) -> Value
    ) throws -> Value { try namespace.run(catching: body).get() }

    func networking(
        _ driver: NodeDriver, address: String? = nil, encryption: NodeEncryption? = nil
    ) throws -> NodeNetworking {
        NodeNetworking(
            name: name, addresses: [try ip(address ?? "192.0.2.\(number)")], driver: driver, encryption: encryption)
    }

    func peer(
        _ driver: NodeDriver, address: String? = nil, encryption: PeerEncryption? = nil
    ) throws -> PeerNode {
        PeerNode(
            name: name, addresses: [try ip(address ?? "192.0.2.\(number)")],
            blocks: [try range("10.244.\(number).0/24"), try range("fd00:244:0:\(number)::/64")], driver: driver,
            encryption: encryption)
    }

    func setUp(
        _ driver: NodeDriver, address: String? = nil, encryption: NodeEncryption? = nil
    ) throws -> HostNetwork {
        var configuration = HostNetworkConfiguration(
            v4: .init(
                pool: try range("10.244.0.0/16"), nodeBlock: try range("10.244.\(number).0/24"),
                gateway: try ip("10.244.\(number).1"), servicePools: [try range("10.96.0.0/16")]),
            v6: .init(
                pool: try range("fd00:244::/48"), nodeBlock: try range("fd00:244:0:\(number)::/64"),
                gateway: try ip("fd00:244:0:\(number)::1"), servicePools: []), runDirectory: runDirectory)
        configuration.nodes = try networking(driver, address: address, encryption: encryption)
        let wanted = configuration
        return try inside { () throws(NetworkError) in try HostNetwork.setUp(wanted) }
    }

    func attach(_ network: HostNetwork, _ pod: Int) throws -> NetworkNamespace {
        let attachment = PodAttachment(
            uid: "00000000-0000-4000-8000-0000000\(number)\(100 + pod)0", name: "default/pod-\(number)-\(pod)",
            address: try ip("10.244.\(number).\(pod)"), address6: try ip("fd00:244:0:\(number)::\(pod)"))
        return try inside { () throws(NetworkError) in try network.attach(attachment) }
    }

    @discardableResult
    func apply(_ network: HostNetwork, _ nodes: [PeerNode]) throws -> [String] {
        try inside { () throws(NetworkError) in try network.apply(nodes: nodes) }
    }
}

/// Runs on threads of its own: its failures are thrown.
func labTest(_ count: Int, _ body: (Laboratory) throws -> Void) throws {
    guard geteuid() == 0 else { throw Failed(description: "namespace tests need root: run them with sudo") }
    let laboratory = try Laboratory(count)
    defer { laboratory.end() }
    try body(laboratory)
}

/// Sends from `from` to a server that counts, and says how many bytes came; nil when none came in time.
func transfer(_ count: Int, from: NetworkNamespace, to: NetworkNamespace, address: String) throws -> Int? {
    guard let target = SocketAddress(address) else { throw Failed(description: address) }
    let listener = try to.run { () throws(SystemError) in try Socket.listen(on: target).release() }
    defer { close(listener) }
    let sent = Semaphore()
    try from.run { () throws(SystemError) in
        let socket = try Socket.connect(to: target)
        let fd = socket.release()
        try Thread.start(name: "sender") {
            defer {
                close(fd)
                sent.signal()
            }
            var rest = count
            let piece = [UInt8](repeating: 7, count: 65_536)
            while rest > 0 {
                var entry = pollfd(fd: fd, events: Int16(POLLOUT), revents: 0)
                guard poll(&entry, 1, 5000) > 0 else { return }
                let written = write(fd, piece, min(piece.count, rest))
                if written < 0, errno == EAGAIN { continue }
                guard written > 0 else { return }
                rest -= written
            }
        }
    }
    defer { sent.wait() }
    var entry = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
    guard poll(&entry, 1, 5000) > 0 else { return nil }
    let connection = accept(listener, nil, nil)
    guard connection >= 0 else { return nil }
    defer { close(connection) }
    var received = 0
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
        var entry = pollfd(fd: connection, events: Int16(POLLIN), revents: 0)
        guard poll(&entry, 1, 5000) > 0 else { return received }
        let got = read(connection, &buffer, buffer.count)
        guard got > 0 else { return received }
        received += got
    }
}

@Suite("Pods on several machines")
struct NodeTests {
    private func fragments(_ machine: Laboratory.Machine) throws -> String {
        try machine.inside { () throws(NetworkError) in
            let text = (try? File.text("/proc/thread-self/net/snmp")) ?? ""
            let lines = text.split(separator: "\n").filter { $0.hasPrefix("Ip:") }.map { $0.split(separator: " ") }
            guard lines.count == 2, let column = lines[0].firstIndex(of: "FragCreates") else { return "?" }
            return String(lines[1][column])
        }
    }

    @Test(
        "N-14 pods of three machines reach each other in both families, and 1 MiB passes without a fragment",
        arguments: NodeDriver.allCases)
    func reach(_ driver: NodeDriver) throws {
        try labTest(3) { laboratory in
            let machines = laboratory.machines
            // IPv6 goes by routes only over IPv6 addresses, which these machines do not have.
            let families = driver == .overlay ? [false, true] : [false]
            let all = try machines.map { try $0.peer(driver) }
            let networks = try machines.map { try $0.setUp(driver) }
            var pods: [NetworkNamespace] = []
            for (machine, network) in zip(machines, networks) {
                let problems = try machine.apply(network, all)
                try require(driver == .hostGateway || problems.isEmpty, "\(problems)")
                try requireEqual(network.mtu, driver == .overlay ? 1450 : 1500, "MTU")
                pods.append(try machine.attach(network, 5))
            }
            let host = try TestHost()
            defer { host.end() }
            for (machine, pod) in zip(machines, pods) {
                try host.serve("v4", in: pod, on: "10.244.\(machine.number).5:80")
                try host.serve("v6", in: pod, on: "[fd00:244:0:\(machine.number)::5]:80")
            }
            for (from, pod) in zip(machines, pods) {
                for to in machines where to.number != from.number {
                    try requireEqual(
                        try ask("10.244.\(to.number).5:80", from: pod), "v4 - 10.244.\(from.number).5",
                        "\(from.name) to \(to.name)")
                    try requireEqual(
                        try ask("10.244.\(to.number).5:80", from: from.namespace), "v4 - 10.244.\(from.number).1",
                        "the machine \(from.name) itself to a pod of \(to.name) (N-5)")
                    if families.contains(true) {
                        try requireEqual(
                            try ask("[fd00:244:0:\(to.number)::5]:80", from: pod), "v6 - fd00:244:0:\(from.number)::5",
                            "IPv6")
                    }
                }
            }
            let came = try transfer(1 << 20, from: pods[0], to: pods[1], address: "10.244.2.5:8081")
            try requireEqual(came, 1 << 20, "bytes")
            for machine in machines { try requireEqual(try fragments(machine), "0", "fragments of \(machine.name)") }
        }
    }

    @Test("a machine that is gone, has another address, or lost its ways is healed by being told again")
    func healing() throws {
        try labTest(2) { laboratory in
            let (a, b) = (laboratory.machines[0], laboratory.machines[1])
            let (one, two) = (try a.setUp(.overlay), try b.setUp(.overlay))
            try a.apply(one, [try b.peer(.overlay)])
            try b.apply(two, [try a.peer(.overlay)])
            let (pod, other) = (try a.attach(one, 5), try b.attach(two, 5))
            let host = try TestHost()
            defer { host.end() }
            try host.serve("b", in: other, on: "10.244.2.5:80")
            let answer = "b - 10.244.1.5"
            try requireEqual(try ask("10.244.2.5:80", from: pod), answer, "at first")

            // Somebody takes the device away: the next look brings it back.
            try a.inside { () throws(NetworkError) in try RouteSocket().deleteLink("skvx7533") }
            try a.apply(one, [try b.peer(.overlay)])
            try requireEqual(try ask("10.244.2.5:80", from: pod), answer, "after the device was gone")

            // The other has another address: it makes its own device anew, and we are told.
            try b.inside { () throws(NetworkError) in
                let routes = try RouteSocket()
                guard let device = try routes.link("eth0")?.index, let new = IPAddress("192.0.2.77") else { return }
                try routes.addAddress(new, length: 24, to: device)
            }
            let again = try b.setUp(.overlay, address: "192.0.2.77")
            try b.apply(again, [try a.peer(.overlay)])
            try a.apply(one, [try b.peer(.overlay, address: "192.0.2.77")])
            try requireEqual(try ask("10.244.2.5:80", from: pod), answer, "at the new address")

            // It leaves: what led to it is gone, and an address of its block is unreachable at once.
            try a.apply(one, [])
            try requireEqual(try ask("10.244.2.5:80", from: pod), "no route to host", "without the node")
            let left = try a.inside { () throws(NetworkError) in
                try one.presentPaths(try RouteSocket().link("skvx7533")?.index)
            }
            try requireEqual(left, NodePaths(), "what is left")

            // An agent that begins anew takes over what there is.
            try a.apply(one, [try b.peer(.overlay, address: "192.0.2.77")])
            let renewed = try a.setUp(.overlay)
            try requireEqual(try ask("10.244.2.5:80", from: pod), answer, "between restart and the first word")
            try a.apply(renewed, [try b.peer(.overlay, address: "192.0.2.77")])

            // Partition and repair need nobody.
            try laboratory.plug(b, false)
            try requireEqual(
                try ask("10.244.2.5:80", from: pod, timeoutMilliseconds: 300) == answer, false, "while cut off")
            try laboratory.plug(b, true)
            try requireEqual(try ask("10.244.2.5:80", from: pod), answer, "after the repair")
        }
    }

    @Test("a way is taken away whether it leads over a router or into a device")
    func everyKind() throws {
        try nsTest { _ in
            let routes = try RouteSocket()
            guard let device = try routes.link("eth0")?.index else { throw Failed(description: "no uplink") }
            for (block, router) in [("10.244.9.0/24", "192.0.2.1"), ("fd00:244:0:9::/64", "2001:db8::1")] {
                let block = try range(block)
                for router in [nil, try ip(router)] as [IPAddress?] {
                    try routes.addRoute(to: block, via: router, device: device)
                    try require(try routes.routes().contains { $0.destination == block }, "\(block): none")
                    try routes.deleteRoute(to: block, device: nil, type: 0)
                    try require(try !routes.routes().contains { $0.destination == block }, "\(block) is left")
                }
            }
        }
    }

    @Test("VXLAN packets of no node, and packets that say they are a pod of another node, are dropped")
    func strangers() throws {
        try labTest(3) { laboratory in
            let (a, b, stranger) = (laboratory.machines[0], laboratory.machines[1], laboratory.machines[2])
            let one = try a.setUp(.overlay)
            try a.apply(one, [try b.peer(.overlay)])
            let pod = try a.attach(one, 5)
            // The stranger has made itself look like node 2.
            let false2 = try stranger.setUp(.overlay)
            try stranger.apply(false2, [try a.peer(.overlay)])
            let host = try TestHost()
            defer { host.end() }
            try host.serve("a", in: pod, on: "10.244.1.5:80")
            let evil = try stranger.attach(false2, 5)
            try requireEqual(
                try ask("10.244.1.5:80", from: evil, timeoutMilliseconds: 300), "timeout", "VXLAN of no node")
            let counters = try a.inside { () throws(NetworkError) in
                try NFTables.output(of: "list chain inet skein_nodes input")
            }
            try require(
                counters.split(separator: "\n").contains {
                    $0.contains("VXLAN of no node") && !$0.contains("packets 0 ")
                }, "\(counters)")
            // Unwrapped, from a machine on the same link, with the address of a pod of node 2.
            try stranger.inside { () throws(NetworkError) in
                let routes = try RouteSocket()
                guard let device = try routes.link("eth0")?.index, let target = Prefix("10.244.1.0/24"),
                    let address = IPAddress("10.244.2.9")
                else { return }
                try NetworkInventory.tearDown(runDirectory: stranger.runDirectory)
                try routes.addAddress(address, length: 32, to: device)
                try routes.addRoute(to: target, via: IPAddress("192.0.2.1"), source: address, device: device)
            }
            try requireEqual(
                try ask("10.244.1.5:80", from: stranger.namespace, timeoutMilliseconds: 300), "timeout", "unwrapped")
        }
    }
}
