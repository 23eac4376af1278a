import Testing

@testable import IO

@Suite struct TimerWheelTests {
    @Test("any timer fires in the first call at or after its time", arguments: [1, 2, 3, 4, 5] as [UInt64])
    func random(seed: UInt64) {
        var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
        func next() -> UInt64 {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return state
        }
        var now = MonotonicTime(nanoseconds: next() >> 20)
        let wheel = TimerWheel(now: now)
        final class Pending { var due: [Int: MonotonicTime] = [:] }
        let pending = Pending()
        var handles: [Int: LoopTimer] = [:]
        for round in 0..<3000 {
            let spread: [UInt64] = [300, 70_000, 20_000_000, 5_000_000_000]
            let delay = Duration.milliseconds(Int64(next() % spread[Int(next() % 4)]))
            pending.due[round] = now + delay
            handles[round] = wheel.add(at: now + delay) { [now] in
                _ = now
                pending.due[round] = nil
            }
            if next() % 4 == 0, let victim = pending.due.keys.min() {
                handles[victim]?.cancel()
                pending.due[victim] = nil
            }
            now = now + .nanoseconds(Int64(next() % [2_000_000, 400_000_000, 90_000_000_000][Int(next() % 3)]))
            wheel.expire(now: now)
            let late = pending.due.values.filter { $0 + .milliseconds(2) < now }
            #expect(late.isEmpty, "seed \(seed), round \(round): \(late.count) timers are late")
            if let first = pending.due.values.min() {
                // The loop must not sleep beyond the first timer.
                let wait = wheel.millisecondsToNext(now: now)
                #expect(wait >= 0 && (first - now) + .milliseconds(2) >= .milliseconds(wait))
            }
        }
    }

    @Test("a timer that fires may add others, and cancel them")
    func reentrant() {
        let start = MonotonicTime(nanoseconds: 5_000_000_000)
        let wheel = TimerWheel(now: start)
        final class Fired { var names: [String] = [] }
        let fired = Fired()
        _ = wheel.add(at: start + .milliseconds(1)) {
            fired.names.append("first")
            _ = wheel.add(at: start + .milliseconds(2)) { fired.names.append("second") }
            wheel.add(at: start + .milliseconds(2)) { fired.names.append("cancelled") }.cancel()
        }
        wheel.expire(now: start + .milliseconds(1))
        wheel.expire(now: start + .milliseconds(3))
        #expect(fired.names == ["first", "second"])
    }
}
