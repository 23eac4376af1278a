import EnvoyAPI
import Serialization
import Testing

@testable import Upstream

@Suite struct RetryTests {
    private func policy(_ json: String) throws -> Upstream.RetryPolicy {
        try Upstream.RetryPolicy(
            compiling: try EnvoyAPI.RetryPolicy(json: try JSON.parse(json)), FieldPath("retry_policy"))
    }

    private func isRetried(_ retryOn: String, _ outcome: TryOutcome) throws -> Bool {
        var state = RetryState(
            policy: try policy(#"{"retry_on":"\#(retryOn)"}"#), request: TestRequest(), honorsHeaders: false)
        if case .retry = state.decide(after: outcome, random: 0) { return true }
        return false
    }

    @Test("each condition on each outcome")
    func conditions() throws {
        let outcomes: [(TryOutcome, Set<String>)] = [
            (.response(status: 200), []), (.response(status: 404), []), (.response(status: 409), ["retriable-4xx"]),
            (.response(status: 500), ["5xx"]), (.response(status: 502), ["5xx", "gateway-error"]),
            (.response(status: 503), ["5xx", "gateway-error"]), (.response(status: 504), ["5xx", "gateway-error"]),
            (.response(status: 505), ["5xx"]),
            (.connectFailure, ["5xx", "gateway-error", "reset", "connect-failure", "reset-before-request"]),
            (.reset(requestBytesSent: true), ["5xx", "gateway-error", "reset"]),
            (.reset(requestBytesSent: false), ["5xx", "gateway-error", "reset", "reset-before-request"]),
            (.refusedStream, ["5xx", "gateway-error", "reset", "refused-stream"]),
            (.perTryTimeout, ["5xx", "gateway-error", "reset"]), (.overflow, []), (.noHealthyHost, []),
            (.response(status: 200, grpcStatus: 1), ["cancelled"]),
            (.response(status: 200, grpcStatus: 4), ["deadline-exceeded"]),
            (.response(status: 200, grpcStatus: 8), ["resource-exhausted"]),
            (.response(status: 200, grpcStatus: 13), ["internal"]),
            (.response(status: 200, grpcStatus: 14), ["unavailable"]), (.response(status: 200, grpcStatus: 2), []),
        ]
        for word in RetryPolicy.Conditions.named.keys {
            for (outcome, words) in outcomes {
                #expect(try isRetried(word, outcome) == words.contains(word), "\(word) after \(outcome)")
            }
        }
    }

    @Test("T-4 the mesh default: connect failure and refused stream yes, 503 and reset no")
    func meshDefault() throws {
        let words = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
        #expect(try isRetried(words, .connectFailure))
        #expect(try isRetried(words, .refusedStream))
        #expect(try isRetried(words, .response(status: 200, grpcStatus: 14)))
        #expect(try !isRetried(words, .response(status: 503)))
        #expect(try !isRetried(words, .reset(requestBytesSent: true)))
    }

    @Test("T-5 reset-before-request is safe: nothing of the request went out")
    func resetBeforeRequest() throws {
        #expect(try isRetried("reset-before-request", .reset(requestBytesSent: false)))
        #expect(try !isRetried("reset-before-request", .reset(requestBytesSent: true)))
    }

    @Test("T-6 a status code retries responses with it, never a failure of our own")
    func statusCodes() throws {
        let policy = try policy(
            #"{"retry_on":"retriable-status-codes","retriable_status_codes":[503,418],"num_retries":9}"#)
        var state = RetryState(policy: policy, request: TestRequest(), honorsHeaders: false)
        #expect(state.decide(after: .response(status: 503), random: 0) == .retry(after: .zero))
        #expect(state.decide(after: .response(status: 418), random: 0) == .retry(after: .zero))
        #expect(state.decide(after: .response(status: 502), random: 0) == .deliver(.notRetriable))
        #expect(state.decide(after: .connectFailure, random: 0) == .deliver(.notRetriable))
    }

    @Test("num_retries is 1 by default, and after it the limit is the reason")
    func limit() throws {
        var state = RetryState(policy: try policy(#"{"retry_on":"5xx"}"#), request: TestRequest(), honorsHeaders: false)
        #expect(state.mayRetry)
        #expect(state.decide(after: .response(status: 500), random: 0) == .retry(after: .zero))
        #expect(!state.mayRetry)
        #expect(state.decide(after: .response(status: 500), random: 0) == .deliver(.limitExceeded))
        #expect(state.decide(after: .response(status: 200), random: 0) == .deliver(.notRetriable))
        #expect(state.retries == 1)
        var none = RetryState()
        #expect(none.decide(after: .connectFailure, random: 0) == .deliver(.noPolicy))
    }

    @Test("T-4 num_retries 0 switches retries off")
    func zeroRetries() throws {
        var state = RetryState(
            policy: try policy(#"{"retry_on":"5xx","num_retries":0}"#), request: TestRequest(), honorsHeaders: false)
        #expect(!state.mayRetry)
        #expect(state.decide(after: .connectFailure, random: 0) == .deliver(.limitExceeded))
    }

    @Test("T-8 waits are drawn from 0 to base x 2^(n-1), capped at ten times the base, seed 3")
    func backOff() {
        let backOff = BackOff()
        var generator = SplitMix64(seed: 3)
        for (attempt, limit) in [(1, 25), (2, 50), (3, 100), (4, 200), (5, 250), (6, 250), (99, 250)] {
            var longest = Duration.zero
            for _ in 0..<500 {
                let wait = backOff.wait(beforeRetry: UInt32(attempt), random: generator.next())
                #expect(wait >= .zero && wait < .milliseconds(limit))
                longest = max(longest, wait)
            }
            #expect(longest > .milliseconds(limit) * 0.9, "full jitter fills the range")
        }
        #expect(backOff.wait(beforeRetry: .max, random: .max) < .milliseconds(250))
        #expect(BackOff(base: .seconds(1 << 40)).wait(beforeRetry: 64, random: .max) > .zero)
    }

    @Test("T-8 configured intervals")
    func backOffConfigured() throws {
        let policy = try policy(#"{"retry_back_off":{"base_interval":"2s"}}"#)
        #expect(policy.backOff == BackOff(base: .seconds(2), limit: .seconds(20)))
        let limited = try self.policy(#"{"retry_back_off":{"base_interval":"2s","max_interval":"3s"}}"#)
        #expect(limited.backOff.limit == .seconds(3))
    }

    @Test("P-5 ATK-17 retry headers count from trusted peers only")
    func headers() throws {
        let request = TestRequest(
            "/",
            [
                "x-envoy-retry-on": "gateway-error, retriable-status-codes", "x-envoy-retry-grpc-on": "unavailable",
                "x-envoy-max-retries": "3", "x-envoy-retriable-status-codes": "429, 430",
            ])
        var trusted = RetryState(policy: nil, request: request, honorsHeaders: true)
        #expect(trusted.retriesMax == 3)
        #expect(trusted.decide(after: .response(status: 502), random: 0) == .retry(after: .zero))
        #expect(trusted.decide(after: .response(status: 430), random: 0) == .retry(after: .zero))
        #expect(trusted.decide(after: .response(status: 200, grpcStatus: 14), random: 0) == .retry(after: .zero))
        #expect(trusted.decide(after: .response(status: 502), random: 0) == .deliver(.limitExceeded))
        var stranger = RetryState(policy: nil, request: request, honorsHeaders: false)
        #expect(stranger.decide(after: .response(status: 502), random: 0) == .deliver(.noPolicy))
    }

    @Test("silly values of retry headers do no harm")
    func sillyHeaders() {
        for value in ["-1", "99999999999999999999", "abc", ""] {
            let request = TestRequest("/", ["x-envoy-retry-on": "5xx,,nonsense, ", "x-envoy-max-retries": value])
            let state = RetryState(policy: nil, request: request, honorsHeaders: true)
            #expect(state.conditions == [.serverError])
        }
    }

    @Test("retriable headers and rate-limited responses")
    func responseHeaders() throws {
        let policy = try policy(
            #"{"retry_on":"retriable-headers,5xx","retriable_headers":[{"name":"x-again"}],"num_retries":9}"#)
        var state = RetryState(policy: policy, request: TestRequest(), honorsHeaders: false)
        #expect(
            state.decide(after: .response(status: 200), response: TestResponse(["X-Again": "1"]), random: 0)
                == .retry(after: .zero))
        #expect(
            state.decide(after: .response(status: 200), response: TestResponse(["y": "1"]), random: 0)
                == .deliver(.notRetriable))
        let limited = TestResponse(["x-envoy-ratelimited": "true"])
        #expect(state.decide(after: .response(status: 503), response: limited, random: 0) == .deliver(.notRetriable))
        var other = RetryState(
            policy: try self.policy(#"{"retry_on":"envoy-ratelimited"}"#), request: TestRequest(),
            honorsHeaders: false)
        #expect(other.decide(after: .response(status: 429), response: limited, random: 0) == .retry(after: .zero))
    }

    @Test("what is final without a look at the fields is final with every look")
    func finalOutcomes() throws {
        let words = [
            "5xx", "gateway-error", "connect-failure", "reset", "reset-before-request", "refused-stream",
            "retriable-4xx",
            "retriable-status-codes", "retriable-headers", "envoy-ratelimited", "cancelled", "unavailable",
        ]
        var outcomes: [TryOutcome] = [
            .connectFailure, .reset(requestBytesSent: true), .reset(requestBytesSent: false), .refusedStream,
            .perTryTimeout, .overflow, .noHealthyHost,
        ]
        for status: UInt16 in [200, 204, 404, 409, 418, 429, 500, 502, 503, 504, 505] {
            outcomes += [nil, 0, 1, 4, 14].map { .response(status: status, grpcStatus: $0) }
        }
        let responses = [
            TestResponse([:]), TestResponse(["x-envoy-ratelimited": "true"]), TestResponse(["x-again": "1"]),
        ]
        var finals = 0
        for first in words {
            for second in words {
                let policy = try policy(
                    #"{"retry_on":"\#(first),\#(second)","retriable_status_codes":[418],"retriable_headers":[{"name":"x-again"}],"num_retries":9}"#
                )
                for outcome in outcomes {
                    let state = RetryState(policy: policy, request: TestRequest(), honorsHeaders: false)
                    guard state.isFinal(outcome) else { continue }
                    finals += 1
                    for response in responses {
                        var asked = state
                        #expect(asked.decide(after: outcome, response: response, random: 0) == .deliver(.notRetriable))
                    }
                }
            }
        }
        #expect(finals > 1000)
        let usual = try policy(#"{"retry_on":"connect-failure,refused-stream"}"#)
        let state = RetryState(policy: usual, request: TestRequest(), honorsHeaders: false)
        #expect(state.isFinal(.response(status: 200)))
    }

    @Test("retriable_request_headers choose the requests")
    func requestHeaders() throws {
        let policy = try policy(
            #"{"retry_on":"5xx","retriable_request_headers":[{"name":":method","string_match":{"exact":"GET"}},{"name":"x-safe"}]}"#
        )
        #expect(RetryState(policy: policy, request: TestRequest(), honorsHeaders: false).mayRetry)
        #expect(!RetryState(policy: policy, request: TestRequest(method: "POST"), honorsHeaders: false).mayRetry)
        let safe = TestRequest("/", method: "POST", ["x-safe": ""])
        #expect(RetryState(policy: policy, request: safe, honorsHeaders: false).mayRetry)
    }

    @Test("T-4 previous hosts are avoided when the predicate says so")
    func hostPredicate() throws {
        let policy = try policy(
            #"{"retry_host_predicate":[{"name":"envoy.retry_host_predicates.previous_hosts"}],"host_selection_retry_max_attempts":"5"}"#
        )
        #expect(policy.avoidsPreviousHosts)
        #expect(policy.hostSelectionAttemptsMax == 5)
    }
}

@Suite struct ResourceLimitTests {
    @Test("T-9 Envoy's defaults are 1024, 1024, 1024 and 3 retries")
    func defaults() throws {
        let limits = try cluster(#"{"name":"c"}"#).limits
        #expect(limits.normal.connectionsMax == 1024)
        #expect(limits.normal.pendingRequestsMax == 1024)
        #expect(limits.normal.requestsMax == 1024)
        #expect(limits.normal.retriesMax == 3)
        #expect(limits.high == limits.normal)
        #expect(limits.normal.retryBudget == nil)
    }

    @Test("T-9 the limit is the last that fits; one more is refused and counted")
    func acquire() {
        var thresholds = ResourceLimits.Thresholds()
        thresholds.requestsMax = 2
        let use = ResourceUse(thresholds)
        #expect(use.acquire(.request) == true)
        #expect(use.acquire(.request) == true)
        #expect(use.acquire(.request) == false)
        #expect(use.overflows(of: .request) == 1)
        use.release(.request)
        #expect(use.acquire(.request) == true)
        #expect(use.count(of: .request) == 2)
        thresholds.requestsMax = 0
        use.thresholds = thresholds
        #expect(!use.canAcquire(.request))
        #expect(use.acquire(.pool) == true)
    }

    @Test("T-11 a retry budget is 20 % of the active requests, at least 3")
    func budget() throws {
        let limits = try cluster(
            #"{"name":"c","circuit_breakers":{"thresholds":[{"retry_budget":{}},{"priority":"HIGH","max_retries":7,"retry_budget":{"budget_percent":{"value":50},"min_retry_concurrency":1}}]}}"#
        ).limits
        let use = ResourceUse(limits.normal)
        #expect(use.limit(of: .retry) == 3)
        for _ in 0..<15 { #expect(use.acquire(.request) == true) }
        #expect(use.limit(of: .retry) == 3)
        for _ in 0..<5 { #expect(use.acquire(.request) == true) }
        #expect(use.limit(of: .retry) == 4)
        for _ in 0..<4 { #expect(use.acquire(.retry) == true) }
        #expect(use.acquire(.retry) == false)
        #expect(limits.high.retryBudget?.retriesMax(activeRequests: 0) == 1)
        #expect(limits.high.retryBudget?.retriesMax(activeRequests: 10) == 5)
        #expect(limits.high.retryBudget?.retriesMax(activeRequests: .max) == UInt32.max / 2)
    }
}
