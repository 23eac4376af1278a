import Upstream

/// A configuration made by chance, in pieces that can be taken away again.
struct RandomScenario: Sendable {
    struct Host: Sendable {
        var domains: [String]
        var more = ""
        var routes: [String]
        /// A matcher tree over these header values leads to the routes.
        var tree: [String] = []

        var routing: String {
            guard !tree.isEmpty, !routes.isEmpty else {
                return "routes: [\n" + routes.map { "                \($0)" }.joined(separator: ",\n") + " ]"
            }
            let route = "\"@type\": type.googleapis.com/envoy.config.route.v3.Route"
            let input =
                "{ name: i, typed_config: { \"@type\": type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: x-a } }"
            let matchers = tree.enumerated().map { index, value in
                let action = routes[index % routes.count].dropFirst()
                return
                    "                { predicate: { single_predicate: { input: \(input), value_match: { \(value) } } }, on_match: { action: { name: a, typed_config: { \(route), \(action) } } }"
            }
            return "matcher: { matcher_list: { matchers: [\n" + matchers.joined(separator: ",\n") + " ] } }"
        }
    }

    struct Chain: Sendable {
        var match: String
        var manager: String
        var filters: [String]
        var hosts: [Host]
    }

    /// One request, as text.
    struct Request: Sendable {
        var method: String
        var authority: String
        var path: String
        var headers: [String]
        /// The last bytes of the client's address and of the address that it connects to, both in 127.0.0.0/8.
        var source: Int
        var destination: Int
        var seed: UInt64
    }

    var chains: [Chain]
    var tableMore: [String]

    // MARK: Text

    func yaml(port: UInt16, log: String) -> String {
        var text = "static_resources:\n  listeners:\n  - name: random\n"
        text += "    address: { socket_address: { address: 0.0.0.0, port_value: 0 } }\n    filter_chains:\n"
        for (index, chain) in chains.enumerated() {
            text += "    - name: chain-\(index)\n      filter_chain_match: { \(chain.match) }\n      filters:\n"
            text += """
                      - name: hcm
                        typed_config:
                          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                          stat_prefix: random
                          access_log: [ { name: f, typed_config: { "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: "\(log)", log_format: { text_format_source: { inline_string: "%REQ(X-CASE)% %FILTER_CHAIN_NAME%|%ROUTE_NAME%|%UPSTREAM_CLUSTER%|%RESPONSE_FLAGS%|%RESPONSE_CODE%|%RESPONSE_CODE_DETAILS%\\n" } } } } ]
                          \(chain.manager)
                          http_filters:

                """
            for (number, filter) in chain.filters.enumerated() {
                text += "          - { name: filter-\(number), typed_config: \(filter) }\n"
            }
            text += "          - { name: router, typed_config: { \"@type\": \(Self.type)http.router.v3.Router } }\n"
            text += "          route_config:\n            name: local\n"
            if tableMore.indices.contains(index), !tableMore[index].isEmpty {
                text += "            \(tableMore[index])\n"
            }
            text += "            virtual_hosts:\n"
            for (number, host) in chain.hosts.enumerated() {
                let domains = host.domains.map { "\"\($0)\"" }.joined(separator: ", ")
                text += "            - { name: host-\(number), domains: [ \(domains) ]\(host.more), \(host.routing) }\n"
            }
        }
        text += "  clusters:\n"
        func cluster(_ name: String, _ more: String, _ endpoints: String) {
            text +=
                "  - { name: \(name), type: STATIC\(more), load_assignment: { cluster_name: \(name), endpoints: [ \(endpoints) ] } }\n"
        }
        let endpoint = "endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: \(port) } } }"
        let sick = "{ lb_endpoints: [ { health_status: UNHEALTHY, \(endpoint) } ] }"
        cluster("good", "", "{ lb_endpoints: [ { \(endpoint) } ] }")
        cluster("chance", ", lb_policy: RANDOM", "{ lb_endpoints: [ { \(endpoint) } ] }")
        cluster("empty", "", "")
        cluster("sick", ", common_lb_config: { healthy_panic_threshold: { value: 0 } }", sick)
        cluster("panicking", "", sick)
        cluster(
            "closed", ", circuit_breakers: { thresholds: [ { max_requests: 0 } ] }",
            "{ lb_endpoints: [ { \(endpoint) } ] }")
        cluster(
            "spilling", ", common_lb_config: { healthy_panic_threshold: { value: 0 } }",
            "\(sick), { priority: 1, lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.2, port_value: \(port) } } } } ] }"
        )
        return text
    }

    private static let type = "type.googleapis.com/envoy.extensions.filters."

    // MARK: Making

    init(_ random: inout SplitMix64) {
        var chains: [Chain] = []
        var more: [String] = []
        let matches = [
            "source_prefix_ranges: [ { address_prefix: 127.0.0.1, prefix_len: 32 } ]",
            "source_prefix_ranges: [ { address_prefix: 127.0.0.0, prefix_len: 30 } ]",
            "prefix_ranges: [ { address_prefix: 127.0.0.2, prefix_len: 32 } ]",
            "prefix_ranges: [ { address_prefix: 127.0.0.2, prefix_len: 32 } ], source_prefix_ranges: [ { address_prefix: 127.0.0.4, prefix_len: 30 } ]",
            "source_type: EXTERNAL", "transport_protocol: tls", "transport_protocol: raw_buffer", "",
        ]
        var chosen: Set<Int> = []
        for _ in 0..<random.below(4) + 1 { chosen.insert(random.below(matches.count)) }
        if random.below(8) > 0 { chosen.insert(matches.count - 1) }
        for index in chosen.sorted() {
            chains.append(
                Chain(
                    match: matches[index],
                    manager: random.one(of: [
                        "", "", "use_remote_address: true", "xff_num_trusted_hops: 1", "merge_slashes: true",
                        "strip_any_host_port: true",
                    ]),
                    filters: Self.filters(&random), hosts: Self.hosts(&random)))
            more.append(
                random.one(of: [
                    "", "", "", "ignore_port_in_host_matching: true", "vhost_header: x-host",
                    "ignore_path_parameters_in_path_matching: true",
                ]))
        }
        self.chains = chains
        tableMore = more
    }

    private static func hosts(_ random: inout SplitMix64) -> [Host] {
        var pool = ["*", "a.test", "*.test", "a.*", "b.a.test", "a.test:8080", "*.a.test", "b.*", "c.test"]
        var hosts: [Host] = []
        for _ in 0..<random.below(4) + 1 {
            var domains: [String] = []
            if hosts.isEmpty, random.below(4) > 0 { domains.append(pool.removeFirst()) }
            for _ in 0..<random.below(3) + 1 where !pool.isEmpty {
                domains.append(pool.remove(at: random.below(min(pool.count, 4))))
            }
            guard !domains.isEmpty else { continue }
            var host = Host(domains: domains, routes: [])
            if random.below(12) == 0 { host.more = ", require_tls: \(random.one(of: ["ALL", "EXTERNAL_ONLY"]))" }
            if random.below(8) == 0 { host.more += ", typed_per_filter_config: { \(perFilter(&random)) }" }
            for number in 0..<random.below(8) { host.routes.append(route(number, &random)) }
            if random.below(3) > 0 {
                host.routes.append(
                    "{ name: last, match: { prefix: \"/\" }, route: { cluster: \(random.one(of: ["good", "chance", "sick"])) } }"
                )
            }
            if random.below(8) == 0 {
                for _ in 0..<random.below(3) + 1 {
                    host.tree.append(random.one(of: ["exact: \"1\"", "prefix: \"1\"", "exact: \"2\""]))
                }
            }
            hosts.append(host)
        }
        return hosts
    }

    private static func route(_ number: Int, _ random: inout SplitMix64) -> String {
        var match: [String] = [
            random.one(of: [
                "prefix: \"/\"", "prefix: \"/a\"", "prefix: \"/A\", case_sensitive: false", "path: \"/a/b\"",
                "path_separated_prefix: \"/a\"", "safe_regex: { regex: \"/a/[0-9]+\" }", "prefix: \"/a/b\"",
                "path: \"/\"", "connect_matcher: {}",
                "path_match_policy: { name: t, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig, path_template: \"/{x}/b\" } }",
            ])
        ]
        var headers: [String] = []
        for _ in 0..<[0, 0, 1, 1, 2][random.below(5)] { headers.append(header(&random)) }
        if !headers.isEmpty { match.append("headers: [ \(headers.joined(separator: ", ")) ]") }
        if random.below(6) == 0 {
            match.append(
                "query_parameters: [ \(random.one(of: ["{ name: q, present_match: true }", "{ name: q, string_match: { exact: \"1\" } }", "{ name: r, present_match: false }"])) ]"
            )
        }
        if random.below(8) == 0 {
            match.append("runtime_fraction: { default_value: { numerator: \(random.below(101)) } }")
        }
        if random.below(12) == 0 { match.append("grpc: {}") }
        if random.below(10) == 0 {
            match.append(
                "cookies: [ { name: c, string_match: { \(random.one(of: ["exact: x", "prefix: y"])) }, invert_match: \(random.below(2) == 0) } ]"
            )
        }
        if random.below(16) == 0 { match.append("tls_context: { presented: true }") }
        if random.below(16) == 0 { match.append("filter_state: [ { key: k, string_match: { exact: v } } ]") }
        let clusters = [
            "good", "good", "good", "chance", "empty", "sick", "panicking", "closed", "spilling", "unknown",
        ]
        var action: String
        switch random.below(10) {
        case 0:
            action =
                "redirect: { path_redirect: \"/new\", response_code: \(random.one(of: ["MOVED_PERMANENTLY", "FOUND", "SEE_OTHER"])) }"
        case 1: action = "direct_response: { status: \([200, 204, 403, 404, 503][random.below(5)]) }"
        case 2: action = "non_forwarding_action: {}"
        case 3, 4:
            let parts = (0..<random.below(3) + 2).map { _ in
                "{ name: \(random.one(of: clusters)), weight: \(random.below(5) + 1) }"
            }
            action =
                "route: { weighted_clusters: { clusters: [ \(parts.joined(separator: ", ")) ]\(random.below(6) == 0 ? ", header_name: x-number" : "") } }"
        case 5:
            action =
                "route: { cluster_header: x-cluster\(random.below(2) == 0 ? ", cluster_not_found_response_code: NOT_FOUND" : "") }"
        default:
            var more = ""
            if random.below(4) == 0 { more += ", prefix_rewrite: \"/z\"" }
            if random.below(4) == 0 { more += ", host_rewrite_literal: other.test" }
            if random.below(8) == 0 { more += ", hash_policy: [ { header: { header_name: x-a } } ]" }
            if random.below(8) == 0 { more += ", priority: HIGH" }
            action = "route: { cluster: \(random.one(of: clusters))\(more) }"
        }
        if random.below(6) == 0 {
            action += ", request_headers_to_add: [ { header: { key: x-added, value: \"%REQ(x-a)%\" } } ]"
        }
        if random.below(6) == 0 { action += ", typed_per_filter_config: { \(perFilter(&random)) }" }
        return "{ name: route-\(number), match: { \(match.joined(separator: ", ")) }, \(action) }"
    }

    private static func header(_ random: inout SplitMix64) -> String {
        let name = random.one(of: ["x-a", "x-b", ":method", ":authority", "x-a", "host"])
        var parts = [
            random.one(of: [
                "present_match: true", "present_match: false", "string_match: { exact: \"1\" }",
                "string_match: { prefix: \"1\" }", "string_match: { suffix: \"2\" }",
                "string_match: { contains: \"1,\" }",
                "string_match: { safe_regex: { regex: \"[0-9]+\" } }", "range_match: { start: 1, end: 13 }",
                "string_match: { exact: GET }", "string_match: { exact: \"ABC\", ignore_case: true }",
            ])
        ]
        if random.below(3) == 0 { parts.append("invert_match: true") }
        if random.below(4) == 0 { parts.append("treat_missing_header_as_empty: true") }
        return "{ name: \"\(name)\", \(parts.joined(separator: ", ")) }"
    }

    // MARK: Filters

    private static func filters(_ random: inout SplitMix64) -> [String] {
        (0..<random.below(4)).map { _ in filter(&random) }
    }

    private static func filter(_ random: inout SplitMix64) -> String {
        switch random.below(6) {
        case 0, 1: "{ \"@type\": \(type)http.fault.v3.HTTPFault, \(fault(&random)) }"
        case 2, 3: "{ \"@type\": \(type)http.rbac.v3.RBAC, \(rbac(&random)) }"
        case 4:
            "{ \"@type\": \(type)http.header_mutation.v3.HeaderMutation, mutations: { request_mutations: [ { append: { header: { key: x-b, value: \"1\" } } } ] } }"
        default: "{ \"@type\": \(type)http.cors.v3.Cors }"
        }
    }

    private static func fault(_ random: inout SplitMix64) -> String {
        var parts = [
            "abort: { http_status: \([404, 500, 503][random.below(3)]), percentage: { numerator: \([0, 30, 100][random.below(3)]) } }"
        ]
        if random.below(2) == 0 { parts.append("headers: [ \(header(&random)) ]") }
        if random.below(4) == 0 { parts.append("upstream_cluster: good") }
        return parts.joined(separator: ", ")
    }

    private static func rbac(_ random: inout SplitMix64) -> String {
        let permission = random.one(of: [
            "{ any: true }", "{ header: \(header(&random)) }", "{ url_path: { path: { prefix: \"/a\" } } }",
            "{ not_rule: { header: \(header(&random)) } }",
            "{ destination_ip: { address_prefix: 127.0.0.2, prefix_len: 32 } }",
        ])
        let principal = random.one(of: [
            "{ any: true }", "{ direct_remote_ip: { address_prefix: 127.0.0.1, prefix_len: 32 } }",
            "{ remote_ip: { address_prefix: 10.0.0.0, prefix_len: 8 } }", "{ authenticated: {} }",
        ])
        return
            "rules: { action: \(random.one(of: ["ALLOW", "DENY", "DENY"])), policies: { p: { permissions: [ \(permission) ], principals: [ \(principal) ] } } }"
    }

    /// An entry of `typed_per_filter_config`; what a filter of that name cannot take is for the compiler to refuse.
    private static func perFilter(_ random: inout SplitMix64) -> String {
        let config =
            switch random.below(3) {
            case 0: "{ \"@type\": type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: true }"
            case 1: "{ \"@type\": \(type)http.fault.v3.HTTPFault, \(fault(&random)) }"
            default: "{ \"@type\": \(type)http.rbac.v3.RBACPerRoute, rbac: { \(rbac(&random)) } }"
            }
        return "filter-\(random.below(3)): \(config)"
    }
}

extension RandomScenario.Request {
    init(_ random: inout SplitMix64) {
        method = random.one(of: ["GET", "GET", "GET", "DELETE", "OPTIONS"])
        authority = random.one(of: [
            "a.test", "b.a.test", "x.b.a.test", "c.test", "a.test:8080", "a.org", "b.net", "nobody", "A.TEST",
        ])
        path = random.one(of: [
            "/", "/a", "/a/b", "/a/12", "/ab", "/A/x", "/a;p=1/b", "//a", "/a/b?q=1", "/?q=2&r", "/x/b",
        ])
        headers = []
        for _ in 0..<random.below(5) {
            headers.append(
                random.one(of: [
                    "x-a: 1", "x-a: 12", "x-a: 2", "x-b: 1", "x-b: abc", "x-cluster: good", "x-cluster: none",
                    "x-number: \(random.below(20))", "cookie: c=x", "cookie: a=b; c=yes", "x-forwarded-for: 10.1.1.1",
                    "x-forwarded-proto: https", "content-type: application/grpc", "origin: http://o.test",
                    "access-control-request-method: GET", "x-host: a.test", "x-envoy-internal: true",
                ]))
        }
        source = [1, 1, 2, 5][random.below(4)]
        destination = random.below(2) + 1
        seed = random.next()
    }
}

extension SplitMix64 {
    mutating func below(_ count: Int) -> Int { count <= 0 ? 0 : Int(next() % UInt64(count)) }

    mutating func one(of list: [String]) -> String { list[below(list.count)] }
}
