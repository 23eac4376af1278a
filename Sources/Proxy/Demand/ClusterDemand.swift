internal import IO

/// The clusters that requests and connections have asked for (ODCDS), by name: from where each comes, which workers wait
/// for it, and when it leaves again.
///
/// Virtual hosts (VHDS, `ROUTES/authority`) are asked for in the same way.
///
/// Pure: time and traffic are handed in, and what comes out is who must be told what.
struct ClusterDemand: Sendable {
    /// How a wait ends.
    enum Outcome: Sendable, Hashable {
        /// The cluster is there, with its endpoints.
        case available
        /// The server says that there is none, or what it sent was refused.
        case missing
        /// Nobody said anything in time.
        case timedOut
    }

    /// What is to be done about a question.
    enum Answer: Sendable, Hashable {
        case known(Outcome)
        /// Who asks is told later; `isNew`: the server is to be asked.
        case wait(isNew: Bool)
        /// So many clusters are asked for that no further one can be (`Limits.demandedClustersMax`).
        case overflow
    }

    /// Workers that are to be told how the wait for a cluster has ended.
    struct Notice: Sendable, Hashable {
        var name: String
        var workers: Set<Int>
        var outcome: Outcome
    }

    /// What has gone through a cluster so far, and what is going on in it.
    struct Traffic: Sendable, Hashable {
        var total: UInt64
        var active: UInt64
    }

    private enum State: Sendable { case asked, present, missing }

    private struct Entry: Sendable {
        var sources: Set<DiscoverySource>
        var workers: Set<Int> = []
        var state = State.asked
        /// When it was asked for, used or found missing last.
        var touched: MonotonicTime
        var total: UInt64 = 0
    }

    private var entries: [String: Entry] = [:]
    /// Names for which somebody waits.
    private var awaited: Set<String> = []
    private let entriesMax: Int

    init(max entriesMax: Int = Limits.demandedClustersMax) { self.entriesMax = entriesMax }

    var count: Int { entries.count }

    /// Whether a cluster is there because somebody asked for it.
    func contains(_ name: String) -> Bool { entries[name] != nil }

    /// What is to be subscribed to.
    var wanted: [(source: DiscoverySource, name: String)] {
        entries.flatMap { name, entry in entry.sources.map { ($0, name) } }
    }

    /// A worker asks; `isPresent`: the workers have the cluster.
    mutating func ask(
        _ name: String, from source: DiscoverySource, worker: Int, isPresent: Bool, now: MonotonicTime
    ) -> Answer {
        if isPresent {
            entries[name]?.touched = now
            return .known(.available)
        }
        guard var entry = entries[name] else {
            guard entries.count < entriesMax else { return .overflow }
            entries[name] = Entry(sources: [source], workers: [worker], touched: now)
            awaited.insert(name)
            return .wait(isNew: true)
        }
        let isNew = entry.sources.insert(source).inserted
        // The server was asked and has not got it. It tells when that changes, so nobody waits.
        if case .missing = entry.state, !isNew { return .known(.missing) }
        if case .missing = entry.state { entry.state = .asked }
        entry.workers.insert(worker)
        entry.touched = now
        entries[name] = entry
        awaited.insert(name)
        return .wait(isNew: isNew)
    }

    /// It is to be there although no request waits for it: it was there before a restart, or a request will not wait.
    ///
    /// Tells whether the server is to be asked.
    mutating func want(_ name: String, from source: DiscoverySource, isPresent: Bool, now: MonotonicTime) -> Bool {
        guard entries[name] == nil, entries.count < entriesMax else { return false }
        entries[name] = Entry(sources: [source], state: isPresent ? .present : .asked, touched: now)
        return true
    }

    /// The names that are asked for.
    var names: some Collection<String> { entries.keys }

    /// The workers have been given these clusters, among others.
    mutating func arrived(_ isPresent: (String) -> Bool) -> [Notice] {
        guard !awaited.isEmpty else { return [] }
        return finish(awaited.filter(isPresent), .available, .present)
    }

    /// The server has sent a cluster, whose endpoints may still be on their way.
    mutating func came(_ name: String) {
        if entries[name]?.state != .present { entries[name]?.state = .present }
    }

    /// The server says that there are no such clusters (any more), or what it sent of them is of no use.
    mutating func missing(_ names: some Sequence<String>, now: MonotonicTime) -> [Notice] {
        guard !entries.isEmpty else { return [] }
        let known = names.filter { entries[$0] != nil }
        for name in known { entries[name]?.touched = now }
        return finish(known, .missing, .missing)
    }

    private mutating func finish(_ names: some Sequence<String>, _ outcome: Outcome, _ state: State) -> [Notice] {
        names.compactMap { name in
            guard let entry = entries[name] else { return nil }
            entries[name]?.state = state
            entries[name]?.workers = []
            awaited.remove(name)
            return entry.workers.isEmpty ? nil : Notice(name: name, workers: entry.workers, outcome: outcome)
        }
    }

    /// Names that are no longer asked for, whoever waits.
    mutating func forget(_ isGone: (String) -> Bool) -> [Notice] {
        let gone = entries.keys.filter(isGone)
        let notices = finish(gone, .missing, .missing)
        for name in gone { entries[name] = nil }
        return notices
    }

    /// What is no longer asked for from now on: clusters without traffic for `Limits.demandedClusterIdle`, names that the
    /// server does not know for `Limits.missingClusterMemory`, and names about which it says nothing.
    mutating func sweep(now: MonotonicTime, traffic: (String) -> Traffic) -> (left: [String], notices: [Notice]) {
        var left: [String] = []
        for (name, entry) in entries {
            let rest: Duration
            switch entry.state {
            case .present:
                let use = traffic(name)
                if use.total != entry.total || use.active > 0 {
                    entries[name]?.total = use.total
                    entries[name]?.touched = now
                    continue
                }
                rest = Limits.demandedClusterIdle
            case .missing: rest = Limits.missingClusterMemory
            case .asked: rest = Limits.askedClusterMemory
            }
            if entry.touched + rest <= now { left.append(name) }
        }
        let notices = finish(left, .missing, .missing)
        for name in left { entries[name] = nil }
        return (left.sorted(), notices)
    }
}
