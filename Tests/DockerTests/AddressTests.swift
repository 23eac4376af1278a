import CNI
import IO
import Serialization
import Testing

@testable import Docker

@Suite("Addresses for a Docker engine")
struct AddressTests {
    private func pool(_ lab: Laboratory, _ body: JSON) throws -> (id: String, pool: String) {
        let answer = try lab.call("IpamDriver.RequestPool", body).answer
        return (answer["PoolID"]?.string ?? "", answer["Pool"]?.string ?? answer["Err"]?.string ?? "")
    }

    private func address(_ lab: Laboratory, _ id: String, _ wanted: String = "", isGateway: Bool = false) throws
        -> String
    {
        let options: JSON = isGateway ? ["RequestAddressType": "com.docker.network.gateway"] : [:]
        let answer = try lab.call(
            "IpamDriver.RequestAddress",
            ["PoolID": .string(id), "Address": .string(wanted), "Options": options]
        ).answer
        return answer["Address"]?.string ?? answer["Err"]?.string ?? ""
    }

    @Test("networks without a subnet get pieces that nobody uses")
    func anyPool() throws {
        let lab = try Laboratory()
        var view = HostView()
        view.routed = [try #require(Prefix("10.208.1.0/24"))]
        lab.kernel.show(view)
        let space: JSON = ["AddressSpace": "SkeinLocal", "Pool": "", "SubPool": "", "V6": false]
        #expect(try pool(lab, space).pool == "10.208.0.0/24")
        #expect(try pool(lab, space).pool == "10.208.2.0/24")
        #expect(try pool(lab, ["AddressSpace": "SkeinLocal", "V6": true]).pool == "fd73:6b65:696e::/64")
        #expect(try pool(lab, ["AddressSpace": "SkeinLocal", "V6": true]).pool == "fd73:6b65:696e:1::/64")
        #expect(try pool(lab, ["AddressSpace": "SkeinLocal", "Pool": "10.208.0.128/25"]).pool.contains("overlaps"))
    }

    @Test("addresses go round, wishes are granted once, and what is full is full")
    func addresses() throws {
        let lab = try Laboratory()
        let id = try pool(lab, ["AddressSpace": "SkeinLocal", "Pool": "10.7.0.0/29"]).id
        #expect(try address(lab, id, isGateway: true) == "10.7.0.1/29")
        #expect(try address(lab, id, "10.7.0.4") == "10.7.0.4/29")
        #expect(try address(lab, id, "10.7.0.4").contains("in use"))
        #expect(try address(lab, id, "10.7.0.7").contains("may be given"))
        #expect(try address(lab, id, "10.8.0.1").contains("may be given"))
        #expect(try [address(lab, id), address(lab, id)] == ["10.7.0.5/29", "10.7.0.6/29"])
        #expect(try [address(lab, id), address(lab, id)] == ["10.7.0.2/29", "10.7.0.3/29"])
        #expect(try address(lab, id).contains("no address is left"))
        #expect(
            try lab.call("IpamDriver.ReleaseAddress", ["PoolID": .string(id), "Address": "10.7.0.5"]).status == 200)
        #expect(try address(lab, id) == "10.7.0.5/29")
        #expect(try lab.call("IpamDriver.ReleasePool", ["PoolID": .string(id)]).status == 200)
        #expect(try pool(lab, ["AddressSpace": "SkeinLocal", "Pool": "10.7.0.0/29"]).id == id)
    }

    @Test("--ip-range: addresses come from the part, the gateway and wishes from the whole")
    func part() throws {
        let lab = try Laboratory()
        let id = try pool(lab, ["AddressSpace": "SkeinLocal", "Pool": "10.7.0.0/24", "SubPool": "10.7.0.128/30"]).id
        #expect(try address(lab, id, isGateway: true) == "10.7.0.1/24")
        #expect(try (0..<4).map { _ in try address(lab, id) } == (128...131).map { "10.7.0.\($0)/24" })
        #expect(try address(lab, id).contains("no address is left in 10.7.0.128/30"))
        #expect(try address(lab, id, "10.7.0.9") == "10.7.0.9/24")
    }

    @Test("requests that make no sense are refused")
    func refusals() throws {
        let lab = try Laboratory()
        for body: JSON in [
            ["AddressSpace": "Mars"], ["Pool": "10.0.0.0"], ["Pool": "10.0.0.0/31"], ["Pool": "x/8"],
            ["SubPool": "10.0.0.0/24"], ["Pool": "10.0.0.0/24", "SubPool": "10.1.0.0/25"],
            ["Pool": "fd00::/64", "V6": false],
            ["Pool": "10.0.0.0/24", "Options": ["speed": "high"]],
        ] {
            #expect(try lab.call("IpamDriver.RequestPool", body).status == 400, "\(body.text)")
        }
        for id in ["", "x", "SkeinLocal/10.0.0.0", "SkeinLocal/10.0.0.0/99", "SkeinLocal/10.0.0.0/24/10.9.0.0/25"] {
            #expect(try lab.call("IpamDriver.RequestAddress", ["PoolID": .string(id)]).status == 400, "\(id)")
        }
    }

    @Test("a part at the far end of a huge network is refused, not counted")
    func farPart() throws {
        let lab = try Laboratory()
        for part in ["fd00:0:0:7fff:ffff:ffff:ffff:fff0/124", "fd00::7fff:ffff:ffff:fff0/124", "fdff:ffff::/32"] {
            let id = try pool(
                lab, ["AddressSpace": "SkeinLocal", "Pool": "fd00::/8", "SubPool": .string(part), "V6": true]
            ).id
            #expect(try address(lab, id).contains("no address is left"), "\(part)")
            _ = try address(lab, id, String(part.prefix { $0 != "/" }))
            _ = try address(lab, id, "fd00::7fff:ffff:ffff:ffff")
            #expect(try address(lab, id).contains("no address is left"), "\(part)")
            try lab.call("IpamDriver.ReleasePool", ["PoolID": .string(id)])
        }
    }

    @Test("a pool finds a free place whatever is taken")
    func exhaustive() throws {
        var pool = AddressPool(space: "SkeinLocal", prefix: try #require(Prefix("10.7.0.0/28")))
        var seen: [Int] = []
        while let place = pool.next() {
            pool.take(place)
            seen.append(place)
        }
        #expect(seen == Array(1...14))
        for place in 1...14 {
            pool.release(place)
            #expect(pool.next() == place)
            pool.take(place)
            #expect(pool.next() == nil)
        }
    }
}
