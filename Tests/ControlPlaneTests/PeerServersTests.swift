import HTTP
import IO
import Identity
import Serialization
import TLS
import Testing

@testable import ControlPlane

@Suite("Nodes of other control planes")
struct PeerServersTests {
    private func onLoop(_ body: @escaping @Sendable (EventLoop) async throws -> Void) async throws {
        let loop = try EventLoop.start(name: "peers")
        defer { loop.stop() }
        try await Task(executorPreference: loop) { try await body(loop) }.value
    }

    private func authority() throws -> CertificateAuthority {
        try CertificateAuthority.make(
            subject: DistinguishedName(commonName: "test", organizations: []), key: PrivateKey.makeP256(),
            notBefore: 1_800_000_000 - 3600, notAfter: 1_800_000_000 + 86_400 * 365)
    }

    @Test("a server is reached by the names it was given and by its address, unless that stands for all addresses")
    func places() throws {
        let address = try #require(IPAddress("192.0.2.1"))
        #expect(
            PeerServers.place(of: .ip(address, port: 6443), names: ["api.example"])
                == PeerServers.Place(hosts: ["api.example", "192.0.2.1"], port: 6443))
        let all = try #require(IPAddress("0.0.0.0"))
        #expect(PeerServers.place(of: .ip(all, port: 6443), names: []).hosts.isEmpty)
        #expect(PeerServers.place(of: .ip(address, port: 1), names: ["192.0.2.1"]).hosts == ["192.0.2.1"])
        let many = (0..<20).map { "host-\($0)" }
        #expect(PeerServers.place(of: .ip(all, port: 1), names: many).hosts.count == PeerServers.hostsMax)
    }

    @Test(
        "a node is asked through the server that tells of it, until it tells so no more; what cannot be read is counted"
    )
    func hears() async throws {
        try await onLoop { loop in
            let peers = PeerServers(try authority(), on: loop, now: { 1_800_000_000 })
            let place = PeerServers.Place(hosts: ["192.0.2.1"], port: 6443)
            peers.heard(["a": PeerServers.report(place, nodes: ["far"]), "b": Array("no JSON".utf8), "c": []])
            #expect(peers.nodes == ["far"] && peers.unreadable == 1)
            let client = try #require(peers.client(of: "far"))
            #expect(peers.client(of: "far") === client && peers.client(of: "other") == nil)
            // It has moved to another server.
            peers.heard(["b": PeerServers.report(place, nodes: ["far"])])
            #expect(peers.client(of: "far") !== client)
            peers.heard([:])
            #expect(peers.client(of: "far") == nil && peers.nodes.isEmpty)
            peers.close()
        }
    }

    @Test("a server that tells of more nodes than a report holds tells of the first")
    func bounded() async throws {
        try await onLoop { loop in
            let place = PeerServers.Place(hosts: ["192.0.2.1"], port: 6443)
            let report = PeerServers.report(place, nodes: (0..<10_000).map { "node-with-a-long-name-\($0)" })
            #expect(report.count < 256 * 1024)
            let peers = PeerServers(try authority(), on: loop, now: { 1_800_000_000 })
            peers.heard(["a": report])
            #expect(peers.nodes.count > 1000 && peers.nodes.contains("node-with-a-long-name-0"))
        }
    }

    @Test("a server that nobody answers for is an error that tells so, and is counted")
    func silent() async throws {
        try await onLoop { loop in
            let peers = PeerServers(try authority(), on: loop, now: { 1_800_000_000 })
            // A port that was ours: nobody listens there.
            let listener = try Socket.listen(on: .ip(.v4(0x7f00_0001), port: 0))
            guard case .ip(_, let port)? = listener.localAddress else { return }
            listener.close()
            peers.heard(["a": PeerServers.report(PeerServers.Place(hosts: ["127.0.0.1"], port: port), nodes: ["far"])])
            let client = try #require(peers.client(of: "far"))
            await #expect(throws: HTTPError.self) { try await client.send(HTTPClientRequest(.get, "/pods")) }
            #expect(peers.failed == 1 && peers.asked == 0)
            #expect(peers.metrics.contains("skein_control_peer_failures_total 1"))
            peers.close()
        }
    }
}
