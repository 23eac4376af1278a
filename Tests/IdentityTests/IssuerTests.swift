import Identity
import Serialization
import TLS
import Testing

struct IssuerTests {
    let now: Int64 = 1_800_000_000
    let pod = BoundPod(uid: "u1", namespace: "shop", name: "web-1", serviceAccount: "web", node: "n1")

    private func request(_ names: [SubjectAlternativeName] = [], key: PrivateKey? = nil) throws -> [UInt8] {
        try CertificateRequest.make(
            subject: DistinguishedName(), alternativeNames: names, key: key ?? PrivateKey.makeP256()
        ).pem
    }

    private func refusal(
        _ request: [UInt8], pod: BoundPod?, caller: CertificateCaller, _ issuer: inout CertificateIssuer,
        _ authority: Authority
    ) -> IdentityError.Code? {
        do {
            _ = try issuer.issue(
                request, pod: pod, caller: caller, trustDomain: "cluster.local", authority: authority, now: now)
            return nil
        } catch { return error.code }
    }

    @Test("A pod's certificate names the pod's service account and leads to the root")
    func issues() throws {
        let authority = try Authority.make(now: now)
        var issuer = CertificateIssuer()
        let chain = try issuer.issue(
            request(), pod: pod, caller: .node("n1"), trustDomain: "cluster.local", authority: authority, now: now)
        #expect(chain.count == 2)
        #expect(chain.first?.alternativeNames == [.uri("spiffe://cluster.local/ns/shop/sa/web")])
        #expect(chain.first.map { $0.notAfter - now } == 86_400)
        #expect(ChainCheck.problem(chain, trusting: authority.bundle, at: now) == nil)
        #expect(ChainCheck.problem(chain, trusting: authority.bundle, at: now + 86_400)?.contains("expired") == true)
        #expect(ChainCheck.problem(chain, trusting: try Authority.make(now: now).bundle, at: now) != nil)
        #expect(issuer.issued == 1)
    }

    @Test("ATK-39 a node gets certificates for the pods bound to it and no others")
    func otherNode() throws {
        let authority = try Authority.make(now: now)
        var issuer = CertificateIssuer()
        #expect(refusal(try request(), pod: pod, caller: .node("n2"), &issuer, authority) == .notYours)
        #expect(refusal(try request(), pod: nil, caller: .node("n1"), &issuer, authority) == .noSuchPod)
        var ended = pod
        ended.hasEnded = true
        #expect(refusal(try request(), pod: ended, caller: .node("n1"), &issuer, authority) == .noSuchPod)
        #expect(refusal(try request(), pod: pod, caller: .pod(uid: "u2"), &issuer, authority) == .notYours)
        #expect(issuer.refused == [.notYours: 2, .noSuchPod: 2])
    }

    @Test("ATK-39 a request that asks for another identity is refused, one for the own is not")
    func otherIdentity() throws {
        let authority = try Authority.make(now: now)
        var issuer = CertificateIssuer()
        let own = SubjectAlternativeName.uri("spiffe://cluster.local/ns/shop/sa/web")
        let other = SubjectAlternativeName.uri("spiffe://cluster.local/ns/kube-system/sa/admin")
        #expect(refusal(try request([other]), pod: pod, caller: .node("n1"), &issuer, authority) == .otherIdentity)
        #expect(
            refusal(try request([own, other]), pod: pod, caller: .node("n1"), &issuer, authority) == .otherIdentity)
        #expect(
            refusal(try request([.dns("web")]), pod: pod, caller: .node("n1"), &issuer, authority) == .otherIdentity)
        #expect(refusal(try request([own]), pod: pod, caller: .node("n1"), &issuer, authority) == nil)
        // The subject is not looked at at all: it does not get into the certificate.
        let named = try CertificateRequest.make(
            subject: DistinguishedName(commonName: "admin", organizations: ["system:masters"]),
            key: PrivateKey.makeP256())
        let chain = try issuer.issue(
            named.pem, pod: pod, caller: .node("n1"), trustDomain: "cluster.local", authority: authority, now: now)
        #expect(chain.first?.subject == DistinguishedName())
    }

    @Test("ATK-39 a request that was caught and sent again for another pod is refused")
    func replay() throws {
        let authority = try Authority.make(now: now)
        var issuer = CertificateIssuer()
        let caught = try request()
        #expect(refusal(caught, pod: pod, caller: .node("n1"), &issuer, authority) == nil)
        let other = BoundPod(uid: "u9", namespace: "shop", name: "x", serviceAccount: "x", node: "n9")
        #expect(refusal(caught, pod: other, caller: .node("n9"), &issuer, authority) == .replay)
        #expect(refusal(caught, pod: pod, caller: .node("n1"), &issuer, authority) == nil)
    }

    @Test("ATK-34 what is no request is refused", arguments: ["", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n", "x"])
    func garbage(text: String) throws {
        var issuer = CertificateIssuer()
        let authority = try Authority.make(now: now)
        #expect(refusal(Array(text.utf8), pod: pod, caller: .node("n1"), &issuer, authority) == .badRequest)
        let long = [UInt8](repeating: 0x41, count: CertificateIssuer.requestBytesMax + 1)
        #expect(refusal(long, pod: pod, caller: .node("n1"), &issuer, authority) == .limit)
    }

    @Test(
        "ATK-26 only the exact spelling is a workload's id",
        arguments: [
            "spiffe://cluster.local/ns/a/sa", "spiffe://cluster.local/ns/a/sa/b/c", "spiffe://Cluster.local/ns/a/sa/b",
            "SPIFFE://cluster.local/ns/a/sa/b", "spiffe://cluster.local/ns/../sa/b", "spiffe://cluster.local/ns//sa/b",
            "spiffe://cluster.local/sa/b/ns/a", "spiffe:///ns/a/sa/b", "spiffe://cluster.local/ns/a%2F/sa/b", "",
        ])
    func ids(text: String) { #expect(WorkloadIdentity(uri: text) == nil) }

    @Test("An authority is the same after it was written and read")
    func file() throws {
        var authority = try Authority.make(now: now)
        _ = try authority.rotate(now: now)
        let read = try Authority(secretJSON: JSON.parse(authority.secretJSON.bytes))
        #expect(read.bundle == authority.bundle)
        #expect(read.roots.map(\.stage) == [.signing, .announced])
        #expect(read.intermediate.certificate == authority.intermediate.certificate)
        #expect(throws: IdentityError.self) { try Authority(secretJSON: ["version": 2]) }
        #expect(throws: IdentityError.self) { try Authority(secretJSON: ["version": 1, "roots": []]) }
    }
}
