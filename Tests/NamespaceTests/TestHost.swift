import Glibc
import IO
import Synchronization

@testable import Network

/// A failed requirement.
///
/// Bodies of namespace tests run on threads of their own, where `#expect` knows no test.
struct Failed: Error, CustomStringConvertible {
    var description: String
}

/// Throws when the condition does not hold.
func require(_ condition: Bool, _ text: @autoclosure () -> String) throws {
    if !condition { throw Failed(description: text()) }
}

/// Throws when the values differ, and says both.
func requireEqual<Value: Equatable>(_ value: Value, _ expected: Value, _ what: String) throws {
    if value != expected { throw Failed(description: "\(what): \(value), expected \(expected)") }
}

/// Runs `body` on a machine made for it: an outer network namespace with an uplink to a namespace "outside".
///
/// The real machine's network is not touched. Tear-down runs at the end whatever happens.
func nsTest(_ body: @escaping @Sendable (TestHost) throws -> Void) throws {
    guard geteuid() == 0 else { throw Failed(description: "namespace tests need root: run them with sudo") }
    let host = try TestHost()
    defer { host.end() }
    let outcome = try host.namespace.run(catching: { () throws(any Error) in try body(host) })
    try outcome.get()
}

/// The machine of one namespace test.
final class TestHost: Sendable {
    /// The "host".
    let namespace: NetworkNamespace
    /// The other end of its uplink, 192.0.2.1 and 2001:db8::1.
    let outside: NetworkNamespace
    let runDirectory: String
    private let holds = Mutex<[Int32]>([])
    private let servers = Mutex<[TestServer]>([])

    init() throws {
        let suffix = Environment.randomBytes(6).map { String($0, radix: 16) }.joined()
        runDirectory = "/tmp/skein-test-\(suffix)"
        try File.makeDirectory(runDirectory, mode: 0o700)
        let namespace = try NetworkNamespace.create()
        let outside = try NetworkNamespace.create()
        self.namespace = namespace
        self.outside = outside
        let other = try namespace.run(catching: { () throws(NetworkError) in
            let routes = try RouteSocket()
            try routes.setUp(1)
            try routes.addVirtualPair(
                "eth0", hardware: [2, 0, 0, 0, 0, 2], group: 0, mtu: 1400, peer: "eth0",
                peerHardware: [2, 0, 0, 0, 0, 1], peerNamespace: outside.fd)
            return routes
        }).get()
        let far = try outside.run(catching: { () throws(NetworkError) in try RouteSocket() }).get()
        guard let device = try other.link("eth0")?.index, let farDevice = try far.link("eth0")?.index else {
            throw Failed(description: "no uplink")
        }
        try far.setUp(1)
        try far.setUp(farDevice)
        for namespace in [namespace, outside] {
            try namespace.run(catching: { () throws(NetworkError) in
                try KernelSettings.write("ipv6/conf/eth0/accept_dad", "0")
            }).get()
        }
        for (here, there) in [("192.0.2.2", "192.0.2.1"), ("2001:db8::2", "2001:db8::1")] {
            guard let here = IPAddress(here), let there = IPAddress(there) else { continue }
            try other.addAddress(here, length: here.isV6 ? 64 : 24, to: device)
            try far.addAddress(there, length: here.isV6 ? 64 : 24, to: farDevice)
            try other.addNeighbour(there, hardware: [2, 0, 0, 0, 0, 1], device: device)
            try far.addNeighbour(here, hardware: [2, 0, 0, 0, 0, 2], device: farDevice)
            try other.addRoute(to: nil, via: there, device: device)
        }
        // The route's mark is that of Skein; a foreign default route carries another, but tear-down takes only
        // unreachable ones.
    }

    /// The usual network on this host.
    func setUp() throws -> HostNetwork { try HostNetwork.setUp(configuration()) }

    func configuration() throws -> HostNetworkConfiguration {
        HostNetworkConfiguration(
            v4: .init(
                pool: try range("10.244.0.0/16"), nodeBlock: try range("10.244.0.0/24"),
                gateway: try ip("10.244.0.1"), servicePools: [try range("10.96.0.0/16"), try range("10.97.0.0/24")]),
            v6: .init(
                pool: try range("fd00:244::/48"), nodeBlock: try range("fd00:244::/64"),
                gateway: try ip("fd00:244::1"), servicePools: [try range("fd00:96::/112")]),
            runDirectory: runDirectory)
    }

    /// Starts a server in the namespace.
    ///
    /// It answers each connection with one line: label, original destination, peer.
    @discardableResult
    func serve(_ label: String, in namespace: NetworkNamespace, on address: String) throws -> TestServer {
        guard let address = SocketAddress(address) else { throw Failed(description: "address \(address)") }
        let server = try TestServer(label, in: namespace, on: address)
        servers.withLock { $0.append(server) }
        return server
    }

    /// Starts a UDP server, which answers every packet with its label, until the test ends.
    func serveDatagrams(_ label: String, in namespace: NetworkNamespace, on address: String) throws {
        guard let address = SocketAddress(address) else { throw Failed(description: "address \(address)") }
        let fd = try namespace.run { () throws(SystemError) in try Socket.datagram(on: address).release() }
        // A datagram socket has no hang-up to wait for: a pipe ends the thread.
        var ends: [Int32] = [-1, -1]
        try require(pipe(&ends) == 0, "pipe")
        let (stop, hold) = (ends[0], ends[1])
        holds.withLock { $0.append(hold) }
        try Thread.start(name: "udp server") {
            let socket = Socket(adopting: fd)
            defer { close(stop) }
            while true {
                var entries = [
                    pollfd(fd: fd, events: Int16(POLLIN), revents: 0), pollfd(fd: stop, events: 0, revents: 0),
                ]
                poll(&entries, 2, -1)
                guard entries[1].revents == 0 else { return }
                var buffer = [UInt8](repeating: 0, count: 64)
                let received = try? buffer.withUnsafeMutableBytes { try socket.receive(into: $0) }
                guard let peer = received?.from else { continue }
                let answer = Array(label.utf8)
                try? answer.withUnsafeBytes { try socket.send($0, to: peer) }
            }
        }
    }

    /// Sends a packet and returns the answer.
    func askDatagram(_ socket: Socket, _ address: String) throws -> String {
        guard let target = SocketAddress(address) else { throw Failed(description: "address \(address)") }
        var buffer = [UInt8](repeating: 0, count: 64)
        // Late answers to an earlier question are not answers to this one.
        while try buffer.withUnsafeMutableBytes({ try socket.receive(into: $0) }) != nil {}
        var entry = pollfd(fd: socket.fd, events: Int16(POLLIN), revents: 0)
        for attempt in 0..<10 {
            try Array("?".utf8).withUnsafeBytes { try socket.send($0, to: target) }
            // Datagrams may be lost, as the resolvers that send such questions know.
            if poll(&entry, 1, 1000) > 0 { break }
            if attempt == 9 { return "timeout" }
        }
        guard let (count, _) = try buffer.withUnsafeMutableBytes({ try socket.receive(into: $0) }) else { return "" }
        return String(decoding: buffer.prefix(count), as: UTF8.self)
    }

    func end() {
        for hold in holds.withLock({ $0 }) { close(hold) }
        for server in servers.withLock({ $0 }) { server.stop() }
        let directory = runDirectory
        do {
            try namespace.run(catching: { () throws(NetworkError) in
                try NetworkInventory.tearDown(runDirectory: directory)
            }).get()
            try File.remove(directory)
        } catch {
            Console.error("tear-down of a namespace test: \(error)\n")
        }
    }
}

func ip(_ text: String) throws -> IPAddress {
    guard let address = IPAddress(text) else { throw Failed(description: "address \(text)") }
    return address
}

func range(_ text: String) throws -> Prefix {
    guard let range = Prefix(text) else { throw Failed(description: "range \(text)") }
    return range
}

/// A TCP server on a thread of its own.
final class TestServer: Sendable {
    private let fd: Int32

    init(_ label: String, in namespace: NetworkNamespace, on address: SocketAddress) throws {
        let fd = try namespace.run { () throws(SystemError) in try Socket.listen(on: address).release() }
        self.fd = fd
        try Thread.start(name: "server") {
            let listener = Socket(adopting: fd)
            while true {
                var entry = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
                poll(&entry, 1, -1)
                guard entry.revents & Int16(POLLHUP | POLLNVAL | POLLERR) == 0 else { return }
                guard let connection = (try? listener.accept()) ?? nil else { continue }
                let original = connection.originalDestination()?.description ?? "-"
                let peer = connection.peerAddress?.address?.description ?? "-"
                let bytes = Array("\(label) \(original) \(peer)\n".utf8)
                _ = bytes.withUnsafeBytes { connection.write($0) }
                connection.shutdownWrite()
            }
        }
    }

    /// Ends the thread, which closes the socket.
    func stop() { shutdown(fd, Int32(SHUT_RDWR)) }
}

/// Sets the file-system user of the calling thread (<sys/fsuid.h>, which the Glibc module lacks).
@_silgen_name("setfsuid")
@discardableResult
private func setfsuid(_ user: UInt32) -> Int32

/// Connects from within a namespace and reads the answer: its line, `refused`, `timeout` or the error's words.
///
/// - Parameter user: the user whose socket it is; 1337 is the sidecar.
func ask(
    _ address: String, from namespace: NetworkNamespace, user: UInt32 = 1000, source: String? = nil,
    timeoutMilliseconds: Int32 = 3000
) throws -> String {
    guard let target = SocketAddress(address) else { throw Failed(description: "address \(address)") }
    let from = source.flatMap { SocketAddress($0) }
    return try namespace.run { () throws(SystemError) in
        // The kernel takes the owner of a socket from the thread's file-system user.
        setfsuid(user)
        let socket: Socket
        do throws(SystemError) { socket = try Socket.connect(to: target, from: from) } catch { return error.reason }
        var text = ""
        while true {
            var entry = pollfd(fd: socket.fd, events: Int16(POLLIN), revents: 0)
            guard poll(&entry, 1, timeoutMilliseconds) > 0 else { return "timeout" }
            var buffer = [UInt8](repeating: 0, count: 512)
            switch buffer.withUnsafeMutableBytes({ socket.read(into: $0) }) {
            case .bytes(let count): text += String(decoding: buffer.prefix(count), as: UTF8.self)
            case .end: return String(text.prefix { $0 != "\n" })
            case .wouldBlock: continue
            case .failed(let error): return error.errno == ECONNREFUSED ? "refused" : error.reason
            }
        }
    }
}

/// Counts finished threads.
final class Semaphore: @unchecked Sendable {
    // sem_t is made for several threads; the pointer never changes.
    private let semaphore: UnsafeMutablePointer<sem_t>

    init() {
        semaphore = .allocate(capacity: 1)
        sem_init(semaphore, 0, 0)
    }

    deinit {
        sem_destroy(semaphore)
        semaphore.deallocate()
    }

    func signal() { sem_post(semaphore) }

    func wait() { while sem_wait(semaphore) != 0 {} }
}
