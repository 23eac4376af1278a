import EnvoyAPI
import HTTP
import IO
import Serialization
import Testing

@testable import Proxy

/// A proxy with a filter that asks a gRPC service, in front of a server that echoes what it got.
struct CallScene {
    let client: Wire
    let proxy: RunningProxy
    let loop: EventLoop
    let upstream: ScriptedUpstream
    let service: HTTP2Upstream

    /// What a service does with a call.
    enum Answer: Sendable {
        case message([UInt8])
        /// Ends with a status and no message.
        case status(Int)
        case hang
        case reset
    }

    /// `answer` gets the path of the call and its message.
    static func run(
        _ filters: [(name: String, config: String)], routes: String = Yaml.forward(), clusterFields: String = "",
        more: String = "", answer: @escaping @Sendable (_ path: String, _ message: [UInt8]) -> Answer,
        _ body: @escaping @Sendable (CallScene) async throws -> Void
    ) async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { head, body in ScriptedUpstream.ok(head + body) }
            let service = try await HTTP2Upstream(on: loop) { exchange in
                try await exchange.messageReceived()
                switch answer(exchange.request.pathText, exchange.message) {
                case .message(let bytes):
                    try exchange.respond(200, [("content-type", "application/grpc")])
                    try exchange.send(GRPCMessageDecoder.frame(bytes))
                    try exchange.finish(trailers: [("grpc-status", "0")])
                case .status(let status):
                    try exchange.respond(
                        200, [("content-type", "application/grpc"), ("grpc-status", "\(status)")], isEnd: true)
                case .hang: break
                case .reset: exchange.reset()
                }
            }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(filters: FilterScene.entries(filters), routes: routes),
                    clusters: Yaml.cluster("backend", [upstream.port])
                        + Yaml.cluster("service", [service.port], clusterFields + Yaml.http2) + more, admin: true))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await body(
                CallScene(client: client, proxy: proxy, loop: loop, upstream: upstream, service: service))
        }
    }

    func stat(_ name: String) async throws -> Int? {
        try await FilterScene(client: client, proxy: proxy, loop: loop, upstream: upstream).stat(name)
    }
}

extension HTTP2Exchange {
    /// Waits for the first message of a call.
    func messageReceived() async throws {
        await received(5)
        let count = body.count >= 5 ? body[1...4].reduce(0) { $0 << 8 | Int($1) } : 0
        await received(5 + count)
    }

    /// The first message.
    var message: [UInt8] { Array(body.dropFirst(5)) }
}
