import IO
import Testing

@testable import Network

@Suite("Ways to the pods of other nodes")
struct NodePathsTests {
    private func address(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }
    private func block(_ text: String) throws -> Prefix { try #require(Prefix(text)) }

    private func node(
        _ name: String, _ address: String, _ blocks: [String], _ driver: NodeDriver = .overlay
    ) throws -> PeerNode {
        PeerNode(
            name: name, addresses: try address.split(separator: " ").map { try self.address(String($0)) },
            blocks: try blocks.map(block), driver: driver)
    }

    private func paths(_ driver: NodeDriver, _ others: [PeerNode]) throws -> NodePaths {
        NodePaths(
            from: NodeNetworking(name: "a", addresses: [try address("192.0.2.1")], driver: driver),
            blocks: [try block("10.244.0.0/24")], to: others)
    }

    @Test("a node of an overlay has a route, a neighbour and a forwarding entry, and nothing is flooded")
    func overlay() throws {
        let paths = try paths(.overlay, [try node("b", "192.0.2.2", ["10.244.1.0/24"])])
        let hardware: [UInt8] = [2, 0x74, 10, 244, 1, 0]
        #expect(paths.routes == [try block("10.244.1.0/24"): .overlay(via: try address("10.244.1.0"))])
        #expect(paths.neighbours == [try address("10.244.1.0"): hardware])
        #expect(paths.forwarding == [hardware: try address("192.0.2.2")])
        #expect(paths.problems.isEmpty)
    }

    @Test("host-gw needs both sides: a node that wraps is reached wrapped, and answers wrapped")
    func drivers() throws {
        let others = [
            try node("b", "192.0.2.2", ["10.244.1.0/24"], .hostGateway),
            try node("c", "192.0.2.3", ["10.244.2.0/24"], .overlay),
        ]
        let direct = try paths(.hostGateway, others)
        #expect(direct.routes[try block("10.244.1.0/24")] == .direct(try address("192.0.2.2")))
        #expect(direct.routes[try block("10.244.2.0/24")] == .overlay(via: try address("10.244.2.0")))
        let wrapped = try paths(.overlay, others)
        #expect(wrapped.routes[try block("10.244.1.0/24")] == .overlay(via: try address("10.244.1.0")))
        for one in NodeDriver.allCases {
            for other in NodeDriver.allCases { #expect(NodeDriver.between(one, other) == .between(other, one)) }
        }
    }

    @Test("IPv6 blocks go through the same tunnel, and unwrapped only over an IPv6 address")
    func dualStack() throws {
        let blocks = ["10.244.1.0/24", "fd00:244:0:1::/64"]
        let wrapped = try paths(.overlay, [try node("b", "192.0.2.2", blocks)])
        #expect(wrapped.routes.count == 2)
        #expect(wrapped.forwarding.count == 1)
        let direct = try paths(.hostGateway, [try node("b", "192.0.2.2", blocks, .hostGateway)])
        #expect(direct.routes.count == 1)
        #expect(
            direct.problems == ["node b has no address of the family of fd00:244:0:1::/64, which a route needs"])
        let both = try paths(.hostGateway, [try node("b", "192.0.2.2 2001:db8::2", blocks, .hostGateway)])
        #expect(both.routes[try block("fd00:244:0:1::/64")] == .direct(try address("2001:db8::2")))
    }

    @Test("a block that two claim goes to the first name, our own to nobody, and our address is no other node's")
    func conflicts() throws {
        let paths = try paths(
            .overlay,
            [
                try node("d", "192.0.2.4", ["10.244.1.0/24"]), try node("b", "192.0.2.2", ["10.244.1.0/24"]),
                try node("c", "192.0.2.3", ["10.244.0.0/24"]), try node("e", "192.0.2.1", ["10.244.5.0/24"]),
                try node("a", "192.0.2.9", ["10.244.7.0/24"]),
            ])
        #expect(paths.forwarding.values.map(\.description) == ["192.0.2.2"])
        #expect(
            paths.problems == [
                "node c has 10.244.0.0/24, which overlaps 10.244.0.0/24 of node a",
                "node d has 10.244.1.0/24, which overlaps 10.244.1.0/24 of node b",
                "node e has the address 192.0.2.1, which is ours",
            ])
    }

    @Test("only what differs is changed, and no route leads to a neighbour that is not there yet")
    func difference() throws {
        let b = try node("b", "192.0.2.2", ["10.244.1.0/24"])
        let c = try node("c", "192.0.2.3", ["10.244.2.0/24"])
        let moved = try node("b", "192.0.2.22", ["10.244.1.0/24"])
        let hardware: [UInt8] = [2, 0x74, 10, 244, 1, 0]
        #expect(NodePaths.steps(from: try paths(.overlay, [b, c]), to: try paths(.overlay, [c, b])).isEmpty)
        #expect(
            NodePaths.steps(from: try paths(.overlay, [b, c]), to: try paths(.overlay, [moved, c])) == [
                .setForwarding(hardware, to: try address("192.0.2.22"))
            ])
        #expect(
            NodePaths.steps(from: NodePaths(), to: try paths(.overlay, [b])) == [
                .setForwarding(hardware, to: try address("192.0.2.2")),
                .setNeighbour(try address("10.244.1.0"), hardware),
                .setRoute(try block("10.244.1.0/24"), .overlay(via: try address("10.244.1.0"))),
            ])
        #expect(
            NodePaths.steps(from: try paths(.overlay, [b]), to: NodePaths()) == [
                .removeRoute(try block("10.244.1.0/24")), .removeNeighbour(try address("10.244.1.0")),
                .removeForwarding(hardware, to: try address("192.0.2.2")),
            ])
        let direct = try paths(.hostGateway, [try node("b", "192.0.2.2", ["10.244.1.0/24"], .hostGateway)])
        #expect(
            NodePaths.steps(from: try paths(.overlay, [b]), to: direct).first
                == .setRoute(try block("10.244.1.0/24"), .direct(try address("192.0.2.2"))))
    }

    @Test("N-14 a pod's packet leaves room for what VXLAN adds: 50 bytes over IPv4, 70 over IPv6, none for routes")
    func sizes() throws {
        func overhead(_ address: String, _ driver: NodeDriver) throws -> Int {
            NodeNetworking(name: "a", addresses: [try self.address(address)], driver: driver).overhead
        }
        #expect(try overhead("192.0.2.1", .overlay) == 50)
        #expect(try overhead("2001:db8::1", .overlay) == 70)
        #expect(try overhead("192.0.2.1", .hostGateway) == 0)
    }
}
