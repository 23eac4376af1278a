import IO
import Serialization
import Testing

@testable import CNI

/// An environment of CNI variables over the usual ones; an empty value takes one away.
func variables(_ changes: [String: String] = [:]) -> (String) -> String? {
    let usual = [
        "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_NETNS": "/run/netns/none", "CNI_IFNAME": "eth0",
        "CNI_PATH": "/usr/lib/cni",
    ]
    let values = usual.merging(changes) { _, new in new }
    return { values[$0].flatMap { $0.isEmpty ? nil : $0 } }
}

/// The configuration of a small bridge, with changes.
func configuration(_ changes: [String: JSON] = [:]) -> JSON {
    var value: JSON = [
        "cniVersion": "1.0.0", "name": "net1", "type": "skein-cni", "bridge": "br1",
        "ipam": ["type": "host-local", "dataDir": "/tmp/none", "subnet": "10.1.0.0/24"],
    ]
    for (name, item) in changes { value[name] = item.isNull ? nil : item }
    return value
}

@Suite("CNI protocol")
struct ProtocolTests {
    @Test("VERSION answers before it looks at the rest of the environment, as podman calls it")
    func version() throws {
        let plugin = CNIPlugin(
            variable: variables([
                "CNI_COMMAND": "VERSION", "CNI_CONTAINERID": "", "CNI_NETNS": "dummy", "CNI_IFNAME": "dummy",
            ]))
        let answer = plugin.run(input: Array(#"{"cniVersion":"1.0.0"}"#.utf8))
        #expect(answer.status == 0)
        let value = try JSON.parse(answer.output)
        #expect(value["cniVersion"] == "1.0.0")
        let versions = value["supportedVersions"]?.array?.compactMap(\.string)
        #expect(versions?.suffix(4) == ["0.3.1", "0.4.0", "1.0.0", "1.1.0"])
    }

    @Test(
        "an existing configuration tells the driver by its members",
        arguments: [
            (#"{"bridge":"b","ipam":{}}"#, "bridge"), (#"{"isGateway":true}"#, "bridge"),
            (#"{"master":"eth0","mode":"vepa"}"#, "macvlan"), (#"{"mode":"l3"}"#, "ipvlan"),
            (#"{"master":"eth0","vlanId":5}"#, "vlan"), (#"{"ipam":{"type":"static"}}"#, "routed"),
            (#"{"driver":"ptp","bridge":"b"}"#, "ptp"), (#"{"capabilities":{"portMappings":true}}"#, "chained"),
        ])
    func driver(_ text: String, _ driver: String) throws {
        let value = try JSON.parse(text)
        let reader = try JSONReader(value, path: "")
        let capabilities = Set(value["capabilities"]?.object?.keys.map { $0 } ?? [])
        #expect(try Driver.read(reader, capabilities: capabilities).rawValue == driver)
    }

    @Test("a result is written as each version has it, and read again from every one")
    func results() throws {
        let address = try #require(InterfaceAddress("10.1.0.5/24"))
        let address6 = try #require(InterfaceAddress("fd00::5/64"))
        let result = CNIResult(
            interfaces: [.init(name: "br1", mac: "02:00:00:00:00:01"), .init(name: "eth0", mtu: 1500, sandbox: "/ns")],
            addresses: [
                .init(address: address, gateway: IPAddress("10.1.0.1"), interface: 1),
                .init(address: address6, gateway: IPAddress("fd00::1"), interface: 1),
            ], routes: [.init(destination: try #require(Prefix("0.0.0.0/0")), gateway: nil, mtu: 1400)],
            dns: .init(nameservers: ["10.1.0.1"]))
        for version in CNIVersion.allCases {
            let json = result.json(version)
            #expect(json["cniVersion"]?.string == version.rawValue)
            #expect((json["ips"]?[0]?["version"]?.string == "4") == (version >= .v0_3_0 && version < .v1_0_0))
            #expect((json["ip6"]?["ip"]?.string == "fd00::5/64") == (version < .v0_3_0))
            #expect((json["interfaces"]?[1]?["mtu"] != nil) == (version == .v1_1_0))
            let again = try CNIResult(try JSONReader(json, path: "prevResult"))
            #expect(again.addresses.map(\.address) == [address, address6])
            #expect(again.routes.map(\.destination) == result.routes.map(\.destination))
            #expect(again.dns == result.dns)
            if version == .v1_1_0 { #expect(again == result) }
        }
    }

    @Test("CNI_ARGS carry address, hardware address and pod; what is unknown is refused unless it may be ignored")
    func arguments() throws {
        let arguments = try CNIArguments(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=a;K8S_POD_NAME=b;IP=10.1.0.9;MAC=02:00:00:00:00:09;X=1")
        #expect(arguments.addresses == ["10.1.0.9"])
        #expect(arguments.hardware == "02:00:00:00:00:09")
        #expect(arguments.pod == "a/b")
        let error = #expect(throws: CNIError.self) { try CNIArguments("X=1") }
        #expect(error?.code == .invalidEnvironment)
    }

    @Test("capabilities: ports, ranges, bandwidth, hardware address and DNS arrive by runtimeConfig")
    func capabilities() throws {
        let runtime = try JSON.parse(
            """
            {"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"},{"HostPort":0,"ContainerPort":81},
             {"hostPort":53,"containerPort":53,"protocol":"UDP","hostIP":"127.0.0.1"}],
             "ipRanges":[[{"subnet":"10.9.0.0/24"}]],"bandwidth":{"ingressRate":1000,"ingressBurst":8000},
             "mac":"02:00:00:00:00:07","dns":{"servers":["10.0.0.1"],"searches":["a"]},"aliases":{"net1":["x"]},
             "ips":["10.1.0.7/24"]}
            """)
        let read = try NetworkConfiguration(configuration(["runtimeConfig": runtime]), for: .add)
        #expect(read.runtime.portMappings.map(\.hostPort) == [8080, 53])
        #expect(read.runtime.portMappings.map(\.transport) == [6, 17])
        #expect(read.runtime.portMappings[1].hostAddress == IPAddress("127.0.0.1"))
        #expect(read.ipam?.ranges.map { $0[0].subnet.description } == ["10.9.0.0/24", "10.1.0.0/24"])
        #expect(read.bandwidth.ingressRate == 1000)
        #expect(read.runtime.hardware == "02:00:00:00:00:07")
        #expect(read.runtime.dns?.nameservers == ["10.0.0.1"])
        #expect(read.runtime.addresses == ["10.1.0.7/24"])
    }

    struct Bad: Sendable, CustomTestStringConvertible {
        var what: String
        var code: Int
        var says: String
        var input: String?
        var changes: [String: JSON] = [:]
        var variables: [String: String] = [:]

        var testDescription: String { what }
    }

    @Test(
        "N-12 bad input is one error code of the specification and one sentence",
        arguments: [
            Bad(what: "malformed JSON", code: 6, says: "line 1, column 2", input: "{"),
            Bad(what: "no object", code: 6, says: "no JSON object", input: "[]"),
            Bad(what: "unknown version", code: 1, says: "9.9.9", changes: ["cniVersion": "9.9.9"]),
            Bad(
                what: "a verb that the version does not have", code: 1, says: "1.1.0",
                variables: ["CNI_COMMAND": "STATUS"]),
            Bad(what: "no command", code: 4, says: "CNI_COMMAND", variables: ["CNI_COMMAND": ""]),
            Bad(what: "unknown command", code: 4, says: "FOO", variables: ["CNI_COMMAND": "FOO"]),
            Bad(what: "no container", code: 4, says: "CNI_CONTAINERID", variables: ["CNI_CONTAINERID": ""]),
            Bad(what: "a container id with a slash", code: 4, says: "a/b", variables: ["CNI_CONTAINERID": "a/b"]),
            Bad(what: "no interface", code: 4, says: "CNI_IFNAME", variables: ["CNI_IFNAME": ""]),
            Bad(
                what: "an interface name too long for the kernel", code: 4, says: "15 bytes",
                variables: ["CNI_IFNAME": "abcdefghijklmnop"]),
            Bad(what: "no namespace", code: 4, says: "CNI_NETNS", variables: ["CNI_NETNS": ""]),
            Bad(what: "an absent namespace", code: 3, says: "/run/netns/none"),
            Bad(
                what: "a namespace that is none", code: 3, says: "/etc/passwd", variables: ["CNI_NETNS": "/etc/passwd"]),
            Bad(what: "no name", code: 7, says: "name", changes: ["name": .null]),
            Bad(what: "a name that climbs", code: 7, says: "name", changes: ["name": "../x"]),
            Bad(
                what: "a bridge name too long", code: 7, says: "15 bytes",
                changes: ["bridge": "a-very-long-bridge-name"]),
            Bad(what: "an unknown member", code: 2, says: "colour", changes: ["colour": "red"]),
            Bad(what: "an unknown driver", code: 7, says: "driver", changes: ["driver": "warp"]),
            Bad(what: "a driver that needs the node", code: 7, says: "skein node", changes: ["driver": "wireguard"]),
            Bad(what: "an overlay without a number", code: 7, says: "vni", changes: ["driver": "overlay"]),
            Bad(what: "routes without machines", code: 7, says: "machines", changes: ["driver": "host-gw"]),
            Bad(what: "a member of the wrong type", code: 6, says: "ipMasq", changes: ["ipMasq": "yes"]),
            Bad(what: "an MTU out of range", code: 7, says: "mtu", changes: ["mtu": 99_999_999]),
            Bad(
                what: "hairpin and promisc", code: 7, says: "promiscMode",
                changes: ["hairpinMode": true, "promiscMode": true]),
            Bad(
                what: "a wrong CIDR", code: 7, says: "ipam.subnet",
                changes: ["ipam": ["type": "host-local", "subnet": "10.1.0.0/99"]]),
            Bad(
                what: "a CIDR with bits beyond its length", code: 7, says: "10.1.0.0/24",
                changes: ["ipam": ["type": "host-local", "subnet": "10.1.0.7/24"]]),
            Bad(
                what: "a CIDR without room", code: 7, says: "too small",
                changes: ["ipam": ["type": "host-local", "subnet": "10.1.0.0/31"]]),
            Bad(
                what: "overlapping pools", code: 7, says: "overlap",
                changes: [
                    "ipam": [
                        "type": "host-local",
                        "ranges": [[["subnet": "10.1.0.0/24"]], [["subnet": "10.1.0.0/16"]]],
                    ]
                ]),
            Bad(
                what: "a range that ends before it begins", code: 7, says: "rangeEnd",
                changes: [
                    "ipam": [
                        "type": "skein", "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.9", "rangeEnd": "10.1.0.8",
                    ]
                ]),
            Bad(what: "no range", code: 7, says: "no range", changes: ["ipam": ["type": "host-local"]]),
            Bad(
                what: "an IPAM plugin that climbs", code: 7, says: "ipam.type",
                changes: ["ipam": ["type": "../../bin/sh"]]),
            Bad(what: "trunks", code: 2, says: "vlanTrunk", changes: ["vlanTrunk": [["id": 4]]]),
            Bad(
                what: "an unknown argument", code: 4, says: "COLOUR", variables: ["CNI_ARGS": "COLOUR=red"]),
            Bad(
                what: "a port out of range", code: 7, says: "portMappings[0].hostPort",
                changes: ["runtimeConfig": ["portMappings": [["hostPort": 99_999, "containerPort": 80]]]]),
            Bad(
                what: "a rate without a burst", code: 7, says: "ingressBurst",
                changes: ["runtimeConfig": ["bandwidth": ["ingressRate": 5]]]),
        ])
    func bad(_ bad: Bad) throws {
        let input = bad.input.map { Array($0.utf8) } ?? configuration(bad.changes).bytes
        let answer = CNIPlugin(variable: variables(bad.variables)).run(input: input)
        #expect(answer.status == 1)
        let value = try JSON.parse(answer.output)
        #expect(value["code"]?.int == bad.code, "\(value.text)")
        let message = value["msg"]?.string ?? ""
        #expect(message.contains(bad.says), "\(message)")
        #expect(!message.contains("\n"))
        #expect(value["cniVersion"]?.string != nil)
    }

    @Test("a DEL goes on when the configuration has members that ADD would refuse, and when nothing is there (N-9)")
    func delete() throws {
        let directory = "/tmp/skein-cni-test-\(Environment.randomBytes(6).map { String($0, radix: 16) }.joined())"
        defer { try? File.removeTree(directory) }
        let input = configuration([
            "colour": "red", "ipam": ["type": "host-local", "dataDir": .string(directory), "subnet": "10.1.0.0/24"],
            "prevResult": "damaged", "mtu": "many", "runtimeConfig": ["portMappings": [["hostPort": "no"]]],
        ])
        for namespace in ["", "/run/netns/none"] {
            let answer = CNIPlugin(variable: variables(["CNI_COMMAND": "DEL", "CNI_NETNS": namespace])).run(
                input: input.bytes)
            #expect(answer.status == 0, "\(String(decoding: answer.output, as: UTF8.self))")
            #expect(answer.output.isEmpty)
        }
    }
}
