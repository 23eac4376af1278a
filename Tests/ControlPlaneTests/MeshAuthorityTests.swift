import HTTP
import IO
import Identity
import KubernetesAPI
import Mesh
import Serialization
import TLS
import Testing

@testable import ControlPlane

@Suite("The mesh's certificate authority on its socket")
struct MeshAuthorityTests {
    /// A line reader over a connection to the agent's socket.
    private final class Peer {
        let stream: SocketStream
        private var rest: [UInt8] = []

        init(_ path: String, on loop: EventLoop) async throws {
            stream = try await SocketStream.connect(to: .unix(path), on: loop, timeout: .seconds(5))
        }

        func say(_ json: JSON) async throws { try await stream.write(json.bytes + [0x0A]) }

        func hear() async throws -> JSON {
            while true {
                if let end = rest.firstIndex(of: 0x0A) {
                    let line = Array(rest[..<end])
                    rest.removeSubrange(...end)
                    return try JSON.parse(line)
                }
                let piece = try await stream.read(upTo: 65_536)
                guard !piece.isEmpty else { throw SystemError(104, "read") }
                rest += piece
            }
        }
    }

    private static func request() throws -> [UInt8] {
        try CertificateRequest.make(subject: DistinguishedName(), key: PrivateKey.makeP256()).pem
    }

    @Test(
        "ATK-39 the agent gets certificates for the pods of its node, root's commands are done, and the file is the owner's",
        .timeLimit(.minutes(5)))
    func agent() async throws {
        let directory = "/tmp/skein-ca-\(Environment.processID)-\(UInt32.random(in: 0 ... .max))"
        try File.makeDirectory(directory, mode: 0o700)
        defer { try? File.removeTree(directory) }
        let loop = try EventLoop.start(name: "ca-test")
        defer { loop.stop() }
        try await Task(executorPreference: loop) {
            let authority = try MeshAuthority(
                directory: directory, node: "n1", on: loop, now: { WallClock.now.seconds })
            let pods = [
                "u1": BoundPod(uid: "u1", namespace: "shop", name: "web", serviceAccount: "web", node: "n1"),
                "u2": BoundPod(uid: "u2", namespace: "shop", name: "db", serviceAccount: "db", node: "n2"),
            ]
            authority.pod = { uid, _ in pods[uid] }
            let listener = try AgentListener(
                path: directory + "/agent.sock", on: loop, onConnect: { authority.connected($0) },
                onEnd: { authority.disconnected($0) }
            ) { message, _, connection in
                switch message {
                case .identity(let request): authority.handle(request, from: connection)
                case .certificates(let command): connection.send(authority.run(command))
                default: break
                }
            }
            defer { listener.close() }
            let peer = try await Peer(directory + "/agent.sock", on: loop)
            guard case .trust(let notice)? = IdentityReply(json: try await peer.hear()) else {
                return #expect(Bool(false), "the roots come first")
            }
            let bundle = try TrustBundle(pem: notice.roots)
            try await peer.say(IdentityRequest.certificate(number: 7, uid: "u1", request: Self.request()).json)
            guard case .certificate(7, let pem)? = IdentityReply(json: try await peer.hear()) else {
                return #expect(Bool(false), "no certificate")
            }
            let chain = try Certificate.all(pem: pem)
            #expect(ChainCheck.problem(chain, trusting: bundle, at: WallClock.now.seconds) == nil)
            #expect(chain.first?.alternativeNames == [.uri("spiffe://cluster.local/ns/shop/sa/web")])
            for uid in ["u2", "u3"] {
                try await peer.say(IdentityRequest.certificate(number: 8, uid: uid, request: Self.request()).json)
                guard case .refused(8, _)? = IdentityReply(json: try await peer.hear()) else {
                    return #expect(Bool(false), "\(uid) is not on this node")
                }
            }
            try await peer.say(CertificateCommand.list.json)
            let facts = try await peer.hear()
            #expect(facts["issued"]?.int == 1 && facts["refused"]?["NotYours"]?.int == 1)
            #expect(facts["roots"]?.array?.map { $0["stage"]?.string } == ["Signing"])
            #expect(!facts.text.contains("PRIVATE KEY"))

            try await peer.say(CertificateCommand.rotate(nil).json)
            var heard = [try await peer.hear(), try await peer.hear()]
            // The notice for agents and the answer to the command come on the same connection here.
            heard.sort { ($0["op"]?.string ?? "") > ($1["op"]?.string ?? "") }
            guard case .trust(let both)? = IdentityReply(json: heard[0]) else {
                return #expect(Bool(false), "the new root is announced")
            }
            #expect(try TrustBundle(pem: both.roots).roots.count == 2)
            try await peer.say(CertificateCommand.recover.json)
            _ = try await peer.hear()
            #expect(authority.authority.reissue == 1)

            // The next life of the control plane goes on with the same roots.
            let again = try MeshAuthority(directory: directory, node: "n1", on: loop, now: { WallClock.now.seconds })
            #expect(again.authority.bundle == authority.authority.bundle)
            peer.stream.close()
        }.value
    }

    @Test(
        "a step of another server is taken over: what signs, what is trusted, and on disk; what cannot be read changes nothing"
    )
    func taken() async throws {
        let directory = "/tmp/skein-ca-\(Environment.processID)-\(UInt32.random(in: 0 ... .max))"
        for name in ["one", "two"] { try File.makeDirectory("\(directory)/\(name)", mode: 0o700) }
        defer { try? File.removeTree(directory) }
        let loop = try EventLoop.start(name: "ca-test")
        defer { loop.stop() }
        try await Task(executorPreference: loop) {
            let now = WallClock.now.seconds
            let one = try MeshAuthority(directory: directory + "/one", node: "n1", on: loop, now: { now })
            try File.write("\(directory)/two/mesh-ca.json", File.read("\(directory)/one/mesh-ca.json"), mode: 0o600)
            let two = try MeshAuthority(directory: directory + "/two", node: "n2", on: loop, now: { now })
            var (left, trusts) = ([[UInt8]](), 0)
            one.onSave = { left.append($0) }
            two.onSave = { _ in #expect(Bool(false), "what is taken over is no step of its own") }
            two.onTrust.append { trusts += 1 }
            #expect(one.run(.rotate(nil, announcement: 7))["error"] == nil)
            try two.take(try #require(left.last))
            #expect(two.authority.bundle == one.authority.bundle && two.authority.roots.count == 2 && trusts == 1)
            #expect(two.authority.roots.last?.announcement == 7)
            #expect(try File.read("\(directory)/two/mesh-ca.json") == left.last)
            #expect(one.run(.recover)["error"] == nil)
            try two.take(try #require(left.last))
            #expect(
                two.authority.reissue == 1
                    && two.authority.intermediate.certificate == one.authority.intermediate.certificate)
            #expect(throws: IdentityError.self) { try two.take(Array("{}".utf8)) }
            #expect(two.authority.bundle == one.authority.bundle && trusts == 2)
        }.value
    }

    @Test("a root waits for the proxies of other servers, and for a server that has not heard of it")
    func roots() {
        let late = [BundleHolder(node: "n2", version: "old"), BundleHolder(node: "a/b", version: "", isClient: true)]
        let report = RootsReport(bundle: "new", late: late)
        let read = RootsReport(report.json.bytes)
        #expect(read == report)
        #expect(read.late(for: "new", server: "s2") == late)
        #expect(read.late(for: "newer", server: "s2") == [BundleHolder(node: "of server s2", version: "new")])
        #expect(RootsReport(bundle: "new", late: []).late(for: "new", server: "s2").isEmpty)
        #expect(RootsReport(Array("what?".utf8)).late(for: "new", server: "s2").count == 1)
        let many = (0..<300).map { BundleHolder(node: "n\($0)", version: "") }
        #expect(RootsReport(bundle: "new", late: many).late.count == RootsReport.lateMax)
    }

    @Test("An authority of the user's own is taken from Istio's files at the first start")
    func given() async throws {
        let directory = "/tmp/skein-ca-\(Environment.processID)-\(UInt32.random(in: 0 ... .max))"
        try File.makeDirectory(directory + "/cacerts", mode: 0o700)
        defer { try? File.removeTree(directory) }
        let now = WallClock.now.seconds
        let root = try Authority.makeRoot(now: now)
        let key = try PrivateKey.makeP256()
        var leaf = CertificateAuthority.Leaf(
            subject: DistinguishedName(commonName: "theirs"), usage: [], notBefore: now - 10, notAfter: now + 1_000_000)
        leaf.pathLength = 0
        let intermediate = try root.sign(leaf, for: key.publicKey)
        try File.write(directory + "/cacerts/root-cert.pem", root.certificate.pem)
        try File.write(directory + "/cacerts/ca-cert.pem", intermediate.pem)
        try File.write(directory + "/cacerts/ca-key.pem", key.pem, mode: 0o600)
        try File.write(directory + "/cacerts/cert-chain.pem", intermediate.pem + root.certificate.pem)
        let loop = try EventLoop.start(name: "ca-test")
        defer { loop.stop() }
        let directoryCopy = directory
        try await Task(executorPreference: loop) {
            let authority = try MeshAuthority(
                directory: directoryCopy, node: "n", on: loop, now: { WallClock.now.seconds })
            #expect(authority.authority.bundle.roots == [root.certificate])
            #expect(authority.authority.signing?.key == nil)
            let answer = authority.run(.issue(namespace: "a", serviceAccount: "b", request: try Self.request()))
            let chain = try Certificate.all(pem: Array((answer["chain"]?.string ?? "").utf8))
            #expect(ChainCheck.problem(chain, trusting: authority.authority.bundle, at: now) == nil)
        }.value
    }
}
