internal import HTTP
internal import Serialization

/// The admin page `/recorder`: the sample of requests, one JSON object in a line, the oldest first.
enum RecorderPage {
    /// `limit`: the latest so many; `since`: those that came after that many milliseconds since 1970.
    static func answer(_ proxy: ProxyServer, _ query: [String: String]) async -> HTTPResponse {
        var limit = Limits.recorderLines
        if let text = query["limit"] {
            guard let number = Int(text), number >= 0 else {
                return HTTPResponse(status: 400, text: "limit: \(text) is no number\n")
            }
            limit = min(number, limit)
        }
        var since = Int64.min
        if let text = query["since"] {
            guard let number = Int64(text) else {
                return HTTPResponse(status: 400, text: "since: \(text) is no time in milliseconds since 1970\n")
            }
            since = number
        }
        var records: [RecordedRequest] = []
        for worker in proxy.workers { records += await worker.ask { $0.recorder.records } ?? [] }
        records = records.filter { $0.question.milliseconds > since }
        // Stable, so that what one loop saw stays in its order.
        let sorted = records.enumerated().sorted {
            ($0.element.question.milliseconds, $0.offset) < ($1.element.question.milliseconds, $1.offset)
        }
        let lines = sorted.suffix(limit).map { $0.element.json.text + "\n" }
        return HTTPResponse(status: 200, contentType: "application/x-ndjson", body: Array(lines.joined().utf8))
    }
}
