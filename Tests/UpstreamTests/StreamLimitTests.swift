import EnvoyAPI
import Serialization
import Testing

@testable import Upstream

@Suite("Limits of streams and later tries")
struct StreamLimitTests {
    private func limit(_ action: String, _ headers: KeyValuePairs<String, String> = [:]) throws -> StreamLimit {
        let table = try routes(#"{"name":"r","match":{"prefix":"/"},"route":{"cluster":"a","# + action + "}}")
        let request = TestRequest("/", headers)
        let route = try #require(table.route(for: request, random: 0)?.route)
        guard case .forward(let forwarding) = route.action else { throw RouteHasNoTarget() }
        #expect(RequestTimeouts(forwarding, request: request, honorsHeaders: false).total == nil)
        return StreamLimit(forwarding, request: request)
    }

    private struct RouteHasNoTarget: Error {}

    @Test("a route that limits the stream has no other timeout; without a grpc-timeout its own limit holds")
    func routeLimit() throws {
        #expect(
            try limit(#""max_stream_duration":{"max_stream_duration":"2s"}"#).duration == .seconds(2))
        #expect(try limit(#""max_stream_duration":{"max_stream_duration":"0s"}"#).duration == .zero)
        let unset = try limit(#""max_stream_duration":{"grpc_timeout_header_max":"5s"}"#)
        #expect(unset.duration == nil && !unset.isDeadline)
    }

    @Test(
        "a grpc-timeout rules the stream up to the maximum, less the offset, whatever the content type",
        arguments: [
            ("3S", Duration.milliseconds(400)), ("200m", .milliseconds(100)), ("50m", .zero),
        ])
    func header(value: String, expected: Duration) throws {
        let found = try limit(
            #""max_stream_duration":{"grpc_timeout_header_max":"0.5s","grpc_timeout_header_offset":"0.1s"}"#,
            ["grpc-timeout": value])
        #expect(found.duration == expected && found.isDeadline)
    }

    @Test("with no retries allowed the first failure is above the limit, which is told (URX)")
    func noRetries() throws {
        let policy = try Upstream.RetryPolicy(
            compiling: try EnvoyAPI.RetryPolicy(json: try JSON.parse(#"{"retry_on":"5xx","num_retries":0}"#)),
            FieldPath("retry_policy"))
        var state = RetryState(policy: policy, request: TestRequest("/"), honorsHeaders: false)
        #expect(state.isOn && !state.mayRetry)
        #expect(state.decide(after: .response(status: 503), random: 0) == .deliver(.limitExceeded))
        #expect(!RetryState().isOn)
    }
}
