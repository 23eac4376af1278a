internal import IO
internal import Netlink
internal import Synchronization

extension HostNetwork {
    /// Searches at most that are remembered until they have been made; beyond it all connections are looked at.
    private static let searchesMax = 10_000

    /// Makes the kernel enforce exactly these policies, in one transaction that holds only what changed.
    ///
    /// From the first call on, a pod of this node that is not in `policies.pods` is cut off, so that nothing reaches it
    /// before what is allowed is known (N-8, ATK-42); an earlier process' rules stay as they are until then. Returns
    /// whether anything changed.
    @discardableResult
    public func apply(policies: PolicySet) throws(NetworkError) -> Bool {
        let program = PolicyProgram(policies)
        let text = program.text
        let outcome = state.withLock { (state) -> Result<(isChanged: Bool, cut: Cut), NetworkError> in
            do throws(NetworkError) {
                let transaction = text.transaction(from: state.policyText)
                do throws(NetworkError) {
                    if !transaction.isEmpty { try NFTables.run(transaction) }
                } catch {
                    // Somebody has changed the table behind our back: it is made anew.
                    guard state.policyText != nil else { throw error }
                    try NFTables.run(text.transaction(from: nil))
                }
                let isChanged = state.policies.map { $0 != program } ?? true
                if isChanged {
                    // After a restart nobody knows what the rules were.
                    let more = state.policies.map(program.tightened(since:))
                    let all = state.toCut.flatMap { owed in more.map { owed.union($0) } }
                    state.toCut = all.flatMap { $0.count <= HostNetwork.searchesMax ? $0 : nil }
                    state.policyChanges &+= 1
                }
                (state.policyText, state.policies) = (text, program)
                return .success((isChanged, Cut(searches: state.toCut, change: state.policyChanges)))
            } catch {
                return .failure(error)
            }
        }
        let (isChanged, cut) = try outcome.get()
        if cut.searches != [] { try cutDenied(program, cut) }
        return isChanged
    }

    /// Among which connections there may be some that are denied, and after how many changes of the rules that was known.
    private struct Cut {
        var searches: Set<ConnectionTable.Search>?
        var change: UInt64
    }

    /// Ends established connections that the policies do not allow (any more).
    ///
    /// What the host itself begins or takes is not asked about (N-5). What fails is done again with the next call.
    private func cutDenied(_ program: PolicyProgram, _ cut: Cut) throws(NetworkError) {
        if program.verdicts.values.contains(where: { !$0.isAllowed }) {
            let own = Set(try routes.addresses().map(\.address))
            try ConnectionTracking.forget(among: cut.searches) { packet in
                guard !own.contains(packet.source), !own.contains(packet.destination) else { return false }
                return PolicySet.Direction.allCases.contains { program.decide(packet, $0)?.isAllowed == false }
            }
        }
        state.withLock { state in
            // Somebody else's change meanwhile has more to look at.
            if state.policyChanges == cut.change { state.toCut = [] }
        }
    }

    /// Closes every pod until policies are applied, unless rules of an earlier process stand: those go on.
    public func closeUntilPolicies() throws(NetworkError) {
        guard state.withLock({ $0.policies == nil }),
            try !NFTables.tables().contains(where: {
                $0.name == PolicyProgram.table
            })
        else { return }
        try NFTables.run(PolicyProgram(PolicySet()).text.transaction(from: nil))
    }

    /// What policies do with the first packet of a connection at one end, by the rules that the kernel has.
    ///
    /// Nil when there is no pod of this node at that end.
    public func decide(_ packet: PolicySet.Packet, _ direction: PolicySet.Direction) -> PolicyDecision? {
        state.withLock { $0.policies?.decide(packet, direction) }
    }
}
