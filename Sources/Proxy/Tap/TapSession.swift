internal import HTTP
internal import IO
internal import Serialization
internal import Synchronization
internal import TLS
internal import Upstream

/// Somebody who looks at requests as they happen: loops add lines, the admin page takes them.
///
/// Bounded twice, so that it cannot hurt: so many events a second, and so many bytes that wait. What is more is counted.
final class TapSession: Sendable {
    private struct State {
        var lines: [UInt8] = []
        var second: UInt64 = 0
        var countOfSecond = 0
        var dropped: UInt64 = 0
    }

    let filter: TapFilter
    private let text: RecordedText
    private let state = Mutex(State())

    /// - Parameter key: What hides the values of queries.
    init(_ filter: TapFilter, key: [UInt8]) {
        self.filter = filter
        text = RecordedText(key: key)
    }

    /// Whether one more event may be made in this second; one that may not is counted.
    private func enters(_ now: MonotonicTime) -> Bool {
        let second = now.nanoseconds / 1_000_000_000
        return state.withLock { state in
            if state.second != second {
                state.second = second
                state.countOfSecond = 0
            }
            guard state.countOfSecond < filter.rate, state.lines.count < Limits.tapBytes else {
                state.dropped += 1
                return false
            }
            state.countOfSecond += 1
            return true
        }
    }

    /// A request has ended; from its loop.
    func take(_ stream: HTTPStream) {
        guard filter.wants(stream), enters(stream.worker.loop.now) else { return }
        let line = event(stream).bytes + [0x0A]
        state.withLock { $0.lines += line }
    }

    /// The lines that wait, and how many events were left out so far.
    func drain() -> (lines: [UInt8], dropped: UInt64) {
        state.withLock { state in
            defer { state.lines = [] }
            return (state.lines, state.dropped)
        }
    }

    /// What is shown of a request.
    private func event(_ stream: HTTPStream) -> JSON {
        let info = stream.info
        let wall = WallClock.now
        let end = info.lastDownstreamByteSent ?? stream.worker.loop.now
        let path = stream.originalPath.map { String(decoding: $0, as: UTF8.self) } ?? stream.request.pathText
        var members: [String: JSON] = [
            "time_ms": .integer(wall.seconds * 1000 + Int64(wall.nanoseconds / 1_000_000)),
            "direction": stream.manager.config.isEgress ? "outbound" : "inbound",
            "source": .string("\(stream.connectionInfo.directRemoteAddress)"),
            "destination": .string("\(stream.connectionInfo.localAddress)"),
            "protocol": .string("\(stream.version.text)"),
            "method": .string(RecordedText.cut(stream.request.methodText, to: 64)),
            "authority": .string(RecordedText.cut(stream.request.authorityText, to: Limits.recordedNameBytes)),
            "path": .string(text.path(path)), "status": .integer(Int64(info.status)),
            "flags": .string(info.flags.text), "tls": .bool(stream.connectionInfo.isTLS),
            "duration_us": .integer(Int64(clamping: (end - info.started).wholeNanoseconds / 1000)),
            "request_bytes": .integer(Int64(clamping: info.bytesReceived)),
            "response_bytes": .integer(Int64(clamping: info.bytesSent)), "attempts": .integer(Int64(info.attempts)),
        ]
        if let sent = info.firstUpstreamByteSent, let received = info.firstUpstreamByteReceived {
            members["upstream_duration_us"] = .integer(Int64(clamping: (received - sent).wholeNanoseconds / 1000))
        }
        let peer = stream.connectionInfo.tls?.peer
        for (name, value) in [
            ("principal", peer?.uris.first ?? peer?.dnsNames.first), ("cluster", info.upstreamCluster),
            ("host", info.upstreamHost.map { "\($0)" }), ("route", info.routeName), ("details", info.details),
            ("request_id", stream.request.headers[.xRequestId]),
        ] {
            if let value { members[name] = .string(RecordedText.cut(value, to: Limits.recordedNameBytes)) }
        }
        if let context = stream.traceContext {
            var id: [UInt8] = []
            context.appendTraceID(to: &id)
            members["trace_id"] = .string(String(decoding: id, as: UTF8.self))
        }
        if filter.showsHeaders { members["headers"] = headers(stream) }
        return .object(members)
    }

    /// Fields of the request as it went on; of credentials the names alone.
    private func headers(_ stream: HTTPStream) -> JSON {
        let table = stream.request.headers
        var fields: [JSON] = []
        for index in 0..<min(table.count, Limits.recordedHeaders) {
            let name = table.nameText(at: index)
            let value =
                RecordedText.isCredential(name)
                ? "[redacted]" : RecordedText.cut(table.valueText(at: index), to: Limits.recordedValueBytes)
            fields.append(.array([.string(RecordedText.cut(name, to: Limits.recordedNameBytes)), .string(value)]))
        }
        return .array(fields)
    }
}

extension Worker {
    /// From now on a session gets what it wants of this loop's requests.
    func begin(_ session: TapSession) {
        taps.append(session)
        isTapped = true
    }

    func end(_ session: TapSession) {
        taps.removeAll { $0 === session }
        isTapped = !taps.isEmpty
    }
}
