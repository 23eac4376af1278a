import EnvoyAPI
import Serialization
import Testing
import XDS

@Suite("Hostile and broken subscribers")
struct HostileTests {
    private static func snapshot(_ count: Int, version: String) -> Snapshot {
        var snapshot = Snapshot(version: version)
        var resources: [String: EncodedResource] = [:]
        for number in 0..<count {
            let message = AnyMessage(typeURL: Cluster.typeURL, value: Array("\(number)@\(version)".utf8))
            resources["c\(number)"] = EncodedResource(name: "c\(number)", message: message)
        }
        snapshot[Cluster.typeURL] = [ResourceTable(resources)]
        return snapshot
    }

    private func request(_ nonce: String = "", _ names: [String] = [], error: String? = nil) -> DeltaDiscoveryRequest {
        var request = DeltaDiscoveryRequest()
        request.typeUrl = Cluster.typeURL
        request.responseNonce = nonce
        request.resourceNamesSubscribe = names
        if let error {
            var status = Status()
            status.message = error
            request.errorDetail = status
        }
        return request
    }

    @Test("ATK-36 of a thousand resources one is refused without a name: the 999 others converge, in few steps")
    func poison() throws {
        var (server, changes, maker) = (DiscoveryServer(.delta), SnapshotChanges(), ResponseMaker())
        _ = server.publish(Self.snapshot(1000, version: "1"), &changes, &maker)
        var response = try #require(try server.received(request(), &maker).first)
        _ = try server.received(request(response.nonce), &maker)
        response = try #require(server.publish(Self.snapshot(1000, version: "2"), &changes, &maker).first)
        var steps = 0
        while steps < 100 {
            steps += 1
            let said = try DeltaDiscoveryResponse(serialized: response.bytes)
            let isBad = said.resources.contains { $0.name == "c617" }
            let next = try server.received(request(response.nonce, error: isBad ? "no" : nil), &maker).first
            guard let next else { break }
            response = next
        }
        #expect(steps <= 2 * 11 + 1, "halves: \(steps)")
        #expect(server.isSettled && Array(server.refused(typeURL: Cluster.typeURL).keys) == ["c617"])
        let good = Self.snapshot(1000, version: "2")[Cluster.typeURL][0].resources
        let have = good.keys.filter { server.acknowledged(typeURL: Cluster.typeURL, name: $0) == good[$0]?.version }
        #expect(have.count == 999)
        #expect(server.acknowledged(typeURL: Cluster.typeURL, name: "c617") != nil, "it keeps the last good version")
    }

    @Test(
        "an acknowledgement is read from its bytes; what says anything else, or is cut short, is left to be read as a whole"
    )
    func plain() throws {
        var (server, changes, maker) = (DiscoveryServer(.delta), SnapshotChanges(), ResponseMaker())
        _ = server.publish(Self.snapshot(3, version: "1"), &changes, &maker)
        let response = try #require(try server.received(request(), &maker).first)
        func take(_ bytes: [UInt8]) -> [DiscoveryMessage]? {
            bytes.withUnsafeBytes { server.acknowledged($0, &maker) }
        }
        let good = request(response.nonce).serialized()
        for count in 0..<good.count { #expect(take(Array(good.prefix(count))) == nil, "\(count) bytes") }
        #expect(take(request("999").serialized()) == nil, "another nonce")
        #expect(take(request(response.nonce, error: "no").serialized()) == nil)
        #expect(take(request(response.nonce, ["c1"]).serialized()) == nil)
        #expect(take([UInt8](repeating: 0xFF, count: 40)) == nil)
        #expect(!server.isSettled)
        #expect(take(good)?.isEmpty == true)
        #expect(server.isSettled && take(good) == nil, "once")
    }

    @Test("a change found once is told alike to streams at rest, and to one that is busy when its answer has come")
    func prepared() throws {
        var (changes, maker) = (SnapshotChanges(), ResponseMaker())
        let old = Self.snapshot(5, version: "1")
        let new = Self.snapshot(5, version: "2")
        var servers = [DiscoveryServer(.delta), DiscoveryServer(.delta), DiscoveryServer(.delta)]
        var last: [String] = []
        for index in servers.indices {
            _ = servers[index].publish(old, &changes, &maker)
            last.append(try #require(try servers[index].received(request(), &maker).first).nonce)
        }
        // The third has not answered yet.
        for index in 0..<2 { _ = try servers[index].received(request(last[index]), &maker) }
        let difference = changes.all(from: old, to: new)
        let told = servers.indices.map { index in
            servers[index].publish(
                shared: new.parts[0], version: "2", generation: 2, difference, &maker)
        }
        #expect(told[0].count == 1 && told[0].first?.bytes == told[1].first?.bytes && told[2].isEmpty)
        #expect(servers.map(\.acknowledgedGeneration) == [1, 1, 0])
        let nonce = try #require(told[0].first?.nonce)
        for index in 0..<2 {
            let answer = request(nonce, error: index == 1 ? "c3: no" : nil)
            for message in try servers[index].received(answer, &maker) {
                _ = try servers[index].received(request(message.nonce), &maker)
            }
        }
        let late = try #require(try servers[2].received(request(last[2]), &maker).first)
        _ = try servers[2].received(request(late.nonce), &maker)
        #expect(servers.map(\.isSettled) == [true, true, true])
        let version = new[Cluster.typeURL][0].resources["c3"]?.version
        #expect(
            servers.map { $0.acknowledged(typeURL: Cluster.typeURL, name: "c3") == version } == [true, false, true])
        #expect(servers[1].refused(typeURL: Cluster.typeURL).keys.sorted() == ["c3"])
    }

    @Test("who no longer wants what was about to be taken away waits for nothing: everything counts as acknowledged")
    func unsubscribed() throws {
        var (changes, maker) = (SnapshotChanges(), ResponseMaker())
        var server = DiscoveryServer(.delta)
        _ = server.publish(Self.snapshot(2, version: "1"), &changes, &maker)
        let first = try #require(try server.received(request("", ["c0", "c1"]), &maker).first)
        _ = try server.received(request(first.nonce), &maker)
        // While a change of both is under way, one of them goes.
        let second = try #require(server.publish(Self.snapshot(2, version: "2"), &changes, &maker).first)
        changes.reset()
        #expect(server.publish(Self.snapshot(1, version: "2"), &changes, &maker).isEmpty)
        var goodbye = request()
        goodbye.resourceNamesUnsubscribe = ["c1"]
        #expect(try server.received(goodbye, &maker).isEmpty)
        #expect(try server.received(request(second.nonce), &maker).isEmpty)
        #expect(server.isSettled && server.acknowledgedGeneration == server.generation)
    }

    @Test("ATK-35 more names than a stream may have, or too long ones, end it")
    func names() throws {
        var (server, maker) = (DiscoveryServer(.delta), ResponseMaker())
        let many = (0...DiscoveryServer.namesMax).map { "n\($0)" }
        #expect(throws: ProtocolViolation.self) { try server.received(request("", many), &maker) }
        _ = try server.received(request("", Array(many.prefix(60_000))), &maker)
        #expect(throws: ProtocolViolation.self, "also in pieces") {
            try server.received(request("", many.suffix(60_000).map { "x\($0)" }), &maker)
        }
        let long = String(repeating: "a", count: DiscoveryServer.nameBytesMax + 1)
        #expect(throws: ProtocolViolation.self) { try server.received(request("", [long]), &maker) }
        var types = DiscoveryServer(.delta)
        #expect(throws: ProtocolViolation.self) {
            for number in 0...DiscoveryServer.typesMax {
                var request = DeltaDiscoveryRequest()
                request.typeUrl = "type.googleapis.com/t\(number)"
                _ = try types.received(request, &maker)
            }
        }
        var locator = request()
        locator.resourceLocatorsSubscribe = [DiscoveryResourceLocator()]
        #expect(throws: ProtocolViolation.self) { try types.received(locator, &maker) }
    }

    @Test("ATK-34 answers to responses that are not under way change nothing, and are counted")
    func nonces() throws {
        var (server, changes, maker) = (DiscoveryServer(.delta), SnapshotChanges(), ResponseMaker())
        _ = server.publish(Self.snapshot(2, version: "1"), &changes, &maker)
        let first = try #require(try server.received(request(), &maker).first)
        for nonce in ["0", "2", "-1", "99999999999999999999", first.nonce + " "] {
            #expect(try server.received(request(nonce, error: "no"), &maker).isEmpty)
        }
        #expect(server.staleAnswers == 5 && server.rejection(typeURL: Cluster.typeURL) == nil && !server.isSettled)
        _ = try server.received(request(first.nonce), &maker)
        #expect(server.isSettled)
        _ = try server.received(request(first.nonce, error: "too late"), &maker)
        #expect(server.rejection(typeURL: Cluster.typeURL) == nil && server.staleAnswers == 6)
        var other = request(first.nonce)
        other.typeUrl = Listener.typeURL
        #expect(try server.received(other, &maker).map(\.resources) == [0], "a nonce belongs to its type (P-7)")

        var world = DiscoveryServer(.stateOfTheWorld)
        _ = world.publish(Self.snapshot(2, version: "1"), &changes, &maker)
        var ask = DiscoveryRequest()
        ask.typeUrl = Cluster.typeURL
        let response = try #require(try world.received(ask, &maker).first)
        ask.responseNonce = "17"
        ask.resourceNames = ["c1"]
        #expect(try world.received(ask, &maker).isEmpty && world.staleAnswers == 1)
        ask.responseNonce = response.nonce
        ask.resourceNames = []
        #expect(try world.received(ask, &maker).isEmpty && world.isSettled)
    }

    @Test("equal responses are made once, and no stream gets the same nonce twice in a row")
    func sharing() throws {
        var (changes, maker) = (SnapshotChanges(), ResponseMaker())
        let snapshot = Self.snapshot(3, version: "1")
        var streams = [DiscoveryServer(.delta), DiscoveryServer(.delta)]
        var nonces: [String] = []
        for index in streams.indices {
            _ = streams[index].publish(snapshot, &changes, &maker)
            nonces += try streams[index].received(request(), &maker).map(\.nonce)
        }
        #expect(nonces.count == 2 && nonces[0] == nonces[1])
        _ = try streams[0].received(request(nonces[0]), &maker)
        let again = try streams[0].received(request("", ["c0", "c1", "c2"]), &maker)
        #expect(again.map(\.resources) == [3] && again.first?.nonce != nonces[0])
    }
}
