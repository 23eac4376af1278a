import EnvoyAPI
import KubernetesAPI
import Mesh
import Serialization
import Testing

@Suite("EnvoyFilter")
struct EnvoyFilterTests {
    private let lua = """
        {name: envoy.filters.http.lua, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua, default_source_code: {inline_string: "function envoy_on_request(h) end"}}}
        """

    private func filter(
        named name: String = "f", in namespace: String = "default", created: String = "2026-01-01T00:00:00Z",
        _ patches: String, more: String = ""
    ) -> String {
        """
        ---
        apiVersion: networking.istio.io/v1alpha3
        kind: EnvoyFilter
        metadata: {name: \(name), namespace: \(namespace), creationTimestamp: "\(created)"}
        spec:
          \(more)
          configPatches:
        \(patches.split(separator: "\n").map { "  " + $0 }.joined(separator: "\n"))

        """
    }

    private let mesh =
        World.service("web", ip: 1) + World.service("db", ip: 2, port: "{name: tcp, port: 5432}")
        + World.pod("caller", "web", ip: 5)

    private func world(_ yaml: String...) throws -> World { try World(mesh, World.gateway, yaml.joined()) }

    private func filters(_ snapshot: ProxySnapshot, _ listener: String, _ chain: String) throws -> [String] {
        let chains = try snapshot.listener(listener).filterChains
        return try Chains.manager(chains.first { $0.name == chain }).httpFilters.map(\.name)
    }

    private let fault = "envoy.filters.http.fault"
    private let cors = "envoy.filters.http.cors"
    private let luaName = "envoy.filters.http.lua"
    private let router = "envoy.filters.http.router"
    private let protocols = "skein.upstream_protocols"
    private let stats = "istio.stats"

    @Test("what EnvoyFilters have changed names them, for when a proxy refuses it")
    func provenance() throws {
        let world = try world(
            filter(named: "one", httpFilter("INSERT_BEFORE", sub: luaName)),
            filter(named: "two", httpFilter("INSERT_FIRST")))
        let listener = try world.snapshot().listener("virtualOutbound")
        let places = Provenance.patches(in: listener.metadata)
        #expect(
            places.contains {
                $0.kind == "EnvoyFilter" && $0.object.name == "two" && $0.field == "spec.configPatches[0]"
            })
        // Nothing of it has changed by the other.
        #expect(!places.contains { $0.object.name == "one" })
        #expect(Provenance.patches(in: try self.world().snapshot().listener("virtualOutbound").metadata).isEmpty)
    }

    private func httpFilter(_ operation: String, sub: String = "", context: String = "SIDECAR_OUTBOUND", port: Int = 80)
        -> String
    {
        """
        - applyTo: HTTP_FILTER
          match:
            context: \(context)
            listener:
              portNumber: \(port)
              filterChain:
                filter:
                  name: envoy.filters.network.http_connection_manager
                  subFilter: \(sub.isEmpty ? "{}" : "{name: \(sub)}")
          patch: {operation: \(operation), value: \(lua)}
        """
    }

    @Test("an HTTP filter is put before, after, first or last, never behind the router")
    func insertion() throws {
        func result(_ patch: String) throws -> [String] {
            try filters(world(filter(patch)).snapshot(), "virtualOutbound", "0.0.0.0_80")
                .filter { $0 != protocols && $0 != stats }
        }
        #expect(try result(httpFilter("INSERT_BEFORE", sub: router)) == [fault, cors, luaName, router])
        #expect(try result(httpFilter("INSERT_AFTER", sub: fault)) == [fault, luaName, cors, router])
        #expect(try result(httpFilter("INSERT_FIRST")) == [luaName, fault, cors, router])
        #expect(try result(httpFilter("ADD")) == [fault, cors, luaName, router])
        #expect(try result(httpFilter("REPLACE", sub: cors)) == [fault, luaName, router])
        #expect(try result(httpFilter("REMOVE", sub: cors)) == [fault, router])
        #expect(try result(httpFilter("INSERT_BEFORE", sub: "nobody")) == [fault, cors, router])
    }

    @Test("the context and the port choose the side of the proxy")
    func contexts() throws {
        let inbound = try world(filter(httpFilter("INSERT_FIRST", context: "SIDECAR_INBOUND", port: 8080))).snapshot()
        #expect(try filters(inbound, "virtualInbound", "0.0.0.0_8080").first == luaName)
        #expect(try filters(inbound, "virtualOutbound", "0.0.0.0_80").first == fault)
        let gateway = try world(
            World.rule("g", "hosts: ['*']\ngateways: [my-gateway]\nhttp: [{route: [{destination: {host: web}}]}]"),
            filter(in: "istio-system", httpFilter("INSERT_FIRST", context: "GATEWAY")))
        #expect(try filters(gateway.gatewaySnapshot(), "0.0.0.0_80", "0.0.0.0_80").first == luaName)
        #expect(try filters(gateway.snapshot(), "virtualOutbound", "0.0.0.0_80").first == fault)
    }

    @Test("a filter is for the workloads of its namespace, of its selector, or in the root namespace for all")
    func selection() throws {
        let patch = httpFilter("INSERT_FIRST")
        func first(_ yaml: String) throws -> String? {
            try filters(world(yaml).snapshot(), "virtualOutbound", "0.0.0.0_80").first
        }
        #expect(try first(filter(in: "other", patch)) == fault)
        #expect(try first(filter(in: "istio-system", patch)) == luaName)
        #expect(try first(filter(patch, more: "workloadSelector: {labels: {app: x}}")) == fault)
        #expect(try first(filter(patch, more: "workloadSelector: {labels: {app: web}}")) == luaName)
    }

    @Test("MERGE of a filter lays fields over its configuration")
    func mergeManager() throws {
        let snapshot = try world(
            filter(
                """
                - applyTo: NETWORK_FILTER
                  match: {context: SIDECAR_OUTBOUND, listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager}}}}
                  patch:
                    operation: MERGE
                    value:
                      name: envoy.filters.network.http_connection_manager
                      typed_config:
                        "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                        server_name: patched
                        use_remote_address: true
                """)
        ).snapshot()
        let manager = try Chains.manager(
            snapshot.listener("virtualOutbound").filterChains.first { $0.name == "0.0.0.0_80" })
        #expect(manager.serverName == "patched" && manager.useRemoteAddress == true && manager.statPrefix != "")
        #expect(manager.httpFilters.map(\.name) == [fault, cors, protocols, stats, router])
    }

    @Test("MERGE_AND_REPLACE_LIST puts lists in the place of lists, and durations may be written as Go does")
    func replacedLists() throws {
        let name = "outbound|80||web.default.svc.cluster.local"
        func thresholds(_ operation: String) throws -> Cluster {
            try world(
                filter(
                    """
                    - applyTo: CLUSTER
                      match: {cluster: {service: web.default.svc.cluster.local}}
                      patch:
                        operation: \(operation)
                        value: {connect_timeout: 1500ms, circuit_breakers: {thresholds: [{priority: HIGH, max_requests: 7}]}}
                    """)
            ).snapshot().cluster(name)
        }
        let (added, replaced) = (try thresholds("MERGE"), try thresholds("MERGE_AND_REPLACE_LIST"))
        #expect(added.circuitBreakers?.thresholds.count == 2 && replaced.circuitBreakers?.thresholds.count == 1)
        #expect(replaced.circuitBreakers?.thresholds.first?.maxRequests == 7)
        #expect(replaced.connectTimeout == .milliseconds(1500) && replaced.edsClusterConfig != nil)
        #expect(replaced.name == name && replaced.metadata == added.metadata)
    }

    @Test("clusters are merged by service and port, added and removed")
    func clusters() throws {
        let name = "outbound|80||web.default.svc.cluster.local"
        let snapshot = try world(
            filter(
                """
                - applyTo: CLUSTER
                  match: {context: SIDECAR_OUTBOUND, cluster: {service: web.default.svc.cluster.local, portNumber: 80}}
                  patch: {operation: MERGE, value: {connect_timeout: 7s, lb_policy: RANDOM}}
                - applyTo: CLUSTER
                  match: {context: SIDECAR_OUTBOUND}
                  patch: {operation: ADD, value: {name: own, type: STATIC, connect_timeout: 1s, load_assignment: {cluster_name: own}}}
                - applyTo: CLUSTER
                  match: {cluster: {service: db.default.svc.cluster.local}}
                  patch: {operation: REMOVE}
                """)
        ).snapshot()
        let web = try snapshot.cluster(name)
        #expect(web.connectTimeout == .seconds(7) && web.lbPolicy == .random && web.edsClusterConfig != nil)
        #expect(snapshot.clusters["own"] != nil)
        #expect(snapshot.clusters["outbound|5432||db.default.svc.cluster.local"] == nil)
        #expect(snapshot.endpoints["outbound|5432||db.default.svc.cluster.local"] == nil)
    }

    @Test("routes: configurations and hosts are merged, routes merged, put first and removed")
    func routes() throws {
        let snapshot = try world(
            World.rule(
                "r",
                "hosts: [web]\nhttp: [{name: a, match: [{uri: {exact: /a}}], redirect: {uri: /b}}, {name: b, route: [{destination: {host: web}}]}]"
            ),
            filter(
                """
                - applyTo: ROUTE_CONFIGURATION
                  match: {context: SIDECAR_OUTBOUND, routeConfiguration: {name: "80"}}
                  patch: {operation: MERGE, value: {response_headers_to_add: [{header: {key: x-a, value: b}}]}}
                - applyTo: VIRTUAL_HOST
                  match: {routeConfiguration: {vhost: {name: "web.default.svc.cluster.local:80"}}}
                  patch: {operation: MERGE, value: {include_request_attempt_count: true}}
                - applyTo: HTTP_ROUTE
                  match: {routeConfiguration: {portNumber: 80, vhost: {domainName: web, route: {name: b}}}}
                  patch: {operation: MERGE, value: {route: {timeout: 9s}}}
                - applyTo: HTTP_ROUTE
                  match: {routeConfiguration: {vhost: {name: "web.default.svc.cluster.local:80", route: {action: REDIRECT}}}}
                  patch: {operation: REMOVE}
                - applyTo: HTTP_ROUTE
                  match: {routeConfiguration: {vhost: {name: "web.default.svc.cluster.local:80"}}}
                  patch: {operation: INSERT_FIRST, value: {name: first, match: {path: /x}, direct_response: {status: 204}}}
                """)
        ).snapshot()
        #expect(try snapshot.route("80").responseHeadersToAdd.count == 1)
        let host = try snapshot.virtualHost("80", "web")
        #expect(host.includeRequestAttemptCount && host.routes.map(\.name) == ["first", "b", "b"])
        #expect(host.routes.dropFirst().allSatisfy { $0.forward?.timeout == .seconds(9) })
        #expect(host.routes.last?.forward?.clusterSpecifier == .cluster("outbound|80||web.default.svc.cluster.local"))
    }

    @Test("the routes of a listener towards the application are patched there")
    func inboundRoutes() throws {
        let snapshot = try world(
            filter(
                """
                - applyTo: VIRTUAL_HOST
                  match: {context: SIDECAR_INBOUND, routeConfiguration: {portNumber: 8080}}
                  patch: {operation: MERGE, value: {include_request_attempt_count: true}}
                """)
        ).snapshot()
        let manager = try Chains.manager(try snapshot.listener("virtualInbound").filterChains.first)
        guard case .routeConfig(let routes) = manager.routeSpecifier else { return #expect(Bool(false)) }
        #expect(routes.virtualHosts.first?.includeRequestAttemptCount == true)
    }

    @Test("the root namespace comes first, then priority, then age")
    func order() throws {
        func patch(_ seconds: Int) -> String {
            "- {applyTo: CLUSTER, match: {cluster: {service: web.default.svc.cluster.local}}, patch: {operation: MERGE, value: {connect_timeout: \(seconds)s}}}"
        }
        func timeout(_ yaml: String...) throws -> Duration? {
            try world(yaml.joined()).snapshot().cluster("outbound|80||web.default.svc.cluster.local").connectTimeout
        }
        #expect(
            try timeout(
                filter(named: "own", patch(1)), filter(named: "root", in: "istio-system", patch(2), more: "priority: 9")
            )
                == .seconds(1))
        #expect(
            try timeout(
                filter(named: "a", patch(1), more: "priority: 5"), filter(named: "b", patch(2), more: "priority: -5"))
                == .seconds(1))
        #expect(
            try timeout(
                filter(named: "a", created: "2026-02-02T00:00:00Z", patch(1)),
                filter(named: "b", created: "2026-01-01T00:00:00Z", patch(2))) == .seconds(1))
    }

    @Test("an EXTENSION_CONFIG gives a filter its configuration")
    func extensionConfig() throws {
        let snapshot = try world(
            filter(
                """
                - applyTo: EXTENSION_CONFIG
                  patch: {operation: ADD, value: \(lua)}
                - applyTo: HTTP_FILTER
                  match: {context: SIDECAR_OUTBOUND, listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager, subFilter: {name: envoy.filters.http.router}}}}}
                  patch: {operation: INSERT_BEFORE, value: {name: envoy.filters.http.lua, config_discovery: {config_source: {ads: {}}, type_urls: [type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua]}}}
                """)
        ).snapshot()
        let manager = try Chains.manager(
            snapshot.listener("virtualOutbound").filterChains.first { $0.name == "0.0.0.0_80" })
        guard case .typedConfig(let any)? = manager.httpFilters.first(where: { $0.name == luaName })?.configType else {
            return #expect(Bool(false))
        }
        #expect(any.typeURL.hasSuffix("Lua"))
    }

    @Test("listeners and filter chains are added, merged and removed")
    func listeners() throws {
        let snapshot = try world(
            filter(
                """
                - applyTo: LISTENER
                  patch: {operation: ADD, value: {name: own, address: {socket_address: {address: 127.0.0.1, port_value: 9999}}}}
                - applyTo: LISTENER
                  match: {context: SIDECAR_OUTBOUND, listener: {name: virtualOutbound}}
                  patch: {operation: MERGE, value: {per_connection_buffer_limit_bytes: 4096}}
                - applyTo: FILTER_CHAIN
                  match: {context: SIDECAR_OUTBOUND, listener: {filterChain: {destinationPort: 5432}}}
                  patch: {operation: REMOVE}
                - applyTo: LISTENER_FILTER
                  match: {listener: {name: virtualInbound}}
                  patch: {operation: ADD, value: {name: envoy.filters.listener.tls_inspector, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector}}}
                """)
        ).snapshot()
        #expect(snapshot.listeners["own"] != nil)
        let outbound = try snapshot.listener("virtualOutbound")
        #expect(outbound.perConnectionBufferLimitBytes == 4096)
        #expect(!outbound.filterChains.contains { $0.filterChainMatch?.destinationPort == 5432 })
        #expect(try snapshot.listener("virtualInbound").listenerFilters.last?.name.hasSuffix("tls_inspector") == true)
    }

    @Test("what cannot be applied is told with its field, and leaves everything else as it is")
    func problems() throws {
        let world = try world(
            filter(
                """
                - {applyTo: BOOTSTRAP, patch: {operation: MERGE, value: {admin: {}}}}
                - {applyTo: CLUSTER, patch: {operation: MERGE, value: {connect_timeout: 1s, no_such_field: 1}}}
                - {applyTo: CLUSTER, patch: {operation: INSERT_FIRST, value: {name: a}}}
                - {applyTo: HTTP_FILTER, patch: {operation: ADD}}
                - {applyTo: CLUSTER, match: {cluster: {service: nobody}}, patch: {operation: MERGE, value: {connect_timeout: 1s}}}
                - {applyTo: CLUSTER, match: {cluster: {service: web.default.svc.cluster.local}}, patch: {operation: MERGE, value: {load_assignment: {endpoints: [{priority: 200}]}}}}
                - {applyTo: HTTP_FILTER, match: {proxy: {proxyVersion: '^1\\.2'}}, patch: {operation: REMOVE}}
                - {applyTo: CLUSTER, match: {cluster: {service: web.default.svc.cluster.local}}, patch: {operation: MERGE, value: {connect_timeout: 3s}}}
                """))
        let found = world.objects.inOrder(.envoyFilter).flatMap(world.model.analyze)
        func field(_ index: Int) -> [Diagnostic] { found.filter { $0.field.hasPrefix("spec.configPatches[\(index)]") } }
        #expect(field(0).map(\.severity) == [.error])
        #expect(field(1).first?.field == "spec.configPatches[1].patch.value.no_such_field")
        #expect(field(2).first?.message.hasPrefix("INSERT_FIRST is not possible with CLUSTER") == true)
        #expect(field(3).first?.field == "spec.configPatches[3].patch.value")
        #expect(field(4).first?.message.contains("matches nothing") == true)
        #expect(field(5).first?.severity == .warning, "\(field(5))")
        #expect(field(6).first?.field == "spec.configPatches[6].match.proxy.proxyVersion")
        #expect(field(7).isEmpty)
        let web = try world.snapshot().cluster("outbound|80||web.default.svc.cluster.local")
        #expect(web.connectTimeout == .seconds(3))
    }
}
