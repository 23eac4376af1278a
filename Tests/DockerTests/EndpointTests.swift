import CNI
import IO
import Serialization
import Testing

@testable import Docker

@Suite("Containers of a Docker engine")
struct EndpointTests {
    private func lab(options: JSON = [:], top: JSON = [:]) throws -> Laboratory {
        let lab = try Laboratory()
        try lab.call("NetworkDriver.CreateNetwork", Laboratory.network("n1", options: options, top: top))
        try lab.call("NetworkDriver.CreateEndpoint", Laboratory.endpoint("e1", on: "n1", "10.5.0.2/24"))
        return lab
    }

    @Test("ATK-42 a container's rules stand before its link")
    func rulesFirst() throws {
        let lab = try lab()
        let before = lab.kernel.done.count
        let (status, answer) = try lab.call("NetworkDriver.Join", Laboratory.both("e1", on: "n1"))
        #expect(status == 200)
        #expect(answer["InterfaceName"]?["SrcName"] == "skpe1")
        #expect(answer["InterfaceName"]?["DstPrefix"] == "eth")
        #expect(answer["Gateway"] == "10.5.0.1")
        #expect(answer["DisableGatewayService"] == true)
        let steps = lab.kernel.done.dropFirst(before)
        let purposes = steps.compactMap { step in
            if case .rules(_, let purpose, _) = step { purpose } else { nil }
        }
        #expect(purposes == [.isolation, .seclusion, .masquerade])
        if case .pair(let endpoint, _)? = steps.last { #expect(endpoint.id == "e1") } else { Issue.record("no link") }
    }

    @Test("an internal network has no way out and no gateway")
    func isInternal() throws {
        let lab = try lab(top: ["com.docker.network.internal": true])
        let answer = try lab.call("NetworkDriver.Join", Laboratory.both("e1", on: "n1")).answer
        #expect(answer["Gateway"] == nil)
        #expect(answer["DisableGatewayService"] == true)
        let purposes = lab.kernel.done.compactMap { step in
            if case .rules(_, let purpose, _) = step { purpose } else { nil }
        }
        #expect(purposes == [.isolation, .seclusion, .enclosure])
    }

    @Test("a hardware address is answered only where none was given")
    func hardware() throws {
        let lab = try lab()
        var body = Laboratory.endpoint("e2", on: "n1", "10.5.0.3/24")
        #expect(
            try lab.call("NetworkDriver.CreateEndpoint", body).answer["Interface"] == [
                "MacAddress": "02:73:0a:05:00:03"
            ])
        body = Laboratory.endpoint("e3", on: "n1", "10.5.0.4/24")
        body["Interface"]?["MacAddress"] = "02:42:00:00:00:09"
        #expect(try lab.call("NetworkDriver.CreateEndpoint", body).answer == [:])
        body = Laboratory.endpoint("e4", on: "n1", "10.5.0.5/24")
        body["Interface"]?["MacAddress"] = "01:42:00:00:00:09"
        #expect(try lab.refusal("NetworkDriver.CreateEndpoint", body).contains("Interface.MacAddress"))
    }

    @Test("addresses that cannot be are refused")
    func addresses() throws {
        let lab = try lab()
        for (address, words) in [
            ("10.5.0.2/24", "in use by endpoint e1"), ("10.5.0.1/24", "is the gateway"),
            ("10.6.0.2/24", "in no subnet"),
            ("10.5.0.300/24", "Interface.Address"),
        ] {
            let text = try lab.refusal("NetworkDriver.CreateEndpoint", Laboratory.endpoint("e2", on: "n1", address))
            #expect(text.contains(words), "\(address): \(text)")
        }
    }

    @Test("a connection's option that nobody knows is refused with its name")
    func options() throws {
        let lab = try lab()
        var body = Laboratory.endpoint("e2", on: "n1", "10.5.0.3/24")
        body["Options"] = ["com.docker.network.endpoint.sysctls": "net.ipv4.x=1"]
        #expect(try lab.refusal("NetworkDriver.CreateEndpoint", body).contains("com.docker.network.endpoint.sysctls"))
        body["Options"] = ["com.docker.network.generic": ["weight": "3"]]
        #expect(try lab.refusal("NetworkDriver.CreateEndpoint", body).contains("weight"))
    }

    @Test("leaving and deleting twice is well, and leaves no rule and no link")
    func removal() throws {
        let lab = try lab()
        try lab.call("NetworkDriver.Join", Laboratory.both("e1", on: "n1"))
        for method in ["Leave", "Leave", "DeleteEndpoint", "DeleteEndpoint"] {
            #expect(try lab.call("NetworkDriver.\(method)", Laboratory.both("e1", on: "n1")).status == 200)
        }
        var left: Set<KernelChange> = []
        for step in lab.kernel.done {
            left.insert(step)
            if case .noLink(let endpoint) = step {
                left = left.filter { if case .pair(let other, _) = $0 { other.id != endpoint.id } else { true } }
            }
            if let inverse = step.inverse { left.remove(inverse) }
        }
        let rules = left.filter { if case .rules = $0 { true } else { false } }
        let pairs = left.filter { if case .pair = $0 { true } else { false } }
        // Each rule's removal took the rule away, and stands in its place.
        #expect(rules.isEmpty && pairs.isEmpty, "\(left)")
    }

    @Test("published ports: one, a range, any; a port that somebody has is refused")
    func ports() throws {
        let lab = try lab()
        try lab.call("NetworkDriver.CreateEndpoint", Laboratory.endpoint("e2", on: "n1", "10.5.0.3/24"))
        lab.kernel.take(ports: [9000])
        func publish(_ id: String, _ ports: JSON) throws -> (UInt16, JSON) {
            try lab.call("NetworkDriver.ProgramExternalConnectivity", Laboratory.ports(id, on: "n1", ports))
        }
        #expect(
            try publish(
                "e1",
                [
                    ["Proto": 6, "Port": 80, "HostIP": "0.0.0.0", "HostPort": 8080, "HostPortEnd": 8080],
                    ["Proto": 6, "Port": 80, "HostIP": "::", "HostPort": 8080, "HostPortEnd": 8080],
                    ["Proto": 17, "Port": 53, "HostIP": "127.0.0.1", "HostPort": 9000, "HostPortEnd": 9010],
                    ["Proto": 6, "Port": 81, "HostIP": "", "HostPort": 0, "HostPortEnd": 0],
                ]
            ).0 == 200)
        let info = try lab.call("NetworkDriver.EndpointOperInfo", Laboratory.both("e1", on: "n1")).answer
        let shown = info["Value"]?["com.docker.network.portmap"]?.array?.compactMap { $0["HostPort"]?.int }
        #expect(shown == [8080, 9001, 49_152])
        let (status, answer) = try publish("e2", [["Proto": 6, "Port": 80, "HostPort": 8080, "HostPortEnd": 8080]])
        #expect(status == 500 && answer["Err"]?.string?.contains("port 8080/tcp is already allocated") == true)
        #expect(try publish("e2", [["Proto": 6, "Port": 80, "HostPort": 9000]]).0 == 500)
        for bad: JSON in [
            [["Proto": 99, "Port": 80]], [["Proto": 6]], [["Proto": 6, "Port": 70_000]], "x",
            [["Proto": 6, "Port": 1, "HostPort": 1, "HostPortEnd": 65_535]],
        ] {
            #expect(try publish("e2", bad).0 == 400)
        }
        #expect(try lab.call("NetworkDriver.RevokeExternalConnectivity", Laboratory.both("e1", on: "n1")).status == 200)
        #expect(try publish("e2", [["Proto": 6, "Port": 80, "HostPort": 8080]]).0 == 200)
    }

    @Test("macvlan: a link on the parent, no rules, and no published ports")
    func macvlan() throws {
        let lab = try Laboratory()
        var view = HostView()
        view.links = ["eth0": ""]
        lab.kernel.show(view)
        let options: JSON = ["skein.driver": "macvlan", "parent": "eth0"]
        #expect(try lab.call("NetworkDriver.CreateNetwork", Laboratory.network("n1", options: options)).status == 200)
        try lab.call("NetworkDriver.CreateEndpoint", Laboratory.endpoint("e1", on: "n1", "10.5.0.2/24"))
        let before = lab.kernel.done.count
        #expect(try lab.call("NetworkDriver.Join", Laboratory.both("e1", on: "n1")).status == 200)
        #expect(lab.kernel.done.dropFirst(before).allSatisfy { if case .macvlan = $0 { true } else { false } })
        let text = try lab.refusal(
            "NetworkDriver.ProgramExternalConnectivity",
            Laboratory.ports("e1", on: "n1", [["Proto": 6, "Port": 80, "HostPort": 8080]]))
        #expect(text.contains("macvlan"), "\(text)")
    }
}
