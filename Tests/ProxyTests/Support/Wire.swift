import IO

/// One end of a connection as a script uses it: text in, text out.
final class Wire: @unchecked Sendable {
    struct Closed: Error {}

    /// A response, whole.
    struct Response: Sendable {
        var status: Int
        var head: String
        var body: String

        func field(_ name: String) -> String? {
            for line in head.split(separator: "\r\n") {
                let parts = line.split(separator: ":", maxSplits: 1)
                if parts.count == 2, parts[0].lowercased() == name {
                    return String(parts[1].drop { $0 == " " })
                }
            }
            return nil
        }
    }

    let stream: any ByteStream
    private var buffer: [UInt8] = []

    init(_ stream: any ByteStream) { self.stream = stream }

    static func connect(to address: SocketAddress, on loop: EventLoop) async throws -> Wire {
        Wire(try await SocketStream.connect(to: address, on: loop, timeout: .seconds(5)))
    }

    static func firstLine(_ head: String) -> String { head.split(separator: "\r\n").first.map(String.init) ?? "" }

    func write(_ text: String) async throws { try await stream.write(Array(text.utf8)) }

    func close() { stream.close() }

    private func more() async throws {
        let bytes = try await stream.read(upTo: 65_536)
        guard !bytes.isEmpty else { throw Closed() }
        buffer += bytes
    }

    /// Everything up to and with a text.
    func read(until end: String) async throws -> String {
        let mark = Array(end.utf8)
        while true {
            if let position = Self.find(mark, in: buffer) {
                let taken = buffer[..<(position + mark.count)]
                defer { buffer.removeFirst(position + mark.count) }
                return String(decoding: taken, as: UTF8.self)
            }
            try await more()
        }
    }

    /// So many bytes, as they are.
    func bytes(_ count: Int) async throws -> [UInt8] {
        while buffer.count < count { try await more() }
        defer { buffer.removeFirst(count) }
        return Array(buffer.prefix(count))
    }

    func read(_ count: Int) async throws -> String {
        while buffer.count < count { try await more() }
        defer { buffer.removeFirst(count) }
        return String(decoding: buffer[..<count], as: UTF8.self)
    }

    /// Everything until the peer closes, in order or not.
    func readToEnd() async -> String {
        while (try? await more()) != nil {}
        defer { buffer = [] }
        return String(decoding: buffer, as: UTF8.self)
    }

    /// A request: head and body.
    func request() async throws -> (head: String, body: String) {
        let head = try await read(until: "\r\n\r\n")
        return (head, try await body(of: head))
    }

    /// A response: interim ones are skipped.
    func response(toHead: Bool = false) async throws -> Response {
        while true {
            let head = try await read(until: "\r\n\r\n")
            let status = Int(head.split(separator: " ")[1]) ?? 0
            if status == 100 { continue }
            if toHead || status == 204 || status == 304 || status == 101 {
                return Response(status: status, head: head, body: "")
            }
            let lower = head.lowercased()
            let hasLength = lower.contains("content-length:") || lower.contains("transfer-encoding:")
            let body = hasLength ? try await body(of: head) : await readToEnd()
            return Response(status: status, head: head, body: body)
        }
    }

    func get(_ path: String, _ fields: String = "") async throws -> Response {
        try await write("GET \(path) HTTP/1.1\r\nHost: test\r\n\(fields)\r\n")
        return try await response()
    }

    private func body(of head: String) async throws -> String {
        for line in head.split(separator: "\r\n") {
            let lower = line.lowercased()
            if lower.hasPrefix("content-length:") {
                return try await read(Int(lower.dropFirst(15).filter { $0 != " " }) ?? 0)
            }
            if lower.hasPrefix("transfer-encoding:"), lower.hasSuffix("chunked") {
                var body = ""
                while true {
                    let size = Int(try await read(until: "\r\n").dropLast(1), radix: 16) ?? 0
                    if size == 0 {
                        var line = ""
                        repeat { line = try await read(until: "\r\n") } while line != "\r\n"
                        return body
                    }
                    body += try await read(size)
                    _ = try await read(2)
                }
            }
        }
        return ""
    }

    private static func find(_ mark: [UInt8], in bytes: [UInt8]) -> Int? {
        guard bytes.count >= mark.count else { return nil }
        return (0...(bytes.count - mark.count)).first { bytes[$0..<($0 + mark.count)].elementsEqual(mark) }
    }
}
