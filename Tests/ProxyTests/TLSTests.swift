import IO
import Proxy
import TLS
import Testing

@Suite("TLS and mutual TLS through the proxy")
struct ProxyTLSTests {
    let authority: CertificateAuthority
    let server: TestIdentity
    let client: TestIdentity

    init() throws {
        authority = try TestIdentity.authority()
        server = try TestIdentity(authority, "server", [.dns("api.test"), .uri("spiffe://cluster.local/ns/a/sa/api")])
        client = try TestIdentity(authority, "client", [.uri("spiffe://cluster.local/ns/a/sa/client")])
    }

    private var trust: String {
        "trusted_ca: { inline_string: \(TestIdentity.quoted(authority.certificate.pem)) }"
    }

    private var anonymous: TLSConfiguration {
        var configuration = TLSConfiguration()
        configuration.trust = [authority.certificate]
        return configuration
    }

    private func downstream(_ more: String = "", validation: String? = nil) -> String {
        var text = "common_tls_context:\n  tls_certificates:\n  - \(server.yaml)\n"
        if let validation { text += "  validation_context: { \(validation) }\n" }
        return text + more
    }

    private func start(_ context: String, manager: String = "", port: UInt16) async throws -> RunningProxy {
        try await RunningProxy.start(
            Yaml.bootstrap(
                listeners: Yaml.tls(Yaml.listener(manager: manager, routes: Yaml.forward()), context),
                clusters: Yaml.cluster("backend", [port]), admin: true))
    }

    @Test("a listener with a certificate speaks TLS, small and large bodies both ways, and says https")
    func terminates() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { head, body in
                ScriptedUpstream.ok(
                    head.contains("/large") ? String(repeating: "y", count: 300_000) : "\(body.utf8.count)",
                    head.contains("x-forwarded-proto: https") ? "saw: https\r\n" : "")
            }
            let proxy = try await start(downstream(), port: upstream.port)
            defer { proxy.stop() }
            let wire = try await TLSWire.connect(to: proxy.address, anonymous, name: "api.test", on: loop)
            let answer = try await wire.get("/")
            #expect(answer.status == 200 && answer.field("saw") == "https")
            #expect(try await wire.get("/large").body.utf8.count == 300_000)
            let body = String(repeating: "x", count: 200_000)
            try await wire.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
            #expect(try await wire.response().body == "200000")
            let metrics = try await Admin.get(proxy, "/stats?filter=ssl", on: loop)
            #expect(metrics.contains(".ssl.handshake: 1") && metrics.contains(".ssl.versions.TLSv1.3: 1"))
        }
    }

    @Test(
        "a client without a certificate, or with a stranger's, is refused where one is required; each with its counter")
    func mutual() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { head, _ in ScriptedUpstream.ok(head) }
            let proxy = try await start(
                downstream("require_client_certificate: true\n", validation: trust), port: upstream.port)
            defer { proxy.stop() }
            let good = try await TLSWire.connect(
                to: proxy.address, client.configuration(trusting: authority), name: "api.test", on: loop)
            #expect(try await good.get("/").status == 200)
            let stranger = try TestIdentity.authority("stranger")
            var other = try TestIdentity(stranger, "x").configuration(trusting: stranger)
            other.trust = [authority.certificate]
            for configuration in [anonymous, other] {
                let wire = try? await TLSWire.connect(to: proxy.address, configuration, name: "api.test", on: loop)
                await #expect(throws: (any Error).self) { _ = try await wire?.get("/") ?? { throw Wire.Closed() }() }
            }
            let metrics = try await Admin.get(proxy, "/stats?filter=ssl", on: loop)
            #expect(metrics.contains(".ssl.fail_verify_no_cert: 1"))
            #expect(metrics.contains(".ssl.fail_verify_error: 1"))
            #expect(metrics.contains(".ssl.verified_leaf_miss: 1"))
        }
    }

    @Test(
        "ATK-26 names are compared byte for byte, kind by kind: prefix, case, other kinds and other domains do not pass"
    )
    func names() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { head, _ in ScriptedUpstream.ok(head) }
            let matcher =
                "\(trust), match_typed_subject_alt_names: [ { san_type: URI, matcher: { exact: \"spiffe://cluster.local/ns/a/sa/client\" } } ]"
            let proxy = try await start(
                downstream("require_client_certificate: true\n", validation: matcher), port: upstream.port)
            defer { proxy.stop() }
            func isAccepted(_ names: [SubjectAlternativeName]) async throws -> Bool {
                let identity = try TestIdentity(authority, "c", names)
                guard
                    let wire = try? await TLSWire.connect(
                        to: proxy.address, identity.configuration(trusting: authority), name: "api.test", on: loop)
                else { return false }
                return (try? await wire.get("/").status) == 200
            }
            #expect(try await isAccepted([.uri("spiffe://cluster.local/ns/a/sa/client")]))
            #expect(try await isAccepted([.dns("x"), .uri("spiffe://cluster.local/ns/a/sa/client")]))
            #expect(try await !isAccepted([.uri("spiffe://cluster.local/ns/a/sa/client2")]))
            #expect(try await !isAccepted([.uri("spiffe://cluster.local/ns/a/sa/Client")]))
            #expect(try await !isAccepted([.uri("spiffe://cluster.local/ns/a/sa/*")]))
            #expect(try await !isAccepted([.uri("spiffe://other.local/ns/a/sa/client")]))
            #expect(try await !isAccepted([.dns("spiffe://cluster.local/ns/a/sa/client")]))
            #expect(try await !isAccepted([]))
        }
    }

    @Test("ATK-17 x-forwarded-client-cert is rewritten from the connection, and removed where there is no certificate")
    func forwardedCertificate() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { head, _ in
                let line = head.split(separator: "\r\n").first { $0.lowercased().hasPrefix("x-forwarded-client-cert:") }
                return ScriptedUpstream.ok(
                    line.map { String($0.dropFirst("x-forwarded-client-cert: ".count)) } ?? "none")
            }
            let proxy = try await start(
                downstream(validation: trust),
                manager:
                    "forward_client_cert_details: SANITIZE_SET\n          set_current_client_cert_details: { uri: true, subject: true }",
                port: upstream.port)
            defer { proxy.stop() }
            let wire = try await TLSWire.connect(
                to: proxy.address, client.configuration(trusting: authority), name: "api.test", on: loop)
            let digits = client.certificate.fingerprint.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
            let expected =
                "By=spiffe://cluster.local/ns/a/sa/api;Hash=\(digits);Subject=\"CN=client\";URI=spiffe://cluster.local/ns/a/sa/client"
            #expect(try await wire.get("/", "x-forwarded-client-cert: By=forged\r\n").body == expected)
            #expect(try await wire.get("/").body == expected)
            let bare = try await TLSWire.connect(to: proxy.address, anonymous, name: "api.test", on: loop)
            #expect(try await bare.get("/", "x-forwarded-client-cert: By=forged\r\n").body == "none")
        }
    }

    @Test("upstream: the server's chain and names are verified, and our certificate is presented")
    func upstream() async throws {
        try await onLoop { loop in
            let context = try TLSContext(server.configuration(trusting: authority), role: .server)
            let upstream = try await ScriptedUpstream(on: loop, tls: context) { _, _ in ScriptedUpstream.ok("secret") }
            func answer(_ validation: String, certificate: Bool = true) async throws -> (Int, String) {
                let certificates = certificate ? "tls_certificates: [ \(client.yaml) ], " : ""
                let proxy = try await RunningProxy.start(
                    Yaml.bootstrap(
                        listeners: Yaml.listener(routes: Yaml.forward()),
                        clusters: Yaml.cluster(
                            "backend", [upstream.port],
                            Yaml.upstreamTLS(
                                "sni: api.test, common_tls_context: { \(certificates)validation_context: { \(validation) } }"
                            )), admin: true))
                defer { proxy.stop() }
                let wire = try await Wire.connect(to: proxy.address, on: loop)
                let status = try await wire.get("/").status
                return (status, try await Admin.get(proxy, "/stats?filter=ssl", on: loop))
            }
            let dns = "match_typed_subject_alt_names: [ { san_type: DNS, matcher: { exact: api.test } } ]"
            #expect(try await answer("\(trust), \(dns)").0 == 200)
            let wrong = try await answer(
                "\(trust), match_typed_subject_alt_names: [ { san_type: DNS, matcher: { exact: other.test } } ]")
            #expect(wrong.0 == 503 && !wrong.1.contains("cluster.backend.ssl.fail_verify_san: 0"))
            let stranger = try TestIdentity.authority("stranger").certificate.pem
            let untrusted = try await answer("trusted_ca: { inline_string: \(TestIdentity.quoted(stranger)) }")
            #expect(untrusted.0 == 503 && !untrusted.1.contains("cluster.backend.ssl.fail_verify_error: 0"))
            #expect(try await answer(trust, certificate: false).0 == 503)
        }
    }

    @Test("TCP is carried over TLS on both sides, with its half close")
    func tcp() async throws {
        try await onLoop { loop in
            let context = try TLSContext(server.configuration(trusting: authority), role: .server)
            let upstream = try await ScriptedUpstream(on: loop, tls: context) { _, body in ScriptedUpstream.ok(body) }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.tls(Yaml.tcpListener("tcp", "cluster: backend"), downstream()),
                    clusters: Yaml.cluster(
                        "backend", [upstream.port],
                        Yaml.upstreamTLS(
                            "common_tls_context: { tls_certificates: [ \(client.yaml) ], validation_context: { \(trust) } }"
                        ))))
            defer { proxy.stop() }
            let wire = try await TLSWire.connect(to: proxy.address, anonymous, name: "api.test", on: loop)
            let body = String(repeating: "z", count: 150_000)
            try await wire.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
            #expect(try await wire.response().body == body)
        }
    }

    @Test("ATK-29 a listener whose secret has not arrived closes connections, and the proxy is not ready")
    func missingSecret() async throws {
        try await onLoop { loop in
            let context = """
                common_tls_context:
                  tls_certificate_sds_secret_configs:
                  - { name: later, sds_config: { path_config_source: { path: "/nowhere/at/all.yaml" } } }
                """
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.tls(Yaml.listener(routes: Yaml.forward()), context),
                    clusters: Yaml.cluster("backend", [1]), admin: true), waitsForLive: false)
            defer { proxy.stop() }
            let wire = try? await TLSWire.connect(to: proxy.address, anonymous, name: "api.test", on: loop)
            #expect(wire == nil)
            let stats = try await Admin.get(proxy, "/stats?filter=secrets", on: loop)
            #expect(stats.contains("downstream_context_secrets_not_ready: 1"))
        }
    }
}
