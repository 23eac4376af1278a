import Compression
import HTTP
import IO
import KubernetesAPI
import Serialization
import Testing

@testable import APIServer

@Suite("exec, attach and portforward")
struct StreamTests {
    private func headers(_ pairs: [(String, String)]) throws -> HeaderTable {
        var headers = HeaderTable()
        for (name, value) in pairs { try headers.append(name, value) }
        return headers
    }

    private let handshake = [
        ("upgrade", "websocket"), ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ]

    @Test("a client's first choice among what is served is taken")
    func negotiation() throws {
        let five = try StreamProtocol(
            headers(handshake + [("sec-websocket-protocol", "v5.channel.k8s.io, v4.channel.k8s.io")]), .exec)
        #expect(five.answer.headers["sec-websocket-protocol"] == "v5.channel.k8s.io")
        let four = try StreamProtocol(headers(handshake + [("sec-websocket-protocol", "x,v4.channel.k8s.io")]), .exec)
        guard case .channels(_, .four) = four else {
            Issue.record("\(four)")
            return
        }
        let spdy = try StreamProtocol(
            headers(
                [("upgrade", "SPDY/3.1")]
                    + ["v5", "v4", "v3"].map { ("x-stream-protocol-version", $0 + ".channel.k8s.io") }), .attach)
        #expect(spdy == .spdy(name: "v4.channel.k8s.io"))
        #expect(spdy.answer.headers["upgrade"] == "SPDY/3.1")
        let tunnel = try StreamProtocol(
            headers(handshake + [("sec-websocket-protocol", "SPDY/3.1+portforward.k8s.io")]), .portForward)
        #expect(tunnel.answer.headers["sec-websocket-protocol"] == "SPDY/3.1+portforward.k8s.io")
    }

    @Test("a client that names no protocol, or an old one, is served as a kubelet serves it")
    func oldProtocols() throws {
        func form(_ name: String, _ purpose: StreamRequest.Purpose) throws -> StreamProtocol {
            try StreamProtocol(headers(handshake + (name.isEmpty ? [] : [("sec-websocket-protocol", name)])), purpose)
        }
        for form in ChannelForm.allCases {
            let found = try self.headers(
                handshake + (form == .unnamed ? [] : [("sec-websocket-protocol", form.rawValue)]))
            let answer = try StreamProtocol(found, .exec).answer.headers["sec-websocket-protocol"]
            #expect(answer == (form == .unnamed ? nil : form.rawValue))
        }
        #expect(throws: StatusError.self) { try form("channel.k8s.io", .portForward) }
        guard case .channels(_, .unnamed) = try form("", .portForward) else {
            Issue.record("port forwarding needs a name")
            return
        }
        let text = ChannelForm.fourBase64
        #expect(text.encoded([1, 0x68, 0x69]) == Array("1aGk=".utf8))
        #expect(text.decoded(Array("0aGk=".utf8)) == [0, 0x68, 0x69])
        #expect(text.decoded([0, 1]) == nil && text.decoded(Array("0*".utf8)) == nil && text.decoded([]) == [])
        let failure = Array(#"{"status":"Failure","message":"command terminated with exit code 3"}"#.utf8)
        #expect(ChannelForm.unnamed.status(failure) == Array("command terminated with exit code 3".utf8))
        #expect(ChannelForm.one.status(Array(#"{"status":"Success"}"#.utf8)) == nil)
        #expect(ChannelForm.five.status(failure) == failure)
    }

    @Test("no upgrade, an unknown protocol and a foreign page are refused with what is served")
    func refusals() throws {
        func message(_ pairs: [(String, String)], _ purpose: StreamRequest.Purpose) throws -> String {
            let fields = try headers(pairs)
            do throws(StatusError) {
                return "\(try StreamProtocol(fields, purpose))"
            } catch { return "\(error.code) \(error.message)" }
        }
        #expect(try message([], .exec) == "400 Upgrade request required")
        #expect(
            try message(handshake + [("sec-websocket-protocol", "x.channel.k8s.io")], .exec).contains(
                "v5.channel.k8s.io")
        )
        #expect(
            try message([("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", "v4.channel.k8s.io")], .portForward)
                .hasPrefix("403"))
        let foreign = try headers([("origin", "https://evil.example")])
        #expect(StreamProtocol.isForeign(foreign, host: "127.0.0.1:6443"))
        #expect(!StreamProtocol.isForeign(try headers([("origin", "https://127.0.0.1:6443")]), host: "127.0.0.1:6443"))
        #expect(!StreamProtocol.isForeign(HeaderTable(), host: "127.0.0.1:6443"))
    }

    @Test("the options of exec are read as Kubernetes reads them, the command word by word")
    func options() throws {
        let fixture = try Fixture()
        try fixture.ask(
            "POST", "/api/v1/namespaces/default/pods",
            [
                "metadata": ["name": "p"],
                "spec": [
                    "nodeName": "node", "containers": [["name": "a", "image": "x"], ["name": "b", "image": "x"]],
                ],
            ])
        func wish(_ query: String, user: APIUser = .root) throws -> APIResponse {
            fixture.router.answer(
                try APIRequest(method: "GET", target: "/api/v1/namespaces/default/pods/p/exec?" + query, user: user))
        }
        guard
            case .streams(let found) = try wish(
                "container=b&command=sh&command=-c&command=echo+a%26b&stdin=false&stdout=true&stderr=1&tty=True"
            ).body
        else {
            Issue.record("no streams")
            return
        }
        #expect(found.container == "b" && found.command == ["sh", "-c", "echo a&b"])
        #expect(!found.hasInput && found.hasOutput && found.hasTerminal && !found.hasErrors)
        #expect(
            found.agentPath() == "/exec/default/p/b?command=sh&command=-c&command=echo%20a%26b&stdout=true&tty=true")
        for (query, word) in [
            ("container=a&stdout=true", "at least one command"), ("container=a&command=x", "at least 1 of stdin"),
            ("command=x&stdout=true", "a container name must be specified"),
            ("container=c&command=x&stdout=true", "is not valid for pod p"),
        ] {
            let answer = try wish(query)
            guard case .bytes(let bytes) = answer.body else {
                Issue.record("\(query) was taken")
                continue
            }
            #expect(answer.status == 400 && String(decoding: bytes, as: UTF8.self).contains(word))
        }
    }

    @Test("the right to run commands is create on pods/exec, for GET too")
    func rights() throws {
        let fixture = try Fixture()
        let user = APIUser(name: "jane", groups: ["system:authenticated"])
        try fixture.ask(
            "POST", "/api/v1/namespaces/default/pods",
            ["metadata": ["name": "p"], "spec": ["nodeName": "node", "containers": [["name": "a", "image": "x"]]]])
        func status() throws -> Int {
            fixture.router.answer(
                try APIRequest(
                    method: "GET", target: "/api/v1/namespaces/default/pods/p/exec?command=x&stdout=1", user: user)
            ).status
        }
        for (verb, wanted) in [("get", 403), ("create", 101)] {
            try fixture.ask(
                "POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles",
                [
                    "metadata": ["name": .string(verb)],
                    "rules": [["apiGroups": [""], "resources": ["pods/exec"], "verbs": [.string(verb)]]],
                ])
            try fixture.ask(
                "POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings",
                [
                    "metadata": ["name": .string(verb)],
                    "roleRef": ["apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": .string(verb)],
                    "subjects": [["kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "jane"]],
                ])
            #expect(try status() == wanted)
        }
    }

    // MARK: SPDY

    @Test("the dictionary is that of SPDY: 1,423 bytes that the peer's library knows by their checksum")
    func dictionary() throws {
        let bytes = SPDYHeaders.dictionary
        var (low, high) = (UInt32(1), UInt32(0))
        for byte in bytes {
            low = (low + UInt32(byte)) % 65_521
            high = (high + low) % 65_521
        }
        #expect(bytes.count == 1423 && high << 16 | low == 0xE3C6_A7C2)
    }

    private static let frames: [SPDYFrame] = [
        .open(stream: 1, headers: ["streamtype": "error", "port": "80", "requestid": "0"], isEnd: true),
        .open(stream: 3, headers: ["streamtype": "data", "port": "80", "requestid": "0"], isEnd: false),
        .reply(stream: 1, headers: [:], isEnd: false), .ping(1), .headers(stream: 3, isEnd: true),
        .reset(stream: 3, status: 5), .goAway, .data(stream: 3, [1, 2, 3], isEnd: false),
        .data(stream: 3, [], isEnd: true),
    ]

    @Test("frames come back, however the bytes are cut", arguments: [3, 1000])
    func roundTrip(step: Int) throws {
        let encoder = try SPDYEncoder()
        var bytes: [UInt8] = []
        for frame in Self.frames { bytes += try encoder.encode(frame) }
        var decoder = try SPDYDecoder()
        var found: [SPDYFrame] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            decoder.append(Array(rest.prefix(step)))
            rest = rest.dropFirst(step)
            while let frame = try decoder.next() {
                // Data comes as it arrives.
                if case .data(let id, let more, let isEnd) = frame, case .data(id, let before, false)? = found.last,
                    !more.isEmpty
                {
                    found[found.count - 1] = .data(stream: id, before + more, isEnd: isEnd)
                } else {
                    found.append(frame)
                }
            }
        }
        #expect(found == Self.frames)
    }

    @Test("headers that unpack to more than is allowed, or to nonsense, end the connection")
    func bombs() throws {
        let encoder = try SPDYEncoder()
        var decoder = try SPDYDecoder()
        decoder.append(
            try encoder.encode(
                .open(stream: 1, headers: ["a": String(repeating: "x", count: 1 << 20)], isEnd: false)))
        #expect(throws: SPDYError.headers(.tooLarge)) { try decoder.next() }
        var second = try SPDYDecoder()
        second.append([0x80, 3, 0, 1, 0, 0, 0, 14, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4])
        #expect(throws: SPDYError.self) { try second.next() }
        var third = try SPDYDecoder()
        third.append([0x80, 3, 0, 1, 0, 0xFF, 0xFF, 0xFF])
        #expect(throws: SPDYError.self) { try third.next() }
        var fourth = try SPDYDecoder()
        fourth.append([0x80, 2, 0, 1, 0, 0, 0, 0])
        #expect(throws: SPDYError.self) { try fourth.next() }
        #expect(SPDYHeaders.parse([0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF]) == nil)
        #expect(SPDYHeaders.parse([0, 0, 0xFF, 0]) == nil)
    }

    @Test("mutated frames never trap")
    func mutations() throws {
        var random = SystemRandomNumberGenerator()
        let encoder = try SPDYEncoder()
        var bytes: [UInt8] = []
        for frame in Self.frames { bytes += try encoder.encode(frame) }
        for _ in 0..<2000 {
            var copy = bytes
            for _ in 0..<Int.random(in: 1...8, using: &random) {
                copy[Int.random(in: copy.indices, using: &random)] = .random(in: 0 ... .max, using: &random)
            }
            var decoder = try SPDYDecoder()
            decoder.append(copy)
            while (try? decoder.next()) != nil {}
        }
    }

    @Test("streams of one connection find each other, with and without a number")
    func pairs() async throws {
        let loop = try EventLoop.start(name: "spdy-test")
        defer { loop.stop() }
        let ports = try await Task(executorPreference: loop) {
            let (left, right) = try Socket.pair()
            let (near, far) = (try SocketStream(left, on: loop), try SocketStream(right, on: loop))
            let session = try SPDYSession(near)
            let encoder = try SPDYEncoder()
            var bytes: [UInt8] = []
            func open(_ id: UInt32, _ type: String, _ port: String, _ request: String?) throws {
                var headers = ["streamtype": type, "port": port]
                headers["requestid"] = request
                bytes += try encoder.encode(.open(stream: id, headers: headers, isEnd: false))
            }
            try open(1, "error", "80", "0")
            try open(3, "error", "81", "1")
            try open(5, "data", "81", "1")
            try open(7, "data", "80", "0")
            try open(9, "error", "82", nil)
            try open(11, "data", "82", nil)
            try open(13, "error", "83", "2")
            try open(15, "error", "83", "2")
            try await far.write(bytes)
            far.socket.shutdownWrite()
            let pairs = StreamPairs()
            var ports: [UInt16] = []
            await session.run { if let pair = pairs.take($0) { ports.append(pair.port) } }
            near.close()
            far.close()
            return ports
        }.value
        #expect(ports == [81, 80, 82])
    }
}
