import DNS
import IO
import Synchronization
import Testing
import Upstream

@testable import Proxy

@Suite("Name servers of a configuration's own")
struct ResolverTests {
    private static let here = IPAddress.v4(0x7F00_0001)

    private static func cares(_ fields: String) -> String {
        """
        { name: cares, typed_config: { "@type": type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig, \(fields) } }
        """
    }

    private static func servers(_ server: ScriptedServer) -> String {
        "[ { socket_address: { address: 127.0.0.1, port_value: \(server.address.port ?? 0) } } ]"
    }

    private static func cluster(_ name: String, port: UInt16, _ more: String) -> String {
        """
          - name: backend
            type: STRICT_DNS
            connect_timeout: 5s
            dns_lookup_family: V4_ONLY
            \(more)
            load_assignment: { cluster_name: backend, endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: \(name), port_value: \(port) } } } } ] } ] }

        """
    }

    /// A request to a cluster whose host only the scripted server knows; the answer is what that was asked.
    private static func ask(
        _ name: String, isOfBootstrap: Bool = false, _ resolver: @escaping @Sendable (ScriptedServer) -> String
    ) async throws -> [String] {
        let result = Result.Box()
        try await onLoop { loop in
            let server = try ScriptedServer(on: loop) { query, _ in [addressAnswer(query, [Self.here]).bytes()] }
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("found") }
            let proxy = try await RunningProxy.start(
                (isOfBootstrap ? resolver(server) + "\n" : "")
                    + Yaml.bootstrap(
                        listeners: Yaml.listener(routes: Yaml.forward()),
                        clusters: Self.cluster(name, port: upstream.port, isOfBootstrap ? "" : resolver(server))))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await until("an answer of \(name)") { try await client.get("/").body == "found" }
            result.asked = server.asked.withLock(\.self)
        }
        return result.asked
    }

    private enum Result {
        /// `@unchecked Sendable`: written before it is read.
        final class Box: @unchecked Sendable { var asked: [String] = [] }
    }

    @Test("a cluster's own name server is asked, by TCP where that is said")
    func ofCluster() async throws {
        let asked = try await Self.ask("web.own.test") {
            "typed_dns_resolver_config: "
                + Self.cares("resolvers: \(Self.servers($0)), dns_resolver_options: { no_default_search_domain: true }")
        }
        #expect(asked.contains("web.own.test A"))
        let byTCP = try await Self.ask("web.own.test") {
            "dns_resolution_config: { resolvers: \(Self.servers($0)), dns_resolver_options: { use_tcp_for_dns_lookups: true, no_default_search_domain: true } }"
        }
        #expect(byTCP.first == "web.own.test A tcp")
        let old = try await Self.ask("web.own.test") { "dns_resolvers: \(Self.servers($0))" }
        #expect(old.contains("web.own.test A"))
    }

    @Test("the bootstrap's name server is asked for clusters that name none")
    func ofBootstrap() async throws {
        let asked = try await Self.ask("web.boot.test", isOfBootstrap: true) {
            "typed_dns_resolver_config: " + Self.cares("resolvers: \(Self.servers($0)), query_tries: 2")
        }
        #expect(asked.contains("web.boot.test A"))
    }

    @Test("names that requests bring are asked of the name server of their cache")
    func ofCache() async throws {
        try await onLoop { loop in
            let server = try ScriptedServer(on: loop) { query, _ in [addressAnswer(query, [Self.here]).bytes()] }
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("found") }
            let cache = """
                dns_cache_config: { name: own, dns_lookup_family: V4_ONLY, typed_dns_resolver_config: \(Self.cares("resolvers: \(Self.servers(server))")) }
                """
            let filter = (
                name: "envoy.filters.http.dynamic_forward_proxy",
                config: FilterScene.any("envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig", cache)
            )
            let cluster = """
                  - name: backend
                    lb_policy: CLUSTER_PROVIDED
                    cluster_type: { name: d, typed_config: { "@type": type.googleapis.com/envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig, \(cache) } }

                """
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(filters: FilterScene.entries([filter]), routes: Yaml.forward()),
                    clusters: cluster))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await client.write("GET / HTTP/1.1\r\nHost: any.cache.test:\(upstream.port)\r\n\r\n")
            #expect(try await client.response().body == "found")
            #expect(server.asked.withLock { $0.contains("any.cache.test A") })
        }
    }

    @Test("what a configuration says takes the place of what the machine says, and nothing else does")
    func merging() {
        let machine = ResolverConfiguration(text: "nameserver 10.0.0.2\nsearch a.test\noptions attempts:3 timeout:4\n")
        var settings = ResolverSettings()
        #expect(ResolverConfiguration(settings, machine: machine) == machine)
        settings.servers = [.ip("10.0.0.9", port: 5353), .ip("::1", port: 53)]
        let own = ResolverConfiguration(settings, machine: machine)
        #expect(own.servers.map(\.description) == ["10.0.0.9:5353", "[::1]:53"])
        #expect(own.search == ["a.test"] && own.attempts == 3 && own.timeout == .seconds(4))
        settings.usesServersAsFallback = true
        #expect(ResolverConfiguration(settings, machine: machine).servers == machine.servers)
        let nothing = ResolverConfiguration(text: "search a.test\n")
        #expect(ResolverConfiguration(settings, machine: nothing).servers.count == 2)
        settings.searchesDomains = false
        settings.timeout = .seconds(7)
        settings.tries = 1
        settings.rotates = true
        settings.usesTCP = true
        settings.ttlMax = 0
        let full = ResolverConfiguration(settings, machine: nothing)
        #expect(full.search.isEmpty && full.timeout == .seconds(7) && full.attempts == 1)
        #expect(full.rotates && full.usesStreams && full.ttlMax == 0)
    }
}
