import IO
import TLS
import Testing

@testable import Proxy

@Suite("Dynamic forward proxy")
struct DynamicForwardProxyTests {
    private static let package = "type.googleapis.com/envoy.extensions."

    private static func filter(_ cache: String) -> String {
        "          - { name: dfp, typed_config: { \"@type\": \(package)filters.http.dynamic_forward_proxy.v3.FilterConfig, dns_cache_config: { \(cache) } } }\n"
    }

    private static func cluster(_ cache: String, _ more: String = "") -> String {
        """
          - name: anywhere
            lb_policy: CLUSTER_PROVIDED
            connect_timeout: 5s
            cluster_type:
              name: envoy.clusters.dynamic_forward_proxy
              typed_config:
                "@type": \(package)clusters.dynamic_forward_proxy.v3.ClusterConfig
                dns_cache_config: { \(cache) }
            \(more)

        """
    }

    private static func proxy(
        _ cache: String = "name: names, dns_lookup_family: V4_ONLY", routes: String = Yaml.forward("anywhere")
    ) async throws -> RunningProxy {
        try await RunningProxy.start(
            Yaml.bootstrap(
                listeners: Yaml.listener(filters: filter(cache), routes: routes), clusters: cluster(cache),
                admin: true))
    }

    private static func get(_ client: Wire, _ host: String, _ fields: String = "") async throws -> Wire.Response {
        try await client.write("GET / HTTP/1.1\r\nHost: \(host)\r\n\(fields)\r\n")
        return try await client.response()
    }

    @Test("a request goes to the host that it names, by name and by address, over connections of that name")
    func forwards() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { wire, number in
                while true {
                    let request = try await wire.request()
                    let host = request.head.split(separator: "\r\n").first { $0.lowercased().hasPrefix("host:") }
                    try await wire.write(ScriptedUpstream.ok("\(number) \(host ?? "")"))
                }
            }
            let proxy = try await Self.proxy()
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            for _ in 0..<2 {
                #expect(
                    try await Self.get(client, "localhost:\(upstream.port)").body
                        == "0 host: localhost:\(upstream.port)")
                #expect(
                    try await Self.get(client, "127.0.0.1:\(upstream.port)").body
                        == "1 host: 127.0.0.1:\(upstream.port)")
            }
            let stats = try await Admin.get(proxy, "/stats?filter=dns_cache", on: loop)
            for line in [
                "dns_query_attempt: 1", "dns_query_success: 1", "dns_query_failure: 0", "host_added: 1",
                "host_address_changed: 1", "num_hosts: 1",
            ] { #expect(stats.contains("dns_cache.names.\(line)\n"), "\(stats)") }
        }
    }

    @Test("with sub_clusters_config the addresses of a name get requests in turn, and names are bounded")
    func subClusters() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { head, number in ScriptedUpstream.ok("\(number)") }
            let clusters = """
                - name: anywhere
                  lb_policy: CLUSTER_PROVIDED
                  dns_lookup_family: V4_ONLY
                  cluster_type:
                    name: envoy.clusters.dynamic_forward_proxy
                    typed_config:
                      "@type": \(Self.package)clusters.dynamic_forward_proxy.v3.ClusterConfig
                      sub_clusters_config: { max_sub_clusters: 1, lb_policy: ROUND_ROBIN }

                """
            let filter =
                "          - { name: dfp, typed_config: { \"@type\": \(Self.package)filters.http.dynamic_forward_proxy.v3.FilterConfig, sub_cluster_config: {} } }\n"
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(filters: filter, routes: Yaml.forward("anywhere")),
                    clusters: clusters.split(separator: "\n").map { "  \($0.dropFirst(0))\n" }.joined(), admin: true))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            for _ in 0..<3 { #expect(try await Self.get(client, "localhost:\(upstream.port)").status == 200) }
            let stats = try await Admin.get(proxy, "/stats?filter=sub_clusters", on: loop)
            #expect(stats.contains("num_hosts: 1\n"), "\(stats)")
            #expect(try await Self.get(client, "ip6-localhost:\(upstream.port)").body == "DNS cache overflow")
        }
    }

    @Test("a route names another host")
    func rewrites() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { head, _ in ScriptedUpstream.ok(head) }
            let name = "localhost:\(upstream.port)"
            let config = "\(Self.package)filters.http.dynamic_forward_proxy.v3.PerRouteConfig"
            let proxy = try await Self.proxy(
                routes:
                    "[ { match: { path: /literal }, route: { cluster: anywhere }, typed_per_filter_config: { dfp: { \"@type\": \(config), host_rewrite_literal: \"\(name)\" } } }, { match: { prefix: / }, route: { cluster: anywhere }, typed_per_filter_config: { dfp: { \"@type\": \(config), host_rewrite_header: x-to } } } ]"
            )
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            #expect(try await client.get("/literal").body.contains("host: \(name)\r\n"))
            #expect(try await client.get("/header", "x-to: \(name)\r\n").body.contains("host: \(name)\r\n"))
        }
    }

    @Test("a name without an address is 503, and what is none too")
    func unresolved() async throws {
        try await onLoop { loop in
            let proxy = try await Self.proxy()
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            for host in [String(repeating: "x", count: 70), "a:99999", "a:b:c", "[::1"] {
                let response = try await Self.get(client, host)
                #expect(response.status == 503 && response.body == "DNS resolution failure", "\(host)")
            }
            let stats = try await Admin.get(proxy, "/stats?filter=dns_cache", on: loop)
            #expect(stats.contains("dns_cache.names.dns_query_failure: 1\n"), "\(stats)")
        }
    }

    @Test("names are bounded, and those that nobody asks for are forgotten")
    func bounds() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("ok") }
            let proxy = try await Self.proxy(
                "name: names, dns_lookup_family: V4_ONLY, max_hosts: 1, host_ttl: 0.05s, dns_min_refresh_rate: 0.02s, dns_refresh_rate: 0.02s"
            )
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            let long = String(repeating: "x", count: 70)
            #expect(try await Self.get(client, long).status == 503)
            let response = try await Self.get(client, "localhost:\(upstream.port)")
            #expect(response.status == 200 || response.body == "DNS cache overflow")
            try await until {
                try await Admin.get(proxy, "/stats?filter=dns_cache", on: loop).contains("host_removed: 1\n")
            }
            #expect(try await Self.get(client, "localhost:\(upstream.port)").body == "ok")
        }
    }

    @Test("TLS asks for the name that the request names, and checks it")
    func tls() async throws {
        let authority = try TestIdentity.authority()
        let identity = try TestIdentity(authority, "host", [.dns("localhost")])
        try await onLoop { loop in
            var configuration = TLSConfiguration()
            configuration.certificateChain = [identity.certificate]
            configuration.privateKey = identity.key
            configuration.peerCertificate = .notVerified
            let upstream = try await ScriptedUpstream(on: loop, tls: TLSContext(configuration, role: .server)) { _, _ in
                ScriptedUpstream.ok("secret")
            }
            let trust = TestIdentity.quoted(authority.certificate.pem)
            let cache = "name: names, dns_lookup_family: V4_ONLY"
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(filters: Self.filter(cache), routes: Yaml.forward("anywhere")),
                    clusters: Self.cluster(
                        cache,
                        Yaml.upstreamTLS(
                            "common_tls_context: { validation_context: { trusted_ca: { inline_string: \(trust) } } }")))
            )
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            #expect(try await Self.get(client, "localhost:\(upstream.port)").body == "secret")
            // The certificate is not good for the address.
            #expect(try await Self.get(client, "127.0.0.1:\(upstream.port)").status == 503)
        }
    }

    @Test("names of requests")
    func names() {
        func name(_ text: String) -> String? { DNSCacheName(authority: text, defaultPort: 80)?.text }
        #expect(name("Host.Test") == "host.test:80")
        #expect(name("host:8080") == "host:8080")
        #expect(name("[::1]:1") == "::1:1")
        #expect(name("[fd00::1]") == "fd00::1:80")
        for bad in ["", ":80", "a:", "a:0", "a:65536", "a:+1", "a b", "a/b", "[::1]x", "[a]:1", "[]"] {
            #expect(name(bad) == nil, "\(bad)")
        }
    }
}
