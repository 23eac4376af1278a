internal import IO
internal import Synchronization

extension HostNetwork {
    /// Makes the kernel enforce exactly these policies, in one transaction that holds only what changed.
    ///
    /// From the first call on, a pod of this node that is not in `policies.pods` is cut off, so that nothing reaches it
    /// before what is allowed is known (N-8, ATK-42); an earlier process' rules stay as they are until then. Returns
    /// whether anything changed.
    @discardableResult
    public func apply(policies: PolicySet) throws(NetworkError) -> Bool {
        let program = PolicyProgram(policies)
        let text = program.text
        let outcome = state.withLock { (state) -> Result<Bool, NetworkError> in
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
                (state.policyText, state.policies) = (text, program)
                return .success(isChanged)
            } catch {
                return .failure(error)
            }
        }
        let isChanged = try outcome.get()
        if isChanged { try cutDenied(program) }
        return isChanged
    }

    /// Ends established connections that the policies do not allow (any more).
    ///
    /// What the host itself begins or takes is not asked about (N-5).
    private func cutDenied(_ program: PolicyProgram) throws(NetworkError) {
        guard program.verdicts.values.contains(where: { !$0.isAllowed }) else { return }
        let own = Set(try routes.addresses().map(\.address))
        try ConnectionTracking.forget { packet in
            guard !own.contains(packet.source), !own.contains(packet.destination) else { return false }
            return PolicySet.Direction.allCases.contains { program.decide(packet, $0)?.isAllowed == false }
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
