import IO
import TLS
import Testing

@testable import Proxy

@Suite("Upstream: HTTP/2 or HTTP/1.1 as ALPN says")
struct ChoiceByALPNTests {
    private let authority: CertificateAuthority
    private let server: TestIdentity

    init() throws {
        authority = try TestIdentity.authority()
        server = try TestIdentity(authority, "server", [.dns("api.test")])
    }

    /// Answers what it was asked in.
    private func upstream(_ protocols: String, port: UInt16 = 0) async throws -> RunningProxy {
        let routes =
            "[ { match: { prefix: \"/\" }, direct_response: { status: 200, body: { inline_string: there } }, response_headers_to_add: [ { header: { key: x-version, value: \"%PROTOCOL%\" } } ] } ]"
        let alpn = protocols.isEmpty ? "" : "  alpn_protocols: [ \(protocols) ]\n"
        return try await RunningProxy.start(
            Yaml.bootstrap(
                listeners: Yaml.tls(
                    Yaml.listener("server", port: port, routes: routes),
                    "common_tls_context:\n  tls_certificates:\n  - \(server.yaml)\n" + alpn),
                clusters: Yaml.cluster("none", [1]), admin: true))
    }

    private func cluster(_ port: UInt16, _ more: String = "") -> String {
        let trust = "trusted_ca: { inline_string: \(TestIdentity.quoted(authority.certificate.pem)) }"
        return Yaml.cluster(
            "backend", [port],
            Yaml.upstreamTLS("sni: api.test, common_tls_context: { validation_context: { \(trust) } }")
                + "\n    " + Self.options(more))
    }

    private static func options(_ more: String) -> String {
        "typed_extension_protocol_options: { envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, auto_config: { \(more) } } }"
    }

    @Test(
        "a host that chooses h2 gets HTTP/2, any other HTTP/1.1",
        arguments: [
            ("h2, http/1.1", "HTTP/2", "http2"), ("http/1.1", "HTTP/1.1", "http1"), ("", "HTTP/1.1", "http1"),
        ])
    func chooses(protocols: String, version: String, counter: String) async throws {
        try await onLoop { loop in
            let upstream = try await upstream(protocols)
            defer { upstream.stop() }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(
                        routes:
                            "[ { match: { prefix: / }, route: { cluster: backend }, response_headers_to_add: [ { header: { key: x-up, value: \"%UPSTREAM_TLS_VERSION% %UPSTREAM_PEER_DNS_SAN% %UPSTREAM_PROTOCOL% %UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%\" } } ] } ]"
                    ), clusters: cluster(upstream.address.port ?? 0), admin: true))
            defer { proxy.stop() }
            // Many at once, before anything is known of the host.
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<20 {
                    group.addTask {
                        let client = try await Wire.connect(to: proxy.address, on: loop)
                        for _ in 0..<3 {
                            let answer = try await client.get("/")
                            #expect(answer.status == 200 && answer.body == "there")
                            #expect(answer.field("x-version") == version)
                            #expect(answer.field("x-up") == "TLSv1.3 api.test \(version) 127.0.0.1")
                        }
                    }
                }
                try await group.waitForAll()
            }
            let stats = try await Admin.get(proxy, "/stats?filter=cluster.backend.upstream_(cx|rq)", on: loop)
            #expect(!stats.contains("upstream_cx_\(counter)_total: 0"))
            #expect(stats.contains("upstream_cx_\(counter == "http1" ? "http2" : "http1")_total: 0"))
            #expect(stats.contains("upstream_rq_pending_active: 0"))
            #expect(stats.contains("upstream_rq_total: 60"))
            // One connection found out, and carried them all.
            if counter == "http2" { #expect(stats.contains("upstream_cx_total: 1\n")) }
        }
    }

    @Test("a host that changes its mind is followed, both ways")
    func changes() async throws {
        try await onLoop { loop in
            var upstream = try await upstream("h2")
            let port = upstream.address.port ?? 0
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(
                        routes: Yaml.forward(
                            "backend", "retry_policy: { retry_on: \"connect-failure,reset\", num_retries: 5 }")),
                    clusters: cluster(port), admin: true))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            #expect(try await client.get("/").field("x-version") == "HTTP/2")
            for (protocols, version) in [("http/1.1", "HTTP/1.1"), ("h2", "HTTP/2"), ("http/1.1", "HTTP/1.1")] {
                upstream.stop()
                upstream = try await self.upstream(protocols, port: port)
                // The old process may still be going down.
                var answer = try await client.get("/")
                try await until {
                    answer = try await client.get("/")
                    return answer.field("x-version") == version
                }
                #expect(answer.status == 200)
            }
            upstream.stop()
            try await until { try await client.get("/").status == 503 }
            let stats = try await Admin.get(
                proxy, "/stats?filter=cluster.backend.upstream_cx_active|pending_active", on: loop)
            #expect(stats.contains("upstream_cx_active: 0") && stats.contains("upstream_rq_pending_active: 0"))
        }
    }

    @Test("without TLS nothing can choose: refused, with the place")
    func refused() async throws {
        await #expect {
            try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward()),
                    clusters: Yaml.cluster("backend", [1], Self.options("")))
            ).stop()
        } throws: {
            "\($0)".contains("static_resources.clusters[0].transport_socket: auto_config chooses by ALPN")
        }
    }
}
