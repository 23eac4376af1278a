import CNI
import IO
import Serialization
import Synchronization

@testable import Docker

/// A kernel that remembers what it was asked for.
final class FakeKernel: KernelWork {
    private let steps = Mutex<[KernelChange]>([])
    private let host = Mutex(HostView())
    private let ports = Mutex<Set<UInt16>>([])
    private let failure = Mutex<Int?>(nil)

    /// Everything that was done, taken back and all.
    var done: [KernelChange] { steps.withLock { $0 } }

    init() {}

    /// What `view` answers from now on.
    func show(_ view: HostView) { host.withLock { $0 = view } }

    /// Ports that programs of the machine have.
    func take(ports taken: Set<UInt16>) { ports.withLock { $0 = taken } }

    /// The next `perform` fails.
    func fail(_ errno: Int32) { failure.withLock { $0 = Int(errno) } }

    func perform(_ changes: [KernelChange]) throws(SystemError) {
        let error = failure.withLock { value in
            defer { value = nil }
            return value
        }
        if let error { throw SystemError(Int32(error), "make it") }
        steps.withLock { $0 += changes }
    }

    func performAll(_ changes: [KernelChange]) -> SystemError? {
        steps.withLock { $0 += changes }
        return nil
    }

    func view() throws(SystemError) -> HostView { host.withLock { $0 } }

    func isFree(_ port: PublishedPort) -> Bool { ports.withLock { !$0.contains(port.hostPort) } }

    func collect(_ state: PluginState) throws(SystemError) -> (links: [String], rules: Int) { ([], 0) }
}

/// A plugin over a directory of its own.
final class Laboratory {
    let directory: String
    let kernel = FakeKernel()
    private(set) var plugin: DockerPlugin?

    init() throws {
        let digits = Environment.randomBytes(8).map { String($0, radix: 16) }.joined()
        directory = "/tmp/skein-docker-\(digits)"
        try start()
    }

    deinit { try? File.removeTree(directory) }

    /// Ends the plugin as a kill does, and starts it anew.
    func start(boot: String = "one") throws {
        plugin = nil
        guard
            let pools = PoolSource(
                v4: Prefix("10.208.0.0/12"), v4Length: 24, v6: Prefix("fd73:6b65:696e::/48"), v6Length: 64)
        else { return }
        plugin = try DockerPlugin(directory: directory, boot: boot, kernel: kernel, pools: pools)
    }

    /// One call: its status, and the object that is answered.
    @discardableResult
    func call(_ method: String, _ body: JSON = [:]) throws -> (status: UInt16, answer: JSON) {
        guard let answer = plugin?.call(method, body.bytes) else { return (0, .null) }
        return (answer.status, try JSON.parse(answer.body))
    }

    /// The sentence of a refusal.
    func refusal(_ method: String, _ body: JSON) throws -> String {
        let (status, answer) = try call(method, body)
        return status == 200 ? "" : answer["Err"]?.string ?? ""
    }

    static func network(_ id: String, _ subnet: String = "10.5.0.0/24", options: JSON = [:], top: JSON = [:]) -> JSON {
        let gateway = subnet.replacingZero
        var all: JSON = ["com.docker.network.enable_ipv6": false, "com.docker.network.generic": options]
        for (name, value) in top.object ?? [:] { all[name] = value }
        return [
            "NetworkID": .string(id), "Options": all,
            "IPv4Data": [["AddressSpace": "x", "Pool": .string(subnet), "Gateway": .string(gateway)]], "IPv6Data": [],
        ]
    }

    static func endpoint(_ id: String, on network: String, _ address: String) -> JSON {
        [
            "NetworkID": .string(network), "EndpointID": .string(id), "Options": [:],
            "Interface": ["Address": .string(address), "AddressIPv6": "", "MacAddress": ""],
        ]
    }

    static func both(_ id: String, on network: String) -> JSON {
        ["NetworkID": .string(network), "EndpointID": .string(id)]
    }

    static func ports(_ id: String, on network: String, _ ports: JSON) -> JSON {
        [
            "NetworkID": .string(network), "EndpointID": .string(id),
            "Options": ["com.docker.network.portmap": ports, "com.docker.network.endpoint.exposedports": []],
        ]
    }
}

extension String {
    /// `10.5.0.0/24` with its first address: `10.5.0.1/24`.
    fileprivate var replacingZero: String {
        let parts = split(separator: "/")
        guard parts.count == 2, let address = IPAddress(parts[0]) else { return self }
        return "\(address.advanced(by: 1))/\(parts[1])"
    }
}
