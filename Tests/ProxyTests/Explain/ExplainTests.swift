import IO
import Serialization
import Testing
import Upstream

@testable import Proxy

/// `skein-proxy explain` on files.
struct ExplainTests {
    /// Runs the command; the answer is its exit status, what it printed, and what it complained of.
    static func run(_ yaml: String, _ arguments: [String]) throws -> (status: Int32, out: String, error: String) {
        var out = ""
        var error = ""
        let command = try ExplainCommand(arguments: ["--config-yaml", yaml] + arguments)
        let status = command.run(out: { out += $0 }, error: { error += $0 })
        return (status, out, error)
    }

    static func json(_ yaml: String, _ arguments: [String]) throws -> (status: Int32, json: JSON) {
        let result = try run(yaml, arguments + ["-o", "json"])
        return (result.status, try JSON.parse(result.out))
    }

    private static let place =
        "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.route_config.virtual_hosts[0]"

    private static let routes = """
        [ { name: jason, match: { prefix: "/", headers: [ { name: end-user, string_match: { exact: jason } } ] }, route: { cluster: v2, timeout: 3s } },
          { name: old, match: { prefix: "/old" }, redirect: { path_redirect: "/new" } },
          { name: gone, match: { path: "/gone" }, direct_response: { status: 410 } },
          { name: split, match: { prefix: "/" }, request_headers_to_add: [ { header: { key: x-split, value: "yes" } } ],
            route: { prefix_rewrite: "/api/", weighted_clusters: { clusters: [ { name: v1, weight: 0 }, { name: v2, weight: 1 } ] } } } ]
        """

    private static func bootstrap(filters: String = "", clusters: String? = nil) -> String {
        Yaml.bootstrap(
            listeners: Yaml.listener(port: 10_000, filters: filters, routes: routes),
            clusters: clusters ?? Yaml.cluster("v1", [1]) + Yaml.cluster("v2", [2, 3]))
    }

    @Test func `Every earlier route is there with the reason why it was not taken, and the field that says so`() throws
    {
        let (status, json) = try Self.json(Self.bootstrap(), ["GET http://reviews/x", "-H", "end-user: bob"])
        #expect(status == 0)
        let steps = json["steps"]?.array ?? []
        let route = steps.filter { $0["step"]?.string == "route" }
        #expect(route.first?["text"]?.string == "not routes[0] \"jason\": end-user is \"bob\", exact \"jason\" wanted")
        #expect(route.first?["path"]?.string == Self.place + ".routes[0].match.headers[0]")
        #expect(
            route.dropFirst().first?["text"]?.string?.contains("the path is \"/x\", prefix \"/old\" wanted") == true)
        #expect(json["route"]?.string == "split")
        #expect(json["route_path"]?.string == Self.place + ".routes[3]")
        #expect(json["cluster"]?.string == "v2")
        #expect(json["virtual_host"]?.string == "all")
        let texts = steps.compactMap { $0["text"]?.string }
        #expect(texts.contains("drawn: \"v2\", weight 1 of 1"))
        #expect(texts.contains("GET /api/x"))
        #expect(texts.contains("x-split: yes"))
        let added = steps.first { $0["text"]?.string == "configured: x-split: yes" }
        #expect(added?["path"]?.string == Self.place + ".routes[3].request_headers_to_add[0]")
    }

    @Test func `Filters behind the router are told, and that they do not run here`() throws {
        let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
        let buffer =
            "{ name: bounded, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer, max_request_bytes: 100 } }"
        let codec =
            "{ name: codec, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec } }"
        let more =
            "typed_extension_protocol_options: { \(options): { \"@type\": type.googleapis.com/\(options), explicit_http_config: { http_protocol_options: {} }, http_filters: [ \(buffer), \(codec) ] } }"
        let clusters = Yaml.cluster("v1", [1]) + Yaml.cluster("v2", [2, 3], more)
        let (_, json) = try Self.json(Self.bootstrap(clusters: clusters), ["GET http://reviews/x"])
        let step = json["steps"]?.array?.first { $0["step"]?.string == "upstream_filters" }
        #expect(step?["text"]?.string?.hasPrefix("bounded: each try passes it") == true)
        #expect(step?["path"]?.string?.hasSuffix("\(options).http_filters") == true)
    }

    @Test func `The exit status says whether the request would be forwarded, answered, or refused`() throws {
        let yaml = Self.bootstrap()
        #expect(try Self.run(yaml, ["GET http://reviews/x", "-H", "end-user: jason"]).status == 0)
        #expect(try Self.run(yaml, ["http://reviews/old"]).status == 3)
        let gone = try Self.json(yaml, ["http://reviews/gone"])
        #expect(gone.status == 4)
        #expect(gone.json["status"]?.int == 410)
        let empty = try Self.json(Self.bootstrap(clusters: Yaml.cluster("v1", []) + Yaml.cluster("v2", [])), ["/x"])
        #expect(empty.status == 4)
        #expect(empty.json["flags"]?.string == "UH")
        #expect(empty.json["status"]?.int == 503)
        #expect(try Self.run("static_resources: { listeners: 3 }", ["/x"]).status == 1)
    }

    @Test func `A listener that is not there is named together with those that are`() throws {
        let result = try Self.run(Self.bootstrap(), ["--listener", "outbound", "/"])
        #expect(result.status == 2)
        #expect(result.error.contains("nothing listens at \"outbound\"; listeners: ingress (127.0.0.1:10000)"))
        #expect(try Self.run(Self.bootstrap(), ["--listener", "10000", "/"]).status == 0)
    }

    @Test func `Wrong arguments are refused before anything is read`() {
        #expect(throws: UsageError.self) { try ExplainCommand(arguments: ["-c", "x"]) }
        #expect(throws: UsageError.self) { try ExplainCommand(arguments: ["-c", "x", "/", "--what"]) }
        #expect(throws: UsageError.self) { try ExplainCommand(arguments: ["-c", "x", "/", "-H", "none"]) }
        #expect(throws: UsageError.self) { try ExplainCommand(arguments: ["-c", "x", "/", "--source", "nowhere"]) }
        #expect(throws: UsageError.self) { try ExplainCommand(arguments: ["-c", "x", "/", "-o", "xml"]) }
    }

    @Test func `rbac tells the policy, fault its share, and both where they are configured`() throws {
        let filters = FilterScene.entries([
            (
                "fault",
                FilterScene.any(
                    "envoy.extensions.filters.http.fault.v3.HTTPFault",
                    "delay: { fixed_delay: 3600s, percentage: { numerator: 100 } }")
            ),
            (
                "rbac",
                FilterScene.any(
                    "envoy.extensions.filters.http.rbac.v3.RBAC",
                    "rules: { action: DENY, policies: { evil: { permissions: [ { header: { name: x-evil, present_match: true } } ], principals: [ { any: true } ] } } }"
                )
            ),
        ])
        let good = try Self.json(Self.bootstrap(filters: filters), ["/x"])
        #expect(good.status == 0)
        #expect(good.json["flags"]?.string == "DI")
        let evil = try Self.json(Self.bootstrap(filters: filters), ["/x", "-H", "x-evil: 1"])
        #expect(evil.status == 4)
        #expect(evil.json["status"]?.int == 403)
        #expect(evil.json["details"]?.string == "rbac_access_denied_matched_policy[evil]")
        let steps = evil.json["steps"]?.array ?? []
        let policy = steps.first { $0["text"]?.string?.contains("policy \"evil\" matches") == true }
        #expect(
            policy?["path"]?.string
                == "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.http_filters[1].typed_config.rules.policies[evil]"
        )
    }

    @Test func `api_key_auth decides in an explanation, and tells where keys are looked for`() throws {
        let filters = FilterScene.entries([
            (
                "keys",
                FilterScene.any(
                    "envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth",
                    "credentials: [ { key: hush, client: one } ], key_sources: [ { header: x-key } ]")
            )
        ])
        let good = try Self.json(Self.bootstrap(filters: filters), ["/x", "-H", "x-key: hush"])
        #expect(good.status == 0)
        let none = try Self.json(Self.bootstrap(filters: filters), ["/x"])
        #expect(none.status == 4 && none.json["status"]?.int == 401)
        #expect(none.json["details"]?.string == "missing_api_key")
        let steps = none.json["steps"]?.array ?? []
        let step = steps.first { $0["text"]?.string?.contains("a key is looked for in 1 places") == true }
        #expect(step?["path"]?.string?.hasSuffix("http_filters[0].typed_config.key_sources") == true)
        #expect(!none.json.text.contains("hush"))
    }

    @Test func `A filter that would ask somebody is not run`() throws {
        let filters = FilterScene.entries([
            (
                "limit",
                FilterScene.any(
                    "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
                    "stat_prefix: l, filter_enabled: { default_value: { numerator: 100 } }, token_bucket: { max_tokens: 1, fill_interval: 3600s }"
                )
            )
        ])
        for _ in 0..<2 {
            let result = try Self.json(Self.bootstrap(filters: filters), ["/x"])
            #expect(result.status == 0)
            #expect(result.json["exact"]?.bool == false)
        }
    }

    @Test func `A chain that asks for TLS needs a client that speaks it`() throws {
        let yaml = """
            static_resources:
              listeners:
              - name: edge
                address: { socket_address: { address: 127.0.0.1, port_value: 8443 } }
                filter_chains:
                - name: shop
                  filter_chain_match: { server_names: ["*.shop.test"] }
                  filters: &filters
                  - name: tcp
                    typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: t, cluster: v1 }
                - name: rest
                  filters: *filters
              clusters:
            \(Yaml.cluster("v1", [1]))
            """
        let shop = try Self.json(yaml, ["--sni", "www.shop.test", "/"])
        #expect(shop.json["filter_chain"]?.string == "shop")
        let rest = try Self.json(yaml, ["/"])
        #expect(rest.json["filter_chain"]?.string == "rest")
        #expect(rest.status == 0)
        #expect(rest.json["cluster"]?.string == "v1")
        let lost = (rest.json["steps"]?.array ?? []).first {
            $0["text"]?.string?.hasPrefix("not filter_chains[0]") == true
        }
        #expect(
            lost?["path"]?.string == "static_resources.listeners[0].filter_chains[0].filter_chain_match.server_names")
    }

    @Test func `Mutual TLS: the certificate's name is what policies see, and the upstream's SNI is told`() throws {
        let type = "type.googleapis.com/envoy.extensions."
        let yaml = """
            static_resources:
              listeners:
              - name: mtls
                address: { socket_address: { address: 127.0.0.1, port_value: 8443 } }
                filter_chains:
                - transport_socket: { name: tls, typed_config: { "@type": \(type)transport_sockets.tls.v3.DownstreamTlsContext, require_client_certificate: true, common_tls_context: { tls_certificate_sds_secret_configs: [ { name: own, sds_config: { path_config_source: { path: /nowhere/sds.yaml } } } ] } } }
                  filters:
                  - name: rbac
                    typed_config: { "@type": \(type)filters.network.rbac.v3.RBAC, stat_prefix: r, rules: { action: ALLOW, policies: { shop: { permissions: [ { any: true } ], principals: [ { authenticated: { principal_name: { exact: "spiffe://c/shop" } } } ] } } } }
                  - name: hcm
                    typed_config:
                      "@type": \(type)filters.network.http_connection_manager.v3.HttpConnectionManager
                      stat_prefix: m
                      http_filters: [ { name: router, typed_config: { "@type": \(type)filters.http.router.v3.Router } } ]
                      route_config: { name: l, virtual_hosts: [ { name: a, domains: ["*"], routes: [ { match: { prefix: "/" }, route: { cluster: backend } } ] } ] }
              clusters:
            \(Yaml.cluster("backend", [1], "transport_socket: { name: tls, typed_config: { \"@type\": \(type)transport_sockets.tls.v3.UpstreamTlsContext, sni: hello.test } }"))
            """
        let plain = try ExplainTests.json(yaml, ["/"])
        #expect(plain.status == 4)
        #expect(plain.json["details"]?.string?.contains("plain text") == true)
        let nameless = try ExplainTests.json(yaml, ["/", "--tls"])
        #expect(nameless.json["details"]?.string == "no client certificate")
        let stranger = try ExplainTests.json(yaml, ["/", "--principal", "spiffe://c/other"])
        #expect(stranger.json["details"]?.string == "rbac_access_denied_matched_policy[none]")
        let shop = try ExplainTests.json(yaml, ["/", "--principal", "spiffe://c/shop"])
        #expect(shop.status == 0)
        let texts = (shop.json["steps"]?.array ?? []).compactMap { $0["text"]?.string }
        #expect(texts.contains("TLS with SNI \"hello.test\""))
        #expect(texts.contains("x-forwarded-proto: https"))
    }
}
