import EnvoyAPI
import HTTP
import IO
import Serialization
import Synchronization
import Testing

@testable import Proxy

@Suite("Network filters: ext_authz")
struct NetworkExtAuthzTests {
    private func run(
        _ fields: String = "", answer: @escaping @Sendable (CheckRequest?) -> CallScene.Answer,
        _ body: @escaping @Sendable (Wire, RunningProxy, EventLoop) async throws -> Void
    ) async throws {
        try await onLoop { loop in
            let service = try await HTTP2Upstream(on: loop) { exchange in
                try await exchange.messageReceived()
                switch answer(try? CheckRequest(serialized: exchange.message)) {
                case .message(let bytes):
                    try exchange.respond(200, [("content-type", "application/grpc")])
                    try exchange.send(GRPCMessageDecoder.frame(bytes))
                    try exchange.finish(trailers: [("grpc-status", "0")])
                case .status(let status):
                    try exchange.respond(
                        200, [("content-type", "application/grpc"), ("grpc-status", "\(status)")], isEnd: true)
                case .hang, .reset: exchange.reset()
                }
            }
            let listener = """
                  - name: tcp
                    address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
                    filter_chains:
                    - filters:
                      - name: envoy.filters.network.ext_authz
                        typed_config:
                          "@type": type.googleapis.com/envoy.extensions.filters.network.ext_authz.v3.ExtAuthz
                          stat_prefix: door
                          grpc_service: { envoy_grpc: { cluster_name: service }, timeout: 5s }
                          \(fields)
                      - name: envoy.filters.network.echo
                        typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo }

                """
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: listener, clusters: Yaml.cluster("service", [service.port], Yaml.http2), admin: true))
            defer { proxy.stop() }
            try await body(try await Wire.connect(to: proxy.address, on: loop), proxy, loop)
        }
    }

    private func stats(_ proxy: RunningProxy, _ loop: EventLoop) async throws -> String {
        guard let admin = proxy.admin else { return "" }
        let wire = try await Wire.connect(to: admin, on: loop)
        defer { wire.close() }
        return try await wire.get("/stats?filter=ext_authz").body
    }

    @Test("a connection that the service allows is served, and its addresses were sent")
    func allowed() async throws {
        try await run(
            answer: { request in
                #expect(request?.attributes?.source?.address != nil)
                #expect(request?.attributes?.destination?.address != nil)
                return .message(CheckResponse().serialized())
            }
        ) { client, proxy, loop in
            try await client.write("hello")
            #expect(try await client.read(5) == "hello")
            let stats = try await stats(proxy, loop)
            #expect(stats.contains("ext_authz.door.ok: 1"))
            #expect(stats.contains("ext_authz.door.active: 0"))
        }
    }

    @Test("a connection that the service denies is closed")
    func denied() async throws {
        try await run(
            answer: { _ in
                var response = CheckResponse()
                var status = Status()
                status.code = 7
                response.status = status
                return .message(response.serialized())
            }
        ) { client, proxy, loop in
            #expect(await client.readToEnd().isEmpty)
            let stats = try await stats(proxy, loop)
            #expect(stats.contains("ext_authz.door.denied: 1"))
            #expect(stats.contains("ext_authz.door.cx_closed: 1"))
        }
    }

    @Test("a service that fails closes the connection, unless failure_mode_allow lets it pass")
    func failure() async throws {
        try await run(answer: { _ in .status(14) }) { client, _, _ in
            #expect(await client.readToEnd().isEmpty)
        }
        try await run("failure_mode_allow: true", answer: { _ in .reset }) { client, proxy, loop in
            try await client.write("hello")
            #expect(try await client.read(5) == "hello")
            #expect(try await stats(proxy, loop).contains("ext_authz.door.failure_mode_allowed: 1"))
        }
    }
}
