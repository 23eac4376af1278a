import EnvoyAPI
import HTTP
import IO
import Serialization
import Synchronization
import Testing

@testable import Proxy

@Suite("Filters: ext_authz")
struct ExtAuthzTests {
    static let name = "envoy.filters.http.ext_authz"

    static func grpc(_ fields: String = "") -> (name: String, config: String) {
        (
            name,
            FilterScene.any(
                "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
                "grpc_service: { envoy_grpc: { cluster_name: service }, timeout: 5s }, transport_api_version: V3"
                    + (fields.isEmpty ? "" : ", " + fields))
        )
    }

    static func perRoute(_ fields: String) -> String {
        FilterScene.routes(
            "envoy.filters.http.ext_authz",
            FilterScene.any("envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute", fields))
    }

    static func option(_ name: String, _ value: String, append: Bool? = nil) -> HeaderValueOption {
        var option = HeaderValueOption()
        var header = HeaderValue()
        header.key = name
        header.value = value
        option.header = header
        option.append = append
        return option
    }

    static func ok(_ change: (inout OkHttpResponse) -> Void = { _ in }) -> CallScene.Answer {
        var ok = OkHttpResponse()
        change(&ok)
        var response = CheckResponse()
        response.httpResponse = .okResponse(ok)
        return .message(response.serialized())
    }

    static func denied(_ status: StatusCode, _ body: String) -> CallScene.Answer {
        var denied = DeniedHttpResponse()
        var code = HttpStatus()
        code.code = status
        denied.status = code
        denied.body = body
        denied.headers = [option("x-why", "because")]
        var response = CheckResponse()
        var failure = Status()
        failure.code = 7
        response.status = failure
        response.httpResponse = .deniedResponse(denied)
        return .message(response.serialized())
    }

    @Test("an allowed request goes on with the service's headers, and its response gets what the service adds")
    func allowed() async throws {
        let asked = Mutex<[CheckRequest]>([])
        try await CallScene.run([Self.grpc()]) { path, message in
            #expect(path == "/envoy.service.auth.v3.Authorization/Check")
            if let request = try? CheckRequest(serialized: message) { asked.withLock { $0.append(request) } }
            return Self.ok { ok in
                ok.headers = [Self.option("x-user", "jason"), Self.option("x-more", "b", append: true)]
                ok.headersToRemove = ["x-secret", "host", ":path"]
                ok.responseHeadersToAdd = [Self.option("x-added", "1")]
            }
        } _: { scene async throws in
            let response = try await scene.client.get("/p?q=1", "X-Secret: s\r\nX-More: a\r\nX-User: spoof\r\n")
            #expect(response.status == 200)
            #expect(response.field("x-added") == "1")
            #expect(response.body.contains("x-user: jason"))
            #expect(!response.body.contains("spoof"))
            #expect(!response.body.contains("x-secret"))
            #expect(response.body.contains("x-more: a,b\r\n"))
            let http = asked.withLock { $0.first?.attributes?.request?.http }
            #expect(http?.method == "GET")
            #expect(http?.path == "/p?q=1")
            #expect(http?.host == "test")
            #expect(http?.headers["x-secret"] == "s")
            #expect(http?.headers[":authority"] == "test")
            #expect(http?.protocol == "HTTP/1.1")
            #expect(try await scene.stat("http.ingress.ext_authz.ok") == 1)
            #expect(try await scene.stat("cluster.backend.ext_authz.ok") == 1)
            #expect(try await scene.stat("cluster.service.internal.upstream_rq_200") == 1)
        }
    }

    @Test("the service is told who the connection is from, not whom a request names as its client")
    func source() async throws {
        let asked = Mutex<[CheckRequest]>([])
        try await CallScene.run([Self.grpc()]) { _, message in
            if let request = try? CheckRequest(serialized: message) { asked.withLock { $0.append(request) } }
            return Self.ok()
        } _: { scene async throws in
            _ = try await scene.client.get("/", "x-forwarded-for: 192.0.2.7\r\n")
            guard case .socketAddress(let peer)? = asked.withLock({ $0.first?.attributes?.source?.address?.address })
            else { return #expect(Bool(false), "no address of the source") }
            #expect(peer.address == "127.0.0.1")
            #expect(peer.portSpecifier != .portValue(0))
        }
    }

    @Test("filter state says how long a call took and how large its messages were")
    func tellsCalls() async throws {
        let fields = ["latency_us", "bytesSent", "bytesReceived", "kept", "nothing"]
        let formats = fields.map {
            "{ header: { key: x-\($0.lowercased()), value: \"%FILTER_STATE(\(Self.name):FIELD:\($0))%\" } }"
        }
        try await CallScene.run(
            [Self.grpc("emit_filter_state_stats: true, filter_metadata: { kept: yes }")],
            routes:
                "[ { match: { prefix: / }, route: { cluster: backend }, response_headers_to_add: [ \(formats.joined(separator: ", ")) ] } ]"
        ) { _, _ in
            Self.ok()
        } _: { scene async throws in
            let response = try await scene.client.get("/")
            #expect((response.field("x-latency_us").flatMap { Int($0) } ?? -1) >= 0)
            #expect((response.field("x-bytessent").flatMap { Int($0) } ?? 0) > 50)
            #expect((response.field("x-bytesreceived").flatMap { Int($0) } ?? 0) >= 5)
            #expect(response.field("x-kept") == "true" || response.field("x-kept") == "yes")
            #expect(response.field("x-nothing") == nil || response.field("x-nothing") == "-")
        }
    }

    @Test("what a service adds to responses is held to their limits where that is wanted")
    func limitsResponses() async throws {
        for limits in [true, false] {
            try await CallScene.run([Self.grpc("enforce_response_header_limits: \(limits)")]) { _, message in
                let request = try? CheckRequest(serialized: message)
                guard request?.attributes?.request?.http?.path == "/denied" else {
                    return Self.ok { ok in
                        ok.responseHeadersToAdd = (0..<120).map { Self.option("x-\($0)", "1") }
                    }
                }
                var denied = DeniedHttpResponse()
                denied.headers = (0..<120).map { Self.option("x-\($0)", "1") }
                var response = CheckResponse()
                var failure = Status()
                failure.code = 7
                response.status = failure
                response.httpResponse = .deniedResponse(denied)
                return .message(response.serialized())
            } _: { scene async throws in
                #expect(try await scene.client.get("/").status == (limits ? 500 : 200))
                let denied = try await scene.client.get("/denied")
                #expect(denied.status == 403 && denied.field("x-1") == "1")
                #expect((denied.field("x-119") == nil) == limits)
            }
        }
    }

    @Test("a denied request gets the service's answer and never reaches the upstream")
    func refused() async throws {
        try await CallScene.run([Self.grpc()]) { _, _ in
            Self.denied(.unauthorized, "who?")
        } _: { scene async throws in
            let response = try await scene.client.get("/")
            #expect(response.status == 401)
            #expect(response.body == "who?")
            #expect(response.field("x-why") == "because")
            #expect(scene.upstream.requests == 0)
            #expect(try await scene.stat("http.ingress.ext_authz.denied") == 1)
            #expect(try await scene.stat("cluster.backend.upstream_rq_401") == 1)
        }
    }

    @Test("a call that fails is 403, or lets the request pass where failure_mode_allow says so")
    func failure() async throws {
        try await CallScene.run([Self.grpc()], answer: { _, _ in CallScene.Answer.status(14) }) { scene async throws in
            #expect(try await scene.client.get("/").status == 403)
            #expect(try await scene.stat("http.ingress.ext_authz.error") == 1)
        }
        try await CallScene.run(
            [Self.grpc("failure_mode_allow: true, failure_mode_allow_header_add: true")],
            answer: { _, _ in .reset }
        ) { scene async throws in
            let response = try await scene.client.get("/")
            #expect(response.status == 200)
            #expect(response.body.contains("x-envoy-auth-failure-mode-allowed: true"))
            #expect(try await scene.stat("http.ingress.ext_authz.failure_mode_allowed") == 1)
        }
    }

    @Test("a cluster without hosts, and a circuit breaker that is open, fail the call at once")
    func unavailable() async throws {
        let nobody = (
            Self.name,
            FilterScene.any(
                "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
                "grpc_service: { envoy_grpc: { cluster_name: nobody } }, status_on_error: { code: ServiceUnavailable }"
            )
        )
        try await CallScene.run([nobody]) { _, _ in
            Self.ok()
        } _: { scene async throws in
            #expect(try await scene.client.get("/").status == 503)
        }
        try await CallScene.run(
            [Self.grpc()],
            clusterFields: "circuit_breakers: { thresholds: [ { max_requests: 0 } ] }\n    ",
            answer: { _, _ in Self.ok() }
        ) { scene async throws in
            #expect(try await scene.client.get("/").status == 403)
            #expect(try await scene.stat("cluster.service.upstream_rq_active") == 0)
        }
    }

    @Test("a service that hangs is given up after the timeout, and its stream is reset")
    func timeout() async throws {
        let filter = (
            Self.name,
            FilterScene.any(
                "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
                "grpc_service: { envoy_grpc: { cluster_name: service }, timeout: 0.05s }")
        )
        try await CallScene.run([filter]) { _, _ in
            .hang
        } _: { scene async throws in
            #expect(try await scene.client.get("/").status == 403)
            #expect(try await scene.stat("cluster.service.upstream_rq_timeout") == 1)
            #expect(try await scene.stat("cluster.service.upstream_rq_504") == 1)
            #expect(try await scene.stat("cluster.service.upstream_rq_active") == 0)
        }
    }

    @Test("a client that goes away ends the call")
    func cancelled() async throws {
        try await CallScene.run([Self.grpc()]) { _, _ in
            .hang
        } _: { scene async throws in
            try await scene.client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            try await until { try await scene.stat("cluster.service.upstream_rq_active") == 1 }
            scene.client.close()
            try await until { try await scene.stat("cluster.service.upstream_rq_active") == 0 }
            #expect(try await scene.stat("cluster.service.upstream_rq_tx_reset") == 1)
            #expect(scene.upstream.requests == 0)
        }
    }

    @Test("the body is sent along as far as allowed, and goes on whole")
    func body() async throws {
        let asked = Mutex<[CheckRequest]>([])
        try await CallScene.run(
            [Self.grpc("with_request_body: { max_request_bytes: 10, allow_partial_message: true }")]
        ) { _, message in
            if let request = try? CheckRequest(serialized: message) { asked.withLock { $0.append(request) } }
            return Self.ok()
        } _: { scene async throws in
            try await scene.client.write(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n01234567890123456789")
            let response = try await scene.client.response()
            #expect(response.status == 200)
            #expect(response.body.hasSuffix("01234567890123456789"))
            let http = asked.withLock { $0.first?.attributes?.request?.http }
            #expect(http?.body == "0123456789")
            #expect(http?.headers["x-envoy-auth-partial-body"] == "true")
            #expect(http?.headers["content-length"] == "20")
        }
        try await CallScene.run([Self.grpc("with_request_body: { max_request_bytes: 10 }")]) { _, _ in
            Self.ok()
        } _: { scene async throws in
            try await scene.client.write(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n01234567890123456789")
            #expect(try await scene.client.response().status == 413)
        }
    }

    @Test("a route switches it off, or adds to what is asked")
    func routes() async throws {
        try await CallScene.run([Self.grpc()], routes: Self.perRoute("disabled: true"), answer: { _, _ in .status(14) })
        { scene async throws in
            #expect(try await scene.client.get("/").status == 200)
        }
        let asked = Mutex<[CheckRequest]>([])
        try await CallScene.run(
            [Self.grpc()], routes: Self.perRoute("check_settings: { context_extensions: { k: v } }"),
            answer: { _, message in
                if let request = try? CheckRequest(serialized: message) { asked.withLock { $0.append(request) } }
                return Self.ok()
            }
        ) { scene async throws in
            #expect(try await scene.client.get("/").status == 200)
            #expect(asked.withLock { $0.first?.attributes?.contextExtensions } == ["k": "v"])
        }
    }

    @Test("an HTTP server's 200 passes with its headers, anything else is the answer, 5xx is a failure")
    func overHTTP() async throws {
        let filter = (
            Self.name,
            FilterScene.any(
                "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
                """
                http_service: { server_uri: { uri: "http://auth.test", cluster: auth, timeout: 5s }, \
                path_prefix: /check, authorization_response: { \
                allowed_upstream_headers: { patterns: [ { exact: x-user } ] }, \
                allowed_client_headers_on_success: { patterns: [ { exact: set-cookie } ] }, \
                dynamic_metadata_from_headers: { patterns: [ { prefix: x-m } ] } } }
                """)
        )
        let heads = Mutex<[String]>([])
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { head, body in ScriptedUpstream.ok(head + body) }
            let auth = try await ScriptedUpstream(on: loop) { head, _ in
                heads.withLock { $0.append(head) }
                if head.contains("/check/no") {
                    return "HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n"
                }
                if head.contains("/check/bad") { return "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n" }
                return ScriptedUpstream.ok("", "X-User: jason\r\nSet-Cookie: a=b\r\nX-Other: 1\r\n")
            }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(filters: FilterScene.entries([filter]), routes: Yaml.forward()),
                    clusters: Yaml.cluster("backend", [upstream.port]) + Yaml.cluster("auth", [auth.port])))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            let good = try await client.get("/yes", "Authorization: Basic x\r\nX-In: 1\r\n")
            #expect(good.status == 200)
            #expect(good.body.contains("x-user: jason"))
            #expect(!good.body.contains("x-other"))
            #expect(good.field("set-cookie") == "a=b")
            let bad = try await client.get("/no")
            #expect(bad.status == 302)
            #expect(bad.field("location") == "/login")
            #expect(try await client.get("/bad").status == 403)
            let first = heads.withLock { $0.first ?? "" }
            #expect(first.hasPrefix("GET /check/yes HTTP/1.1\r\n"))
            #expect(first.contains("authorization: Basic x"))
            #expect(first.contains("content-length: 0"))
            #expect(!first.contains("x-in"))
        }
    }

    @Test("an HTTP service is asked about one path for all requests")
    func pathOverride() async throws {
        let service = "server_uri: { uri: \"http://auth.test\", cluster: auth, timeout: 5s }"
        @Sendable func filter(_ fields: String) -> (name: String, config: String) {
            (
                Self.name,
                FilterScene.any(
                    "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz", "http_service: { \(service), \(fields) }")
            )
        }
        let heads = Mutex<[String]>([])
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { head, body in ScriptedUpstream.ok(head + body) }
            let auth = try await ScriptedUpstream(on: loop) { head, _ in
                heads.withLock { $0.append(head) }
                return ScriptedUpstream.ok("")
            }
            @Sendable func start(_ fields: String) async throws -> RunningProxy {
                try await RunningProxy.start(
                    Yaml.bootstrap(
                        listeners: Yaml.listener(
                            filters: FilterScene.entries([filter(fields)]), routes: Yaml.forward()),
                        clusters: Yaml.cluster("backend", [upstream.port]) + Yaml.cluster("auth", [auth.port])))
            }
            let proxy = try await start("path_override: /auth?x=1")
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            #expect(try await client.get("/a?b").body.contains("GET /a?b HTTP/1.1"))
            #expect(heads.withLock { $0.first ?? "" }.hasPrefix("GET /auth?x=1 HTTP/1.1\r\n"))
            for (fields, place) in [
                ("path_override: /a, path_prefix: /b", "http_service.path_override"),
                ("path_override: a", "http_service.path_override: must begin with /"),
            ] {
                await #expect {
                    try await start(fields).stop()
                } throws: {
                    "\($0)".contains(place)
                }
            }
        }
    }

    @Test("in shadow mode requests go on whatever the service says, and filter state says what it was")
    func shadow() async throws {
        let filter = (
            Self.name,
            FilterScene.any(
                "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
                """
                http_service: { server_uri: { uri: "http://auth.test", cluster: auth, timeout: 5s }, authorization_response: \
                { allowed_upstream_headers: { patterns: [ { exact: x-user } ] }, \
                allowed_client_headers: { patterns: [ { exact: x-why } ] } } }, shadow_mode: true, failure_mode_allow: true
                """)
        )
        let state = """
            [ { match: { prefix: / }, route: { cluster: backend }, response_headers_to_add: [ { header: \
            { key: x-state, value: '%FILTER_STATE(\(Self.name).shadow:PLAIN)%' } } ] } ]
            """
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { head, body in ScriptedUpstream.ok(head + body) }
            let auth = try await ScriptedUpstream(on: loop) { head, _ in
                if head.contains("/no") {
                    return "HTTP/1.1 401 No\r\nX-Why: because \"so\"\r\nContent-Length: 0\r\n\r\n"
                }
                if head.contains("/bad") { return "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n" }
                return ScriptedUpstream.ok("", "X-User: jason\r\n")
            }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(filters: FilterScene.entries([filter]), routes: state),
                    clusters: Yaml.cluster("backend", [upstream.port]) + Yaml.cluster("auth", [auth.port]), admin: true)
            )
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            let scene = FilterScene(client: client, proxy: proxy, loop: loop, upstream: upstream)
            let good = try await client.get("/yes")
            #expect(good.status == 200 && good.body.contains("x-user: jason"))
            #expect(good.field("x-state") == #"{"check_result":"OK","status_code":200}"#)
            let refused = try await client.get("/no")
            #expect(refused.status == 200)
            let why = refused.field("x-state") ?? ""
            #expect(why.hasPrefix(#"{"check_result":"DENIED","status_code":401,"response_headers":["#))
            #expect(why.contains(#"{"key":"x-why","value":"because \"so\""}"#))
            let failed = try await client.get("/bad")
            #expect(failed.status == 200 && failed.body.contains("GET /bad"))
            #expect(failed.field("x-state") == #"{"check_result":"ERROR","status_code":403}"#)
            #expect(try await scene.stat("http.ingress.ext_authz.shadow_denied") == 1)
            #expect(try await scene.stat("http.ingress.ext_authz.shadow_error") == 1)
            #expect(try await scene.stat("http.ingress.ext_authz.failure_mode_allowed") == 0)
        }
    }

    @Test("a service without its name, a second list of headers, and too large a body are refused with their path")
    func refusals() throws {
        func problem(_ fields: String) -> String {
            do {
                _ = try ProxyServer(
                    {
                        var options = Options()
                        options.configYAML = Yaml.bootstrap(
                            listeners: Yaml.listener(
                                filters: FilterScene.entries([
                                    (
                                        Self.name,
                                        FilterScene.any("envoy.extensions.filters.http.ext_authz.v3.ExtAuthz", fields)
                                    )
                                ]), routes: Yaml.forward()), clusters: Yaml.cluster("backend", [1]))
                        return options
                    }()
                ).start()
                return ""
            } catch {
                return "\(error)"
            }
        }
        #expect(
            problem("grpc_service: { google_grpc: { target_uri: a } }").contains("google_grpc.stat_prefix: is empty"))
        #expect(problem("transport_api_version: V3").contains("grpc_service or http_service"))
        #expect(
            problem(
                "grpc_service: { envoy_grpc: { cluster_name: a } }, with_request_body: { max_request_bytes: 99999999 }"
            ).contains("max_request_bytes"))
    }

    @Test("query parameters are set and removed, and written in the order of their names")
    func query() {
        let path = QueryChange.apply(Array("/p?b=2&a=1&c".utf8), set: [("d", "4"), ("a", "9")], remove: ["c"])
        #expect(String(decoding: path, as: UTF8.self) == "/p?a=9&b=2&d=4")
        #expect(QueryChange.apply(Array("/p?a=1".utf8), set: [], remove: ["a"]) == Array("/p".utf8))
    }

    @Test("mutation rules guard routing fields, x-envoy fields and what expressions name")
    func rules() throws {
        let standard = MutationRules.standard
        #expect(standard.judge(FieldChange("x-a", "1")) == .allowed)
        #expect(standard.judge(FieldChange("host", "1")) == .ignored)
        #expect(standard.judge(FieldChange("x-envoy-a", "1")) == .ignored)
        #expect(standard.judge(FieldChange(":path", "/a")) == .allowed)
        #expect(standard.judge(FieldChange(":path", [], .remove)) == .ignored)
        #expect(standard.judge(FieldChange("x-a", "a\r\nb")) == .ignored)
        var message = HeaderMutationRules()
        message.disallowAll = true
        message.disallowIsError = true
        var expression = RegexMatcher()
        expression.regex = "x-ok.*"
        message.allowExpression = expression
        let strict = try MutationRules(compiling: message, at: "rules")
        #expect(strict.judge(FieldChange("x-okay", "1")) == .allowed)
        #expect(strict.judge(FieldChange("x-a", "1")) == .refused)
    }

    @Test("a service cannot change framing, nor write fields that split a message")
    func framing() {
        var table = HeaderTable()
        table.apply(FieldChange("transfer-encoding", "chunked"))
        table.apply(FieldChange("content-length", "5"))
        table.apply(FieldChange("x-a", "a\r\nx-b: c"))
        table.apply(FieldChange("x a", "b"))
        #expect(table.isEmpty)
    }
}
