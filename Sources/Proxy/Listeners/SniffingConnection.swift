internal import IO

/// A connection whose first bytes decide its filter chain (`http_inspector`).
///
/// It never blocks a protocol in which the server speaks first: when the client stays silent for the listener's
/// timeout and the listener continues then, the chain is chosen without an answer and the bytes go on as they come.
final class SniffingConnection: SocketConnection {
    let info: ConnectionInfo
    private unowned let listener: ListenerRuntime
    private var timer: LoopTimer?
    private var isDecided = false

    init(_ socket: Socket, info: ConnectionInfo, listener: ListenerRuntime) {
        self.info = info
        self.listener = listener
        super.init(socket, worker: listener.worker)
    }

    func begin(timeout: Duration?, continues: Bool) {
        do throws(SystemError) {
            try start()
        } catch {
            return decide(nil)
        }
        guard let timeout else { return }
        timer = worker.schedule(after: timeout) { [weak self] in
            guard let self, !self.isDecided else { return }
            if continues { self.decide([]) } else { self.decide(nil) }
        }
    }

    override func handleReady(_ readiness: Readiness) {
        guard !isDecided else { return }
        while true {
            switch fill() {
            case .bytes:
                switch HTTPSniffer.look(input.bytes) {
                case .undecided: continue
                case .http1(let version): return decide([version])
                case .http2: return decide(["h2c"])
                case .other: return decide([])
                }
            case .wouldBlock: return
            case .end, .failed: return decide(input.isEmpty ? nil : [])
            }
        }
    }

    /// Ends it: its listener goes, and nothing of it may come back there.
    func abandon() {
        isDecided = true
        timer?.cancel()
        close()
    }

    /// Hands the connection on; nil closes it.
    private func decide(_ protocols: [String]?) {
        guard !isDecided else { return }
        isDecided = true
        timer?.cancel()
        let listener = listener
        guard let protocols, let (socket, input) = surrender() else {
            close()
            return listener.sniffed(self, socket: nil, protocols: [], input: nil)
        }
        listener.sniffed(self, socket: socket, protocols: protocols, input: input)
    }
}

/// Tells HTTP from anything else by the first bytes.
enum HTTPSniffer {
    enum Verdict: Equatable { case undecided, http1(String), http2, other }

    private static let preface = Array("PRI * HTTP/2.0\r\n".utf8)
    /// Longest request line worth waiting for; what is longer is not told from binary data.
    private static let lineBytesMax = 8192
    private static let methodBytesMax = 20

    /// Pure: what the bytes so far say.
    static func look(_ bytes: UnsafeRawBufferPointer) -> Verdict {
        if bytes.isEmpty { return .undecided }
        let shared = min(bytes.count, preface.count)
        if bytes.prefix(shared).elementsEqual(preface.prefix(shared)) {
            return shared == preface.count ? .http2 : .undecided
        }
        var position = 0
        while position < bytes.count, bytes[position] != UInt8(ascii: " ") {
            let byte = bytes[position]
            let isMethodByte = (byte &- 65 < 26) || (byte &- 97 < 26) || byte == UInt8(ascii: "-")
            guard isMethodByte, position < methodBytesMax else { return .other }
            position += 1
        }
        if position == bytes.count { return .undecided }
        if position == 0 { return .other }
        guard let end = bytes.firstIndex(of: UInt8(ascii: "\n")) else {
            return bytes.count > lineBytesMax ? .other : .undecided
        }
        let line = bytes[..<end]
        if line.ends(with: "HTTP/1.1\r") { return .http1("http/1.1") }
        if line.ends(with: "HTTP/1.0\r") { return .http1("http/1.0") }
        return .other
    }
}

extension Slice<UnsafeRawBufferPointer> {
    fileprivate func ends(with text: StaticString) -> Bool {
        let count = text.utf8CodeUnitCount
        guard self.count >= count else { return false }
        return suffix(count).elementsEqual(UnsafeBufferPointer(start: text.utf8Start, count: count))
    }
}
