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
            (["skein.driver": "overlay"], "spans hosts"),
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
        lab.kernel.show(view)
        let text = try lab.refusal("NetworkDriver.CreateNetwork", Laboratory.network("n1", options: options))
        #expect(text.contains(words), "\(text)")
        #expect(!lab.kernel.done.contains { if case .bridge = $0 { true } else { false } })
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
