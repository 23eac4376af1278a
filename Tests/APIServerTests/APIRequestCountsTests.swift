import Testing

@testable import APIServer

@Suite("Requests to the API are counted")
struct APIRequestCountsTests {
    @Test("by method and status, with their time; methods that nobody knows are one series")
    func counts() {
        var counts = APIRequestCounts()
        #expect(counts.metrics.isEmpty)
        counts.count("GET", 200, nanoseconds: 500_000_000)
        counts.count("GET", 200, nanoseconds: 250_000_000)
        counts.count("GET", 404, nanoseconds: 0)
        counts.count("BREW", 405, nanoseconds: 0)
        counts.count("STEEP", 405, nanoseconds: 0)
        let lines = counts.metrics.split(separator: "\n").map(String.init)
        for line in [
            "skein_api_requests_total{method=\"GET\",code=\"200\"} 2",
            "skein_api_requests_total{method=\"GET\",code=\"404\"} 1",
            "skein_api_requests_total{method=\"other\",code=\"405\"} 2",
            "skein_api_request_duration_seconds_sum{method=\"GET\"} 0.75",
            "skein_api_request_duration_seconds_count{method=\"GET\"} 3",
        ] { #expect(lines.contains(line), "\(line)") }
        #expect(lines.count { $0.hasPrefix("# TYPE") } == 2)
    }
}
