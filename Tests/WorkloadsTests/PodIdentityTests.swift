import EnvoyAPI
import HTTP
import IO
import Identity
import Serialization
import TLS
import Testing

@testable import Workloads

@Suite("Keys and certificates of pods")
struct PodIdentityTests {
    private static let pod = BoundPod(
        uid: "u", namespace: "shop", name: "web", serviceAccount: "web", node: "n")

    private static func certify(_ identity: PodIdentity, _ authority: Identity.Authority, now: Int64) throws {
        var issuer = CertificateIssuer()
        let request = try #require(try identity.credentials.request(now: now))
        let chain = try issuer.issue(
            request, pod: pod, caller: .node("n"), trustDomain: "cluster.local", authority: authority, now: now)
        try identity.credentials.certified(chain.flatMap(\.pem), now: now, jitter: 0.5)
        identity.publish()
    }

    private static func request(_ names: [String], version: String = "", nonce: String = "") -> [UInt8] {
        var request = DiscoveryRequest()
        request.typeUrl = Secret.typeURL
        request.resourceNames = names
        request.versionInfo = version
        request.responseNonce = nonce
        return request.serialized()
    }

    private static func secrets(_ response: DiscoveryResponse) throws -> [String: Secret] {
        var found: [String: Secret] = [:]
        for resource in response.resources {
            let secret = try resource.unpack(as: Secret.self)
            found[secret.name] = secret
        }
        return found
    }

    @Test(
        "A proxy gets certificate, key and roots by SDS as soon as there are any, and new ones at once",
        .timeLimit(.minutes(5)))
    func discovery() async throws {
        let directory = "/tmp/skein-identity-\(Environment.processID)-\(UInt32.random(in: 0 ... .max))"
        try File.makeDirectory(directory, mode: 0o700)
        defer { try? File.removeTree(directory) }
        let loop = try EventLoop.start(name: "identity-test")
        defer { loop.stop() }
        try await Task(executorPreference: loop) {
            let now = WallClock.now.seconds
            var authority = try Identity.Authority.make(now: now)
            let file = directory + "/.identity/identity.json"
            let identity = try PodIdentity(file: file, on: loop)
            defer { identity.close() }
            try identity.serve(try Socket.listen(on: .unix(directory + "/sds.sock")))
            let stream = try await SocketStream.connect(to: .unix(directory + "/sds.sock"), on: loop)
            let call = try GRPCClient(stream, authority: "sds", on: loop).call(PodIdentity.streamMethod)
            try await call.send(Self.request(["default", "ROOTCA"]))
            // Roots alone are not enough: a proxy that waits does not serve.
            _ = identity.credentials.trust(authority.bundle, reissue: authority.reissue)
            identity.publish()
            try Self.certify(identity, authority, now: now)
            let first = try DiscoveryResponse(serialized: try #require(try await call.next()))
            let secrets = try Self.secrets(first)
            guard case .tlsCertificate(let own) = secrets["default"]?.type,
                case .inlineBytes(let chain) = own.certificateChain?.specifier,
                case .inlineBytes(let key) = own.privateKey?.specifier
            else { return #expect(Bool(false), "no certificate") }
            let leaf = try #require(try Certificate.all(pem: chain).first)
            #expect(leaf.alternativeNames == [.uri("spiffe://cluster.local/ns/shop/sa/web")])
            #expect(leaf.matches(try PrivateKey(pem: key)))
            #expect(secrets["ROOTCA"] != nil)
            #expect(identity.takenBundle.isEmpty, "the roots are not acknowledged yet")
            try await call.send(
                Self.request(["default", "ROOTCA"], version: first.versionInfo, nonce: first.nonce))

            // A new root reaches the proxy by itself; taken is what was acknowledged.
            _ = try authority.rotate(now: now)
            _ = identity.credentials.trust(authority.bundle, reissue: authority.reissue)
            identity.publish()
            let second = try DiscoveryResponse(serialized: try #require(try await call.next()))
            guard case .validationContext(let roots) = try Self.secrets(second)["ROOTCA"]?.type,
                case .inlineBytes(let pem) = roots.trustedCa?.specifier
            else { return #expect(Bool(false), "no roots") }
            #expect(try Certificate.all(pem: pem).count == 2)
            try await call.send(
                Self.request(["default", "ROOTCA"], version: second.versionInfo, nonce: second.nonce))
            for _ in 0..<2000 where identity.takenBundle.isEmpty { await loop.sleep(for: .milliseconds(5)) }
            #expect(identity.takenBundle == authority.bundle.version)

            // What is kept is the owner's alone, and the next life of the agent goes on with it.
            try identity.keep()
            #expect(try File.owner(file) == Environment.userID)
            let again = try PodIdentity(file: file, on: loop)
            #expect(again.credentials.isComplete)
            #expect(again.credentials.identity == "spiffe://cluster.local/ns/shop/sa/web")
            #expect(again.credentials.nextDeadline(now: now) > now + 30_000)
            call.cancel()
        }.value
    }

    @Test("ATK-40 without an answer the agent asks again, ever more slowly, and goes on with what it has")
    func retries() throws {
        var credentials = try WorkloadCredentials()
        #expect(try credentials.request(now: 1000) != nil)
        #expect(try credentials.request(now: 1001) == nil, "one is under way")
        #expect(try credentials.request(now: 1000 + WorkloadCredentials.answerTimeout) != nil)
        var pauses: [Int64] = []
        for _ in 0..<10 {
            credentials.failed("no", now: 2000, jitter: 1)
            pauses.append(credentials.nextDeadline(now: 2000) - 2000)
        }
        #expect(pauses == pauses.sorted() && pauses.last == 300)
        #expect(credentials.problem == "no")
        credentials.abandonRequest()
        #expect(try credentials.request(now: 2000) != nil, "a new connection is a new chance")
    }

    @Test("ATK-39 a certificate for another key is not taken")
    func otherKey() throws {
        var credentials = try WorkloadCredentials()
        _ = try credentials.request(now: 1_800_000_000)
        let authority = try Identity.Authority.make(now: 1_800_000_000)
        var issuer = CertificateIssuer()
        let other = try CertificateRequest.make(subject: DistinguishedName(), key: PrivateKey.makeP256())
        let chain = try issuer.issue(
            other.pem, pod: Self.pod, caller: .node("n"), trustDomain: "cluster.local", authority: authority,
            now: 1_800_000_000)
        #expect(throws: IdentityError.self) {
            try credentials.certified(chain.flatMap(\.pem), now: 1_800_000_000, jitter: 0)
        }
        #expect(!credentials.isComplete)
    }
}
