import IO
import Identity
import KubernetesAPI
import Mesh
import TLS
import Telemetry
import XDS

/// Keys and certificates of the proxies that no agent looks after: each pod's on its own streams (decision 9).
///
/// A key is made when a pod asks for its certificate first, is kept in memory alone, and is gone with the pod's last stream. Decisions about time
/// are `WorkloadCredentials`'; here are the clock, chance and the streams.
///
/// `@unchecked Sendable`: belongs to one loop (docs/threads.md).
final class StreamIdentities: @unchecked Sendable {
    /// A pod with its streams.
    private struct Holder {
        var pod: NamespacedName
        var credentials: WorkloadCredentials
        var streams: Set<Int>
        /// Whether somebody was told that the certificate was not renewed.
        var warnedOf: CertificateHealth?
    }

    private let loop: EventLoop
    private let authority: MeshAuthority
    private let clock: () -> Int64
    private let log = Logger("identity")
    private var holders: [String: Holder] = [:]
    private var owners: [Int: String] = [:]
    private var timer: LoopTimer?
    /// Called with a stream and the secrets that it is to have.
    var publish: (_ stream: Int, _ secrets: SnapshotPart) -> Void = { _, _ in }
    /// The version of the roots that a stream has acknowledged; empty when it never asked for them.
    var acknowledgedRoots: (_ stream: Int) -> String? = { _ in nil }
    /// The longest time between two looks at all certificates: the clock of the wall may be set.
    private static let pause: Int64 = 60

    init(_ authority: MeshAuthority, on loop: EventLoop, now: @escaping () -> Int64) {
        self.authority = authority
        self.loop = loop
        clock = now
    }

    /// Ends it.
    func stop() { timer?.cancel() }

    /// The number of pods that have a certificate from here.
    var count: Int { holders.count }

    // MARK: Streams

    /// A stream of a pod asks for its secrets; they are made if there are none yet, and given to it.
    func open(_ stream: Int, uid: String, pod: NamespacedName) {
        guard owners[stream] == nil else { return }
        if holders[uid] == nil {
            do throws(IdentityError) {
                holders[uid] = Holder(pod: pod, credentials: try WorkloadCredentials(), streams: [])
            } catch {
                log.error("no key for a proxy", ["pod": "\(pod)", "error": error.description])
                return
            }
        }
        owners[stream] = uid
        holders[uid]?.streams.insert(stream)
        trust(uid)
        renew(uid)
        give(uid, to: [stream])
        schedule()
    }

    /// A stream has ended; with the pod's last one its key goes.
    func close(_ stream: Int) {
        guard let uid = owners.removeValue(forKey: stream) else { return }
        holders[uid]?.streams.remove(stream)
        if holders[uid]?.streams.isEmpty == true { holders[uid] = nil }
    }

    /// Other roots are to be trusted, or certificates to be replaced before their time.
    func trustChanged() {
        for uid in holders.keys {
            let isOther = trust(uid)
            let isNew = renew(uid)
            if isOther || isNew { give(uid, to: holders[uid]?.streams ?? []) }
        }
        schedule()
    }

    // MARK: Certificates

    @discardableResult
    private func trust(_ uid: String) -> Bool {
        holders[uid]?.credentials.trust(authority.authority.bundle, reissue: authority.authority.reissue) ?? false
    }

    /// Asks for a certificate when it is time; whether there is a new one.
    @discardableResult
    private func renew(_ uid: String) -> Bool {
        guard var holder = holders[uid] else { return false }
        defer { holders[uid] = holder }
        let now = clock()
        do throws(IdentityError) {
            guard let request = try holder.credentials.request(now: now) else { return false }
            let chain = try authority.certify(request, uid: uid, pod: holder.pod).flatMap(\.pem)
            try holder.credentials.certified(chain, now: now, jitter: Double.random(in: 0...1))
            holder.warnedOf = nil
            log.info(
                "a certificate for a proxy without an agent",
                ["pod": "\(holder.pod)", "identity": holder.credentials.identity])
            return true
        } catch {
            if holder.credentials.problem != error.message {
                log.error(
                    "no certificate for a proxy without an agent",
                    ["pod": "\(holder.pod)", "reason": error.description])
            }
            holder.credentials.failed(error.message, now: now, jitter: Double.random(in: 0...1))
            return false
        }
    }

    private func give(_ uid: String, to streams: Set<Int>) {
        guard let credentials = holders[uid]?.credentials else { return }
        var secrets: [EncodedResource] = []
        if let leaf = credentials.chain.first {
            secrets.append(
                WorkloadSecrets.certificate(
                    chain: credentials.chainPEM, key: credentials.key.pem, version: Authority.id(leaf)))
        }
        if let bundle = credentials.bundle {
            secrets.append(WorkloadSecrets.roots(bundle.pem, version: bundle.version))
        }
        let part = WorkloadSecrets.part(secrets)
        for stream in streams { publish(stream, part) }
    }

    private func schedule() {
        timer?.cancel()
        timer = nil
        guard !holders.isEmpty else { return }
        let now = clock()
        let next = holders.values.reduce(now + Self.pause) { min($0, $1.credentials.nextDeadline(now: now)) }
        timer = loop.schedule(after: .seconds(max(1, next - now))) { [weak self] in self?.tick() }
    }

    /// Renews what is due and comes again.
    func tick() {
        for uid in holders.keys where renew(uid) { give(uid, to: holders[uid]?.streams ?? []) }
        schedule()
    }

    // MARK: Reports

    /// How each certificate stands, for `skein certs` and for the replacement of roots.
    var reports: [IdentityReport] {
        holders.map { uid, holder in
            var report = IdentityReport(uid: uid, namespace: holder.pod.namespace, name: holder.pod.name)
            let credentials = holder.credentials
            if let leaf = credentials.chain.first {
                report.identity = credentials.identity
                report.notBefore = leaf.notBefore
                report.notAfter = leaf.notAfter
                report.renewal = credentials.renewal
                report.root = credentials.root
            }
            let version = credentials.bundle?.version ?? ""
            // A stream that never asked for the roots has no use for them, and holds up nobody.
            let isLate = holder.streams.contains { acknowledgedRoots($0).map { $0 != version } ?? false }
            report.bundle = isLate ? "" : version
            report.problem = credentials.problem
            return report
        }
    }
}
