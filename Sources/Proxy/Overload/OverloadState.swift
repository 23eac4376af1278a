internal import Synchronization
internal import Telemetry

/// What the overload manager has decided, as every loop reads it: atomics that change about once a second.
///
/// Without an overload manager nothing ever changes, and what is asked costs one load each.
final class OverloadState: Sendable {
    /// States in thousandths: 0 is not at all, 1000 is fully.
    private let stopRequests = Atomic<UInt32>(0)
    private let keepAlive = Atomic<UInt32>(0)
    private let stopConnections = Atomic<UInt32>(0)
    private let rejectConnections = Atomic<UInt32>(0)
    private let heap = Atomic<UInt32>(0)
    private let timeouts = Atomic<UInt32>(0)
    private let streams = Atomic<UInt32>(0)

    private let timers: [OverloadConfig.Timer]
    /// Downstream connections of all loops.
    private let connectionCount = Atomic<Int>(0)
    let connectionsMax: Int
    /// Whether anything asks how many there are.
    private let countsConnections: Bool
    /// What was refused or ended for want of resources.
    let rejectedConnections = Atomic<UInt64>(0)
    let rejectedRequests = Atomic<UInt64>(0)
    let resetStreams = Atomic<UInt64>(0)

    /// The load shed points that shed now, a bit for each: one load tells a data path that there are none.
    private let shedding = Atomic<UInt32>(0)
    /// By point.
    private let points: [Point]

    /// One load shed point.
    private final class Point: Sendable {
        /// The share of what comes that is shed.
        let thousandths = Atomic<UInt32>(0)
        /// `shed_load_count`; nil where the point is not configured, or nothing is going to run.
        let count: MetricCounter?

        init(_ count: MetricCounter?) { self.count = count }
    }

    /// - Parameter metrics: Where is counted what is shed; nil where nothing is going to run.
    init(_ config: OverloadConfig? = nil, metrics: MetricSet? = nil) {
        let configured = Set(config?.points.map(\.point) ?? [])
        points = OverloadConfig.ShedPoint.allCases.map { point in
            Point(
                configured.contains(point)
                    ? metrics?.scope("overload", point.name).counter("shed_load_count") : nil)
        }
        timers = config?.timers ?? []
        connectionsMax = config?.connectionsMax.map { Int(clamping: $0) } ?? .max
        countsConnections = config?.connectionsMax != nil
    }

    /// How far an action is in force, in thousandths.
    func thousandths(_ action: OverloadConfig.Action) -> UInt32 {
        switch action {
        case .stopAcceptingRequests: stopRequests.load(ordering: .relaxed)
        case .disableKeepAlive: keepAlive.load(ordering: .relaxed)
        case .stopAcceptingConnections: stopConnections.load(ordering: .relaxed)
        case .rejectIncomingConnections: rejectConnections.load(ordering: .relaxed)
        case .shrinkHeap: heap.load(ordering: .relaxed)
        case .reduceTimeouts: timeouts.load(ordering: .relaxed)
        case .resetStreams: streams.load(ordering: .relaxed)
        }
    }

    func set(_ action: OverloadConfig.Action, _ state: Double) {
        let value = UInt32(min(max(state, 0), 1) * 1000)
        switch action {
        case .stopAcceptingRequests: stopRequests.store(value, ordering: .relaxed)
        case .disableKeepAlive: keepAlive.store(value, ordering: .relaxed)
        case .stopAcceptingConnections: stopConnections.store(value, ordering: .relaxed)
        case .rejectIncomingConnections: rejectConnections.store(value, ordering: .relaxed)
        case .shrinkHeap: heap.store(value, ordering: .relaxed)
        case .reduceTimeouts: timeouts.store(value, ordering: .relaxed)
        case .resetStreams: streams.store(value, ordering: .relaxed)
        }
    }

    /// The share of what comes to a load shed point that is shed, in thousandths.
    func thousandths(_ point: OverloadConfig.ShedPoint) -> UInt32 {
        points[point.rawValue].thousandths.load(ordering: .relaxed)
    }

    func set(_ point: OverloadConfig.ShedPoint, _ share: Double) {
        let value = UInt32(min(max(share, 0), 1) * 1000)
        points[point.rawValue].thousandths.store(value, ordering: .relaxed)
        let bit: UInt32 = 1 << UInt32(point.rawValue)
        if value > 0 {
            shedding.bitwiseOr(bit, ordering: .relaxed)
        } else {
            shedding.bitwiseAnd(~bit, ordering: .relaxed)
        }
    }

    // MARK: Asked by the data path

    /// Whether any load shed point sheds now.
    var shedsLoad: Bool { shedding.load(ordering: .relaxed) != 0 }

    /// Whether what has come to a load shed point is shed, which is counted.
    ///
    /// - Parameters:
    ///   - row: the loop's in metrics.
    ///   - random: any number of the whole range.
    func sheds(_ point: OverloadConfig.ShedPoint, row: Int, _ random: @autoclosure () -> UInt64) -> Bool {
        guard shedding.load(ordering: .relaxed) & (1 << UInt32(point.rawValue)) != 0 else { return false }
        let place = points[point.rawValue]
        guard hits(place.thousandths.load(ordering: .relaxed), random()) else { return false }
        place.count?.add(row: row)
        return true
    }

    /// Whether new requests are answered with 503 (flag OM).
    func refusesRequest(_ random: @autoclosure () -> UInt64) -> Bool {
        guard hits(thousandths(.stopAcceptingRequests), random()) else { return false }
        rejectedRequests.add(1, ordering: .relaxed)
        return true
    }

    /// Whether responses say `connection: close`.
    func endsKeepAlive(_ random: @autoclosure () -> UInt64) -> Bool { hits(thousandths(.disableKeepAlive), random()) }

    /// Whether listeners leave new connections in the kernel's queue.
    var stopsAccepting: Bool { thousandths(.stopAcceptingConnections) >= 1000 }

    /// What becomes of a new downstream connection.
    enum Admission {
        /// It is served; the ticket lives as long as the connection (nil where nobody counts).
        case admitted(ConnectionTicket?)
        /// There are as many as there may be.
        case overflow
        /// The overload manager rejects it.
        case rejected
    }

    /// Asks whether a new downstream connection is served.
    func admit(ignoresLimit: Bool, row: Int, _ random: @autoclosure () -> UInt64) -> Admission {
        if sheds(.tcpListenerAccept, row: row, random()) || hits(thousandths(.rejectIncomingConnections), random()) {
            rejectedConnections.add(1, ordering: .relaxed)
            return .rejected
        }
        guard countsConnections else { return .admitted(nil) }
        let count = connectionCount.wrappingAdd(1, ordering: .relaxed).newValue
        if ignoresLimit || count <= connectionsMax { return .admitted(ConnectionTicket(self)) }
        connectionCount.wrappingSubtract(1, ordering: .relaxed)
        rejectedConnections.add(1, ordering: .relaxed)
        return .overflow
    }

    fileprivate func connectionClosed() { connectionCount.wrappingSubtract(1, ordering: .relaxed) }

    var connections: Int { connectionCount.load(ordering: .relaxed) }

    /// A timeout as it is now: between its configured length and the shortest that the action allows.
    func scaled(_ timeout: Duration?, _ kind: OverloadConfig.Timer.Kind) -> Duration? {
        let state = thousandths(.reduceTimeouts)
        guard state > 0, let timeout, let timer = timers.first(where: { $0.kind == kind }) else { return timeout }
        let shortest: Duration =
            switch timer.minimum {
            case .duration(let minimum): min(minimum, timeout)
            case .share(let share): timeout * share
            }
        return timeout - (timeout - shortest) * (Double(state) / 1000)
    }

    private func hits(_ state: UInt32, _ random: @autoclosure () -> UInt64) -> Bool {
        state > 0 && (state >= 1000 || UInt64(1000).multipliedFullWidth(by: random()).high < UInt64(state))
    }
}

/// A place among the downstream connections, given back when the last reference is gone.
final class ConnectionTicket: Sendable {
    private let state: OverloadState

    fileprivate init(_ state: OverloadState) { self.state = state }

    deinit { state.connectionClosed() }
}
