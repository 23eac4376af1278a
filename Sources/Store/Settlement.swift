/// What becomes of writes that are not safe yet.
///
/// It is asked for in the same stretch as the write itself, with nothing awaited in between: whoever asks later may find that
/// the write was taken back meanwhile, and everything that is left is safe. Loop-owned.
public final class Settlement {
    /// The newest write it is about.
    let revision: Revision
    private var outcome: StoreError??
    private var waiters: [CheckedContinuation<StoreError?, Never>] = []

    init(_ revision: Revision) { self.revision = revision }

    /// Waits until the writes are safe; throws when they were taken back.
    public func wait() async throws(StoreError) {
        let failure: StoreError? = await withCheckedContinuation { continuation in
            if let outcome { continuation.resume(returning: outcome) } else { waiters.append(continuation) }
        }
        if let failure { throw failure }
    }

    /// It is known: safe (nil), or why not.
    func resolve(_ failure: StoreError?) {
        guard outcome == nil else { return }
        outcome = .some(failure)
        let all = waiters
        waiters = []
        for waiter in all { waiter.resume(returning: failure) }
    }
}

extension ObjectStore {
    /// Waits until everything written so far is safe; throws when it was taken back.
    ///
    /// Only for those who know that nothing was taken back since their write: a call may begin a pass of the loop later.
    /// Whoever answers a client takes a `settlement` with the write.
    public func settled() async throws(StoreError) { try await settlement()?.wait() }
}
