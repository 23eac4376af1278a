import APIServer
import HTTP
import IO
import KubernetesAPI
import Serialization
import Telemetry

/// Who of several control planes writes: the holder of a Lease, as long as it renews it.
///
/// Pure. Times of others are not compared with ours: a lease is over when its record has not changed for its duration by
/// our own clock. Source: the algorithm of client-go's leader election.
struct LeaderVote {
    /// How long a lease holds without being renewed: the death of a leader is covered after that and one look, in 5 s.
    static let leaseDuration = Duration.seconds(3)
    /// How often a leader renews.
    static let interval = Duration.seconds(1)
    /// How often another looks.
    static let lookInterval = Duration.milliseconds(500)

    /// What is to be done about the Lease.
    enum Action: Equatable {
        /// Make it.
        case create(JSON)
        /// Replace it, if it is still the one that was seen.
        case update(JSON)
        /// Leave it.
        case wait
    }

    let identity: String
    private var seen: JSON?
    private var seenAt: Duration?
    private var renewedAt: Duration?

    /// A candidate of that name, which no other has.
    init(identity: String) { self.identity = identity }

    /// Whether we may write at `now` (any clock that never goes back): our last renewal still holds.
    ///
    /// A part of the duration is left out, so that we have stopped before another begins.
    func isLeader(at now: Duration) -> Bool {
        renewedAt.map { now - $0 < Self.leaseDuration * 0.8 } ?? false
    }

    /// What to do about the Lease as the server has it; `wall` is what people read in it.
    mutating func decide(_ lease: JSON?, now: Duration, wall: Timestamp) -> Action {
        guard let lease else { return .create(object(lease: nil, wall: wall, isNew: true)) }
        let record = lease["spec"] ?? .object([:])
        if record != seen {
            seen = record
            seenAt = now
        }
        let holder = record["holderIdentity"]?.string ?? ""
        if holder == identity { return .update(object(lease: lease, wall: wall, isNew: false)) }
        let duration = Duration.seconds(max(1, record["leaseDurationSeconds"]?.int ?? 15))
        if !holder.isEmpty, let seenAt, now - seenAt < min(duration, .seconds(3600)) { return .wait }
        return .update(object(lease: lease, wall: wall, isNew: true))
    }

    /// The write of an action that was decided at `began` has succeeded.
    mutating func renewed(_ lease: JSON, began: Duration) {
        seen = lease["spec"]
        seenAt = began
        renewedAt = began
    }

    /// Another holds it.
    mutating func lost() { renewedAt = nil }

    /// The Lease that says that nobody holds it: whoever waits need not wait for its end.
    func released(_ lease: JSON, wall: Timestamp) -> JSON {
        var lease = lease
        lease["spec"]?["holderIdentity"] = ""
        lease["spec"]?["renewTime"] = .string(wall.microsecondsText)
        lease["spec"]?["leaseDurationSeconds"] = 1
        return lease
    }

    private func object(lease: JSON?, wall: Timestamp, isNew: Bool) -> JSON {
        let time: JSON = .string(wall.microsecondsText)
        var spec = lease?["spec"] ?? .object([:])
        spec["holderIdentity"] = .string(identity)
        spec["leaseDurationSeconds"] = .integer(Self.leaseDuration.components.seconds)
        spec["renewTime"] = time
        if isNew {
            spec["acquireTime"] = time
            spec["leaseTransitions"] = .integer(Int64((lease?["spec"]?["leaseTransitions"]?.int ?? -1) + 1))
        }
        var object = lease ?? ["apiVersion": "coordination.k8s.io/v1", "kind": "Lease"]
        object["spec"] = spec
        return object
    }
}

/// Takes part in an election over a Kubernetes API.
///
/// `@unchecked Sendable`: belongs to one loop.
final class LeaderElection: @unchecked Sendable {
    static let namespace = "skein-system"
    static let name = "skein-control-plane"
    private let connection: ClusterConnection
    private let loop: EventLoop
    private let wall: () -> Timestamp
    private let changed: (Bool) -> Void
    private let log = Logger("election")
    private var vote: LeaderVote
    private var task: Task<Void, Never>?
    private var watchdog: LoopTimer?
    private var lease: JSON?
    private var wasLeader = false
    private let start: MonotonicTime

    /// `changed` is called with whether we lead, whenever that has changed.
    init(
        _ connection: ClusterConnection, identity: String, on loop: EventLoop, wall: @escaping () -> Timestamp,
        changed: @escaping (Bool) -> Void
    ) {
        self.connection = connection
        self.loop = loop
        self.wall = wall
        self.changed = changed
        vote = LeaderVote(identity: identity)
        start = loop.now
    }

    private var now: Duration { loop.now - start }

    func run() {
        task = Task(executorPreference: loop) { [weak self] in
            while let self, !Task.isCancelled {
                await self.round()
                let pause = self.wasLeader ? LeaderVote.interval : LeaderVote.lookInterval
                await self.loop.sleep(for: pause * Double.random(in: 0.9...1.1))
            }
        }
    }

    /// How long the end waits until the lease is given back.
    private static let releasePatience = Duration.seconds(1)

    /// Gives the lease back if it is ours, so that others need not wait; `done` is called once.
    func stop(_ done: @escaping @Sendable () -> Void) {
        task?.cancel()
        watchdog?.cancel()
        guard wasLeader, let lease else { return done() }
        tell(false)
        let released = vote.released(lease, wall: wall())
        let loop = loop
        _ = Task(executorPreference: loop) { [connection] in
            let timer = loop.schedule(after: Self.releasePatience) { connection.close() }
            // Whoever waits takes it a little later when this fails.
            _ = try? await connection.send(.put, Self.path + "/" + Self.name, released)
            timer.cancel()
            done()
        }
    }

    private static var path: String { ClusterSource.path(.lease, namespace) }

    private func round() async {
        let began = now
        do throws(StatusError) {
            var present: JSON?
            do throws(StatusError) {
                present = try await connection.send(.get, Self.path + "/" + Self.name)
            } catch  where error.code == 404 {
                present = nil
            }
            switch vote.decide(present, now: began, wall: wall()) {
            case .create(var lease):
                lease["metadata"] = ["name": .string(Self.name), "namespace": .string(Self.namespace)]
                take(try await connection.send(.post, Self.path, lease), began)
            case .update(let lease):
                take(try await connection.send(.put, Self.path + "/" + Self.name, lease), began)
            case .wait:
                vote.lost()
                tell(false)
            }
        } catch {
            // Somebody was faster, or nobody answers: the lease says for how long we still lead.
            if error.code != 409 { log.warning("the lease cannot be renewed", ["error": error.message]) }
            tell(vote.isLeader(at: now))
        }
    }

    private func take(_ written: JSON, _ began: Duration) {
        lease = written
        vote.renewed(written, began: began)
        tell(vote.isLeader(at: now))
        // A request that hangs must not make us lead longer than we may.
        watchdog?.cancel()
        watchdog = loop.schedule(after: LeaderVote.leaseDuration * 0.8) { [weak self] in
            guard let self else { return }
            self.tell(self.vote.isLeader(at: self.now))
        }
    }

    private func tell(_ leads: Bool) {
        guard leads != wasLeader else { return }
        wasLeader = leads
        log.info(leads ? "this control plane writes" : "another control plane writes", ["identity": vote.identity])
        changed(leads)
    }
}
