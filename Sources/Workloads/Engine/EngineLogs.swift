internal import HTTP
internal import IO
internal import Serialization
internal import Telemetry

/// Carries what a container writes from its engine into our log file of it, in the format that conmon writes.
///
/// It may end and begin again at any time: the last time in the file says from where.
struct EngineLogs: Sendable {
    private let socket: String
    private let id: String
    private let file: String
    private let loop: EventLoop
    private static let log = Logger("engine")
    /// How much of the file's end is read to find its last time.
    private static let tailBytes = 65_536

    init(socket: String, id: String, file: String, on loop: EventLoop) {
        self.socket = socket
        self.id = id
        self.file = file
        self.loop = loop
    }

    /// Runs until the container has ended and all that it wrote is in the file.
    func run() async {
        var pause = Duration.milliseconds(100)
        while !Task.isCancelled {
            do throws(HTTPError) {
                if try await follow() { return }
            } catch { Self.log.debug("log interrupted", ["container": id, "error": "\(error)"]) }
            await loop.sleep(for: pause)
            pause = min(pause * 2, .seconds(5))
        }
    }

    /// Whether the engine has said all that it will.
    private func follow() async throws(HTTPError) -> Bool {
        let client = HTTPClient(to: .unix(socket), on: loop)
        let path = "/containers/\(PercentEncoding.encoded(id))"
        let about = try await client.send(HTTPClientRequest(.get, path + "/json"))
        let json = try? JSON.parse(try await about.collect())
        guard about.status != 404 else { return true }
        let hasTerminal = json?["Config"]?["Tty"]?.bool == true
        let last = Self.lastTime(in: (try? tail()) ?? [])
        // Whole seconds: what is in the file already is left out below.
        let since = last.map { "&since=\($0.seconds)" } ?? ""
        let response = try await client.send(
            HTTPClientRequest(.get, path + "/logs?follow=1&stdout=1&stderr=1&timestamps=1" + since))
        guard response.status == 200 else { return response.status == 404 }
        var lines = EngineLogLines(hasTerminal: hasTerminal, after: last)
        while let piece = try await response.next() { write(lines.take(piece)) }
        write(lines.finish())
        return true
    }

    private func tail() throws(SystemError) -> [UInt8] {
        let size = File.size(file) ?? 0
        return try File.read(file, from: max(0, size - Self.tailBytes), count: Self.tailBytes)
    }

    private func write(_ bytes: [UInt8]) {
        guard !bytes.isEmpty else { return }
        do throws(SystemError) { try File.append(file, bytes, mode: 0o600) } catch {
            Self.log.error("log not written", ["container": id, "error": "\(error)"])
        }
    }

    /// The time of the last whole line.
    static func lastTime(in bytes: [UInt8]) -> Timestamp? {
        bytes.split(separator: 0x0A).last.flatMap { line in
            Timestamp(String(decoding: line.prefix { $0 != 0x20 }, as: UTF8.self))
        }
    }
}

/// Takes an engine's log apart: frames of eight bytes and text, or text alone of a terminal; each line begins with its time.
///
/// Pure.
struct EngineLogLines: Sendable {
    private let hasTerminal: Bool
    private let after: Timestamp?
    private var frames = EngineFrames()
    /// What of a line has come, by stream.
    private var partial: [UInt8: [UInt8]] = [:]
    /// Bytes of a line at most; longer ones go on in the next.
    private static let lineBytesMax = 16_384

    init(hasTerminal: Bool, after: Timestamp?) {
        self.hasTerminal = hasTerminal
        self.after = after
    }

    /// Lines of the file that a piece of the answer makes.
    mutating func take(_ bytes: [UInt8]) -> [UInt8] {
        guard !hasTerminal else { return lines(1, bytes[...]) }
        return frames.take(bytes).flatMap { lines($0.stream, $0.bytes[...]) }
    }

    /// What was left of lines without an end.
    mutating func finish() -> [UInt8] {
        defer { partial = [:] }
        return partial.sorted { $0.key < $1.key }.flatMap { render($0.key, $0.value[...], isWhole: true) }
    }

    private mutating func lines(_ stream: UInt8, _ bytes: ArraySlice<UInt8>) -> [UInt8] {
        var output: [UInt8] = []
        var line = partial.removeValue(forKey: stream) ?? []
        for byte in bytes {
            if byte == 0x0A {
                output += render(stream, line[...], isWhole: true)
                line = []
            } else if line.count < Self.lineBytesMax {
                line.append(byte)
            } else {
                // Its end goes on under the same time.
                let time = line.prefix { $0 != 0x20 }
                output += render(stream, line[...], isWhole: false)
                line = time + [0x20, byte]
            }
        }
        if !line.isEmpty { partial[stream] = line }
        return output
    }

    private func render(_ stream: UInt8, _ line: ArraySlice<UInt8>, isWhole: Bool) -> [UInt8] {
        guard let blank = line.firstIndex(of: 0x20) else { return [] }
        let time = line[..<blank]
        guard let when = Timestamp(String(decoding: time, as: UTF8.self)), after.map({ when > $0 }) ?? true else {
            return []
        }
        var text = line[(blank + 1)...]
        if hasTerminal, text.last == 0x0D { text.removeLast() }
        let name = stream == 2 ? "stderr" : "stdout"
        return Array(time) + Array(" \(name) \(isWhole ? "F" : "P") ".utf8) + Array(text) + [0x0A]
    }
}
