import IO

@testable import Proxy

/// HTTP/2 as bytes: what a hostile peer writes, which no library would.
enum RawHTTP2 {
    static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + frame(4)

    static func frame(_ type: UInt8, flags: UInt8 = 0, stream: UInt32 = 0, _ payload: [UInt8] = []) -> [UInt8] {
        var bytes = Array(number(UInt32(payload.count)).dropFirst())
        bytes += [type, flags]
        bytes += number(stream)
        return bytes + payload
    }

    static func number(_ value: UInt32) -> [UInt8] {
        let shifts: [UInt32] = [24, 16, 8, 0]
        return shifts.map { UInt8(truncatingIfNeeded: value >> $0) }
    }

    /// Fields as HPACK literals that no table keeps; texts of less than 127 bytes.
    static func block(_ fields: [(String, String)]) -> [UInt8] {
        fields.flatMap { name, value in
            var bytes: [UInt8] = [0, UInt8(name.utf8.count)]
            bytes += name.utf8
            bytes.append(UInt8(value.utf8.count))
            bytes += value.utf8
            return bytes
        }
    }

    static func request(_ path: String = "/", _ more: [(String, String)] = []) -> [UInt8] {
        block([(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "a")] + more)
    }

    /// Which types of frames lie in the bytes.
    static func kinds(in bytes: [UInt8]) -> Set<UInt8> {
        var kinds: Set<UInt8> = []
        var place = 0
        while place + 9 <= bytes.count {
            kinds.insert(bytes[place + 3])
            place += 9 + (Int(bytes[place]) << 16 | Int(bytes[place + 1]) << 8 | Int(bytes[place + 2]))
        }
        return kinds
    }

    static func headers(_ stream: UInt32, _ block: [UInt8], isEnd: Bool = true, isWhole: Bool = true) -> [UInt8] {
        frame(1, flags: (isEnd ? 1 : 0) | (isWhole ? 4 : 0), stream: stream, block)
    }
}

extension Wire {
    func write(_ bytes: [UInt8]) async throws { try await stream.write(bytes) }

    /// Writes until the peer has closed, at most `limit` bytes; how many were taken.
    func flood(_ piece: [UInt8], limit: Int) async -> Int {
        var sent = 0
        while sent < limit, (try? await stream.write(piece)) != nil { sent += piece.count }
        return sent
    }
}

/// A proxy under attack, with a host of HTTP/1.1 and a view on its counters.
struct AttackScene {
    let proxy: RunningProxy
    let upstream: ScriptedUpstream
    let loop: EventLoop

    static func run(
        manager: String = "", routes: String = Yaml.forward(), cluster: String = "",
        script: @escaping @Sendable (Wire, Int) async throws -> Void = serve,
        _ body: @escaping @Sendable (AttackScene) async throws -> Void
    ) async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop, script)
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(manager: manager, routes: routes),
                    clusters: Yaml.cluster("backend", [upstream.port], cluster), admin: true))
            defer { proxy.stop() }
            try await body(AttackScene(proxy: proxy, upstream: upstream, loop: loop))
        }
    }

    /// Our own answers end with the response flags that a log has, in brackets.
    static let tellsFlags =
        "local_reply_config: { body_format: { text_format_source: { inline_string: \"%LOCAL_REPLY_BODY%[%RESPONSE_FLAGS%]\" } } }"

    /// Answers each request with what it got.
    static let serve: @Sendable (Wire, Int) async throws -> Void = { wire, _ in
        while true {
            let (head, body) = try await wire.request()
            try await wire.write(ScriptedUpstream.ok(head + body))
        }
    }

    func connect() async throws -> Wire { try await Wire.connect(to: proxy.address, on: loop) }

    func stat(_ name: String) async throws -> Int { try await Admin.stat(proxy, name, on: loop) ?? 0 }

    /// Waits until a counter has a value.
    func wait(_ name: String, _ isSo: (Int) -> Bool) async throws {
        try await until { try await isSo(stat(name)) }
    }

    /// Whether the proxy still serves those who mean no harm.
    func serves() async throws -> Bool {
        let client = try await connect()
        defer { client.close() }
        return try await client.get("/good").status == 200
    }
}
