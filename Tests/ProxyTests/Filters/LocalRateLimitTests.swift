import EnvoyAPI
import IO
import Serialization
import Testing
import Upstream

@testable import Proxy

@Suite("Filters: local_ratelimit")
struct LocalRateLimitTests {
    private static let type = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"
    private static let on =
        "filter_enabled: { default_value: { numerator: 100 } }, filter_enforced: { default_value: { numerator: 100 } }"

    @Test("a bucket fills evenly and is never fuller than its size")
    func bucket() {
        let start = MonotonicTime.now
        var count = TokenCount(size: 2, rate: 10, at: start)
        let moments: [Duration] = [.zero, .zero, .zero, .milliseconds(50), .milliseconds(101)]
        let taken = moments.map { count.take(1, at: start + $0) }
        #expect(taken == [true, true, false, false, true])
        let next = count.nextToken(at: start + .milliseconds(101))
        #expect(next > .milliseconds(90) && next <= .milliseconds(100))
        let left = count.remaining(at: start + .seconds(100))
        #expect(left == 2)
        let all = count.take(upTo: 5, at: start + .seconds(100))
        #expect(all == 2)
    }

    @Test("beyond the bucket: 429 with Envoy's text, headers and counters")
    func limited() async throws {
        let config = FilterScene.any(
            Self.type,
            """
            stat_prefix: rl, token_bucket: { max_tokens: 2, tokens_per_fill: 1, fill_interval: 3600s }, \(Self.on), \
            enable_x_ratelimit_headers: DRAFT_VERSION_03, \
            response_headers_to_add: [ { header: { key: x-limited, value: "yes" } } ]
            """)
        try await FilterScene.run([("rl", config)]) { scene async throws in
            let first = try await scene.client.get("/")
            #expect(first.status == 200)
            #expect(first.field("x-ratelimit-limit") == "2")
            #expect(first.field("x-ratelimit-remaining") == "1")
            #expect(first.field("x-limited") == nil)
            #expect(try await scene.client.get("/").status == 200)
            let third = try await scene.client.get("/")
            #expect(third.status == 429)
            #expect(third.body == "local_rate_limited")
            #expect(third.field("x-limited") == "yes")
            #expect(third.field("x-ratelimit-remaining") == "0")
            #expect(try await scene.stat("rl.http_local_rate_limit.enabled") == 3)
            #expect(try await scene.stat("rl.http_local_rate_limit.ok") == 2)
            #expect(try await scene.stat("rl.http_local_rate_limit.rate_limited") == 1)
            #expect(try await scene.stat("rl.http_local_rate_limit.enforced") == 1)
        }
    }

    @Test("descriptors of the route's rate_limits find their own buckets, wildcards one for each value")
    func descriptors() async throws {
        let config = FilterScene.any(
            Self.type,
            """
            stat_prefix: rl, token_bucket: { max_tokens: 1000, tokens_per_fill: 1, fill_interval: 1s }, \(Self.on), \
            descriptors: [ { entries: [ { key: tier, value: free } ], token_bucket: { max_tokens: 1, tokens_per_fill: 1, fill_interval: 3600s } }, \
            { entries: [ { key: user } ], token_bucket: { max_tokens: 1, tokens_per_fill: 1, fill_interval: 3600s } } ]
            """)
        let routes = """
            [ { match: { prefix: "/" }, route: { cluster: backend, rate_limits: [ \
            { actions: [ { request_headers: { header_name: x-tier, descriptor_key: tier } } ] }, \
            { actions: [ { request_headers: { header_name: x-user, descriptor_key: user } } ] } ] } } ]
            """
        try await FilterScene.run([("rl", config)], routes: routes) { scene async throws in
            for _ in 0..<3 {
                let status = try await scene.client.get("/").status
                #expect(status == 200)
            }
            #expect(try await scene.client.get("/", "x-tier: free\r\n").status == 200)
            #expect(try await scene.client.get("/", "x-tier: free\r\n").status == 429)
            #expect(try await scene.client.get("/", "x-tier: paid\r\n").status == 200)
            for user in ["ann", "bob"] {
                #expect(try await scene.client.get("/", "x-user: \(user)\r\n").status == 200)
                #expect(try await scene.client.get("/", "x-user: \(user)\r\n").status == 429)
            }
        }
    }

    @Test("each connection may have a bucket of its own")
    func perConnection() async throws {
        let config = FilterScene.any(
            Self.type,
            """
            stat_prefix: rl, token_bucket: { max_tokens: 1, tokens_per_fill: 1, fill_interval: 3600s }, \(Self.on), \
            local_rate_limit_per_downstream_connection: true
            """)
        try await FilterScene.run([("rl", config)]) { scene async throws in
            for _ in 0..<3 {
                let client = try await scene.connect()
                #expect(try await client.get("/").status == 200)
                #expect(try await client.get("/").status == 429)
            }
        }
    }

    @Test("not enforced: the request passes with the headers that say so")
    func notEnforced() async throws {
        let config = FilterScene.any(
            Self.type,
            """
            stat_prefix: rl, token_bucket: { max_tokens: 1, tokens_per_fill: 1, fill_interval: 3600s }, \
            filter_enabled: { default_value: { numerator: 100 } }, \
            request_headers_to_add_when_not_enforced: [ { header: { key: x-would-limit, value: "1" } } ]
            """)
        try await FilterScene.run([("rl", config)]) { scene async throws in
            _ = try await scene.client.get("/")
            let response = try await scene.client.get("/")
            #expect(response.status == 200)
            #expect(response.body.contains("x-would-limit: 1"))
        }
    }

    @Test("ATK-19 wildcard values cannot make more buckets than are allowed")
    func dynamicBound() throws {
        var message = HTTPLocalRateLimit()
        message.maxDynamicDescriptors = 2
        var bucket = EnvoyAPI.TokenBucket()
        bucket.maxTokens = 1
        bucket.fillInterval = .seconds(3600)
        var descriptor = LocalRateLimitDescriptor()
        descriptor.tokenBucket = bucket
        var entry = EnvoyAPI.RateLimitDescriptor.Entry()
        entry.key = "user"
        descriptor.entries = [entry]
        message.descriptors = [descriptor]
        let now = MonotonicTime.now
        let limiter = try LocalRateLimiter(compiling: message, at: "", now: now)
        func ask(_ user: String) -> Bool {
            limiter.ask([Upstream.RateLimitDescriptor(entries: [.init(key: "user", value: user)])], now: now).isAllowed
        }
        #expect(ask("a"))
        #expect(!ask("a"))
        #expect(ask("b"))
        #expect(ask("c"))
        // `a` made room.
        #expect(ask("a"))
    }
}
