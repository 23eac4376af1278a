internal import Glibc
internal import IO

/// Asks containers, from sockets inside their pod's network namespace, so that neither capture nor mTLS stands between.
enum Prober {
    struct Request: Sendable {
        var method: String
        var address: String
        var port: Int
        var path: String
        var headers: [Probe.Header] = []

        init(method: String, address: String, port: Int, path: String) {
            self.method = method
            self.address = address
            self.port = port
            self.path = path
        }
    }

    /// Longest status line that is looked for.
    private static let lineBytesMax = 4096

    /// What is wrong, or nil when the status is 200...399.
    static func http(_ request: Request, namespace: String?, timeout: Duration, on loop: EventLoop) async -> String? {
        await withStream(request.address, request.port, namespace, timeout, loop) { stream throws(SystemError) in
            let authority = request.address.contains(":") ? "[\(request.address)]" : request.address
            var text = "\(request.method) \(request.path) HTTP/1.1\r\n"
            if !request.headers.contains(where: { $0.name.lowercased() == "host" }) {
                text += "Host: \(authority):\(request.port)\r\n"
            }
            for header in request.headers { text += "\(header.name): \(header.value)\r\n" }
            text += "User-Agent: kube-probe/skein\r\nAccept: */*\r\nConnection: close\r\n"
            if request.method == "POST" { text += "Content-Length: 0\r\n" }
            try await stream.write(Array((text + "\r\n").utf8))
            var line: [UInt8] = []
            while !line.contains(0x0A), line.count < lineBytesMax {
                let piece = try await stream.read(upTo: 1024)
                guard !piece.isEmpty else { return "connection closed before an answer" }
                line += piece
            }
            // `HTTP/1.1 200 OK`
            let words = String(decoding: line.prefix { $0 != 0x0D && $0 != 0x0A }, as: UTF8.self).split(separator: " ")
            guard words.first?.hasPrefix("HTTP/1.") == true, words.count >= 2, let status = Int(words[1]) else {
                return "the answer is not HTTP"
            }
            return (200..<400).contains(status) ? nil : "HTTP probe failed with statuscode: \(status)"
        }
    }

    /// What is wrong, or nil when a connection comes about.
    static func tcp(
        _ address: String, _ port: Int, namespace: String?, timeout: Duration, on loop: EventLoop
    ) async -> String? {
        await withStream(address, port, namespace, timeout, loop) { _ throws(SystemError) in nil }
    }

    private static func withStream(
        _ address: String, _ port: Int, _ namespace: String?, _ timeout: Duration, _ loop: EventLoop,
        _ body: (SocketStream) async throws(SystemError) -> String?
    ) async -> String? {
        guard let ip = IPAddress(address), let number = UInt16(exactly: port) else {
            return "\(address):\(port) is not an address"
        }
        let target = SocketAddress.ip(ip, port: number)
        do throws(SystemError) {
            let socket = try connect(to: target, namespace)
            let stream = try SocketStream(socket, on: loop)
            let deadline = Deadline(timeout, of: stream)
            defer {
                deadline.cancel()
                stream.close()
            }
            do throws(SystemError) {
                if let error = await stream.connected() { return "\(error)" }
                return try await body(stream)
            } catch {
                return error.errno == ECANCELED ? "no answer within \(timeout.components.seconds) s" : "\(error)"
            }
        } catch { return "\(error)" }
    }

    /// Closes a stream when its time is over.
    ///
    /// On the loop.
    private final class Deadline {
        private let stream: SocketStream
        private var patience: ProbePatience
        private var timer: LoopTimer?

        init(_ timeout: Duration, of stream: SocketStream) {
            self.stream = stream
            patience = ProbePatience(timeout, from: stream.loop.now)
            wait(timeout)
        }

        private func wait(_ time: Duration) {
            timer = stream.loop.schedule(after: time) { [weak self] in
                guard let self else { return }
                let now = stream.loop.now
                if let more = patience.more(at: now) { wait(more) } else { stream.close() }
            }
        }

        func cancel() { timer?.cancel() }
    }

    /// A connection that is begun inside a network namespace.
    static func connect(to target: SocketAddress, _ namespace: String?) throws(SystemError) -> Socket {
        guard let namespace else { return try Socket.connect(to: target) }
        let inside = try NetworkNamespace.open(path: namespace)
        let descriptor = try inside.run { () throws(SystemError) in try Socket.connect(to: target).release() }
        return Socket(adopting: descriptor)
    }
}

/// How long an answer is waited for by somebody who may be kept from looking.
///
/// On a busy machine the answer and the deadline are seen at once, long after both. What the asker was late does not
/// count against the one who was asked; in all up to as much again as the time itself. Pure.
struct ProbePatience {
    /// A deadline that comes later than this has been late.
    static let punctual = Duration.milliseconds(20)

    private var end: MonotonicTime
    private var left: Duration

    /// Waiting begins at `start`.
    init(_ timeout: Duration, from start: MonotonicTime) {
        end = start + timeout
        left = timeout
    }

    /// How much longer to wait when the deadline is seen at `now`; nil when the time is over.
    mutating func more(at now: MonotonicTime) -> Duration? {
        let late = min(now - end, left)
        guard late > Self.punctual else { return nil }
        left -= late
        end = now + late
        return late
    }
}
