import APIServer
import Identity
import KubernetesAPI
import Serialization
import TLS
import Testing

@testable import ControlPlane

@Suite("Following a Kubernetes API")
struct ReflectorPlanTests {
    private static func page(_ names: [String], version: String, more: String? = nil) -> JSON {
        var metadata: JSON = ["resourceVersion": .string(version)]
        if let more { metadata["continue"] = .string(more) }
        return [
            "metadata": metadata,
            "items": .array(
                names.map { ["metadata": ["name": .string($0), "namespace": "default", "resourceVersion": "1"]] }),
        ]
    }

    private static func event(_ type: String, _ name: String, _ version: String) -> JSON {
        [
            "type": .string(type),
            "object": [
                "metadata": ["name": .string(name), "namespace": "default", "resourceVersion": .string(version)]
            ],
        ]
    }

    private func told(_ plan: inout ReflectorPlan) -> [String] {
        plan.takeChanges().map { change in
            switch change {
            case .replaced(let objects): "all " + objects.map(\.name).joined(separator: ",")
            case .set(let object): "set \(object.name)"
            case .deleted(let object): "gone \(object.name)"
            }
        }
    }

    private func listed(_ names: [String] = ["a"], version: String = "10") -> ReflectorPlan {
        var plan = ReflectorPlan(.service)
        _ = plan.next()
        plan.page(Self.page(names, version: version))
        _ = plan.takeChanges()
        return plan
    }

    private func next(_ plan: inout ReflectorPlan) -> ReflectorPlan.Step { plan.next() }
    private func event(_ plan: inout ReflectorPlan, _ event: JSON) -> Bool { plan.event(event) }

    private func watchedFrom(_ plan: inout ReflectorPlan) -> String? {
        for _ in 0..<3 {
            switch plan.next() {
            case .wait: continue
            case .list: return nil
            case .watch(let path): return path.split(separator: "=").last.map(String.init)
            }
        }
        return nil
    }

    @Test("a list in pages is told as one, and the watch begins where the list ended")
    func pages() {
        var plan = ReflectorPlan(.service)
        #expect(next(&plan) == .list(path: "/api/v1/services?limit=500"))
        plan.page(Self.page(["a"], version: "10", more: "to/k=n"))
        #expect(told(&plan) == [] && !plan.isSynced)
        #expect(next(&plan) == .list(path: "/api/v1/services?limit=500&continue=to%2Fk%3Dn"))
        plan.page(Self.page(["b"], version: "10"))
        #expect(told(&plan) == ["all a,b"] && plan.isSynced)
        #expect(watchedFrom(&plan) == "10")
    }

    @Test("a watch that ends goes on behind the last event or bookmark, without a list")
    func resumes() {
        var plan = listed()
        _ = plan.next()
        #expect(event(&plan, Self.event("ADDED", "b", "11")) && event(&plan, Self.event("DELETED", "a", "12")))
        #expect(told(&plan) == ["set b", "gone a"])
        plan.ended()
        #expect(watchedFrom(&plan) == "12")
        #expect(event(&plan, ["type": "BOOKMARK", "object": ["metadata": ["resourceVersion": "40"]]]))
        plan.failed(0, "connection reset")
        #expect(watchedFrom(&plan) == "40" && told(&plan) == [] && plan.listCount == 1)
    }

    @Test("what the server has forgotten is listed anew: 410 as an answer, and as an event", arguments: [true, false])
    func expired(asEvent: Bool) {
        var plan = listed(["a", "b"])
        _ = plan.next()
        if asEvent {
            #expect(!event(&plan, ["type": "ERROR", "object": ["code": 410, "message": "too old"]]))
        } else {
            plan.failed(410, "too old")
        }
        #expect(next(&plan) == .list(path: "/api/v1/services?limit=500"))
        plan.page(Self.page(["b"], version: "50"))
        #expect(told(&plan) == ["all b"] && watchedFrom(&plan) == "50")
    }

    @Test("a list whose continuation has expired begins at its first page, and nothing of the old pages is told")
    func expiredPage() {
        var plan = ReflectorPlan(.service)
        _ = plan.next()
        plan.page(Self.page(["old"], version: "10", more: "x"))
        _ = plan.next()
        plan.failed(410, "continue has expired")
        guard case .wait = next(&plan) else { return #expect(Bool(false), "must pause") }
        #expect(next(&plan) == .list(path: "/api/v1/services?limit=500"))
        plan.page(Self.page(["new"], version: "20"))
        #expect(told(&plan) == ["all new"])
    }

    @Test("a kind that is not there counts as empty, is asked for in all its versions, and again after a while")
    func absent() {
        var plan = ReflectorPlan(.tcpRoute)
        #expect(next(&plan) == .list(path: "/apis/gateway.networking.k8s.io/v1/tcproutes?limit=500"))
        plan.failed(404, "not found")
        #expect(next(&plan) == .list(path: "/apis/gateway.networking.k8s.io/v1alpha2/tcproutes?limit=500"))
        plan.failed(404, "not found")
        #expect(plan.isSynced && plan.isAbsent && told(&plan) == ["all "])
        #expect(next(&plan) == .wait(ReflectorPlan.absentPause))
        _ = plan.next()
        plan.failed(404, "not found")
        #expect(next(&plan) == .list(path: "/apis/gateway.networking.k8s.io/v1alpha2/tcproutes?limit=500"))
        plan.page(Self.page(["late"], version: "9"))
        #expect(told(&plan) == ["all late"] && !plan.isAbsent && plan.servedVersion == "v1alpha2")
    }

    @Test("objects of all versions look alike")
    func versions() {
        var plan = ReflectorPlan(.tcpRoute)
        _ = plan.next()
        plan.failed(404, "")
        _ = plan.next()
        plan.page(Self.page(["a"], version: "9"))
        guard case .replaced(let objects)? = plan.takeChanges().first else { return #expect(Bool(false)) }
        #expect(objects.first?.apiVersion == "gateway.networking.k8s.io/v1" && objects.first?.kind == "TCPRoute")
    }

    @Test("failures are told and tried again after growing pauses, and nothing is taken away meanwhile")
    func failures() {
        var plan = listed()
        var pauses: [Duration] = []
        for _ in 0..<9 {
            guard case .watch = plan.next() else { break }
            plan.failed(503, "not now")
            guard case .wait(let pause) = plan.next() else { break }
            pauses.append(pause)
        }
        #expect(pauses.first == .milliseconds(100) && pauses.last == .seconds(10) && pauses == pauses.sorted())
        #expect(told(&plan) == [] && plan.problem == "503: not now")
        _ = plan.next()
        _ = plan.event(Self.event("MODIFIED", "a", "11"))
        #expect(plan.problem == nil)
    }

    @Test("a server with another history is listed anew")
    func restored() {
        var plan = listed(version: "1000")
        _ = plan.next()
        plan.failed(504, "Timeout: Too large resource version: 1000, current: 5")
        #expect(watchedFrom(&plan) == nil)
    }

    @Test("no event of any kind traps, and one without a place leaves the place as it was")
    func odd() {
        var plan = listed()
        _ = plan.next()
        for strange: JSON in [
            .null, [:], ["type": 1], ["type": "ADDED"],
            ["type": "NEW", "object": ["metadata": ["resourceVersion": "99"]]],
            ["type": "ADDED", "object": ["metadata": ["resourceVersion": 5]]],
        ] { #expect(event(&plan, strange)) }
        plan.ended()
        #expect(watchedFrom(&plan) == "10")
    }
}

@Suite("Kubeconfigs")
struct ClusterAccessTests {
    private func read(_ user: String, cluster: String = "server: https://10.0.0.1:6443") throws(KubeconfigError)
        -> ClusterAccess
    {
        try ClusterAccess(
            kubeconfig: """
                current-context: main
                contexts: [{name: other, context: {cluster: x, user: x}}, {name: main, context: {cluster: c, user: u}}]
                clusters: [{name: c, cluster: {\(cluster)}}]
                users: [{name: u, user: {\(user)}}]
                """, file: "k", directory: "/etc/k")
    }

    @Test("server, authority and credentials, inline or in files beside the kubeconfig")
    func reads() throws {
        let access = try read(
            "client-certificate-data: YWJj, client-key: key.pem, token: t",
            cluster: "server: 'https://[fd00::1]:8443/k8s/', certificate-authority: /ca.pem, tls-server-name: api")
        #expect(access.host == "fd00::1" && access.port == 8443 && access.pathPrefix == "/k8s")
        #expect(access.certificate == .inline(Array("abc".utf8)) && access.key == .file("/etc/k/key.pem"))
        #expect(access.authorities == .file("/ca.pem") && access.serverName == "api" && access.token == .inline([0x74]))
        #expect(try read("tokenFile: /run/token, token: t").token == .file("/run/token"))
        #expect(try read("token: t", cluster: "server: https://api.example").port == 443)
    }

    @Test(
        "what cannot be used is refused with its field and what to do",
        arguments: [
            ("exec: {command: aws}", "server: https://a", "users[0].user.exec: credential plugins (aws) are not run"),
            ("auth-provider: {name: gcp}", "server: https://a", "users[0].user.auth-provider"),
            ("username: a, password: b", "server: https://a", "users[0].user.username"),
            ("token: t, as: root", "server: https://a", "users[0].user.as: impersonation"),
            ("{}", "server: https://a", "users[0].user: has neither"),
            ("client-certificate: c", "server: https://a", "only one of client-certificate and client-key"),
            ("token: t", "server: http://a", "clusters[0].cluster.server: is not https"),
            ("token: t", "server: a", "clusters[0].cluster.server"),
            ("token: t", "server: https://a:99999", "has no port from 1 to 65535"),
            ("token: t", "server: https://a, proxy-url: http://p", "clusters[0].cluster.proxy-url"),
            (
                "token: t", "server: https://a, certificate-authority-data: '%'",
                "certificate-authority-data: is no base64"
            ),
        ])
    func refuses(user: String, cluster: String, problem: String) {
        let user = user == "{}" ? "x: 1" : user
        let error = #expect(throws: KubeconfigError.self) { _ = try read(user, cluster: cluster) }
        #expect(error?.description.contains(problem) == true, "\(error?.description ?? "")")
    }

    @Test("what is no kubeconfig is told so", arguments: ["", "[", "a: 1", "clusters: 5\ncurrent-context: x"])
    func other(text: String) {
        #expect(throws: KubeconfigError.self) { _ = try ClusterAccess(kubeconfig: text, file: "k", directory: "/") }
    }
}

@Suite("Who writes")
struct LeaderVoteTests {
    private let wall = Timestamp(seconds: 1_800_000_000)

    private func decide(
        _ vote: inout LeaderVote, _ lease: JSON?, now: Duration, wall: Timestamp
    ) -> LeaderVote.Action { vote.decide(lease, now: now, wall: wall) }

    /// A Lease as the server would have it after that action.
    private func stored(_ action: LeaderVote.Action) -> JSON? {
        switch action {
        case .create(let lease), .update(let lease): lease
        case .wait: nil
        }
    }

    @Test("the first makes the Lease and leads as long as it renews it")
    func first() throws {
        var vote = LeaderVote(identity: "a")
        let lease = try #require(stored(decide(&vote, nil, now: .zero, wall: wall)))
        #expect(lease["spec"]?["holderIdentity"] == "a" && lease["spec"]?["leaseDurationSeconds"] == 3)
        #expect(!vote.isLeader(at: .zero))
        vote.renewed(lease, began: .zero)
        #expect(vote.isLeader(at: .seconds(2)) && !vote.isLeader(at: .seconds(3)))
    }

    @Test(
        "another waits while the Lease changes, and takes it when it has not changed for its duration, by its own clock"
    )
    func takeover() throws {
        var (a, b) = (LeaderVote(identity: "a"), LeaderVote(identity: "b"))
        var lease = try #require(stored(decide(&a, nil, now: .zero, wall: wall)))
        a.renewed(lease, began: .zero)
        // Its clock is years off: only what it sees for how long counts.
        let later = Duration.seconds(1_000_000)
        #expect(decide(&b, lease, now: later, wall: wall) == .wait)
        lease = try #require(stored(decide(&a, lease, now: .seconds(1), wall: wall + .seconds(1))))
        #expect(decide(&b, lease, now: later + .seconds(2), wall: wall) == .wait)
        #expect(decide(&b, lease, now: later + .seconds(4), wall: wall) == .wait)
        let taken = try #require(stored(decide(&b, lease, now: later + .seconds(5), wall: wall)))
        #expect(taken["spec"]?["holderIdentity"] == "b" && taken["spec"]?["leaseTransitions"] == 1)
        b.renewed(taken, began: later + .seconds(5))
        #expect(decide(&a, taken, now: .seconds(5), wall: wall) == .wait)
    }

    @Test("there are never two: who cannot renew stops before another may begin")
    func never() {
        for delay in 0...40 {
            let died = Duration.milliseconds(delay * 100)
            var a = LeaderVote(identity: "a")
            a.renewed(["spec": ["holderIdentity": "a"]], began: .zero)
            // b sees the last renewal no sooner than it was made.
            var b = LeaderVote(identity: "b")
            let lease: JSON = ["spec": ["holderIdentity": "a", "leaseDurationSeconds": 3]]
            _ = b.decide(lease, now: .zero, wall: wall)
            if decide(&b, lease, now: died, wall: wall) != .wait { #expect(!a.isLeader(at: died)) }
        }
    }

    @Test("a Lease that was given back is taken at once")
    func released() throws {
        var (a, b) = (LeaderVote(identity: "a"), LeaderVote(identity: "b"))
        let lease = try #require(stored(decide(&a, nil, now: .zero, wall: wall)))
        a.renewed(lease, began: .zero)
        let free = a.released(lease, wall: wall)
        #expect(decide(&b, lease, now: .zero, wall: wall) == .wait)
        #expect(decide(&b, free, now: .milliseconds(1), wall: wall) != .wait)
    }
}

@Suite("Tokens of a Kubernetes API")
struct ClusterTokensTests {
    // RFC 7515, appendix A.3.
    private static let key: JSON = [
        "kty": "EC", "crv": "P-256", "use": "sig", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    ]
    private static let signed =
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    private static let signature =
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"

    @Test("the published key checks what it has signed, and nothing else")
    func key() throws {
        let tokens = try #require(ClusterTokens(discovery: ["issuer": "joe"], keySet: ["keys": [Self.key]]))
        let key = try #require(tokens.keys.first)
        let signature = try #require(Base64.decode(Self.signature))
        #expect(key.isValid(signature, for: Array(Self.signed.utf8), .es256))
        #expect(!key.isValid(signature, for: Array((Self.signed + "x").utf8), .es256))
        // It is no service account's: signed is not enough.
        #expect(throws: IdentityError.self) {
            _ = try tokens.verify(
                "\(Self.signed).\(Self.signature)", now: 1_300_000_000, pod: { _, _, _ in nil },
                account: { _, _ in nil })
        }
    }

    @Test("documents without an issuer or without a public key are refused; secrets are no keys")
    func refused() {
        let secret: JSON = ["kty": "oct", "k": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]
        for (discovery, keys): (JSON, JSON) in [
            ([:], ["keys": [Self.key]]), (["issuer": "a"], [:]), (["issuer": "a"], ["keys": [secret]]),
            (["issuer": "a"], ["keys": [["kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"]]]),
            (["issuer": "a"], ["keys": [["kty": "RSA", "n": 5]]]), (.null, .null),
        ] { #expect(ClusterTokens(discovery: discovery, keySet: keys) == nil) }
    }
}

@Suite("Merge patches of differences")
struct DifferenceTests {
    @Test("the difference makes the new of the old, and of equals there is none")
    func difference() {
        let old: JSON = ["a": 1, "b": ["c": [1, 2], "d": "x"], "e": true]
        let new: JSON = ["a": 1, "b": ["c": [1], "f": 2], "g": "y"]
        let patch = MergePatch.difference(from: old, to: new)
        #expect(patch == ["b": ["c": [1], "d": .null, "f": 2], "e": .null, "g": "y"])
        #expect(MergePatch.apply(patch ?? .null, to: old) == new)
        #expect(MergePatch.difference(from: old, to: old) == nil)
    }
}
