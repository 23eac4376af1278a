/// Requests to the API by method and status, and how long they took until their answer began.
struct APIRequestCounts: Sendable {
    /// Methods that are told apart; others count as `other`, so that nobody makes series (ATK-19).
    private static let methods: Set<String> = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]

    private struct Key: Hashable, Comparable {
        var method: String
        var status: UInt16

        static func < (left: Key, right: Key) -> Bool { (left.method, left.status) < (right.method, right.status) }
    }
    private var answers: [Key: UInt64] = [:]
    private var times: [String: (count: UInt64, seconds: Double)] = [:]

    /// Counts an answer; a watch and a session count when they begin.
    mutating func count(_ method: String, _ status: Int, nanoseconds: UInt64) {
        let method = Self.methods.contains(method) ? method : "other"
        answers[Key(method: method, status: UInt16(clamping: status)), default: 0] += 1
        let before = times[method] ?? (0, 0)
        times[method] = (before.count + 1, before.seconds + Double(nanoseconds) / 1e9)
    }

    /// In Prometheus' text format.
    var metrics: String {
        guard !answers.isEmpty else { return "" }
        let requests = "skein_api_requests_total"
        var text = "# HELP \(requests) Requests to the API by method and status.\n# TYPE \(requests) counter\n"
        for (key, count) in answers.sorted(by: { $0.key < $1.key }) {
            text += "\(requests){method=\"\(key.method)\",code=\"\(key.status)\"} \(count)\n"
        }
        let duration = "skein_api_request_duration_seconds"
        text += "# HELP \(duration) Time until the answer of a request began.\n# TYPE \(duration) summary\n"
        for (method, time) in times.sorted(by: { $0.key < $1.key }) {
            text += "\(duration)_sum{method=\"\(method)\"} \(time.seconds)\n"
            text += "\(duration)_count{method=\"\(method)\"} \(time.count)\n"
        }
        return text
    }
}
