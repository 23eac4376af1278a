/// A timer of a loop.
///
/// Lives in the wheel until it fires or is cancelled.
public final class LoopTimer {
    fileprivate var body: (() -> Void)?
    fileprivate let expiry: UInt64
    fileprivate var slot = -1
    fileprivate var next: LoopTimer?
    fileprivate unowned(unsafe) var previous: LoopTimer?
    fileprivate weak var wheel: TimerWheel.Slots?

    fileprivate init(expiry: UInt64, body: @escaping () -> Void) {
        self.expiry = expiry
        self.body = body
    }

    /// Takes the timer back.
    ///
    /// Harmless when it has fired or was cancelled. On the loop.
    public func cancel() {
        body = nil
        wheel?.remove(self)
    }

    /// Whether the timer has neither fired nor been cancelled.
    public var isPending: Bool { body != nil }
}

/// A hierarchical timing wheel: four levels of 256 slots, one millisecond the finest step.
///
/// Adding, cancelling and firing cost O(1) whatever the number of timers, because nearly all timers of a proxy (timeouts)
/// are cancelled before they fire. Time comes in as an argument.
///
/// A class, because a timer that fires may add others: a struct would be changed while it is being changed.
final class TimerWheel {
    static let levels = 4
    static let slotsPerLevel = 256

    /// The slots by reference, so that a timer can take itself out.
    final class Slots {
        var heads = [LoopTimer?](repeating: nil, count: TimerWheel.levels * TimerWheel.slotsPerLevel)
        var occupied = [UInt64](repeating: 0, count: TimerWheel.levels * TimerWheel.slotsPerLevel / 64)
        /// Nothing has been added, taken out or moved since the next tick was looked for.
        var isNextKnown = false

        func insert(_ timer: LoopTimer, slot: Int) {
            timer.slot = slot
            timer.wheel = self
            timer.previous = nil
            timer.next = heads[slot]
            timer.next?.previous = timer
            heads[slot] = timer
            occupied[slot / 64] |= 1 << UInt64(slot % 64)
            isNextKnown = false
        }

        func remove(_ timer: LoopTimer) {
            guard timer.slot >= 0 else { return }
            if let previous = timer.previous {
                previous.next = timer.next
            } else {
                heads[timer.slot] = timer.next
                if timer.next == nil { occupied[timer.slot / 64] &= ~(1 << UInt64(timer.slot % 64)) }
            }
            timer.next?.previous = timer.previous
            timer.next = nil
            timer.previous = nil
            timer.slot = -1
            timer.wheel = nil
            isNextKnown = false
        }

        /// How many slots after `position` (1...256) the next occupied slot of that level is, cyclically.
        func distance(level: Int, after position: Int) -> Int? {
            let base = level * 4  // Words of 64 slots.
            var distance = 1
            while distance <= TimerWheel.slotsPerLevel {
                let slot = (position + distance) % TimerWheel.slotsPerLevel
                let word = occupied[base + slot / 64] >> UInt64(slot % 64)
                if word != 0 {
                    let found = distance + word.trailingZeroBitCount
                    return found <= TimerWheel.slotsPerLevel ? found : nil
                }
                distance += 64 - slot % 64
            }
            return nil
        }
    }

    private let slots = Slots()
    /// Milliseconds on the monotonic clock up to which everything has been fired.
    private var current: UInt64
    /// What `nextTick` found last, while `isNextKnown`: time that passes before it changes nothing.
    private var knownNext: UInt64?

    init(now: MonotonicTime) { current = now.nanoseconds / 1_000_000 }

    func add(at time: MonotonicTime, _ body: @escaping () -> Void) -> LoopTimer {
        // Rounded up: a timer never fires early.
        let tick = time.nanoseconds / 1_000_000 + (time.nanoseconds % 1_000_000 == 0 ? 0 : 1)
        let timer = LoopTimer(expiry: max(tick, current + 1), body: body)
        place(timer)
        return timer
    }

    private func place(_ timer: LoopTimer) {
        // 2^32 ms are 49 days; what lies beyond waits in the last slot and is placed again from there.
        let delta = min(timer.expiry - current, (1 << 32) - 1)
        let tick = current + delta
        let level = delta < 1 << 8 ? 0 : delta < 1 << 16 ? 1 : delta < 1 << 24 ? 2 : 3
        let position = Int(truncatingIfNeeded: tick >> UInt64(8 * level) & 0xFF)
        slots.insert(timer, slot: level * TimerWheel.slotsPerLevel + position)
    }

    /// Fires everything that is due.
    ///
    /// A timer that is added meanwhile fires in a later call.
    func expire(now: MonotonicTime) {
        let target = now.nanoseconds / 1_000_000
        while current < target {
            // Jump over ticks in which nothing can happen.
            guard let next = nextTick(), next <= target else {
                current = target
                return
            }
            current = next
            slots.isNextKnown = false
            cascade()
            fire(slot: Int(truncatingIfNeeded: current & 0xFF))
        }
    }

    /// How long `epoll_wait` may sleep; -1 when there is no timer.
    func millisecondsToNext(now: MonotonicTime) -> Int32 {
        guard let next = nextTick() else { return -1 }
        let due = next &* 1_000_000
        guard due > now.nanoseconds else { return 0 }
        return Int32(clamping: (due - now.nanoseconds + 999_999) / 1_000_000)
    }

    /// The next tick at which a slot has to be fired or cascaded.
    private func nextTick() -> UInt64? {
        if slots.isNextKnown { return knownNext }
        var best: UInt64?
        for level in 0..<TimerWheel.levels {
            let shift = UInt64(8 * level)
            let position = Int(truncatingIfNeeded: current >> shift & 0xFF)
            guard let distance = slots.distance(level: level, after: position) else { continue }
            let tick = ((current >> shift) + UInt64(distance)) << shift
            best = min(best ?? .max, tick)
        }
        knownNext = best
        slots.isNextKnown = true
        return best
    }

    /// Moves the timers of the higher slots that begin at `current` down to where they belong now.
    private func cascade() {
        for level in 1..<TimerWheel.levels {
            guard current & ((1 << UInt64(8 * level)) - 1) == 0 else { return }
            let position = Int(truncatingIfNeeded: current >> UInt64(8 * level) & 0xFF)
            let slot = level * TimerWheel.slotsPerLevel + position
            while let timer = slots.heads[slot] {
                slots.remove(timer)
                place(timer)
            }
        }
    }

    private func fire(slot: Int) {
        while let timer = slots.heads[slot] {
            slots.remove(timer)
            guard timer.expiry <= current else {
                place(timer)  // Due a whole turn later.
                continue
            }
            let body = timer.body
            timer.body = nil
            body?()
        }
    }
}
