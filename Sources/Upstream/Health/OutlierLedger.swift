import Synchronization

/// What outlier detection remembers of one host: one for all loops, so that thresholds hold for the whole process.
///
/// A result costs an atomic addition. What belongs to an ejection changes under the ledger's lock.
final class OutlierRecord: Sendable {
    let consecutive5xx = Atomic<UInt32>(0)
    let consecutiveGatewayFailure = Atomic<UInt32>(0)
    let consecutiveLocalOriginFailure = Atomic<UInt32>(0)
    /// Responses since the last sweep.
    let responses = ResultCount()
    /// The same for our own side: connections, resets, timeouts.
    let localResults = ResultCount()
    let isEjected = Atomic<Bool>(false)
    let ejectedAt = Atomic<UInt64>(0)
    let unejectAt = Atomic<UInt64>(0)
    /// Times the base time is multiplied; grows with each ejection, shrinks with each quiet sweep (O-4).
    let multiplier = Atomic<UInt64>(0)

    func forgetFailures() {
        consecutive5xx.store(0, ordering: .relaxed)
        consecutiveGatewayFailure.store(0, ordering: .relaxed)
        consecutiveLocalOriginFailure.store(0, ordering: .relaxed)
    }
}

/// Results of an interval, and the share of the last that was measured.
final class ResultCount: Sendable {
    /// All results above the lower half, those that were no error in it: one addition counts both.
    private let counts = Atomic<UInt64>(0)
    private let rateBits = Atomic<UInt64>((-1.0).bitPattern)

    private static let one: UInt64 = 1 << 32

    func add(isSuccess: Bool) { counts.wrappingAdd(Self.one | (isSuccess ? 1 : 0), ordering: .relaxed) }

    /// The share of successes in the last interval, in percent; below 0 is none.
    var rate: Double { Double(bitPattern: rateBits.load(ordering: .relaxed)) }

    /// Ends an interval; the answer is how many results it had, and the share of successes in percent, below 0 for none.
    func finish() -> (count: UInt32, rate: Double) {
        let both = counts.exchange(0, ordering: .relaxed)
        let count = UInt32(truncatingIfNeeded: both >> 32)
        let successes = UInt32(truncatingIfNeeded: both)
        let rate = count == 0 ? -1 : Double(successes) * 100 / Double(count)
        rateBits.store(rate.bitPattern, ordering: .relaxed)
        return (count, rate)
    }
}

/// The records of a cluster's hosts, shared by all loops: who is ejected is decided one at a time.
public final class OutlierLedger: Sendable {
    struct State {
        var records: [HostAddress: OutlierRecord] = [:]
        /// How many of them are ejected.
        var ejected = 0
    }

    let state = Mutex(State())

    /// Nothing is remembered.
    public init() {}

    /// The record of a host; found by its address once, then held by the host.
    func record(of host: Host) -> OutlierRecord {
        if let known = host.outlier { return known }
        let record = state.withLock { state in
            if let known = state.records[host.address] { return known }
            let fresh = OutlierRecord()
            state.records[host.address] = fresh
            return fresh
        }
        host.outlier = record
        return record
    }

    /// A host has left: the first loop that says so is told whether it was ejected.
    public func forget(_ host: Host) -> Bool {
        guard let record = host.outlier else { return false }
        return state.withLock { state in
            // Whoever has the address now may be somebody else.
            guard state.records[host.address] === record else { return false }
            state.records[host.address] = nil
            guard record.isEjected.load(ordering: .relaxed) else { return false }
            state.ejected -= 1
            return true
        }
    }

    /// Outlier detection is switched off: the answer is how many were ejected.
    public func clear() -> Int {
        state.withLock { state in
            for record in state.records.values { record.isEjected.store(false, ordering: .relaxed) }
            defer { state.ejected = 0 }
            return state.ejected
        }
    }

    /// Ends an ejection; false when it has ended already.
    func comeBack(_ record: OutlierRecord) -> Bool {
        state.withLock { state in
            guard record.isEjected.exchange(false, ordering: .relaxed) else { return false }
            record.forgetFailures()
            state.ejected -= 1
            return true
        }
    }
}
