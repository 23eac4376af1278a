import EnvoyAPI
import HTTP
import IO
import Serialization
import Synchronization
import Testing

@testable import Proxy

/// Calls that filters make, seen through ext_authz.
@Suite("Calls to clusters")
struct ClusterCallTests {
    private static let name = "envoy.filters.http.ext_authz"
    private static let type = "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz"

    private func overHTTP(
        _ fields: String, filter more: String = "", _ script: @escaping @Sendable (Wire, Int) async throws -> Void,
        _ body: @escaping @Sendable (FilterScene) async throws -> Void
    ) async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { head, body in ScriptedUpstream.ok(head + body) }
            let auth = try await ScriptedUpstream(on: loop, script)
            let filter = (
                Self.name,
                FilterScene.any(
                    Self.type,
                    "http_service: { server_uri: { uri: auth, cluster: auth, timeout: 5s }\(fields.isEmpty ? "" : ", " + fields) }\(more)"
                )
            )
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(filters: FilterScene.entries([filter]), routes: Yaml.forward()),
                    clusters: Yaml.cluster("backend", [upstream.port]) + Yaml.cluster("auth", [auth.port]),
                    admin: true))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await body(FilterScene(client: client, proxy: proxy, loop: loop, upstream: upstream))
        }
    }

    @Test("a call is tried again as its policy says, and the failed answer counts as a retry's")
    func retries() async throws {
        let asked = Atomic<Int>(0)
        try await overHTTP(
            "retry_policy: { retry_on: 5xx, num_retries: 2, retry_back_off: { base_interval: 0.001s } }",
            { wire, _ in
                while true {
                    _ = try await wire.request()
                    let number = asked.wrappingAdd(1, ordering: .relaxed).oldValue
                    try await wire.write(
                        number == 0 ? "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n" : ScriptedUpstream.ok(""))
                }
            }
        ) { scene async throws in
            #expect(try await scene.client.get("/").status == 200)
            #expect(try await scene.stat("cluster.auth.upstream_rq_retry") == 1)
            #expect(try await scene.stat("cluster.auth.upstream_rq_retry_success") == 1)
            #expect(try await scene.stat("cluster.auth.retry.upstream_rq_503") == 1)
            #expect(try await scene.stat("cluster.auth.upstream_rq_active") == 0)
        }
    }

    @Test("a kept connection that the service closed just as it was used is replaced, and nobody notices")
    func fresh() async throws {
        let connections = Atomic<Int>(0)
        try await overHTTP(
            "",
            { wire, number in
                connections.store(number + 1, ordering: .relaxed)
                _ = try await wire.request()
                try await wire.write(ScriptedUpstream.ok(""))
                if number == 0 {
                    // The next request on it finds the end.
                    _ = try await wire.request()
                    return
                }
                while true {
                    _ = try await wire.request()
                    try await wire.write(ScriptedUpstream.ok(""))
                }
            }
        ) { scene async throws in
            #expect(try await scene.client.get("/").status == 200)
            #expect(try await scene.client.get("/").status == 200)
            #expect(connections.load(ordering: .relaxed) == 2)
        }
    }

    @Test("an answer that is larger than a call takes is a failure, and its connection goes")
    func tooLarge() async throws {
        try await overHTTP(
            "",
            { wire, _ in
                _ = try await wire.request()
                try await wire.write("HTTP/1.1 403 No\r\nContent-Length: 2000000\r\n\r\n")
                let piece = String(repeating: "x", count: 50_000)
                for _ in 0..<40 { try await wire.write(piece) }
            }
        ) { scene async throws in
            let response = try await scene.client.get("/")
            #expect(response.status == 403)
            #expect(response.body.isEmpty)
            #expect(try await scene.stat("http.ingress.ext_authz.error") == 1)
            #expect(try await scene.stat("cluster.auth.upstream_rq_active") == 0)
        }
    }

    @Test("a service that answers with what is no HTTP is a failure")
    func malformed() async throws {
        try await overHTTP(
            "",
            { wire, _ in
                _ = try await wire.request()
                try await wire.write("nonsense\r\n\r\n")
            }
        ) { scene async throws in
            #expect(try await scene.client.get("/").status == 403)
            #expect(try await scene.stat("cluster.auth.upstream_rq_502") == 1)
        }
    }

    @Test("initial metadata carries what its operators stand for, and the call's authority and timeout are said")
    func metadata() async throws {
        let heads = Mutex<[(String, [String: String])]>([])
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("") }
            let service = try await HTTP2Upstream(on: loop) { exchange in
                try await exchange.messageReceived()
                var fields: [String: String] = [:]
                for index in 0..<exchange.request.headers.count {
                    fields[exchange.request.headers.nameText(at: index)] =
                        exchange.request.headers.valueText(at: index)
                }
                let seen = fields
                let authority = exchange.request.authorityText
                heads.withLock { $0.append((authority, seen)) }
                try exchange.respond(200, [("content-type", "application/grpc")])
                try exchange.send(GRPCMessageDecoder.frame(CheckResponse().serialized()))
                try exchange.finish(trailers: [("grpc-status", "0")])
            }
            let filter = (
                Self.name,
                FilterScene.any(
                    Self.type,
                    """
                    grpc_service: { envoy_grpc: { cluster_name: service, authority: auth.test }, timeout: 5s, \
                    initial_metadata: [ { key: x-path, value: "<%REQ(:path)%>" } ] }
                    """)
            )
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(filters: FilterScene.entries([filter]), routes: Yaml.forward()),
                    clusters: Yaml.cluster("backend", [upstream.port])
                        + Yaml.cluster("service", [service.port], Yaml.http2)))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            let response = try await client.get("/here")
            #expect(response.status == 200)
            let seen = heads.withLock { $0.first }
            #expect(seen?.0 == "auth.test")
            #expect(seen?.1["x-path"] == "</here>")
            #expect(seen?.1["grpc-timeout"] == "5000m")
            #expect(seen?.1["te"] == "trailers")
        }
    }

    @Test("a gRPC answer without a message, with another status or in pieces is understood")
    func answers() {
        func answer(_ status: UInt16, _ fields: [(String, String)], _ body: [UInt8], _ trailers: [(String, String)])
            -> Result<[UInt8], GRPCStatus>
        {
            var head = ResponseHead(status: status)
            for (name, value) in fields { try? head.headers.append(name, value) }
            var table = HeaderTable()
            for (name, value) in trailers { try? table.append(name, value) }
            return GRPCCall.read(CallAnswer(head: head, body: body, trailers: table), 100)
        }
        let grpc = [("content-type", "application/grpc")]
        let message = GRPCMessageDecoder.frame([1, 2, 3])
        #expect(answer(200, grpc, message, [("grpc-status", "0")]) == .success([1, 2, 3]))
        func code(_ result: Result<[UInt8], GRPCStatus>) -> GRPCStatus.Code? {
            if case .failure(let status) = result { status.code } else { nil }
        }
        #expect(code(answer(200, grpc, [], [("grpc-status", "0")])) == .internal)
        #expect(code(answer(200, grpc, message, [("grpc-status", "7")])) == .permissionDenied)
        #expect(code(answer(200, grpc + [("grpc-status", "14")], [], [])) == .unavailable)
        #expect(code(answer(503, [], [], [])) == .unavailable)
        #expect(code(answer(200, [("content-type", "text/html")], [], [])) == .unknown)
        #expect(code(answer(200, grpc, [0, 0, 0, 1, 0], [("grpc-status", "0")])) == .resourceExhausted)
        #expect(code(answer(200, grpc, [0, 0, 0, 0, 9, 1], [("grpc-status", "0")])) == .internal)
        #expect(code(answer(200, grpc, message, [])) == .unknown)
    }
}
