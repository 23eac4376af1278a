import IO
import Mesh
import Proxy
import Serialization
import Testing

@Suite("Why a request ends as it does, by the proxies of both sides")
struct ExplainBehaviourTests {
    private static let caller = World.pod("caller", "caller", ip: 100)
    private static let web = World.service("web", ip: 1) + World.pod("web-1", "web", ip: 11)
    private static let bare = World.service("web", ip: 1)

    private func verdict(_ yaml: [String], _ path: String = "/", headers: [String] = []) throws -> Verdict {
        try Explained([Self.caller] + yaml).follow(path, host: "web", address: "10.96.0.1:80", headers: headers).verdict
    }

    private static func security(_ kind: String, _ name: String, _ spec: String) -> String {
        "---\napiVersion: security.istio.io/v1\nkind: \(kind)\nmetadata: {name: \(name), namespace: default}\nspec: \(spec)\n"
    }

    @Test("a request that a program gets: status 0, the route and both sides are named")
    func answered() throws {
        let verdict = try verdict([Self.web])
        #expect(verdict.cause == .answered && verdict.isAnswered)
        #expect(verdict.headline.hasPrefix("answered by pod default/web-1 at 10.244.0.11:8080"), "\(verdict.headline)")
    }

    @Test("H-11 503 since no DestinationRule has the subset: the route's field is named")
    func unknownSubset() throws {
        let rule = World.rule("r", "hosts: [web]\nhttp: [{route: [{destination: {host: web, subset: v9}}]}]")
        let verdict = try verdict([
            Self.web, rule, World.policy("p", "host: web\nsubsets: [{name: v1, labels: {version: v1}}]"),
        ])
        #expect(verdict.cause == .unknownSubset && verdict.status == 503 && !verdict.isAnswered)
        #expect(verdict.headline.contains("DestinationRule default/p has no subset v9"), "\(verdict.headline)")
        #expect(verdict.origins.first?.field == "spec.http[0].route[0].destination.subset")
        #expect(verdict.advice.contains("subsets there are: v1"))
    }

    @Test("503 since a service has no endpoint: its selector, and the pods that are not ready")
    func noEndpoint() throws {
        let none = try verdict([Self.bare])
        #expect(none.cause == .noEndpoint && none.status == 503 && none.flags == "UH")
        #expect(none.headline.contains("no pod has the labels app=web"), "\(none.headline)")
        let unready = try verdict([Self.bare, World.pod("web-1", "web", ip: 11, ready: false)])
        #expect(unready.cause == .noEndpoint)
        #expect(unready.headline.contains("none of the 1 pods with app=web is ready"), "\(unready.headline)")
        #expect(unready.origins.contains { $0.kind == "Service" && $0.field == "spec.selector" })
    }

    @Test("503 since no ready pod has a subset's labels")
    func emptySubset() throws {
        let verdict = try verdict([
            Self.web, World.rule("r", "hosts: [web]\nhttp: [{route: [{destination: {host: web, subset: v2}}]}]"),
            World.policy("p", "host: web\nsubsets: [{name: v2, labels: {version: v2}}]"),
        ])
        #expect(verdict.cause == .noEndpoint && verdict.headline.contains("has version=v2"), "\(verdict.headline)")
    }

    @Test("404 since no route matches: each route with the condition that failed")
    func noRoute() throws {
        let rule = World.rule(
            "r",
            "hosts: [web]\nhttp:\n- {match: [{uri: {prefix: /a}}], route: [{destination: {host: web}}]}\n- {match: [{headers: {x: {exact: b}}}], route: [{destination: {host: web}}]}"
        )
        let verdict = try verdict([Self.web, rule], "/other")
        #expect(verdict.cause == .noRoute && verdict.status == 404 && verdict.flags == "NR")
        #expect(verdict.advice.count == 2)
        #expect(verdict.advice.first?.contains("prefix \"/a\" wanted") == true, "\(verdict.advice)")
        #expect(verdict.origins.map(\.field).contains("spec.http[1].match[0]"))
    }

    @Test("503 since one side speaks mutual TLS and the other does not")
    func mutualTLSMismatch() throws {
        let strict = Self.security("PeerAuthentication", "p", "{mtls: {mode: STRICT}}")
        let plain = World.policy("d", "host: web\ntrafficPolicy: {tls: {mode: DISABLE}}")
        let verdict = try verdict([Self.web, strict, plain])
        #expect(verdict.cause == .mutualTLSMismatch && verdict.status == 503, "\(verdict.headline)")
        #expect(verdict.headline.contains("takes mutual TLS only, and the caller speaks plain text"))
        #expect(verdict.origins.map(\.kind) == ["PeerAuthentication", "DestinationRule"])
        let off = Self.security("PeerAuthentication", "p", "{mtls: {mode: DISABLE}}")
        let secure = World.policy("d", "host: web\ntrafficPolicy: {tls: {mode: ISTIO_MUTUAL}}")
        let other = try self.verdict([Self.web, off, secure])
        #expect(other.cause == .mutualTLSMismatch, "\(other.headline)")
        #expect(other.headline.contains("speaks mutual TLS and"))
        let outsider = try Explained([Self.caller, Self.web, strict]).follow(
            host: "web", address: "10.96.0.1:80", hasProxy: false)
        #expect(outsider.verdict.cause == .mutualTLSMismatch)
        #expect(outsider.verdict.advice.contains { $0.contains("has no proxy") })
    }

    @Test("403 since a policy denies, or none allows: which, and which rule")
    func policyDenied() throws {
        let deny = Self.security(
            "AuthorizationPolicy", "no-admin", "{action: DENY, rules: [{to: [{operation: {paths: [/admin*]}}]}]}")
        let denied = try verdict([Self.web, deny], "/admin/x")
        #expect(denied.cause == .policyDenied && denied.status == 403)
        #expect(denied.headline.contains("AuthorizationPolicy default/no-admin denies it"), "\(denied.headline)")
        #expect(denied.origins.first?.field == "spec.rules[0]")
        #expect(try verdict([Self.web, deny], "/").cause == .answered)
        let allow = Self.security(
            "AuthorizationPolicy", "only-web",
            "{rules: [{from: [{source: {principals: [cluster.local/ns/default/sa/other]}}]}]}")
        let missed = try verdict([Self.web, allow])
        #expect(missed.cause == .policyDenied && missed.headline.contains("no rule of an ALLOW policy"))
        #expect(missed.origins.map(\.object.name) == ["only-web"])
        #expect(missed.advice.contains { $0.contains("none of its principals does") }, "\(missed.advice)")
    }

    @Test("401 since a token is refused")
    func tokenRefused() throws {
        let keys = #"{"keys":[{"kty":"oct","k":"AQAB","alg":"HS256","kid":"1"}]}"#
        let tokens = Self.security(
            "RequestAuthentication", "tokens", "{jwtRules: [{issuer: me, jwks: '\(keys)'}]}")
        let verdict = try verdict([Self.web, tokens], headers: ["authorization: Bearer no.token"])
        #expect(verdict.cause == .tokenRefused && verdict.status == 401, "\(verdict.headline)")
        #expect(verdict.origins.first?.object.name == "tokens")
        #expect(try self.verdict([Self.web, tokens]).cause == .answered)
    }

    @Test("whether a retry happens: after what, and after what not")
    func retries() throws {
        let rule = World.rule(
            "r", "hosts: [web]\nhttp: [{retries: {attempts: 3, retryOn: '503'}, route: [{destination: {host: web}}]}]")
        let explanation = try Explained([Self.caller, Self.web, rule]).follow(host: "web", address: "10.96.0.1:80")
        let after = explanation.outbound?.json["decision"]?["retries"]?["after"]
        #expect(after?["503"]?.bool == true && after?["500"]?.bool == false && after?["connect-failure"]?.bool == false)
        #expect(explanation.text.contains("tried again, up to 3 times, after: 503"))
        let none = World.rule(
            "r", "hosts: [web]\nhttp: [{retries: {attempts: 0}, route: [{destination: {host: web}}]}]")
        let never = try Explained([Self.caller, Self.web, none]).follow(host: "web", address: "10.96.0.1:80")
        #expect(never.text.contains("never tried again"))
    }

    private func tried(_ rule: String, _ answers: String, _ more: [String] = []) throws -> MeshExplanation {
        try Explained([Self.caller, Self.web, World.rule("r", rule)]).follow(
            host: "web", address: "10.96.0.1:80", asking: ["--answer", answers] + more)
    }

    @Test("T-6 T-8 whether the retry of this request happens: each try with its reason, and what the caller gets")
    func tries() throws {
        let rule = "hosts: [web]\nhttp: [{retries: {attempts: 2, retryOn: '503'}, route: [{destination: {host: web}}]}]"
        let all = try tried(rule, "503")
        #expect(all.verdict.cause == .retriesExhausted && all.verdict.status == 503 && all.verdict.flags == "URX")
        #expect(all.verdict.headline.contains("tried again 2 times"), "\(all.verdict.headline)")
        #expect(all.verdict.origins.first?.field == "spec.http[0].retries")
        #expect(all.verdict.advice.count == 3 && all.verdict.advice.first?.contains("tried again after") == true)
        let helped = try tried(rule, "503,200").verdict
        #expect(helped.cause == .answered && helped.status == 200, "\(helped.headline)")
        #expect(helped.headline.contains("tried again once"), "\(helped.headline)")
        let other = try tried(rule, "500").verdict
        #expect(other.cause == .notRetried && other.status == 500 && other.flags.isEmpty)
        #expect(
            other.headline.contains("no condition of retry_on (retriable-status-codes)"), "\(other.headline)")
        let local = try tried(rule, "connect-failure").verdict
        #expect(local.cause == .notRetried && local.status == 503 && local.flags == "UF", "\(local.headline)")
        let slow =
            "hosts: [web]\nhttp: [{timeout: 3s, retries: {attempts: 9, retryOn: '503', backoff: 4s}, route: [{destination: {host: web}}]}]"
        let late = try tried(slow, "503", ["--seed", "3"]).verdict
        #expect(late.flags.contains("UT") || late.cause == .retriesExhausted, "\(late.headline)")
    }

    @Test("X-1 a POST is not repeated after a reset, a GET is")
    func triesByMethod() throws {
        let plain = "hosts: [web]\nhttp: [{route: [{destination: {host: web}}]}]"
        #expect(try tried(plain, "reset").verdict.cause == .retriesExhausted)
        let post = try tried(plain, "reset", ["-X", "POST"]).verdict
        #expect(post.cause == .notRetried, "\(post.headline)")
        #expect(try tried(plain, "connect-failure", ["-X", "POST"]).verdict.cause == .retriesExhausted)
    }

    @Test("the chain that several services share is nobody's: the service is named that takes the request")
    func sharedChain() throws {
        let explanation = try Explained([
            Self.caller, World.service("alpha", ip: 9) + World.pod("alpha-1", "alpha", ip: 19), Self.web,
        ]).follow(host: "web", address: "10.96.0.1:80")
        let chain = explanation.text.components(after: "outbound filter chain\n")
        #expect(chain.contains("from Service default/web spec.ports"), "\(chain)")
        #expect(!explanation.text.contains("default/alpha"))
    }

    @Test("a redirect, a direct response and a fault are no program's answer")
    func ownAnswers() throws {
        let redirect = try verdict([Self.web, World.rule("r", "hosts: [web]\nhttp: [{redirect: {uri: /new}}]")])
        #expect(redirect.cause == .answeredByProxy && !redirect.isAnswered && redirect.status == 301)
        let fault = try verdict([
            Self.web,
            World.rule(
                "r",
                "hosts: [web]\nhttp: [{fault: {abort: {httpStatus: 555, percentage: {value: 100}}}, route: [{destination: {host: web}}]}]"
            ),
        ])
        #expect(fault.cause == .fault && fault.status == 555 && fault.origins.first?.object.name == "r")
    }

    // MARK: What proxies tell of certificates and their control plane

    private func answer(_ text: String) throws -> ProxyAnswer { try #require(ProxyAnswer(try JSON.parse(text))) }

    private func arrived(_ outbound: String, _ inbound: String?) throws -> Verdict {
        var explanation = try Explained([Self.caller, Self.web]).empty(to: "web")
        explanation.outbound = try answer(outbound)
        if let inbound {
            explanation.destination = .init(
                pod: NamespacedName(namespace: "default", name: "web-1"), address: "10.244.0.11",
                account: "default/default", hasProxy: true, isGateway: false)
            explanation.inbound = try answer(inbound)
        }
        return explanation.verdict
    }

    @Test("a certificate that is refused, has expired, or has not arrived: on which side, and which name it has")
    func certificates() throws {
        let forwarded = #"""
            {"outcome":"forwarded","cluster":"outbound|80||web.default.svc.cluster.local","host":"10.244.0.11:8080",
             "decision":{"upstream_tls":true},"state":{"upstream_tls":{"presents":[{"names":["spiffe://a/ns/default/sa/old"]}]}}}
            """#
        let expired = try arrived(
            forwarded,
            #"{"outcome":"refused","flags":"-","details":"client certificate refused: certificate has expired"}"#)
        #expect(expired.cause == .certificateExpired && expired.status == 503 && expired.flags == "UF")
        #expect(
            expired.headline.contains(
                "pod default/web-1 refuses the caller's certificate, spiffe://a/ns/default/sa/old"))
        #expect(expired.advice.contains { $0.contains("skein certs recover") })
        let refused = try arrived(
            #"""
            {"outcome":"refused","status":503,"flags":"UF","cluster":"outbound|80||web.default.svc.cluster.local",
             "details":"upstream_reset_before_response_started{remote_connection_failure|TLS_error: the host's certificate is refused: unable to get local issuer certificate}"}
            """#, #"{"outcome":"forwarded"}"#)
        #expect(
            refused.cause == .certificateRefused && refused.headline.contains("unable to get local issuer certificate"))
        let missing = try arrived(
            #"{"outcome":"refused","status":503,"flags":"UF","details":"TLS_error: secret default has not arrived"}"#,
            nil)
        #expect(missing.cause == .certificateMissing)
    }

    @Test("a request that goes through a gateway ends there when the gateway says so, and else where that leads")
    func throughGateway() throws {
        var explanation = try Explained([Self.caller, Self.web]).empty(to: "shop-skein")
        explanation.outbound = try answer(#"{"outcome":"forwarded","host":"10.244.0.9:17000"}"#)
        let gateway = MeshExplanation.Workload(
            pod: NamespacedName(namespace: "skein-system", name: "gateway"), address: "10.244.0.9",
            account: "skein-system/gateway", hasProxy: true, isGateway: true)
        explanation.passage = .init(gateway)
        explanation.passage?.problem = "no answer"
        #expect(explanation.verdict.cause == .proxyUnreachable)
        #expect(explanation.verdict.headline.contains("gateway skein-system/gateway"))
        explanation.passage?.answer = try answer(
            #"{"outcome":"refused","status":404,"flags":"NR","details":"route_not_found"}"#)
        let refused = explanation.verdict
        #expect(refused.cause == .noVirtualHost || refused.cause == .noRoute)
        #expect(refused.status == 404 && !refused.isAnswered, "\(refused.headline)")
        explanation.passage?.answer = try answer(#"{"outcome":"forwarded","host":"10.244.0.11:8080"}"#)
        explanation.destination = .init(
            pod: NamespacedName(namespace: "default", name: "web-1"), address: "10.244.0.11",
            account: "default/default", hasProxy: true, isGateway: false)
        explanation.inbound = try answer(#"{"outcome":"forwarded"}"#)
        #expect(explanation.verdict.isAnswered, "\(explanation.verdict.headline)")
        let headline = explanation.verdict.headline
        #expect(headline.hasPrefix("through gateway skein-system/gateway: answered by pod default/web-1"))
        #expect(explanation.text.contains("through\n  gateway skein-system/gateway, 10.244.0.9\n"))
        #expect(explanation.json["through"]?["gateway"] == true && explanation.json["destination"]?["pod"] == "web-1")
    }

    @Test("a handshake that failed counts against the next connection only until one side has other certificates")
    func renewed() throws {
        func verdict(_ renewed: Int, failure: String) throws -> Verdict {
            try arrived(
                #"""
                {"outcome":"forwarded","host":"10.244.0.11:8080","state":{
                 "last_failure":{"ms_ago":9000,"text":"\#(failure)"},
                 "control_plane":{"types":{"Secret":{"accepted_ms_ago":60000}}}}}
                """#,
                #"""
                {"outcome":"forwarded","state":{"control_plane":{"types":{"Secret":{"accepted_ms_ago":\#(renewed)}}}}}
                """#)
        }
        let handshake = "the handshake failed: certificate verify failed (certificate has expired)"
        #expect(try verdict(30_000, failure: handshake).cause == .certificateExpired)
        #expect(try verdict(8000, failure: handshake).cause == .answered)
        #expect(try verdict(8000, failure: "connection refused").cause == .connectionFailed)
    }

    @Test("what has to come from a control plane that is gone is said, and since when the proxy is alone")
    func controlPlaneGone() throws {
        let verdict = try arrived(
            #"""
            {"outcome":"refused","status":404,"flags":"NR","details":"route_not_found","state":{
             "asked":[{"what":"virtual host 80/web","outcome":"no answer within 5.0 seconds","arrived":false}],
             "control_plane":{"is_used":true,"is_connected":false,"lost_ms_ago":61000}}}
            """#, nil)
        #expect(
            verdict.cause == .controlPlaneGone && verdict.headline.contains("virtual host 80/web"),
            "\(verdict.headline)")
        #expect(verdict.advice.contains { $0.contains("without control plane for 61 s") })
        var unnamed = try Explained([Self.caller, Self.web]).empty(to: "web")
        unnamed.names = .failed("10.244.0.1, asked for web: no DNS server answered in time")
        unnamed.controlPlane.problem = "the API does not answer"
        #expect(unnamed.verdict.cause == .controlPlaneGone)
        unnamed.controlPlane.problem = nil
        #expect(unnamed.verdict.cause == .noSuchName)
        unnamed.controlPlane.problem = "the API does not answer"
        unnamed.outbound = try answer(#"{"outcome":"forwarded","host":"10.244.0.11:8080"}"#)
        #expect(unnamed.verdict.cause == .controlPlaneGone && !unnamed.verdict.isAnswered)
        #expect(unnamed.verdict.headline.contains("for who knows the address: answered by host 10.244.0.11:8080"))
    }

    // MARK: What is the case now

    private func ask(_ scene: MeshScene, _ objects: [String], _ query: String = "") async throws -> Verdict {
        let admin = try await Wire.connect(to: try #require(scene.proxy.admin), on: scene.loop)
        let page = try await admin.get(
            "/explain?listener=virtualOutbound&url=http://web/&format=json&demand=1" + query)
        var explanation = try Explained(objects).empty(to: "web")
        let answer = try #require(ProxyAnswer(try JSON.parse(page.body)), "\(page.body)")
        explanation.outbound = answer
        return explanation.verdict
    }

    @Test("503 since the circuit is open now", .timeLimit(.minutes(1)))
    func circuitOpen() async throws {
        let limit = World.policy(
            "d", "host: web\ntrafficPolicy: {connectionPool: {http: {http2MaxRequests: 1}}}")
        let objects = [Self.caller, Self.web, limit]
        let slow = MeshScene.Pod("web-1", ip: 11) { _, _ in "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" }
        try await MeshScene.run(objects, pods: [slow]) { scene in
            #expect(try await ask(scene, objects).cause == .answered)
            let busy = try await scene.connect()
            // The answer lacks its body: the request stays under way.
            try await busy.write("GET / HTTP/1.1\r\nHost: web\r\n\r\n")
            _ = try await busy.read(until: "\r\n\r\n")
            let open = try await ask(scene, objects)
            #expect(open.cause == .circuitOpen && open.status == 503 && open.flags == "UO", "\(open.headline)")
            #expect(open.headline.contains("requests 1 of 1"))
            #expect(open.origins.first?.field == "spec.trafficPolicy.connectionPool")
        }
    }

    @Test("503 since all hosts are ejected by outlier detection", .timeLimit(.minutes(1)))
    func ejected() async throws {
        let policy = World.policy(
            "d",
            "host: web\ntrafficPolicy: {outlierDetection: {consecutive5xxErrors: 1, interval: 1h, baseEjectionTime: 1h, maxEjectionPercent: 100, minHealthPercent: 0}}"
        )
        let objects = [Self.caller, Self.web, policy]
        let failing = MeshScene.Pod("web-1", ip: 11) { _, _ in
            "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
        }
        try await MeshScene.run(objects, pods: [failing]) { scene in
            #expect(try await ask(scene, objects).cause == .answered)
            #expect(try await scene.get("/", host: "web").head.contains(" 500 "))
            let verdict = try await ask(scene, objects)
            #expect(verdict.cause == .ejected && verdict.flags == "UH", "\(verdict.headline)")
            #expect(verdict.origins.contains { $0.field == "spec.trafficPolicy.outlierDetection" })
        }
    }
}

extension String {
    /// What follows a text, at most 300 bytes of it.
    fileprivate func components(after text: String) -> String {
        firstRange(of: text).map { String(self[$0.upperBound...].prefix(300)) } ?? ""
    }
}
