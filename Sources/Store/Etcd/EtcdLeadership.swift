internal import Etcd
internal import HTTP
internal import IO
internal import Telemetry

/// Which of several servers decides for all: who holds the key `PREFIX/leader`, as long as its lease lives.
///
/// A leader that cannot renew its lease steps down before etcd gives the place to another: there are never two. Loop-owned.
public final class EtcdLeadership {
    /// How long the place is kept for a leader that is silent: its death is covered within five seconds.
    static let leaseSeconds: Int64 = 3
    /// How often the lease is renewed, or the place tried for.
    static let interval = Duration.seconds(1)
    /// After which silence a leader takes itself for dethroned: a second before etcd does.
    static let silence = Duration.seconds(2)

    private let client: EtcdClient
    private let layout: EtcdLayout
    private let name: String
    private let changed: (Bool) -> Void
    private let log = Logger("store")
    private var lease: Int64 = 0
    private var timer: LoopTimer?
    private var lastKept: MonotonicTime
    private var isBusy = false
    private var isStopped = false
    /// Whether this server decides.
    public private(set) var isLeader = false

    init(_ client: EtcdClient, _ layout: EtcdLayout, name: String, changed: @escaping (Bool) -> Void) {
        self.client = client
        self.layout = layout
        self.name = name
        self.changed = changed
        lastKept = client.loop.now
    }

    func start() {
        act()
        arm()
    }

    private func arm() {
        timer = client.loop.schedule(after: Self.interval) { [weak self] in
            guard let self, !self.isStopped else { return }
            if self.isLeader, self.client.loop.now - self.lastKept > Self.silence { self.become(false) }
            self.act()
            self.arm()
        }
    }

    /// The place is free: somebody has left it or died.
    func isVacant() {
        if isLeader { become(false) }
        act()
    }

    /// `@unchecked Sendable`: touched on the loop only.
    private final class Link: @unchecked Sendable {
        private(set) weak var leadership: EtcdLeadership?
        init(_ leadership: EtcdLeadership) { self.leadership = leadership }
    }

    private func act() {
        guard !isBusy, !isStopped else { return }
        isBusy = true
        let link = Link(self)
        Task(executorPreference: client.loop) {
            guard let leadership = link.leadership else { return }
            do throws(GRPCStatus) {
                if leadership.isLeader { try await leadership.keep() } else { try await leadership.tryForPlace() }
            } catch {
                leadership.log.debug("the election goes on", ["reason": "\(error)"])
            }
            leadership.isBusy = false
        }
    }

    private func keep() async throws(GRPCStatus) {
        let asked = client.loop.now
        if try await client.keepLease(lease) {
            lastKept = asked
        } else {
            become(false)
        }
    }

    private func tryForPlace() async throws(GRPCStatus) {
        let asked = client.loop.now
        var hasLease = lease != 0
        if hasLease { hasLease = try await client.keepLease(lease) }
        if !hasLease { lease = try await client.grantLease(seconds: Self.leaseSeconds) }
        let answer = try await client.call(.txn, layout.take(layout.leader, Array(name.utf8), lease: lease))
        var isOurs = answer.succeeded
        // An answer that was lost: the place is ours already.
        if let found = answer.found {
            isOurs = found.lease == lease && found.value == Array(name.utf8)
        }
        guard isOurs, !isStopped, client.loop.now - asked < Self.silence else { return }
        lastKept = asked
        become(true)
    }

    private func become(_ leader: Bool) {
        guard isLeader != leader else { return }
        isLeader = leader
        log.info(leader ? "this server decides now" : "this server no longer decides")
        changed(leader)
    }

    /// Does no more, without telling etcd.
    func abandon() {
        isStopped = true
        timer?.cancel()
    }

    /// Leaves the place at once, so that another need not wait for the lease to end.
    func stop() async {
        isStopped = true
        timer?.cancel()
        if isLeader { become(false) }
        // The lease ends by itself when this does not arrive.
        if lease != 0 { try? await client.revokeLease(lease) }
    }
}
