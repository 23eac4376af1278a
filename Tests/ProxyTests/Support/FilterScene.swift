import IO
import Testing

@testable import Proxy

/// A proxy with filters in front of a server that echoes what it got.
struct FilterScene {
    let client: Wire
    let proxy: RunningProxy
    let loop: EventLoop
    let upstream: ScriptedUpstream

    /// `filters`: pairs of a filter's name and its `typed_config` in flow style, with `@type` as the last part of the name.
    static func run(
        _ filters: [(name: String, config: String)], routes: String = Yaml.forward(), manager: String = "",
        answer: @escaping @Sendable (_ head: String, _ body: String) -> String = { head, body in
            ScriptedUpstream.ok(head + body)
        },
        _ body: @escaping @Sendable (FilterScene) async throws -> Void
    ) async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop, answering: answer)
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(manager: manager, filters: entries(filters), routes: routes),
                    clusters: Yaml.cluster("backend", [upstream.port]), admin: true))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await body(FilterScene(client: client, proxy: proxy, loop: loop, upstream: upstream))
        }
    }

    static func entries(_ filters: [(name: String, config: String)]) -> String {
        filters.map { filter in
            "          - { name: \(filter.name), typed_config: \(filter.config) }\n"
        }.joined()
    }

    /// The value of a metric; nil when `/stats` does not show it.
    func stat(_ name: String) async throws -> Int? {
        guard let admin = proxy.admin else { return nil }
        let wire = try await Wire.connect(to: admin, on: loop)
        defer { wire.close() }
        let text = try await wire.get("/stats").body
        for line in text.split(separator: "\n") where line.hasPrefix(name + ": ") {
            return Int(line.dropFirst(name.utf8.count + 2))
        }
        return nil
    }

    func connect() async throws -> Wire { try await Wire.connect(to: proxy.address, on: loop) }

    /// A configuration in flow style.
    static func any(_ type: String, _ fields: String = "") -> String {
        "{ \"@type\": type.googleapis.com/\(type)\(fields.isEmpty ? "" : ", " + fields) }"
    }

    /// One route whose `typed_per_filter_config` has one entry.
    static func routes(_ name: String, _ config: String, action: String = "route: { cluster: backend }") -> String {
        "[ { match: { prefix: \"/\" }, \(action), typed_per_filter_config: { \(name): \(config) } } ]"
    }
}
