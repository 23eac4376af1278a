import HTTP
import IO
import Testing

@testable import Proxy

/// A proxy with filters between HTTP/2 on both sides, as gRPC has it.
struct GRPCScene {
    let scene: FilterScene
    let client: HTTP2End

    static func run(
        _ filters: [(name: String, config: String)], manager: String = "", routes: String = Yaml.forward(),
        serve: @escaping @Sendable (HTTP2Exchange) async throws -> Void,
        _ body: @escaping @Sendable (GRPCScene) async throws -> Void
    ) async throws {
        try await onLoop { loop in
            let upstream = try await HTTP2Upstream(on: loop, serve)
            let unused = try await ScriptedUpstream(on: loop) { _, _ in "" }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(manager: manager, filters: FilterScene.entries(filters), routes: routes),
                    clusters: Yaml.cluster("backend", [upstream.port], Yaml.http2), admin: true))
            defer { proxy.stop() }
            let client = try await HTTP2End.connect(to: proxy.address, on: loop)
            let wire = try await Wire.connect(to: proxy.address, on: loop)
            let scene = FilterScene(client: wire, proxy: proxy, loop: loop, upstream: unused)
            try await body(GRPCScene(scene: scene, client: client))
        }
    }

    /// A gRPC call with these messages.
    func call(
        _ path: String, _ messages: [String], fields: [(String, String)] = [], type: String = "application/grpc"
    ) async throws -> HTTP2Exchange {
        let call = try client.begin("POST", path, fields: [("content-type", type)] + fields, isEnd: false)
        for message in messages { try call.send(Self.frame(message)) }
        try call.finish()
        try await call.finished()
        return call
    }

    /// A message in its frame.
    static func frame(_ text: String) -> [UInt8] {
        let bytes = Array(text.utf8)
        return [0, 0, 0, UInt8(bytes.count >> 8), UInt8(bytes.count & 255)] + bytes
    }

    /// Answers with so many messages and this status.
    static func answer(_ exchange: HTTP2Exchange, _ messages: [String], status: String = "0") async throws {
        try await exchange.finished()
        try exchange.respond(200, [("content-type", "application/grpc")])
        for message in messages { try exchange.send(frame(message)) }
        try exchange.finish(trailers: [("grpc-status", status)])
    }
}
