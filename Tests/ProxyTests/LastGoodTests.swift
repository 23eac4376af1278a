import EnvoyAPI
import IO
import Serialization
import Testing
import XDS

@testable import Proxy

@Suite("The last good configuration on disk")
struct LastGoodTests {
    private static func bootstrap(_ server: IO.SocketAddress, keeping path: String) -> String {
        ADSTests.bootstrap(server).replacing(
            "cluster: test }", with: "cluster: test, metadata: { LAST_GOOD_FILE: \"\(path)\" } }")
    }

    private static func file() -> String {
        "/tmp/skein-last-good-\(Environment.processID)-\(UInt32.random(in: 0 ... .max)).pb"
    }

    private static func resource(_ name: String, _ body: String) -> Resource {
        var resource = Resource()
        resource.name = name
        resource.version = "1"
        resource.resource = AnyMessage(typeURL: Cluster.typeURL, value: Array(body.utf8))
        return resource
    }

    @Test(
        "ATK-38 a proxy that starts while its management server is gone serves what it had; when that is back, it goes on"
    )
    func restart() async throws {
        try await onLoop { loop in
            let path = Self.file()
            defer { try? File.remove(path) }
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("from the upstream") }
            let server = try ADSTests.ManagementServer(on: loop)
            try await server.publish(try ADSTests.snapshot(backend: upstream.port, listener: 0))
            let first = try await RunningProxy.start(Self.bootstrap(server.address, keeping: path))
            #expect(try await Wire.connect(to: first.address, on: loop).get("/").body == "from the upstream")
            try await until { File.exists(path) }
            first.stop()
            #expect(try File.read(path).count > 100)

            // Nobody listens there.
            let gone = try Socket.listen(on: .ip(.v4(0x7F00_0001), port: 0))
            let address = try #require(gone.localAddress)
            gone.close()
            let second = try await RunningProxy.start(Self.bootstrap(address, keeping: path))
            defer { second.stop() }
            #expect(try await Wire.connect(to: second.address, on: loop).get("/").body == "from the upstream")
        }
    }

    @Test("secrets and keys are never in the file; what is given up or removed leaves it")
    func content() throws {
        #expect(LastGoodConfiguration.isPublic(Self.resource("a", "PRIVATE KEY is only a word")))
        #expect(!LastGoodConfiguration.isPublic(Self.resource("a", "x-----BEGIN EC PRIVATE KEY-----\nMHc")))
        let loop = try EventLoop()
        var node = Node()
        #expect(LastGoodConfiguration(node, on: loop) == nil)
        node.metadata = ["LAST_GOOD_FILE": .string(Self.file())]
        let kept = try #require(LastGoodConfiguration(node, on: loop))
        let path = node.metadata?["LAST_GOOD_FILE"]?.string ?? ""
        defer { try? File.remove(path) }
        func update(_ type: String, _ resources: [Resource], removed: [String] = []) -> DeltaClient.Update {
            DeltaClient.Update(typeURL: type, resources: resources, removed: removed, nonce: "1")
        }
        let names = ["a", "b", "c", "d"]
        let clusters = names.map { Self.resource($0, $0 == "b" ? "-----BEGIN PRIVATE KEY-----" : $0) }
        kept.note(update(Cluster.typeURL, clusters), applied: ["a", "b", "c"])
        kept.note(update(Secret.typeURL, [Self.resource("s", "s")]), applied: ["s"])
        kept.write()
        let read = try #require(LastGoodConfiguration(node, on: loop)).read()
        #expect(read.map(\.typeURL) == [Cluster.typeURL] && read.first?.resources.map(\.name) == ["a", "c"])
        kept.note(update(Cluster.typeURL, [], removed: ["a"]), applied: [])
        kept.note(update(Listener.typeURL, [Self.resource("l", "l")]), applied: ["l"])
        kept.wanted = { $0 == Listener.typeURL ? [] : nil }
        kept.write()
        #expect(LastGoodConfiguration(node, on: loop)?.read().flatMap(\.resources).map(\.name) == ["c"])
    }

    @Test("a damaged file is not used")
    func damage() {
        let good = LastGoodConfiguration.encode([
            Cluster.typeURL: ["a": Self.resource("a", "a"), "b": Self.resource("b", "b")]
        ])
        #expect(LastGoodConfiguration.decode(good)?[Cluster.typeURL]?.count == 2)
        for length in 0..<good.count { #expect(LastGoodConfiguration.decode(Array(good[..<length])) == nil) }
        for index in good.indices {
            var bad = good
            bad[index] ^= 0x10
            #expect(LastGoodConfiguration.decode(bad) == nil)
        }
        #expect(LastGoodConfiguration.decode(good + [0]) == nil)
        let asked = LastGoodConfiguration.encode(
            [Cluster.typeURL: ["a": Self.resource("a", "a")]], demanded: [Cluster.typeURL: ["a", "b"]])
        #expect(LastGoodConfiguration.decode(asked)?[Cluster.typeURL]?.count == 2, "and what was asked for")
    }
}
