import EnvoyAPI
import Serialization
import Testing

@testable import Upstream

@Suite("Resolvers of clusters")
struct ResolverSettingsTests {
    private static let cares =
        #""@type":"type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig""#

    private static func compile(_ fields: String) throws -> ClusterConfig {
        try ClusterConfig(compiling: Cluster(json: JSON.parse(#"{"name":"c"\#(fields)}"#)))
    }

    @Test("the newest way of saying whom to ask counts; a cluster that says nothing asks whom the bootstrap names")
    func precedence() throws {
        #expect(try Self.compile("").resolver == nil)
        #expect(try Self.compile(#","use_tcp_for_dns_lookups":true"#).resolver?.usesTCP == true)
        let server = #"{"socket_address":{"address":"10.0.0.9","port_value":5353}}"#
        let all = try Self.compile(
            #","dns_resolvers":[\#(server)],"dns_resolution_config":{"resolvers":[{"socket_address":{"address":"::1"}}]},"typed_dns_resolver_config":{"name":"r","typed_config":{\#(Self.cares),"rotate_nameservers":true}}"#
        ).resolver
        #expect(all?.servers == [] && all?.rotates == true)
        let config = try Self.compile(
            #","dns_resolvers":[\#(server)],"dns_resolution_config":{"resolvers":[{"socket_address":{"address":"::1"}}]}"#
        ).resolver
        // Port 0 is DNS' own.
        #expect(config?.servers == [.ip("::1", port: 53)])
        #expect(try Self.compile(#","dns_resolvers":[\#(server)]"#).resolver?.servers == [.ip("10.0.0.9", port: 5353)])
    }

    @Test("everything that c-ares can be told about asking is understood, or ignored for a reason")
    func everything() throws {
        let collector = IgnoredFieldCollector()
        let settings = try collector.collecting {
            try Self.compile(
                #","typed_dns_resolver_config":{"name":"r","typed_config":{\#(Self.cares),"use_resolvers_as_fallback":true,"filter_unroutable_families":true,"dns_resolver_options":{"use_tcp_for_dns_lookups":true,"no_default_search_domain":true},"query_timeout_seconds":"3","query_tries":2,"rotate_nameservers":true,"qcache_max_ttl":60,"udp_max_queries":100,"edns0_max_payload_size":1400,"max_udp_channel_duration":"60s","reinit_channel_on_timeout":true}}"#
            )
        }.resolver
        var expected = ResolverSettings()
        expected.usesServersAsFallback = true
        expected.onlyRoutable = true
        expected.usesTCP = true
        expected.searchesDomains = false
        expected.timeout = .seconds(3)
        expected.tries = 2
        expected.rotates = true
        expected.ttlMax = 60
        #expect(settings == expected)
        #expect(collector.report.count == 4)
        let type =
            #""@type":"type.googleapis.com/envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig""#
        let system = try Self.compile(#","typed_dns_resolver_config":{"name":"r","typed_config":{\#(type)}}"#)
        #expect(system.resolver == ResolverSettings())
    }

    @Test(
        "what cannot be is refused with its path",
        arguments: [
            (#""resolvers":[{"pipe":{"path":"/x"}}]"#, "resolvers[0]: a name server has an IP address"),
            (
                #""resolvers":[{"socket_address":{"address":"dns.test"}}]"#,
                "resolvers[0].socket_address.address: dns.test: is no IP address"
            ), (#""query_timeout_seconds":"0""#, "query_timeout_seconds: 0 is not 1 to 300"),
            (#""query_tries":21"#, "query_tries: 21 is not 1 to 20"),
        ])
    func refusals(_ fields: String, _ expected: String) throws {
        let error = #expect(throws: ConfigurationError.self) {
            _ = try Self.compile(
                #","typed_dns_resolver_config":{"name":"r","typed_config":{\#(Self.cares),\#(fields)}}"#)
        }
        #expect(
            error?.description.hasPrefix("typed_dns_resolver_config.typed_config." + expected) == true,
            "\(error?.description ?? "")")
    }

    @Test("a resolver that nobody knows is refused with its path, also behind cluster_type")
    func unknown() throws {
        let other =
            #""typed_dns_resolver_config":{"name":"r","typed_config":{"@type":"type.googleapis.com/google.protobuf.Empty"}}"#
        var error = #expect(throws: ConfigurationError.self) { _ = try Self.compile("," + other) }
        #expect(error?.description.hasPrefix("typed_dns_resolver_config.typed_config: ") == true)
        error = #expect(throws: ConfigurationError.self) {
            _ = try Self.compile(
                #","cluster_type":{"name":"envoy.clusters.dns","typed_config":{"@type":"type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster",\#(other)}}"#
            )
        }
        #expect(
            error?.description.hasPrefix("cluster_type.typed_config.typed_dns_resolver_config.typed_config: ") == true,
            "\(error?.description ?? "")")
    }
}
