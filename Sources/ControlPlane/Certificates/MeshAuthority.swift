import IO
import Identity
import Mesh
import Serialization
import TLS
import Telemetry

/// The mesh's certificate authority at work: its file, the agents that ask it, and its rotation.
///
/// The decisions are `Authority`'s and `CertificateIssuer`'s; here are the clock, the file and the connections.
/// `@unchecked Sendable`: belongs to one loop (docs/threads.md).
final class MeshAuthority: @unchecked Sendable {
    /// Where the authority is kept, mode 0600.
    static let fileName = "mesh-ca.json"
    /// Where somebody may have put an authority of their own before the first start: Istio's names for the files.
    static let givenDirectory = "cacerts"
    /// The time between two looks at what is due.
    private static let pause = Duration.seconds(5)
    /// Reports that are kept at most: pods of a large node many times over.
    private static let reportsMax = 100_000

    private let directory: String
    private let node: String
    private let loop: EventLoop
    private let clock: () -> Int64
    private let log = Logger("mesh-ca")
    private(set) var authority: Authority
    private(set) var issuer = CertificateIssuer()
    private var agents: [ObjectIdentifier: AgentConnection] = [:]
    /// What the agents said of their pods, by uid.
    private(set) var reports: [String: IdentityReport] = [:]
    private var told: (version: String, reissue: Int)?
    private var warned: Set<String> = []
    private var timer: LoopTimer?
    private let policy = RotationPolicy()
    /// The pod of that uid as the API has it now; its name, where it is known, finds it faster.
    var pod: (String, NamespacedName?) -> BoundPod? = { _, _ in nil }
    /// Called when other roots are to be trusted.
    var onTrust: () -> Void = {}
    /// The trust domain as the mesh configuration has it now.
    var trustDomain: () -> String = { Mesh.clusterDomain }

    /// Reads the authority, or makes it at the first start.
    init(directory: String, node: String, on loop: EventLoop, now: @escaping () -> Int64) throws(ControlPlaneError) {
        self.directory = directory
        self.node = node
        self.loop = loop
        clock = now
        let file = "\(directory)/\(Self.fileName)"
        do {
            if File.exists(file) {
                authority = try Authority(secretJSON: try JSON.parse(try File.read(file)))
            } else if File.exists("\(directory)/\(Self.givenDirectory)/ca-key.pem") {
                authority = try Authority.make(try Self.given("\(directory)/\(Self.givenDirectory)"), now: now())
            } else {
                authority = try Authority.make(now: now())
            }
        } catch {
            throw ControlPlaneError("the mesh's certificate authority in \(file): \(error)")
        }
        try save()
    }

    /// Istio's `cacerts`: `root-cert.pem`, `ca-cert.pem`, `ca-key.pem`, and perhaps `cert-chain.pem`.
    private static func given(_ directory: String) throws(SystemError) -> GivenAuthority {
        let chain = "\(directory)/cert-chain.pem"
        return GivenAuthority(
            root: try File.read("\(directory)/root-cert.pem"), certificate: try File.read("\(directory)/ca-cert.pem"),
            key: try File.read("\(directory)/ca-key.pem"), chain: File.exists(chain) ? try File.read(chain) : [])
    }

    private func save() throws(ControlPlaneError) {
        do throws(SystemError) {
            try File.replace("\(directory)/\(Self.fileName)", authority.secretJSON.bytes, mode: 0o600)
        } catch {
            throw ControlPlaneError("the mesh's certificate authority cannot be kept: \(error)")
        }
    }

    /// Begins to look at what is due.
    func start() { tick() }

    /// Ends it.
    func stop() { timer?.cancel() }

    // MARK: Agents

    /// An agent has connected: it is told what is to be trusted.
    func connected(_ connection: AgentConnection) { connection.send(notice.json) }

    /// It is gone; what it said of its pods stays until they are gone.
    func disconnected(_ connection: AgentConnection) { agents[ObjectIdentifier(connection)] = nil }

    private var notice: IdentityReply {
        .trust(TrustNotice(roots: authority.bundle.pem, reissue: authority.reissue))
    }

    /// What the agent of this machine says: the kernel has told that it is root's.
    func handle(_ request: IdentityRequest, from connection: AgentConnection) {
        agents[ObjectIdentifier(connection)] = connection
        switch request {
        case .certificate(let number, let uid, let bytes):
            do throws(IdentityError) {
                let chain = try issuer.issue(
                    bytes, pod: pod(uid, nil), caller: .node(node), trustDomain: trustDomain(), authority: authority,
                    now: clock())
                connection.send(IdentityReply.certificate(number: number, chain: chain.flatMap(\.pem)).json)
            } catch {
                log.warning("a certificate is refused", ["pod": uid, "reason": error.description])
                connection.send(IdentityReply.refused(number: number, reason: error.description).json)
            }
        case .report(let report):
            guard reports[report.uid] != nil || reports.count < Self.reportsMax else { return }
            reports[report.uid] = report
        }
    }

    /// A pod is gone.
    func remove(uid: String) { reports[uid] = nil }

    // MARK: Time

    /// Who must have taken a root before it signs.
    private var holders: [BundleHolder] {
        let pods = reports.values.filter { pod($0.uid, $0.key)?.hasEnded == false }
        guard !pods.isEmpty else { return [] }
        let versions = Set(pods.map(\.bundle))
        return [BundleHolder(node: node, version: versions.count == 1 ? versions.first ?? "" : "")]
    }

    private func tick() {
        for report in reports.values where pod(report.uid, report.key) == nil { reports[report.uid] = nil }
        advance()
        warn()
        timer = loop.schedule(after: Self.pause) { [weak self] in self?.tick() }
    }

    private func advance() {
        do throws(IdentityError) {
            try done(try authority.advance(holders: holders, policy: policy, now: clock()))
        } catch {
            log.error("the authority cannot go on", ["error": error.description])
        }
    }

    /// Keeps what has changed before anybody hears of it, then tells everybody.
    private func done(_ events: [AuthorityEvent]) throws(IdentityError) {
        if !events.isEmpty {
            do throws(ControlPlaneError) { try save() } catch {
                throw IdentityError(.authority, error.description)
            }
        }
        for event in events { log.info("\(event)") }
        let now = (authority.bundle.version, authority.reissue)
        guard told.map({ $0 != now }) ?? true else { return }
        told = now
        onTrust()
        for agent in agents.values { agent.send(notice.json) }
    }

    private func warn() {
        let alarms = alarms
        for alarm in alarms where warned.insert(alarm.subject).inserted {
            log.error(alarm.problem, ["subject": alarm.subject, "remedy": alarm.remedy])
        }
        warned.formIntersection(alarms.map(\.subject))
    }

    /// What somebody should look at.
    var alarms: [IdentityAlarm] {
        let now = clock()
        return authority.alarms(holders: holders, policy: policy, now: now)
            + reports.values.sorted { ($0.namespace, $0.name) < ($1.namespace, $1.name) }.compactMap { report in
                guard report.notAfter != 0 else {
                    return report.problem.isEmpty
                        ? nil
                        : IdentityAlarm(
                            subject: "pod \(report.namespace)/\(report.name)", problem: "has no certificate",
                            remedy: report.problem)
                }
                let health = report.health(at: now)
                guard health != .good else { return nil }
                return IdentityAlarm(
                    subject: "pod \(report.namespace)/\(report.name)",
                    problem: health == .expired ? "its certificate has expired" : "its certificate was not renewed",
                    remedy: report.problem.isEmpty ? "see the log of the node's agent" : report.problem)
            }
    }

    // MARK: Commands

    /// Does what root wants, and tells how it went.
    func run(_ command: CertificateCommand) -> JSON {
        do throws(IdentityError) {
            switch command {
            case .list: break
            case .rotate(let given):
                if let given {
                    try done(try authority.rotate(to: given, now: clock()))
                } else {
                    try done(try authority.rotate(now: clock()))
                }
            case .recover: try done(try authority.recover(now: clock()))
            case .issue(let namespace, let account, let request):
                // Root on this machine may be anybody; the pod that stands for it here is nobody's.
                let stand = BoundPod(
                    uid: "command/\(namespace)/\(account)", namespace: namespace, name: account,
                    serviceAccount: account, node: node)
                let chain = try issuer.issue(
                    request, pod: stand, caller: .node(node), trustDomain: trustDomain(), authority: authority,
                    now: clock())
                return [
                    "chain": .string(String(decoding: chain.flatMap(\.pem), as: UTF8.self)),
                    "roots": .string(String(decoding: authority.bundle.pem, as: UTF8.self)),
                ]
            }
            return overview
        } catch {
            return ["error": .string(error.message)]
        }
    }

    private var overview: JSON {
        let now = clock()
        func time(_ seconds: Int64) -> JSON { .string(Timestamp(seconds: seconds).secondsText) }
        func facts(_ certificate: Certificate) -> JSON {
            [
                "id": .string(Authority.id(certificate)), "subject": .string(certificate.subject.description),
                "notBefore": time(certificate.notBefore), "notAfter": time(certificate.notAfter),
            ]
        }
        let roots = authority.roots.map { root -> JSON in
            var json = facts(root.certificate)
            json["stage"] = .string(root.stage.rawValue)
            json["since"] = time(root.since)
            json["hasKey"] = .bool(root.key != nil)
            if root.stage == .announced {
                json["waitsFor"] = .string(
                    authority.waitsFor(holders: holders, policy: policy, now: now) ?? "nothing")
            }
            return json
        }
        let workloads = reports.values.sorted { ($0.namespace, $0.name) < ($1.namespace, $1.name) }.map {
            report -> JSON in
            [
                "namespace": .string(report.namespace), "pod": .string(report.name),
                "identity": .string(report.identity), "root": .string(report.root),
                "notBefore": time(report.notBefore), "notAfter": time(report.notAfter),
                "renewal": time(report.renewal),
                "health": .string(report.notAfter == 0 ? "Missing" : report.health(at: now).rawValue),
                "hasPresentRoots": .bool(report.bundle == authority.bundle.version),
                "problem": .string(report.problem),
            ]
        }
        return [
            "trustDomain": .string(trustDomain()), "bundle": .string(authority.bundle.version),
            "rootsPEM": .string(String(decoding: authority.bundle.pem, as: UTF8.self)),
            "roots": .array(roots), "intermediate": facts(authority.intermediate.certificate),
            "workloads": .array(workloads), "issued": .integer(Int64(issuer.issued)),
            "refused": .object(
                Dictionary(
                    uniqueKeysWithValues: issuer.refused.map { ($0.key.rawValue, JSON.integer(Int64($0.value))) })),
            "alarms": .array(
                alarms.map {
                    [
                        "subject": .string($0.subject), "problem": .string($0.problem), "remedy": .string($0.remedy),
                    ]
                }),
        ]
    }
}

extension IdentityReport {
    fileprivate var key: NamespacedName { NamespacedName(namespace: namespace, name: name) }
}
