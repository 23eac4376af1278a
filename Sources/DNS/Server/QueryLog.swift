import IO
import Telemetry

/// What is written of a query: who asked what, and what was answered, from where, after how long.
struct LoggedQuery {
    /// Where an answer comes from.
    enum Source: String {
        case zone, ready, cache, stale, servers, nobody
    }

    var client: SocketAddress?
    var transport: String
    var question: Question?
    var code: ResponseCode
    var source: Source
    var duration: Duration
    var queryBytes: Int
    var answerBytes: Int
}

/// A line for each query, to standard error, while it is switched on (`NameSettings.logs`).
///
/// Bounded: what comes on top of `linesPerSecond` is counted, and said in one line a second.
final class QueryLog {
    /// How many lines are written in a second.
    static let linesPerSecond = 500

    /// The domains whose names are logged; none: nothing is.
    var domains: [Name] = []
    private let counts: DNSCounts
    private let log = Logger("dns")
    private let linesPerSecond: Int
    private var second: UInt64 = 0
    private var lines = 0
    private var left: UInt64 = 0

    init(_ counts: DNSCounts, linesPerSecond: Int = linesPerSecond) {
        self.counts = counts
        self.linesPerSecond = linesPerSecond
    }

    var isOn: Bool { !domains.isEmpty }

    /// Writes a line, if that name is logged and there is room for it; whether it was written.
    @discardableResult
    func write(_ query: LoggedQuery, now: MonotonicTime) -> Bool {
        let isWanted = query.question.map { question in domains.contains { question.name.isWithin($0) } }
        guard isWanted ?? domains.contains(.root) else { return false }
        let current = now.nanoseconds / 1_000_000_000
        if current != second {
            if left > 0 { log.info("queries were not logged", ["count": "\(left)"]) }
            (second, lines, left) = (current, 0, 0)
        }
        guard lines < linesPerSecond else {
            left += 1
            counts.unlogged.add()
            return false
        }
        lines += 1
        log.info(
            "query",
            [
                "client": query.client.map { "\($0)" } ?? "", "transport": query.transport,
                "name": query.question.map { "\($0.name)" } ?? "", "type": query.question.map { "\($0.type)" } ?? "",
                "code": "\(query.code)", "source": query.source.rawValue,
                "microseconds": "\(query.duration.wholeNanoseconds / 1000)", "query_bytes": "\(query.queryBytes)",
                "answer_bytes": "\(query.answerBytes)",
            ])
        return true
    }
}
