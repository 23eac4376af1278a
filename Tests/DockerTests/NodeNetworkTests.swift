import CNI
import IO
import Serialization
import Synchronization
import Testing

@testable import Docker

/// Containers that remember what was put into them.
private final class FakeContainers: NetworkSource, ContainerLinks {
    let kernel = FakeKernel()
    private let inside = Mutex<[String: [String: [String]]]>([:])
    private let ways = Mutex<[String: String]>([:])
    private let fails = Mutex(false)

    /// Addresses by interface of a container.
    func interfaces(_ path: String) -> [String: [String]] { inside.withLock { $0[path] ?? [:] } }
    /// Over which interface the container's way out leads.
    func wayOut(_ path: String) -> String? { ways.withLock { $0[path] } }
    /// The next `enter` fails.
    func fail() { fails.withLock { $0 = true } }

    func plugin(directory: String) throws(SystemError) -> DockerPlugin {
        guard
            let pools = PoolSource(
                v4: Prefix("10.208.0.0/12"), v4Length: 24, v6: Prefix("fd73:6b65:696e::/48"), v6Length: 64)
        else { throw SystemError(22, "pools") }
        return try DockerPlugin(directory: directory, boot: "one", kernel: kernel, pools: pools)
    }
    func links() throws(SystemError) -> any ContainerLinks { self }
    func enter(_ link: String, _ path: String, as interface: EngineNetwork.Interface) throws(SystemError) {
        let isFailing = fails.withLock { value in
            defer { value = false }
            return value
        }
        if isFailing { throw SystemError(17, "move link") }
        inside.withLock { $0[path, default: [:]][interface.name] = interface.addresses.map(\.description) }
    }
    func leave(_ interface: String, _ path: String) throws(SystemError) {
        inside.withLock { _ = $0[path]?.removeValue(forKey: interface) }
    }
    func has(_ interface: String, in path: String) throws(SystemError) -> Bool { interfaces(path)[interface] != nil }
    func lead(_ path: String, over interface: String, to gateways: [IPAddress]) throws(SystemError) {
        ways.withLock { $0[path] = interface }
    }
}

private final class Machine {
    let directory: String
    let fake = FakeContainers()

    init() {
        let digits = Environment.randomBytes(8).map { String($0, radix: 16) }.joined()
        directory = "/tmp/skein-networks-\(digits)"
    }

    deinit { try? File.removeTree(directory) }

    /// The node's networks, as an agent that starts has them.
    func start() throws -> ContainerNetworks {
        try ContainerNetworks(NodeNetworking(directory: directory, source: fake))
    }

    func run(_ name: String, _ networks: ContainerNetworks, _ wish: JSON) throws -> [String] {
        try networks.attach(
            .init(uid: "uid-\(name)", name: name, hostname: name, namespacePath: "/netns/\(name)"),
            ContainerWish(wish.text), at: "2026-01-01T00:00:00Z")
    }
}

@Suite("Networks of the node's own containers")
struct NodeNetworkTests {
    private static let time = "2026-01-01T00:00:00Z"

    @Test("containers of one network know each other by name and alias, those of another do not")
    func names() throws {
        let machine = Machine()
        let networks = try machine.start()
        for name in ["web", "other"] { _ = try networks.create(["Name": .string(name)], created: Self.time) }
        #expect(try machine.run("a", networks, ["networks": [["name": "web"]]]) == ["10.208.0.2"])
        _ = try machine.run("b", networks, ["networks": [["name": "web", "aliases": ["bee"]]]])
        _ = try machine.run("c", networks, ["networks": [["name": "other"]]])
        let known = try #require(networks.neighbours(of: "uid-a"))
        #expect(known.map(\.address) == ["10.208.0.3"])
        #expect(known.first?.names == ["b", "bee"])
        #expect(networks.neighbours(of: "uid-c")?.isEmpty == true)
        try networks.connect("a", to: "other", nil)
        #expect(networks.neighbours(of: "uid-c")?.map(\.names) == [["a"]])
        #expect(machine.fake.interfaces("/netns/a").keys.sorted() == ["eth0", "eth1"])
        #expect(machine.fake.wayOut("/netns/a") == "eth0")
        try networks.disconnect("a", from: "web")
        #expect(networks.neighbours(of: "uid-b")?.isEmpty == true)
        #expect(machine.fake.interfaces("/netns/a").keys.sorted() == ["eth1"])
        #expect(machine.fake.wayOut("/netns/a") == "eth1")
    }

    @Test(
        "a network of the node's own reaches over machines, too; its description says how, and its removal takes the tunnel along"
    )
    func overlay() throws {
        let machine = Machine()
        var view = HostView()
        view.links = ["eth0": ""]
        view.sizes = ["eth0": 1500]
        view.connected = [(try #require(Prefix("192.0.2.0/24")), "eth0")]
        machine.fake.kernel.show(view)
        let networks = try machine.start()
        let options: JSON = ["skein.vni": "42", "skein.peers": "192.0.2.7,192.0.2.8"]
        _ = try networks.create(["Name": "wide", "Driver": "overlay", "Options": options], created: Self.time)
        let made = machine.fake.kernel.done.compactMap {
            if case .tunnel(let network, let tunnel) = $0 { (network, tunnel) } else { nil }
        }
        #expect(made.map(\.1.identifier) == [42] && made.map(\.0.wish.mtu) == [1450])
        #expect(made.first?.0.tunnelDevice.hasPrefix("skvnode") == true)
        _ = try networks.remove("wide")
        #expect(machine.fake.kernel.done.contains { if case .noTunnel = $0 { true } else { false } })
    }

    @Test("a published port follows its container to the network that remains")
    func ports() throws {
        let machine = Machine()
        let networks = try machine.start()
        for name in ["web", "other"] { _ = try networks.create(["Name": .string(name)], created: Self.time) }
        _ = try machine.run(
            "a", networks,
            ["networks": [["name": "web"], ["name": "other"]], "ports": [["Proto": 6, "Port": 80, "HostPort": 8080]]])
        try networks.disconnect("a", from: "web")
        let published = machine.fake.kernel.done.compactMap { change -> String? in
            if case .publish(_, let member, _, _) = change { member.address.description } else { nil }
        }
        #expect(published == ["10.208.0.2", "10.208.1.2"])
        #expect(networks.containers[0]?["ports"]?[0]?["host"] == 8080)
    }

    @Test("what people get wrong is refused with its name, and nothing of it stays")
    func refusals() throws {
        let machine = Machine()
        let networks = try machine.start()
        _ = try networks.create(
            ["Name": "web", "IPAM": ["Config": [["Subnet": "10.1.0.0/24"]]]], created: Self.time)
        func refusal(_ body: () throws -> Void) -> String {
            do { try body() } catch let error as Refusal { return error.message } catch { return "\(error)" }
            return ""
        }
        for (request, words) in [
            (["Name": "web"] as JSON, "network with name web already exists"),
            (["Name": "host"], "predefined host network"), (["Name": "a b"], "invalid network name"),
            (["Name": "x", "Driver": "overlay"], "skein.vni is missing"),
            (["Name": "x", "Driver": "ring"], "--driver ring"),
            (["Name": "x", "Options": ["skein.driver": "bridge"]], "--driver"),
            (["Name": "x", "IPAM": ["Config": [["Subnet": "10.1.0.0/16"]]]], "it overlaps 10.1.0.0/24"),
            (["Name": "x", "IPAM": ["Config": [["Subnet": "fd00::/64"]]]], "--ipv6"),
            (["Name": "x", "IPAM": ["Config": [["Gateway": "10.9.0.1"]]]], "need the --subnet"),
            (["Name": "x", "Surprise": true], "Surprise"),
        ] {
            #expect(refusal { _ = try networks.create(request, created: Self.time) }.contains(words), "\(request.text)")
        }
        _ = try machine.run("a", networks, ["networks": [["name": "web", "ip": "10.1.0.9"]]])
        for (wish, words) in [
            (["networks": [["name": "nope"]]] as JSON, "network nope not found"),
            (["networks": [["name": "web", "ip": "10.1.0.9"]]], "already in use"),
            (["networks": [["name": "web", "ip": "9.9.9.9"]]], "no configured subnet contains IP address 9.9.9.9"),
            (["networks": [], "ports": [["Proto": 6, "Port": 80]]], "-p"),
        ] {
            #expect(refusal { _ = try machine.run("b", networks, wish) }.contains(words), "\(wish.text)")
        }
        #expect(machine.fake.interfaces("/netns/b").isEmpty)
        #expect(refusal { try networks.remove("web") }.contains("has active endpoints: a"))
        #expect(refusal { try networks.remove("none") }.contains("pre-defined"))
        #expect(refusal { try networks.connect("a", to: "web", nil) }.contains("already exists in network web"))
        #expect(refusal { try networks.disconnect("a", from: "nope") }.contains("not found"))
        try networks.detach(uid: "uid-a")
        try networks.remove("web")
        #expect(try networks.create(["Name": "web"], created: Self.time).hasPrefix("node"))
    }

    @Test("a link that cannot be taken in gives its address back")
    func failure() throws {
        let machine = Machine()
        let networks = try machine.start()
        _ = try networks.create(["Name": "web"], created: Self.time)
        machine.fake.fail()
        #expect(throws: Refusal.self) {
            try machine.run("a", networks, ["networks": [["name": "web", "ip": "10.208.0.7"]]])
        }
        #expect(try machine.run("a", networks, ["networks": [["name": "web", "ip": "10.208.0.7"]]]) == ["10.208.0.7"])
    }

    @Test("an agent that starts again has networks and containers, and gives back what was not finished (ATK-41)")
    func restart() throws {
        let machine = Machine()
        var networks: ContainerNetworks? = try machine.start()
        _ = try networks?.create(["Name": "web", "Labels": ["a": "b"]], created: Self.time)
        _ = try networks.map { try machine.run("a", $0, ["networks": [["name": "web"]]]) }
        let before = try networks?.inspect("web")
        let catalog = try File.read(machine.directory + "/networks.json")
        // Killed after the driver was told, before the catalogue was written.
        _ = try networks.map { try machine.run("b", $0, ["networks": [["name": "web"]]]) }
        _ = try networks?.create(["Name": "lost"], created: Self.time)
        networks = nil
        // The machine goes on: so do the containers' links.
        let endpoint = before?["Containers"]?["uid-a"]?["EndpointID"]?.string ?? ""
        machine.fake.kernel.show(HostView(links: ["skd\(endpoint.prefix(12))": "skein-node"]))
        try File.write(machine.directory + "/networks.json", catalog)
        let again = try machine.start()
        #expect(try again.inspect("web") == before)
        // Neither the address nor the subnet is lost.
        #expect(try machine.run("c", again, ["networks": [["name": "web", "ip": "10.208.0.3"]]]) == ["10.208.0.3"])
        let other = try again.create(["Name": "other"], created: Self.time)
        #expect(try again.inspect(other)["IPAM"]?["Config"]?[0]?["Subnet"] == "10.208.1.0/24")
        // A container that is there keeps what it has; one that nobody knows goes.
        #expect(try machine.run("a", again, ["networks": [["name": "web"]]]) == ["10.208.0.2"])
        try again.keep(only: ["uid-a"])
        #expect(try again.inspect("web")["Containers"]?.object?.keys.sorted() == ["uid-a"])
    }

    @Test("links and rules of the node and of an engine's plugin bear different notes")
    func notes() {
        #expect(DockerNetwork(NetworkWish(id: "node1234", subnets: [])).alias == "skein-node node1234")
        #expect(DockerNetwork(NetworkWish(id: "0de1234", subnets: [])).alias == "skein-docker 0de1234")
    }
}
