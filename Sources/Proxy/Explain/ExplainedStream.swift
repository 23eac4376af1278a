internal import HTTP
internal import IO

/// The client's side of a request that nobody sent.
final class ExplainedStream: DownstreamStream {
    let info: ConnectionInfo
    let manager: HTTPConnectionManager
    let httpVersion: HTTPVersion
    /// The answer's fields, once there is one.
    private(set) var answer: [String]?
    private(set) var isOver = false

    init(_ info: ConnectionInfo, manager: HTTPConnectionManager, version: HTTPVersion) {
        self.info = info
        self.manager = manager
        httpVersion = version
    }

    var worker: Worker { manager.worker }
    var responseIsBlocked: Bool { false }

    func sendInterim(_ head: borrowing ResponseHead) {}

    func sendHead(_ response: inout ResponseHead, to request: AnsweredRequest) {
        answer = response.headers.lines
    }

    func sendBody(_ bytes: UnsafeRawBufferPointer) {}
    func sendEnd(_ trailers: borrowing HeaderTable) {}
    func requestMayContinue() {}
    func armTimer() {}
    func streamEnded(isReset: Bool) { isOver = true }
}

extension HeaderTable {
    /// Each field as `name: value`.
    var lines: [String] {
        (0..<count).map { index in "\(Self.words(name(at: index))): \(Self.words(value(at: index)))" }
    }

    /// Bytes as text.
    static func words(_ span: RawSpan) -> String { span.withUnsafeBytes { String(decoding: $0, as: UTF8.self) } }
}
