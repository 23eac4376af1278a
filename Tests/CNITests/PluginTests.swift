import Glibc
import IO
import Serialization
import Testing

@testable import CNI

/// A host and two containers, as namespaces that go with this object.
private final class Machine: Sendable {
    let host: NetworkNamespace
    let containers: [NetworkNamespace]
    let directory: String

    init() throws {
        try #require(geteuid() == 0, "these tests make network namespaces: run them as root")
        host = try NetworkNamespace.create()
        containers = [try NetworkNamespace.create(), try NetworkNamespace.create()]
        directory = "/tmp/skein-cni-test-\(Environment.randomBytes(6).map { String($0, radix: 16) }.joined())"
    }

    deinit { try? File.removeTree(directory) }

    /// Calls the plugin on the host.
    func call(
        _ verb: String, _ configuration: JSON, container: Int = 0, _ changes: [String: String] = [:]
    ) throws -> (status: Int32, value: JSON) {
        let values = [
            "CNI_COMMAND": verb, "CNI_CONTAINERID": "c\(container)", "CNI_IFNAME": "eth0",
            "CNI_NETNS": "/proc/self/fd/\(containers[container].fd)", "CNI_PATH": "/nowhere",
        ].merging(changes) { _, new in new }
        let input = configuration.bytes
        let answer = try host.run { () throws(SystemError) in
            CNIPlugin(variable: { name in values[name].flatMap { $0.isEmpty ? nil : $0 } }).run(input: input)
        }
        let value = answer.output.isEmpty ? JSON.null : try JSON.parse(answer.output)
        return (answer.status, value)
    }

    func configuration(_ changes: [String: JSON] = [:]) -> JSON {
        var value: JSON = [
            "cniVersion": "1.1.0", "name": "net1", "type": "skein-cni", "bridge": "br1", "isGateway": true,
            "ipMasq": true,
            "capabilities": ["portMappings": true],
            "ipam": [
                "type": "host-local", "dataDir": .string(directory), "subnet": "10.1.0.0/24",
                "routes": [["dst": "0.0.0.0/0"]],
            ],
            "runtimeConfig": ["portMappings": [["hostPort": 8080, "containerPort": 80]]],
        ]
        for (name, item) in changes { value[name] = item.isNull ? nil : item }
        return value
    }

    func links() throws -> [String] {
        try host.run { () throws(SystemError) in try LinkSocket().links().map(\.name).filter { $0.hasPrefix("sk") } }
    }

    func elements() throws -> Int {
        try host.run { () throws(SystemError) in
            let socket = try RuleSocket()
            var count = 0
            for table in RuleTable.all {
                for set in table.sets where set.address != nil {
                    count += try socket.elements(of: set.name, in: table).count
                }
            }
            return count
        }
    }
}

@Suite("CNI verbs")
struct PluginTests {
    @Test("N-9 ADD is once, DEL as often as wanted, and releases what is there without namespace and prevResult")
    func addAndDelete() throws {
        let machine = try Machine()
        let configuration = machine.configuration()
        let (status, result) = try machine.call("ADD", configuration)
        #expect(status == 0, "\(result.text)")
        #expect(result["ips"]?[0]?["address"] == "10.1.0.2/24")
        #expect(try machine.elements() == 5)
        let again = try machine.call("ADD", configuration)
        #expect(again.value["code"] == 4)
        // What another container may not have is not taken from the first by the refusal.
        let taken = try machine.call("ADD", configuration, container: 1)
        #expect(taken.value["code"] == 11)
        #expect(try machine.elements() == 5)
        #expect(try machine.links().count == 1)
        for _ in 0..<2 {
            let (status, value) = try machine.call("DEL", configuration, ["CNI_NETNS": ""])
            #expect(status == 0, "\(value.text)")
            #expect(try machine.links().isEmpty)
            #expect(try machine.elements() == 0)
        }
        #expect(try machine.call("ADD", configuration, container: 1).status == 0)
        #expect(try machine.call("DEL", configuration, container: 1).status == 0)
    }

    @Test("N-10 GC removes what is not named, and STATUS tells whether ADD can be served")
    func collect() throws {
        let machine = try Machine()
        var configuration = machine.configuration(["runtimeConfig": .null])
        configuration["ipam"]?["subnet"] = "10.1.0.0/30"
        #expect(try machine.call("STATUS", configuration).status == 0)
        #expect(try machine.call("ADD", configuration).status == 0)
        #expect(try machine.call("STATUS", configuration).value["code"] == 50)
        #expect(try machine.call("ADD", configuration, container: 1).value["code"] == 11)
        configuration["cni.dev/valid-attachments"] = [["containerID": "c0", "ifname": "eth0"]]
        #expect(try machine.call("GC", configuration).status == 0)
        #expect(try machine.links().count == 1)
        configuration["cni.dev/valid-attachments"] = []
        #expect(try machine.call("GC", configuration).status == 0)
        #expect(try machine.links().isEmpty)
        #expect(try machine.elements() == 0)
        #expect(try machine.call("STATUS", configuration).status == 0)
    }

    @Test("N-11 CHECK compares with the previous result, and fails when a part is gone")
    func check() throws {
        let machine = try Machine()
        var configuration = machine.configuration()
        configuration["prevResult"] = try machine.call("ADD", machine.configuration()).value
        let whole = try machine.call("CHECK", configuration)
        #expect(whole.status == 0, "\(whole.value.text)")
        try machine.containers[0].run { () throws(SystemError) in
            let links = try LinkSocket()
            guard let link = try links.link("eth0") else { throw SystemError(ENODEV, "eth0") }
            try links.setFlags(link.index, 0, mask: 1)
        }
        let broken = try machine.call("CHECK", configuration)
        #expect(broken.value["code"] == 100)
        #expect(broken.value["msg"]?.string?.contains("eth0 is down") == true)
        configuration["prevResult"] = nil
        #expect(try machine.call("CHECK", configuration).value["code"] == 7)
        #expect(try machine.call("DEL", configuration).status == 0)
    }

    @Test("bandwidth is limited both ways, and the limits go with the container")
    func bandwidth() throws {
        let machine = try Machine()
        let limits: JSON = [
            "ingressRate": 8_000_000, "ingressBurst": 800_000, "egressRate": 8_000_000, "egressBurst": 800_000,
        ]
        let configuration = machine.configuration([
            "capabilities": ["bandwidth": true], "runtimeConfig": ["bandwidth": limits],
        ])
        let (status, value) = try machine.call("ADD", configuration)
        #expect(status == 0, "\(value.text)")
        #expect(try machine.links().count == 2)
        #expect(try machine.call("DEL", machine.configuration(["capabilities": ["bandwidth": true]])).status == 0)
        #expect(try machine.links().isEmpty)
    }

    @Test(
        "ATK-42 a container of another network is kept out from its first packet: the rules are there before ADD answers"
    )
    func isolation() throws {
        let machine = try Machine()
        let configuration = machine.configuration([
            "driver": "routed", "bridge": .null, "isGateway": .null, "ipMasq": .null, "runtimeConfig": .null,
            "capabilities": .null,
        ])
        let (status, value) = try machine.call("ADD", configuration)
        #expect(status == 0, "\(value.text)")
        #expect(value["ips"]?[0]?["gateway"] == "169.254.1.1")
        #expect(try machine.elements() == 2)
        #expect(try machine.call("DEL", configuration).status == 0)
    }
}
