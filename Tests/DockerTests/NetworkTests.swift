import CNI
import IO
import Serialization
import Testing

@testable import Docker

@Suite("Networks of a Docker engine")
struct NetworkTests {
    @Test("a network is a bridge with the gateway's address, and is gone after its removal")
    func createAndDelete() throws {
        let lab = try Laboratory()
        #expect(try lab.call("NetworkDriver.CreateNetwork", Laboratory.network("n1")).status == 200)
        let made = lab.kernel.done.compactMap { change in
            if case .bridge(let network) = change { network } else { nil }
        }
        #expect(made.map(\.device) == ["skb-n1"])
        #expect(made.first?.wish.subnets.first?.gateway?.description == "10.5.0.1/24")
        #expect(try lab.call("NetworkDriver.DeleteNetwork", ["NetworkID": "n1"]).status == 200)
        #expect(made.first.map { lab.kernel.done.last == .noBridge($0) } == true)
        // A second removal is well.
        #expect(try lab.call("NetworkDriver.DeleteNetwork", ["NetworkID": "n1"]).status == 200)
    }

    @Test(
        "an option that nobody knows is refused with its name",
        arguments: [
            (
                ["com.docker.network.bridge.trusted_host_interfaces": "x"],
                "com.docker.network.bridge.trusted_host_interfaces"
            ),
            (["skein.driver": "host-gw"], "overlay"),
            (["skein.driver": "overlay"], "skein.vni is missing"),
            (["skein.driver": "overlay", "skein.vni": "7"], "skein.peers is missing"),
            (["skein.driver": "overlay", "skein.vni": "0", "skein.peers": "192.0.2.2"], "not from 1 to 16777215"),
            (["skein.driver": "overlay", "skein.vni": "7", "skein.peers": "192.0.2.2,x"], "'x' is no address"),
            (["skein.driver": "overlay", "skein.vni": "7", "skein.peers": "224.0.0.1"], "no address of a machine"),
            (["skein.driver": "overlay", "skein.vni": "7", "skein.peers": "127.0.0.1"], "no address of a machine"),
            (["skein.driver": "overlay", "skein.vni": "7", "skein.peers": "192.0.2.2,2001:db8::1"], "two families"),
            (["skein.driver": "overlay", "skein.vni": "7", "skein.peers": "192.0.2.2,192.0.2.2"], "is there twice"),
            (["skein.driver": "overlay", "skein.vni": "7", "skein.peers": "2001:db8::1"], "has no IPv6 address"),
            (
                [
                    "skein.driver": "overlay", "skein.vni": "7", "skein.peers": "192.0.2.2",
                    "skein.address": "198.51.100.1",
                ],
                "in no network of this machine"
            ),
            (
                [
                    "skein.driver": "overlay", "skein.vni": "7", "skein.peers": "192.0.2.2",
                    "com.docker.network.driver.mtu": "1451",
                ], "more than the 1450 bytes"
            ),
            (["skein.driver": "overlay", "skein.vni": "7", "skein.peers": "192.0.2.2", "parent": "eth0"], "parent"),
            (["skein.vni": "7"], "skein.vni"), (["skein.peers": "192.0.2.2"], "skein.peers"),
            (["skein.driver": "macvlan", "parent": "eth0", "skein.port": "4789"], "skein.port"),
            (["skein.driver": "token-ring"], "token-ring"),
            (["skein.driver": "macvlan"], "parent is missing"),
            (["skein.driver": "macvlan", "parent": "eth7"], "no device eth7"),
            (["skein.driver": "macvlan", "parent": "eth0", "macvlan_mode": "x"], "macvlan_mode"),
            (["parent": "eth0"], "parent"),
            (["com.docker.network.driver.mtu": "many"], "com.docker.network.driver.mtu"),
            (["com.docker.network.driver.mtu": "20"], "less than IPv4 needs"),
            (["com.docker.network.bridge.enable_icc": "perhaps"], "neither true nor false"),
            (["com.docker.network.bridge.name": "a-name-that-is-too-long"], "longer than 15 bytes"),
            (["com.docker.network.bridge.name": "eth0"], "is there already"),
        ] as [(JSON, String)])
    func refusedOptions(_ options: JSON, _ words: String) throws {
        let lab = try Laboratory()
        var view = HostView()
        view.links = ["eth0": ""]
        view.sizes = ["eth0": 1500]
        view.connected = [(try #require(Prefix("192.0.2.0/24")), "eth0")]
        lab.kernel.show(view)
        let text = try lab.refusal("NetworkDriver.CreateNetwork", Laboratory.network("n1", options: options))
        #expect(text.contains(words), "\(text)")
        #expect(!lab.kernel.done.contains { if case .bridge = $0 { true } else { false } })
    }

    /// A machine with a link of 1,500 bytes to its neighbours and one of 9,000 to elsewhere.
    private func machine() throws -> HostView {
        var view = HostView()
        view.links = ["eth0": "", "eth1": ""]
        view.sizes = ["eth0": 1500, "eth1": 9000]
        view.connected = [
            (try #require(Prefix("192.0.2.0/24")), "eth0"), (try #require(Prefix("198.51.100.0/24")), "eth1"),
            (try #require(Prefix("2001:db8::/64")), "eth1"),
        ]
        return view
    }

    @Test(
        "N-14 a network over several machines has packets that fit into the tunnel, by the device that leads to them",
        arguments: [
            ("192.0.2.7,192.0.2.8", 1450), ("198.51.100.7", 8950), ("2001:db8::7", 8930),
            // Behind a router: it may be the way with the smaller packets.
            ("203.0.113.7", 1450), ("198.51.100.7,203.0.113.7", 1450),
        ])
    func tunnelSize(_ peers: String, _ size: Int) throws {
        let lab = try Laboratory()
        lab.kernel.show(try machine())
        let options: JSON = ["skein.driver": "overlay", "skein.vni": "7", "skein.peers": .string(peers)]
        #expect(try lab.call("NetworkDriver.CreateNetwork", Laboratory.network("n1", options: options)).status == 200)
        let made = lab.kernel.done.compactMap {
            if case .tunnel(let network, let tunnel) = $0 { (network, tunnel) } else { nil }
        }
        #expect(made.map(\.0.wish.mtu) == [size])
        #expect(made.first?.1.peers.map(\.description).joined(separator: ",") == peers)
        // The engine asks again after its start, without the size that we have chosen.
        #expect(try lab.call("NetworkDriver.CreateNetwork", Laboratory.network("n1", options: options)).status == 200)
        // What was written down is read as it was, and the machine's start makes it again.
        try lab.start(boot: "two")
        let again = lab.kernel.done.compactMap {
            if case .tunnel(let network, let tunnel) = $0 { (network, tunnel) } else { nil }
        }
        #expect(again.allSatisfy { $0.0 == made.first?.0 && $0.1 == made.first?.1 } && again.count == 3)
        #expect(try lab.call("NetworkDriver.DeleteNetwork", ["NetworkID": "n1"]).status == 200)
        let gone = lab.kernel.done.suffix(2)
        #expect(made.first.map { Array(gone) == [.noTunnel($0.0, $0.1), .noBridge($0.0)] } == true)
    }

    @Test("a tunnel's number is one network's, and what the kernel refuses takes the bridge along")
    func tunnelNumber() throws {
        let lab = try Laboratory()
        lab.kernel.show(try machine())
        func options(_ more: JSON) -> JSON {
            var all: JSON = ["skein.driver": "overlay", "skein.vni": "7", "skein.peers": "192.0.2.7"]
            for (name, value) in more.object ?? [:] { all[name] = value }
            return all
        }
        func create(_ id: String, _ subnet: String, _ more: JSON) throws -> String {
            try lab.refusal("NetworkDriver.CreateNetwork", Laboratory.network(id, subnet, options: options(more)))
        }
        #expect(try create("n1", "10.5.0.0/24", [:]) == "")
        #expect(try create("n2", "10.6.0.0/24", [:]).contains("that of network n1"))
        #expect(try create("n2", "10.6.0.0/24", ["skein.port": "4790"]) == "")
        #expect(try create("n3", "10.7.0.0/24", ["skein.vni": "8"]) == "")
        let network = DockerNetwork(NetworkWish(id: "x", subnets: []))
        let tunnel = EngineNetwork.Tunnel(identifier: 1, port: 4789, own: nil, peers: [])
        #expect(KernelChange.tunnel(network, tunnel).inverse == .noTunnel(network, tunnel))
    }

    @Test("an option outside of -o that nobody knows is refused, too")
    func refusedLabel() throws {
        let lab = try Laboratory()
        let text = try lab.refusal(
            "NetworkDriver.CreateNetwork", Laboratory.network("n1", top: ["com.docker.network.ingress": true]))
        #expect(text.contains("com.docker.network.ingress"), "\(text)")
    }

    @Test("subnets that overlap are refused, whoever has the other")
    func overlap() throws {
        let lab = try Laboratory()
        var view = HostView()
        view.connected = [(try #require(Prefix("192.0.2.0/24")), "eth0")]
        lab.kernel.show(view)
        #expect(try lab.call("NetworkDriver.CreateNetwork", Laboratory.network("n1")).status == 200)
        let ours = try lab.refusal("NetworkDriver.CreateNetwork", Laboratory.network("n2", "10.5.0.0/16"))
        #expect(ours.contains("network n1"), "\(ours)")
        let host = try lab.refusal("NetworkDriver.CreateNetwork", Laboratory.network("n3", "192.0.0.0/16"))
        #expect(host.contains("eth0"), "\(host)")
    }

    @Test("what a step of the kernel refuses is not written down")
    func kernelFails() throws {
        let lab = try Laboratory()
        lab.kernel.fail(12)
        #expect(try lab.call("NetworkDriver.CreateNetwork", Laboratory.network("n1")).status == 500)
        #expect(
            try lab.refusal("NetworkDriver.CreateEndpoint", Laboratory.endpoint("e1", on: "n1", "10.5.0.2/24"))
                .contains("does not know"))
        #expect(try lab.call("NetworkDriver.CreateNetwork", Laboratory.network("n1")).status == 200)
    }

    @Test("a method that does not exist is 404, a body that is no JSON 400, and nothing traps")
    func badCalls() throws {
        let lab = try Laboratory()
        #expect(try lab.call("NetworkDriver.Dance").status == 404)
        for text in ["{", "[]", "\"x\"", "nul", "{\"NetworkID\":7}", "{\"NetworkID\":\"../../etc\"}", "\u{0}"] {
            let answer = lab.plugin?.call("NetworkDriver.CreateNetwork", Array(text.utf8))
            #expect(answer?.status == 400, "\(text)")
        }
        let strange: [JSON] = [
            ["NetworkID": "n", "IPv4Data": 7], ["NetworkID": "n", "IPv4Data": [7]],
            ["NetworkID": "n", "IPv4Data": [["Pool": "10.0.0.0"]]],
            ["NetworkID": "n", "IPv4Data": [["Pool": "fd00::/64"]]],
            ["NetworkID": "n", "IPv4Data": [["Pool": "10.0.0.0/24", "Gateway": "10.9.0.1/24"]]],
            ["NetworkID": "n", "Options": []],
            ["NetworkID": "n", "Options": ["com.docker.network.generic": "x"]],
        ]
        for body in strange { #expect(try lab.call("NetworkDriver.CreateNetwork", body).status == 400, "\(body.text)") }
    }

    @Test("an engine learns what the plugin is")
    func capabilities() throws {
        let lab = try Laboratory()
        #expect(try lab.call("Plugin.Activate").answer["Implements"] == ["NetworkDriver", "IpamDriver"])
        #expect(try lab.call("NetworkDriver.GetCapabilities").answer["Scope"] == "local")
        #expect(try lab.call("IpamDriver.GetCapabilities").answer["RequiresRequestReplay"] == false)
        #expect(try lab.call("IpamDriver.GetDefaultAddressSpaces").answer["LocalDefaultAddressSpace"] == "SkeinLocal")
        #expect(try lab.call("NetworkDriver.DiscoverNew", ["DiscoveryType": 1]).status == 200)
    }
}
