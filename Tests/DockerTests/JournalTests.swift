import CNI
import IO
import Serialization
import Testing

@testable import Docker

@Suite("The journal of the Docker plugin")
struct JournalTests {
    private func filled() throws -> Laboratory {
        let lab = try Laboratory()
        try lab.call("IpamDriver.RequestPool", ["AddressSpace": "SkeinLocal", "Pool": "10.5.0.0/24"])
        let gateway: JSON = ["RequestAddressType": "com.docker.network.gateway"]
        try lab.call("IpamDriver.RequestAddress", ["PoolID": "SkeinLocal/10.5.0.0/24", "Options": gateway])
        try lab.call(
            "NetworkDriver.CreateNetwork", Laboratory.network("n1", options: ["com.docker.network.driver.mtu": "1400"]))
        try lab.call("IpamDriver.RequestAddress", ["PoolID": "SkeinLocal/10.5.0.0/24"])
        try lab.call("NetworkDriver.CreateEndpoint", Laboratory.endpoint("e1", on: "n1", "10.5.0.2/24"))
        try lab.call("NetworkDriver.Join", Laboratory.both("e1", on: "n1"))
        try lab.call(
            "NetworkDriver.ProgramExternalConnectivity",
            Laboratory.ports("e1", on: "n1", [["Proto": 6, "Port": 80, "HostPort": 8080]]))
        return lab
    }

    private func state(_ lab: Laboratory, boot: String = "one") throws -> PluginState {
        StateJournal.read(try File.text("\(lab.directory)/journal"), boot: boot).state
    }

    @Test("a plugin that was killed knows everything again")
    func restart() throws {
        let lab = try filled()
        var view = HostView()
        view.links = ["skde1": ""]
        lab.kernel.show(view)
        let before = try state(lab)
        try lab.start()
        #expect(try state(lab) == before)
        #expect(before.endpoints["e1"]?.ports.map(\.hostPort) == [8080])
        #expect(before.networks["n1"]?.wish.mtu == 1400)
        #expect(try lab.call("NetworkDriver.DeleteEndpoint", Laboratory.both("e1", on: "n1")).status == 200)
    }

    @Test("a container whose link has gone meanwhile is taken off, with its address")
    func goneContainer() throws {
        let lab = try filled()
        try lab.start()
        let after = try state(lab)
        #expect(after.endpoints.isEmpty)
        // The gateway's address belongs to the network and stays.
        #expect(after.pools["SkeinLocal/10.5.0.0/24"]?.taken == [1])
        #expect(lab.kernel.done.contains { if case .withdraw = $0 { true } else { false } })
    }

    @Test("a link that was made and not yet named is taken away when nobody knows it, and no other one")
    func namelessLink() throws {
        let state = try state(try filled())
        let network = try #require(state.networks["n1"])
        func link(_ name: String, _ kind: String, _ alias: String = "", in master: String = "") -> EngineNetwork.Link {
            EngineNetwork.Link(name: name, kind: kind, alias: alias, mtu: 1400, master: master)
        }
        let links = [
            link(network.device, "bridge", network.alias), link("skde1", "veth", in: network.device),
            link("skdlost", "veth", in: network.device), link("skdother", "veth", in: "docker0"),
            link("vethabc", "veth", in: network.device), link("skdfree", "veth"),
        ]
        #expect(Kernel.lost(links, state, NetworkOwner(network: "n1")) == ["skdlost"])
    }

    @Test("a macvlan that was made and not yet named is taken away by its own kind of plugin alone")
    func namelessMacvlan() throws {
        let state = try state(try filled())
        let (engine, node) = (NetworkOwner(network: "n1"), NetworkOwner(network: "node1"))
        let mine = EngineNetwork.unnamedGroup(of: engine.notePrefix)
        func link(_ name: String, _ group: UInt32, kind: String = "macvlan", alias: String = "") -> EngineNetwork.Link {
            EngineNetwork.Link(name: name, kind: kind, alias: alias, mtu: 1500, group: group)
        }
        let links = [
            link("skplost", mine), link("skpother", EngineNetwork.unnamedGroup(of: node.notePrefix)),
            link("skpfree", 0),
            link("mv0", mine), link("skpveth", mine, kind: "veth"), link("skpnamed", mine, alias: "somebody's"),
        ]
        #expect(Kernel.lost(links, state, engine) == ["skplost"])
        #expect(Kernel.lost(links, state, node) == ["skpother"])
    }

    @Test("after a start of the machine networks are made again, and containers are forgotten")
    func reboot() throws {
        let lab = try filled()
        let before = lab.kernel.done.count
        try lab.start(boot: "two")
        #expect(try state(lab, boot: "two").endpoints.isEmpty)
        #expect(lab.kernel.done.dropFirst(before).contains { if case .bridge = $0 { true } else { false } })
    }

    @Test("what a crash has cut short has not happened; what came before has")
    func tornLine() throws {
        let lab = try filled()
        let text = try File.text("\(lab.directory)/journal")
        let whole = try state(lab)
        let lines = text.split(separator: "\n")
        let last = try #require(lines.last)
        for cut in 1...last.utf8.count {
            let found = StateJournal.read(String(text.dropLast(cut)), boot: "one")
            #expect(found.damaged.isEmpty)
            // Without its end of line alone, the line is whole.
            #expect((found.state == whole) == (cut == 1))
        }
        var bytes = Array(text.utf8)
        bytes[text.utf8.count / 2] ^= 1
        let damaged = StateJournal.read(String(decoding: bytes, as: UTF8.self), boot: "one")
        #expect(damaged.damaged.count == 1)
    }

    @Test("a second plugin over the same directory is refused")
    func lock() throws {
        let lab = try filled()
        #expect(throws: SystemError.self) { try StateJournal(directory: lab.directory) }
    }

    @Test("records are read as they were written")
    func roundTrip() throws {
        let state = try state(try filled())
        for record in state.records { #expect(PluginState.Record(record.json) == record) }
        var again = PluginState()
        for record in state.records { again.apply(record) }
        #expect(again == state)
    }

    @Test("the file does not grow with what is over")
    func compaction() throws {
        let lab = try filled()
        for _ in 0..<5000 {
            try lab.call("IpamDriver.RequestAddress", ["PoolID": "SkeinLocal/10.5.0.0/24", "Address": "10.5.0.9"])
            try lab.call("IpamDriver.ReleaseAddress", ["PoolID": "SkeinLocal/10.5.0.0/24", "Address": "10.5.0.9"])
        }
        let lines = try File.text("\(lab.directory)/journal").split(separator: "\n").count
        #expect(lines < StateJournal.slack + 1000)
        #expect(try state(lab).networks.count == 1)
    }
}
