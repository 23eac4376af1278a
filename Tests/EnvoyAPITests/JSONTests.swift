import EnvoyAPI
import Serialization
import Testing

@Suite("Messages as proto3 JSON")
struct MessageJSONTests {
    static let configuration = """
        node: {id: sidecar~10.0.0.1~web.default~default.svc.cluster.local, cluster: web, metadata: {LABELS: {app: web}}}
        admin:
          address: {socket_address: {address: 127.0.0.1, port_value: 15000}}
        dynamic_resources:
          lds_config: {ads: {}, resource_api_version: V3}
          cdsConfig: {ads: {}, initial_fetch_timeout: 0s}
          ads_config:
            api_type: DELTA_GRPC
            transport_api_version: V3
            grpc_services: [{envoy_grpc: {cluster_name: xds}}]
        static_resources:
          clusters:
          - name: xds
            type: STATIC
            connect_timeout: 0.25s
            typed_extension_protocol_options:
              envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
                "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
                explicit_http_config: {http2_protocol_options: {}}
            load_assignment:
              cluster_name: xds
              endpoints:
              - lb_endpoints: [{endpoint: {address: {pipe: {path: /run/xds.sock}}}, load_balancing_weight: 7}]
          listeners:
          - name: in
            address: {socket_address: {address: 0.0.0.0, port_value: 8080}}
            filter_chains:
            - filters:
              - name: envoy.filters.network.http_connection_manager
                typed_config:
                  "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                  stat_prefix: in
                  codec_type: HTTP1
                  route_config:
                    virtual_hosts:
                    - name: all
                      domains: ["*"]
                      routes:
                      - match: {prefix: /}
                        route: {cluster: web, timeout: 15s, auto_host_rewrite: true}
                  http_filters:
                  - name: envoy.filters.http.router
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
        """

    private func json(_ text: String) throws -> JSON { try #require(try YAML.parse(text).first).json }

    @Test("a bootstrap with a listener, a cluster and ADS is read")
    func bootstrap() throws {
        let bootstrap = try Bootstrap(json: json(Self.configuration))
        #expect(bootstrap.node?.cluster == "web")
        #expect(bootstrap.node?.metadata?["LABELS"]?["app"] == "web")
        #expect(bootstrap.dynamicResources?.adsConfig?.apiType == .deltaGrpc)
        let cluster = try #require(bootstrap.staticResources?.clusters.first)
        #expect(cluster.clusterDiscoveryType == .type(.static))
        #expect(cluster.connectTimeout == .milliseconds(250))
        #expect(cluster.loadAssignment?.endpoints.first?.lbEndpoints.first?.loadBalancingWeight == 7)
        let filter = try #require(bootstrap.staticResources?.listeners.first?.filterChains.first?.filters.first)
        guard case .typedConfig(let config) = filter.configType else {
            Issue.record("no typed_config")
            return
        }
        let manager = try config.unpack(as: HttpConnectionManager.self)
        guard case .routeConfig(let routes) = manager.routeSpecifier,
            case .route(let action) = routes.virtualHosts.first?.routes.first?.action
        else {
            Issue.record("no route")
            return
        }
        #expect(action.clusterSpecifier == .cluster("web"))
        #expect(action.timeout == .seconds(15))
        #expect(action.hostRewriteSpecifier == .autoHostRewrite(true))
    }

    @Test("one value where a list belongs is a list of one, as Envoy reads it; its faults keep their paths")
    func single() throws {
        let routes = try RouteConfiguration(
            json: json(
                """
                virtual_hosts:
                  name: v
                  domains: "*"
                  routes: {match: {prefix: /}, direct_response: {status: 200}, response_headers_to_remove: x}
                """))
        #expect(routes.virtualHosts.map(\.domains) == [["*"]])
        #expect(routes.virtualHosts.first?.routes.map(\.responseHeadersToRemove) == [["x"]])
        let error = #expect(throws: MessageError.self) {
            try RouteConfiguration(json: json("virtual_hosts: {name: v, domains: {a: b}}"))
        }
        #expect(error.map { "\($0)" }?.contains("virtual_hosts.domains") == true)
    }

    @Test("what is read from JSON survives bytes and JSON with both kinds of names")
    func roundTrip() throws {
        let bootstrap = try Bootstrap(json: json(Self.configuration))
        #expect(try Bootstrap(serialized: bootstrap.serialized()) == bootstrap)
        #expect(try Bootstrap(json: bootstrap.json) == bootstrap)
        #expect(try Bootstrap(json: bootstrap.json(names: .proto)) == bootstrap)
        #expect(bootstrap.json["staticResources"]?["listeners"]?[0]?["filterChains"] != nil)
        #expect(
            bootstrap.json(names: .proto)["static_resources"]?["clusters"]?[0]?["type"] == "STATIC")
    }

    @Test(
        "an error names the path of the field",
        arguments: [
            ("static_resources: {listeners: [{foo: 1}]}", "static_resources.listeners[0].foo: unknown field"),
            (
                "static_resources: {clusters: [{name: a}, {name: 5}]}",
                "static_resources.clusters[1].name: expected a string, found a number"
            ),
            (
                "staticResources: {clusters: [{connect_timeout: 5}]}",
                "staticResources.clusters[0].connect_timeout: expected a duration such as \"1.5s\", found a number"
            ),
            (
                "static_resources: {clusters: [{lb_policy: FASTEST}]}",
                "static_resources.clusters[0].lb_policy: unknown value \"FASTEST\""
            ),
            (
                "static_resources: {clusters: [{type: EDS, cluster_type: {name: a}}]}",
                "static_resources.clusters[0].type: another field of the same oneof is set"
            ),
            ("static_resources: {}\nstaticResources: {}", "static_resources: given twice"),
            (
                "static_resources: {listeners: [{filter_chains: [{filters: [{typed_config: {\"@type\": t/x.Y}}]}]}]}",
                "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.@type: unknown type URL t/x.Y"
            ),
            (
                "static_resources: {listeners: [{filter_chains: [{filters: [{typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, nope: 1}}]}]}]}",
                "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.nope: unknown field"
            ),
            (
                "admin: {address: {socket_address: {port_value: -1}}}",
                "admin.address.socket_address.port_value: not a whole number between 0 and 4294967295"
            ),
            (
                "admin: {address: {socket_address: {port_value: 4294967296}}}",
                "admin.address.socket_address.port_value: not a whole number between 0 and 4294967295"
            ),
        ] as [(String, String)])
    func errors(text: String, message: String) throws {
        let json = try json(text)
        let error = try #require(throws: MessageError.self) { try Bootstrap(json: json) }
        #expect(error.description == message)
    }

    @Test(
        "durations are read and written as proto3 JSON has them",
        arguments: [
            ("0s", Duration.zero, "0s"), ("1.5s", .milliseconds(1500), "1.500s"),
            ("-0.5s", .milliseconds(-500), "-0.500s"),
            ("0.000000001s", .nanoseconds(1), "0.000000001s"),
            ("315576000000s", .seconds(315_576_000_000), "315576000000s"),
        ])
    func durations(text: String, value: Duration, written: String) {
        #expect(DurationText.read(text) == value)
        #expect(DurationText.write(value) == written)
    }

    @Test(
        "what is no duration is refused",
        arguments: ["", "s", "1", "1.s", ".5s", "1.0000000001s", "315576000001s", "1e3s", "--1s", "+1s", "1ms"])
    func noDurations(text: String) { #expect(DurationText.read(text) == nil) }

    @Test("a message in an Any keeps its type, and an unknown one its bytes")
    func any() throws {
        let packed = AnyMessage(packing: Locality())
        #expect(packed.typeURL == "type.googleapis.com/envoy.config.core.v3.Locality")
        #expect(throws: MessageError.self) { try packed.unpack(as: Node.self) }
        var socket = TransportSocket()
        socket.configType = .typedConfig(AnyMessage(typeURL: "x/y.Z", value: [1, 2]))
        #expect(socket.json["typedConfig"] == ["@type": "x/y.Z", "value": "AQI="])
    }

    @Test("a Struct in an Any stands under the name value")
    func structInAny() throws {
        let json: JSON = [
            "typedConfig": ["@type": "type.googleapis.com/google.protobuf.Struct", "value": ["a": [1, "b"]]]
        ]
        let socket = try TransportSocket(json: json)
        #expect(socket.json == json)
    }

    @Test(
        "a structure with a type stands for the message of that type, in files and on the wire",
        arguments: ["xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct"])
    func typedStructures(name: String) throws {
        let router = "envoy.extensions.filters.http.router.v3.Router"
        let text = """
            {name: r, typed_config: {"@type": type.googleapis.com/\(name), type_url: type.googleapis.com/\(router),
            value: {start_child_span: true}}}
            """
        let filter = try HttpFilter(json: json(text))
        guard case .typedConfig(let any)? = filter.configType else { throw Missing() }
        let startsSpans = try any.unpack(as: Router.self).startChildSpan
        #expect(any.name == router && startsSpans)
        // As a control plane sends it: nothing has looked into it.
        var inner = TypedStruct()
        inner.typeUrl = "type.googleapis.com/" + router
        inner.value = .object(["start_child_span": .bool(true)])
        var sent = HttpFilter()
        sent.configType = .typedConfig(
            AnyMessage(typeURL: "type.googleapis.com/" + name, value: inner.serialized()))
        let received = try HttpFilter(serialized: sent.serialized())
        guard case .typedConfig(let unpacked)? = received.configType else { throw Missing() }
        #expect(unpacked == any)
        // What is not known stays what it is, what is wrong is told with its place.
        inner.typeUrl = "type.googleapis.com/nobody.knows"
        sent.configType = .typedConfig(
            AnyMessage(typeURL: "type.googleapis.com/" + name, value: inner.serialized()))
        #expect(try HttpFilter(serialized: sent.serialized()) == sent)
        let broken = try json(text.split(separator: "start_child_span").joined(separator: "nothing"))
        do throws(MessageError) {
            _ = try HttpFilter(json: broken)
            Issue.record("taken")
        } catch {
            #expect(error.path == "typed_config.value.nothing", "\(error.path)")
        }
    }

    private struct Missing: Error {}
}
