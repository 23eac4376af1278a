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
    /// Where it is written down which tokens were used.
    static let usesFileName = "tokens-used"
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
    private var agents: [ObjectIdentifier: any AgentPeer] = [:]
    /// What the agents said of their pods, by uid.
    private(set) var reports: [String: IdentityReport] = [:]
    private var told: (version: String, reissue: Int)?
    private var warned: Set<String> = []
    /// By name: `client NAMESPACE/ACCOUNT`.
    private var fileClients: [String: FileClient] = [:]
    private var timer: LoopTimer?
    private let policy = RotationPolicy()
    /// The pod of that uid as the API has it now; its name, where it is known, finds it faster.
    var pod: (String, NamespacedName?) -> BoundPod? = { _, _ in nil }
    /// The uid of a service account as the API has it now.
    var account: (NamespacedName) -> String? = { _ in nil }
    /// Reads tokens; nil while none are taken.
    var tokens: ServiceAccountTokens?
    /// Reads the tokens of a Kubernetes API elsewhere; nil with an API of our own, and until it has told its keys.
    var clusterTokens: ClusterTokens?
    private var tokenUses: TokenUses
    /// Called when other roots are to be trusted, or all certificates to be replaced.
    var onTrust: [() -> Void] = []
    /// Called with the authority, keys and all, when it was kept anew.
    var onSave: ([UInt8]) -> Void = { _ in }
    /// Whether this server brings a rotation forward: of several servers one does.
    var advances: () -> Bool = { true }
    /// Who is connected with other servers and has not taken the roots, as far as a new root waits for them.
    var othersLate: () -> [BundleHolder] = { [] }
    /// How the certificates stand that proxies have from us without an agent between.
    var otherReports: () -> [IdentityReport] = { [] }
    /// How long certificates of workloads hold, in seconds.
    var lifetime = CertificateSchedule.workloadLifetime
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
        let uses = "\(directory)/\(Self.usesFileName)"
        do throws(SystemError) {
            let lines = File.exists(uses) ? try File.text(uses).split(separator: "\n").map(String.init) : []
            tokenUses = TokenUses(lines: lines, now: now())
            try File.replace(uses, Array(tokenUses.lines.map { $0 + "\n" }.joined().utf8), mode: 0o600)
        } catch {
            throw ControlPlaneError("\(uses): \(error)")
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
        let bytes = authority.secretJSON.bytes
        try keep(bytes)
        onSave(bytes)
    }

    private func keep(_ bytes: [UInt8]) throws(ControlPlaneError) {
        do throws(SystemError) {
            try File.replace("\(directory)/\(Self.fileName)", bytes, mode: 0o600)
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
    func connected(_ connection: any AgentPeer) { connection.send(notice.json) }

    /// It is gone; what it said of its pods stays until they are gone.
    func disconnected(_ connection: any AgentPeer) { agents[ObjectIdentifier(connection)] = nil }

    private var notice: IdentityReply {
        .trust(TrustNotice(roots: authority.bundle.pem, reissue: authority.reissue))
    }

    /// What an agent says: that of this machine, which the kernel has told to be root's, or one with its node's certificate.
    func handle(_ request: IdentityRequest, from connection: any AgentPeer) {
        agents[ObjectIdentifier(connection)] = connection
        switch request {
        case .certificate(let number, let uid, let bytes):
            do throws(IdentityError) {
                let chain = try issuer.issue(
                    bytes, pod: pod(uid, nil), caller: .node(connection.node ?? node), trustDomain: trustDomain(),
                    authority: authority, now: clock(), lifetime: lifetime)
                connection.send(IdentityReply.certificate(number: number, chain: chain.flatMap(\.pem)).json)
            } catch {
                log.warning("a certificate is refused", ["pod": uid, "reason": error.description])
                connection.send(IdentityReply.refused(number: number, reason: error.description).json)
            }
        case .report(let report):
            // A node speaks for its own pods.
            if let node = connection.node, pod(report.uid, report.key)?.node != node { return }
            guard reports[report.uid] != nil || reports.count < Self.reportsMax else { return }
            reports[report.uid] = report
        }
    }

    /// Certifies a key of a pod that was verified to be the caller; returns the certificate, then its intermediates.
    func certify(
        _ request: [UInt8], uid: String, pod name: NamespacedName,
        lifetime wanted: Int64? = nil
    ) throws(IdentityError) -> [Certificate] {
        try sign(request, pod: pod(uid, name), uid: uid, lifetime: wanted ?? lifetime)
    }

    /// Signs for a caller who is that pod.
    func sign(
        _ request: [UInt8], pod: BoundPod?, uid: String, lifetime: Int64
    ) throws(IdentityError) -> [Certificate] {
        try issuer.issue(
            request, pod: pod, caller: .pod(uid: uid), trustDomain: trustDomain(), authority: authority, now: clock(),
            lifetime: lifetime)
    }

    // MARK: Tokens

    /// Reads a token that a caller shows.
    func verify(token text: String) throws(IdentityError) -> ServiceAccountToken {
        do throws(IdentityError) {
            if let clusterTokens {
                return try clusterTokens.verify(
                    text, now: clock(),
                    pod: { pod($0, NamespacedName(namespace: $1, name: $2)) },
                    account: { account(NamespacedName(namespace: $0, name: $1)) })
            }
            guard let tokens else { throw IdentityError(.badToken, "tokens are not taken here") }
            return try tokens.verify(
                text, now: clock(),
                pod: { pod($0, NamespacedName(namespace: $1, name: $2)) },
                account: { account(NamespacedName(namespace: $0, name: $1)) })
        } catch {
            refused(error)
            throw error
        }
    }

    /// Notes for which key a token is used; it is good for no other.
    func use(_ token: ServiceAccountToken, for request: [UInt8]) throws(IdentityError) {
        guard request.count <= CertificateIssuer.requestBytesMax else {
            throw IdentityError(.limit, "a request of more than \(CertificateIssuer.requestBytesMax) bytes")
        }
        let key: PublicKey
        do throws(TLSError) { key = try CertificateRequest(pem: request).publicKey } catch {
            throw IdentityError(.badRequest, "\(error)")
        }
        guard let line = try tokenUses.use(token, for: key, now: clock()) else { return }
        // What could be forgotten could be used again: without its line there is no certificate.
        do throws(SystemError) {
            try File.append("\(directory)/\(Self.usesFileName)", Array((line + "\n").utf8), mode: 0o600, sync: true)
        } catch {
            tokenUses.forget(token)
            throw IdentityError(.authority, "the use of a token cannot be written down: \(error)")
        }
    }

    /// Counts a refusal.
    func refused(_ error: IdentityError) { issuer.refused(error) }

    /// A pod is gone.
    func remove(uid: String) { reports[uid] = nil }

    // MARK: Time

    private var allReports: [IdentityReport] { reports.values + otherReports() }

    /// Who must have taken a root before it signs.
    private var ownHolders: [BundleHolder] {
        let pods = allReports.filter { pod($0.uid, $0.key)?.hasEnded == false }
        guard !pods.isEmpty else { return clients }
        let byNode = Dictionary(grouping: pods) { pod($0.uid, $0.key)?.node ?? node }
        return byNode.sorted { $0.key < $1.key }.map { node, reports in
            let versions = Set(reports.map(\.bundle))
            return BundleHolder(node: node, version: versions.count == 1 ? versions.first ?? "" : "")
        } + clients
    }

    // MARK: Clients with files

    /// A program that keeps its certificate in files, as far as it has come to us.
    private struct FileClient {
        var notAfter: Int64
        var version: String
        /// When it asked for the roots last; nil: it never has, and does not follow them.
        var asked: Int64?
    }

    /// Most of them that are remembered; they come again while they follow the roots.
    private static let fileClientsMax = 10_000

    /// A client that has not asked for so long is not waited for any more, seconds.
    private static let silenceMax: Int64 = 600

    /// What a replacement of the root waits for besides nodes: those who follow the roots, and whose certificate holds.
    ///
    /// Whoever has files and does not follow would be waited for in vain; `skein certs list` names him all the same.
    private var clients: [BundleHolder] {
        let now = clock()
        return fileClients.filter { $0.value.notAfter > now && now - ($0.value.asked ?? 0) < Self.silenceMax }
            .sorted { $0.key < $1.key }.map { BundleHolder(node: $0.key, version: $0.value.version, isClient: true) }
    }

    /// A client has got a certificate, and the roots with it.
    func hasFiles(_ client: String, until notAfter: Int64) {
        if fileClients.count >= Self.fileClientsMax {
            let now = clock()
            fileClients = fileClients.filter { $0.value.notAfter > now }
        }
        guard fileClients[client] != nil || fileClients.count < Self.fileClientsMax else { return }
        fileClients[client] = FileClient(
            notAfter: notAfter, version: authority.bundle.version, asked: fileClients[client]?.asked)
    }

    /// A client has got the roots; one that is not known (we began after it) holds a certificate for a day at most.
    func hasRoots(_ client: String) {
        hasFiles(client, until: fileClients[client]?.notAfter ?? clock() + CertificateSchedule.workloadLifetime)
        fileClients[client]?.asked = clock()
    }

    private func tick() {
        for report in reports.values where pod(report.uid, report.key) == nil { reports[report.uid] = nil }
        advance()
        warn()
        timer = loop.schedule(after: Self.pause) { [weak self] in self?.tick() }
    }

    /// Who is connected here and has not taken the roots that are to be trusted now.
    ///
    /// Empty while no root is announced: nothing waits for them.
    var late: [BundleHolder] {
        guard authority.roots.contains(where: { $0.stage == .announced }) else { return [] }
        let version = authority.bundle.version
        return ownHolders.filter { $0.version != version }
    }

    private var holders: [BundleHolder] { ownHolders + othersLate() }

    /// Takes over the authority as another server has left it: a step of its rotation, made there.
    ///
    /// - Throws: when it cannot be read or kept; then it is what it was.
    func take(_ bytes: [UInt8]) throws(IdentityError) {
        let theirs: Authority
        do { theirs = try Authority(secretJSON: try JSON.parse(bytes)) } catch {
            throw IdentityError(.authority, "what another server has left cannot be read: \(error)")
        }
        let before = authority
        authority = theirs
        do throws(ControlPlaneError) { try keep(authority.secretJSON.bytes) } catch {
            authority = before
            throw IdentityError(.authority, error.description)
        }
        let signs = theirs.roots.first { $0.stage == .signing }?.id ?? ""
        log.info(
            "another server has brought the authority forward",
            ["signs": signs, "trusted": theirs.roots.map(\.id).joined(separator: ",")])
        try done([])
    }

    private func advance() {
        guard advances() else { return }
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
        onTrust.forEach { $0() }
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
            + allReports.sorted { ($0.namespace, $0.name) < ($1.namespace, $1.name) }.compactMap { report in
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
            case .rotate(let given, let announcement):
                var events: [AuthorityEvent] = []
                if let given {
                    events = try authority.rotate(to: given, now: clock())
                } else {
                    events = try authority.rotate(now: clock())
                }
                authority.announce(for: announcement)
                try done(events)
            case .recover: try done(try authority.recover(now: clock()))
            case .roots(let namespace, let account):
                hasRoots("\(namespace)/\(account)")
                return ["rootsPEM": .string(String(decoding: authority.bundle.pem, as: UTF8.self))]
            case .issue(let namespace, let account, let request):
                // Root on this machine may be anybody; the pod that stands for it here is nobody's.
                let stand = BoundPod(
                    uid: "command/\(namespace)/\(account)", namespace: namespace, name: account,
                    serviceAccount: account, node: node)
                let chain = try issuer.issue(
                    request, pod: stand, caller: .node(node), trustDomain: trustDomain(), authority: authority,
                    now: clock(), lifetime: lifetime)
                hasFiles("\(namespace)/\(account)", until: chain.first?.notAfter ?? 0)
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
        let workloads = allReports.sorted { ($0.namespace, $0.name) < ($1.namespace, $1.name) }.map {
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
            "workloads": .array(workloads),
            "clients": .array(
                fileClients.filter { $0.value.notAfter > now }.sorted { $0.key < $1.key }.map { name, client in
                    [
                        "client": .string(name), "notAfter": time(client.notAfter),
                        "follows": .bool(client.asked.map { now - $0 < Self.silenceMax } ?? false),
                        "hasPresentRoots": .bool(client.version == authority.bundle.version),
                    ]
                }), "issued": .integer(Int64(issuer.issued)),
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
