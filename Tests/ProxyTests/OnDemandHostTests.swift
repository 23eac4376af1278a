import EnvoyAPI
import HTTP
import IO
import Serialization
import Testing
import XDS

@testable import Proxy

/// What a virtual host says holds for the request that brought it, too.
@Suite("Virtual hosts on demand")
struct OnDemandHostTests {
    private static let filters = "envoy.extensions.filters.http."
    private static let onDemand = ("on_demand", FilterScene.any(filters + "on_demand.v3.OnDemand"))
    private static let fault = ("fault", FilterScene.any(filters + "fault.v3.HTTPFault"))
    private static let mutation = ("mutation", FilterScene.any(filters + "header_mutation.v3.HeaderMutation"))
    private static let buffer = (
        "buffer", FilterScene.any(filters + "buffer.v3.Buffer", "max_request_bytes: 1000")
    )

    /// A listener whose routes come from the server, and with them nothing but the word that virtual hosts are to be asked for.
    private static func bootstrap(
        _ server: ADSTests.ManagementServer, _ upstream: UInt16, _ filters: [(name: String, config: String)]
    ) -> String {
        """
        node: { id: n, cluster: c }
        dynamic_resources:
          ads_config: { api_type: DELTA_GRPC, transport_api_version: V3, grpc_services: [ { envoy_grpc: { cluster_name: xds } } ] }
        static_resources:
          listeners:
          - name: in
            address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
            filter_chains:
            - filters:
              - name: hcm
                typed_config:
                  "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                  stat_prefix: in
                  rds: { route_config_name: routes, config_source: { ads: {} } }
                  http_filters:
        \(FilterScene.entries(filters))
                  - { name: r, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }
          clusters:
        \(Yaml.cluster("xds", [server.address.port ?? 0], Yaml.http2))
        \(Yaml.cluster("backend", [upstream]))
        """
    }

    /// Virtual hosts `a`, `b` … with the same settings of filters.
    private static func snapshot(_ hosts: [String], _ settings: String) throws -> Snapshot {
        var snapshot = Snapshot(version: "1")
        snapshot.add(
            try RouteConfiguration(
                json: try JSON.parse(#"{"name":"routes","vhds":{"config_source":{"ads":{}}}}"#)), name: "routes")
        for host in hosts {
            snapshot.add(
                try VirtualHost(
                    json: try JSON.parse(
                        #"{"name":"\#(host)","domains":["\#(host)"],"typed_per_filter_config":{\#(settings)},"#
                            + #""routes":[{"match":{"prefix":"/"},"route":{"cluster":"backend"}}]}"#)),
                name: "routes/\(host)")
        }
        return snapshot
    }

    private static let aborts =
        #""fault":{"@type":"type.googleapis.com/\#(filters)fault.v3.HTTPFault","abort":{"http_status":418,"percentage":{"numerator":100}}}"#
    private static let adds =
        #""mutation":{"@type":"type.googleapis.com/\#(filters)header_mutation.v3.HeaderMutationPerRoute","#
        + #""mutations":{"request_mutations":[{"append":{"header":{"key":"x-added","value":"1"}}}],"#
        + #""response_mutations":[{"append":{"header":{"key":"x-back","value":"1"}}}]}}"#

    private static func run(
        _ filters: [(name: String, config: String)], _ settings: String,
        _ body:
            @escaping @Sendable (_ ask: (_ host: String, _ rest: String) async throws -> Wire.Response) async throws
            -> Void
    ) async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { head, body in ScriptedUpstream.ok(head + body) }
            let server = try ADSTests.ManagementServer(on: loop)
            try await server.publish(try snapshot(["a", "b", "c"], settings))
            let proxy = try await RunningProxy.start(bootstrap(server, upstream.port, filters))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await body { host, rest async throws in
                let line = rest.isEmpty ? "GET / HTTP/1.1" : "POST / HTTP/1.1"
                try await client.write("\(line)\r\nHost: \(host)\r\n\(rest.isEmpty ? "\r\n" : rest)")
                return try await client.response()
            }
        }
    }

    private static let body = "content-length: 5\r\n\r\nhello"
    private static let chunked = "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-end: 1\r\n\r\n"

    @Test(
        "a fault of a virtual host holds for the first request to it, wherever on_demand stands",
        arguments: [[onDemand, fault], [fault, onDemand]])
    func faults(_ filters: [(name: String, config: String)]) async throws {
        try await Self.run(filters, Self.aborts) { ask async throws in
            #expect(try await ask("a", "").status == 418)
            #expect(try await ask("b", Self.body).status == 418)
            #expect(try await ask("c", Self.chunked).status == 418)
            #expect(try await ask("a", "").status == 418)
            #expect(try await ask("nobody", "").status == 404)
        }
    }

    @Test(
        "a request that began anew is whole, and each filter changed it once",
        arguments: [[onDemand, mutation], [mutation, onDemand], [fault, mutation, onDemand]])
    func whole(_ filters: [(name: String, config: String)]) async throws {
        try await Self.run(filters, Self.adds) { ask async throws in
            for (host, rest) in [("a", ""), ("b", Self.body), ("c", Self.chunked)] {
                for _ in 0..<2 {
                    let answer = try await ask(host, rest)
                    #expect(answer.status == 200)
                    #expect(answer.field("x-back") == "1")
                    #expect(answer.body.lowercased().split(separator: "x-added: 1").count == 2)
                    #expect(rest.isEmpty || answer.body.contains("hello"))
                }
            }
        }
    }

    @Test("behind a filter that keeps the body, the filters after on_demand are those of the virtual host")
    func keepsBody() async throws {
        try await Self.run([Self.buffer, Self.onDemand, Self.fault], Self.aborts) { ask async throws in
            #expect(try await ask("a", "").status == 418)
            #expect(try await ask("b", Self.body).status == 418)
            #expect(try await ask("c", Self.chunked).status == 418)
        }
    }

    @Test("a filter that changes the route brings the next filters' settings of the new route")
    func clearedRoute() async throws {
        let script =
            "default_source_code: { inline_string: \"function envoy_on_request(h) h:headers():replace('x-to', 'b') end\" }"
        try await FilterScene.run(
            [("lua", FilterScene.any(Self.filters + "lua.v3.Lua", script)), Self.fault],
            routes:
                "[ { match: { prefix: /, headers: [ { name: x-to, string_match: { exact: b } } ] }, route: { cluster: backend }, typed_per_filter_config: { fault: "
                + FilterScene.any(
                    Self.filters + "fault.v3.HTTPFault", "abort: { http_status: 418, percentage: { numerator: 100 } }")
                + " } }, { match: { prefix: / }, route: { cluster: backend } } ]"
        ) { scene async throws in
            #expect(try await scene.client.get("/").status == 418)
        }
    }
}
