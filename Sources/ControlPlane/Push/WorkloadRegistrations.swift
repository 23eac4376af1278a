import APIServer
import EnvoyAPI
import HTTP
import IO
import Identity
import KubernetesAPI
import Mesh
import Serialization
import Telemetry

/// The entries of workloads outside of the cluster that are registered as long as their proxies are connected here.
///
/// What an entry holds, and when it goes, is decided by `WorkloadRegistration`; here are the streams, the clock and the writes.
///
/// `@unchecked Sendable`: belongs to one loop (docs/threads.md).
final class WorkloadRegistrations: @unchecked Sendable {
    private let source: any ObjectSource
    private let loop: EventLoop
    private let now: () -> Timestamp
    /// This control plane, among several of one store.
    private let controller = "skein-\(UInt64.random(in: 0 ... .max))"
    private let log = Logger("workloads")
    private var streams: [NamespacedName: Set<Int>] = [:]
    private var timer: LoopTimer?
    private var beaten: MonotonicTime
    private let begun: MonotonicTime
    /// How often entries are looked through for those whose workload is gone.
    static let pause = Duration.seconds(5)
    /// After its start a control plane removes no entry for so long: proxies that lost the last one come again first.
    static let hold = Duration.seconds(60)
    /// How long the API may take to show an entry that it has taken.
    static let patience = Duration.seconds(30)

    init(_ source: any ObjectSource, on loop: EventLoop, now: @escaping () -> Timestamp) {
        self.source = source
        self.loop = loop
        self.now = now
        beaten = loop.now
        begun = loop.now
    }

    /// Begins to look for entries whose workload is gone.
    func start() {
        timer = loop.schedule(after: Self.pause) { [weak self] in
            guard let self else { return }
            if loop.now >= begun + Self.hold { sweep() }
            start()
        }
    }

    /// Ends it.
    func stop() { timer?.cancel() }

    // MARK: Workloads

    /// Sees to it that the workload of a caller has its entry.
    ///
    /// - Throws: why it is none of the group: no such group, another service account, somebody else's entry of that name.
    func register(
        _ registration: WorkloadRegistration, _ account: NamespacedName
    ) async throws(GRPCStatus) {
        let key = registration.entry
        guard let group = source.known(.workloadGroup, registration.group) else {
            throw GRPCStatus(.failedPrecondition, "there is no WorkloadGroup \(registration.group)")
        }
        guard account == WorkloadRegistration.account(group) else {
            throw GRPCStatus(
                .permissionDenied,
                "workloads of WorkloadGroup \(registration.group) run as service account "
                    + "\(WorkloadRegistration.account(group)), not as \(account)")
        }
        guard source.known(.pod, key) == nil else {
            throw GRPCStatus(.failedPrecondition, "a pod has the name of the workload's entry, \(key)")
        }
        let (now, controller) = (now(), controller)
        let error: StatusError?
        if let known = source.known(.workloadEntry, key) {
            guard known.metadata.annotations[WorkloadRegistration.groupAnnotation] == registration.group.name else {
                throw GRPCStatus(
                    .permissionDenied, "WorkloadEntry \(key) was not made by WorkloadGroup \(registration.group)")
            }
            if streams[key] != nil { return }
            error = await withCheckedContinuation { continuation in
                source.modify(
                    .workloadEntry, key, subresource: "",
                    { WorkloadRegistration.connected($0, controller: controller, now: now) },
                    { continuation.resume(returning: $0) })
            }
        } else {
            let object = registration.object(group, controller: controller, now: now)
            error = await withCheckedContinuation { continuation in
                source.create(.workloadEntry, object, namespace: key.namespace) { result in
                    if case .failure(let error) = result {
                        continuation.resume(returning: error)
                    } else {
                        continuation.resume(returning: nil)
                    }
                }
            }
        }
        // Two streams of one workload may come at once; the entry that the other one has made serves both.
        if let error, error.code != 409 {
            log.warning("a workload is not registered", ["entry": "\(key)", "error": error.description])
            throw GRPCStatus(.failedPrecondition, "WorkloadEntry \(key): \(error.message)")
        }
        let deadline = loop.now + Self.patience
        while source.known(.workloadEntry, key) == nil {
            guard loop.now < deadline else {
                throw GRPCStatus(.unavailable, "WorkloadEntry \(key) was made and is not seen yet; try again later")
            }
            await loop.sleep(for: .milliseconds(20))
        }
        log.info("a workload is registered", ["entry": "\(key)", "group": registration.group.name])
    }

    /// A stream of a registered workload has been opened.
    func opened(_ key: NamespacedName, _ stream: Int) { streams[key, default: []].insert(stream) }

    /// A stream has ended; with the last one the time of grace begins.
    func closed(_ key: NamespacedName, _ stream: Int) {
        guard streams[key]?.remove(stream) != nil, streams[key]?.isEmpty == true else { return }
        streams[key] = nil
        let (now, controller) = (now(), controller)
        write(key) { WorkloadRegistration.disconnected($0, controller: controller, now: now) }
    }

    /// What a workload's agent has found.
    func report(_ health: WorkloadHealth, of key: NamespacedName) {
        let now = now()
        guard let known = source.known(.workloadEntry, key), health.set(in: known.json, now: now) != known.json else {
            return
        }
        write(key, subresource: "status") { health.set(in: $0, now: now) }
    }

    private func write(_ key: NamespacedName, subresource: String = "", _ change: @escaping (JSON) -> JSON) {
        source.modify(.workloadEntry, key, subresource: subresource, change) { [log] error in
            // What is gone needs no time of grace.
            guard let error, error.code != 404 else { return }
            log.warning("an entry was not written", ["entry": "\(key)", "error": error.description])
        }
    }

    // MARK: Time

    /// Removes the entries of workloads that are gone, and says of those that are here that they are.
    func sweep() {
        let (now, controller) = (now(), controller)
        let isBeat = loop.now >= beaten + WorkloadRegistration.beat
        if isBeat { beaten = loop.now }
        for entry in source.all(.workloadEntry) {
            let key = NamespacedName(namespace: entry.namespace, name: entry.name)
            if streams[key] != nil {
                if isBeat { write(key) { WorkloadRegistration.connected($0, controller: controller, now: now) } }
                continue
            }
            guard WorkloadRegistration.isOver(entry, now: now) else { continue }
            source.delete(.workloadEntry, key, uid: entry.metadata.uid) { [log] error in
                if let error, ![404, 409].contains(error.code) {
                    log.warning("an entry was not removed", ["entry": "\(key)", "error": error.description])
                } else {
                    log.info("the entry of a workload that is gone is removed", ["entry": "\(key)"])
                }
            }
        }
    }
}

// Registered workloads as subscribers.
extension ProxyStreams {
    /// The uid that stands for a registered workload where pods have one.
    static func uid(ofEntry key: NamespacedName) -> String { "workload-entry/\(key)" }

    /// What a caller without a pod of its own says of itself to be registered; nil when it does not ask for that.
    func registration(
        _ who: Subscriber, _ node: EnvoyAPI.Node?
    ) throws(GRPCStatus) -> (WorkloadRegistration, account: NamespacedName)? {
        let account: NamespacedName
        switch who {
        case .pod: return nil
        case .serviceAccount(let known): account = known
        case .token(let token):
            if token.pod != nil { return nil }
            account = NamespacedName(namespace: token.namespace, name: token.serviceAccount)
        }
        guard let node, let registration = try WorkloadRegistration(node) else { return nil }
        return (registration, account)
    }

    /// Registers the workload of a caller that asks for it; `nil` when it does not.
    func register(
        _ who: Subscriber, _ asked: Asked?
    ) async throws(GRPCStatus) -> WorkloadRegistration? {
        guard let (registration, account) = try registration(who, asked?.request.node) else { return nil }
        try await registrations.register(registration, account)
        objectsChanged()
        return registration
    }

    /// The proxy of a registered workload, if its entry is there and the caller's.
    func registered(
        _ registration: WorkloadRegistration, _ account: NamespacedName
    ) throws(GRPCStatus) -> (ProxyIdentity, uid: String) {
        let key = registration.entry
        guard let entry = cache?.object(.workloadEntry, key),
            entry.metadata.annotations[WorkloadRegistration.groupAnnotation] == registration.group.name
        else {
            throw GRPCStatus(.unavailable, "there is no WorkloadEntry \(key) of WorkloadGroup \(registration.group)")
        }
        let own = entry.spec["serviceAccount"]?.string ?? ""
        guard account == NamespacedName(namespace: key.namespace, name: own.isEmpty ? "default" : own) else {
            throw GRPCStatus(
                .permissionDenied, "WorkloadEntry \(key) runs as service account \(own), not as \(account)")
        }
        return (ProxyIdentity(pod: key, role: .sidecar), Self.uid(ofEntry: key))
    }

    /// A registered workload as one that certificates are made for.
    func boundEntry(uid: String, _ name: NamespacedName?) -> BoundPod? {
        guard let name, uid == Self.uid(ofEntry: name), let entry = cache?.object(.workloadEntry, name) else {
            return nil
        }
        let account = entry.spec["serviceAccount"]?.string ?? ""
        return BoundPod(
            uid: uid, namespace: name.namespace, name: name.name,
            serviceAccount: account.isEmpty ? "default" : account, node: "")
    }
}
