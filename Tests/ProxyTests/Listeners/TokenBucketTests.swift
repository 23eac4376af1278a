import IO
import Testing

@testable import Proxy

@Suite("Token bucket")
struct TokenBucketTests {
    @Test("it is full at the beginning, and fills by whole intervals up to its maximum")
    func fill() {
        let start = MonotonicTime.now
        var bucket = TokenBucket(maxTokens: 3, tokensPerFill: 2, fillInterval: .seconds(1))
        func take(_ count: UInt64 = 1, after passed: Duration) -> Bool { bucket.take(count, now: start + passed) }
        for _ in 0..<3 {
            let taken = take(after: .zero)
            #expect(taken)
        }
        let expected: [(count: UInt64, passed: Duration, isTaken: Bool)] = [
            (1, .zero, false), (1, .milliseconds(999), false), (2, .seconds(1), true), (1, .seconds(1), false),
            (3, .seconds(1000), true), (1, .seconds(1000), false),
        ]
        for step in expected {
            let taken = take(step.count, after: step.passed)
            #expect(taken == step.isTaken)
        }
    }
}
