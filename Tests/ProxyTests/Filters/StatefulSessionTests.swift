import HTTP
import IO
import Serialization
import Testing

@testable import Proxy

@Suite("Filters: stateful_session")
struct StatefulSessionTests {
    private static let type = "envoy.extensions.filters.http.stateful_session.v3.StatefulSession"
    private static let name = "envoy.filters.http.stateful_session"

    private static func state(_ kind: String, _ fields: String) -> String {
        """
        session_state: { name: s, typed_config: { "@type": type.googleapis.com/envoy.extensions.http.stateful_session.\(kind), \(fields) } }
        """
    }

    private static let cookie = state(
        "cookie.v3.CookieBasedSessionState",
        "cookie: { name: sid, path: /app, ttl: 60s, attributes: [ { name: SameSite, value: Lax } ] }")
    private static let header = state("header.v3.HeaderBasedSessionState", "name: x-session")

    private func run(
        _ config: String, routes: String = Yaml.forward(),
        _ body: @escaping @Sendable (Wire, [UInt16], RunningProxy) async throws -> Void
    ) async throws {
        try await onLoop { loop in
            var ports: [UInt16] = []
            for number in 0..<3 {
                let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("host \(number)") }
                ports.append(upstream.port)
            }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(filters: FilterScene.entries([(Self.name, config)]), routes: routes),
                    clusters: Yaml.cluster("backend", ports, "lb_policy: ROUND_ROBIN")))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await body(client, ports, proxy)
        }
    }

    @Test("the cookie that the first answer sets leads all further requests to the same host")
    func sticky() async throws {
        try await run(FilterScene.any(Self.type, Self.cookie)) { client, _, _ in
            let first = try await client.get("/app")
            let line = first.field("set-cookie") ?? ""
            #expect(line.hasPrefix("sid=\""))
            #expect(line.hasSuffix("; Max-Age=60; Path=/app; SameSite=Lax; HttpOnly"))
            let cookie = "cookie: a=b; \(line.prefix { $0 != ";" })\r\n"
            for _ in 0..<5 {
                let next = try await client.get("/app/x", cookie)
                #expect(next.body == first.body)
                #expect(next.field("set-cookie") == nil)
            }
            // Beside the cookie's path there is no session.
            #expect(try await client.get("/apple").field("set-cookie") == nil)
        }
    }

    @Test("strict: a host that is not there fails the request; otherwise another serves")
    func strict() async throws {
        let gone = "x-session: \(Base64.encode(Array("1.2.3.4:80".utf8)))\r\n"
        try await run(FilterScene.any(Self.type, Self.header + ", strict: true")) { client, ports, _ in
            let refused = try await client.get("/", gone)
            #expect(refused.status == 503)
            #expect(refused.body == "no healthy upstream")
            let named = Base64.encode(Array("127.0.0.1:\(ports[1])".utf8))
            for _ in 0..<3 { #expect(try await client.get("/", "x-session: \(named)\r\n").body == "host 1") }
        }
        try await run(FilterScene.any(Self.type, Self.header)) { client, _, _ in
            let served = try await client.get("/", gone)
            #expect(served.status == 200)
            #expect(served.field("x-session") != nil)
        }
    }

    @Test("a route switches sessions off, or has its own")
    func perRoute() async throws {
        let routes = FilterScene.routes(
            Self.name,
            FilterScene.any(
                "envoy.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute", "disabled: true"))
        try await run(FilterScene.any(Self.type, Self.header), routes: routes) { client, _, _ async throws in
            #expect(try await client.get("/").field("x-session") == nil)
        }
    }

    @Test("a cookie says when it is over; any bytes are a cookie, an address or nothing")
    func cookies() {
        let cookie = SessionCookie(address: "10.0.0.1:80", expires: 1000)
        #expect(SessionCookie(parsing: cookie.bytes) == cookie)
        let state = SessionState.cookie(name: "sid", lifetime: 60, path: "", attributes: "")
        func host(_ bytes: [UInt8], at now: Int64) -> String? {
            var headers = HeaderTable()
            try? headers.append(.cookie, "sid=\"\(Base64.encode(bytes))\"")
            return state.host(in: headers, now: now)
        }
        #expect(host(cookie.bytes, at: 999) == "10.0.0.1:80")
        #expect(host(cookie.bytes, at: 1000) == nil)
        #expect(host(Array("10.0.0.1:80".utf8), at: 5000) == "10.0.0.1:80")
        var random = SystemRandomNumberGenerator()
        for _ in 0..<1000 {
            let bytes = (0..<Int.random(in: 0...40, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            _ = SessionCookie(parsing: bytes)
            _ = HostOverride(String(decoding: bytes, as: UTF8.self), isStrict: true)
        }
        #expect(SessionCookie(parsing: [0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]) == nil)
    }
}
