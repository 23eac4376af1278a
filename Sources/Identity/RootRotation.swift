public import TLS

/// When the stages of a root's replacement follow each other.
public struct RotationPolicy: Sendable, Hashable {
    /// How long a root is announced at least, seconds: proxies take the bundle meanwhile.
    public var announcement: Int64 = 60
    /// The share of its life that a root of our own has left when its replacement begins by itself.
    public var renewalShare = 0.2
    /// How long a rotation may wait for a node before that is an alarm, seconds.
    public var patience: Int64 = 3600

    /// The usual times.
    public init() {}
}

/// What a node says it has handed to its proxies.
public struct BundleHolder: Sendable, Hashable {
    /// The node.
    public var node: String
    /// The version of the bundle that all its proxies have taken; empty when not known.
    public var version: String

    /// Whether it is no node, but a program with its certificate in files.
    public var isClient: Bool

    /// A node with the version that it holds.
    public init(node: String, version: String, isClient: Bool = false) {
        self.node = node
        self.version = version
        self.isClient = isClient
    }
}

/// Something that happened to the authority, for the log and `skein certs`.
public enum AuthorityEvent: Sendable, Hashable, CustomStringConvertible {
    /// A new root is trusted from now on.
    case announced(String)
    /// A root signs from now on.
    case signs(String)
    /// A root is not trusted any more.
    case forgotten(String)
    /// A new intermediate signs.
    case newIntermediate
    /// A new authority was made after the old one had failed.
    case recovered(String)

    /// For people.
    public var description: String {
        switch self {
        case .announced(let id): "root \(id) is announced"
        case .signs(let id): "root \(id) signs"
        case .forgotten(let id): "root \(id) is forgotten: nothing that holds was signed under it"
        case .newIntermediate: "a new intermediate signs"
        case .recovered(let id): "the mesh has a new authority with root \(id)"
        }
    }
}

/// What somebody should look at.
public struct IdentityAlarm: Sendable, Hashable, CustomStringConvertible {
    /// What it is about: `root 12ab…`, a pod.
    public var subject: String
    /// What is wrong.
    public var problem: String
    /// What to do.
    public var remedy: String

    /// An alarm.
    public init(subject: String, problem: String, remedy: String) {
        self.subject = subject
        self.problem = problem
        self.remedy = remedy
    }

    /// In one line.
    public var description: String { "\(subject): \(problem); \(remedy)" }
}

extension Authority {
    /// Begins to replace the root; from now on everybody trusts the new one too.
    ///
    /// - Parameters:
    ///   - root: the new root with its key; nil makes one.
    public mutating func rotate(to root: CertificateAuthority? = nil, now: Int64) throws(IdentityError)
        -> [AuthorityEvent]
    {
        try mustNotBeRotating()
        let made: CertificateAuthority
        if let root { made = root } else { made = try Self.makeRoot(now: now) }
        try announce(made.certificate, key: made.key, now: now)
        return [.announced(Self.id(made.certificate))]
    }

    /// Begins to replace the root by one whose key is kept elsewhere: it gave us an intermediate.
    public mutating func rotate(
        to root: Certificate, intermediate: CertificateAuthority, chain: [Certificate], now: Int64
    ) throws(IdentityError) -> [AuthorityEvent] {
        try mustNotBeRotating()
        nextIntermediate = try Self.given(root, intermediate, chain, now: now)
        try announce(root, key: nil, now: now)
        return [.announced(Self.id(root))]
    }

    /// An authority of an intermediate that somebody's root has signed.
    public static func make(
        root: Certificate, intermediate: CertificateAuthority, chain: [Certificate], now: Int64
    ) throws(IdentityError) -> Authority {
        let made = try given(root, intermediate, chain, now: now)
        return Authority(
            roots: [Root(certificate: root, key: nil, stage: .signing, since: now, lastLeafEnd: now)],
            intermediate: made)
    }

    /// Says how long the root that is announced now is so at least, seconds; nil: as long as usual.
    public mutating func announce(for time: Int64?) {
        for index in roots.indices where roots[index].stage == .announced { roots[index].announcement = time }
    }

    private static func given(
        _ root: Certificate, _ intermediate: CertificateAuthority, _ chain: [Certificate], now: Int64
    ) throws(IdentityError) -> Intermediate {
        if let problem = ChainCheck.problem(
            [intermediate.certificate] + chain, trusting: TrustBundle([root]), at: now)
        {
            throw IdentityError(.authority, "the intermediate does not lead to the root: \(problem)")
        }
        return Intermediate(
            certificate: intermediate.certificate, key: intermediate.key, chain: chain, root: id(root))
    }

    private func mustNotBeRotating() throws(IdentityError) {
        if let announced {
            throw IdentityError(
                .authority, "root \(announced.id) is announced already; skein certs list tells what it waits for")
        }
    }

    private mutating func announce(_ root: Certificate, key: PrivateKey?, now: Int64) throws(IdentityError) {
        guard !roots.contains(where: { $0.certificate == root }) else {
            throw IdentityError(.authority, "root \(Self.id(root)) is trusted already")
        }
        guard root.isCA, root.notAfter > now else {
            throw IdentityError(.authority, "root \(Self.id(root)) has expired or may not sign certificates")
        }
        roots.append(Root(certificate: root, key: key, stage: .announced, since: now, lastLeafEnd: now))
    }

    /// Goes on with whatever is due; call it now and then and whenever a node has said something.
    ///
    /// - Parameter holders: all nodes that have pods, with the bundle that their proxies have taken.
    public mutating func advance(
        holders: [BundleHolder], policy: RotationPolicy = RotationPolicy(), now: Int64
    ) throws(IdentityError) -> [AuthorityEvent] {
        var events: [AuthorityEvent] = []
        if announced == nil, let root = signing, root.key != nil, now < root.certificate.notAfter,
            isDue(root.certificate, policy, now)
        {
            events += try rotate(now: now)
        }
        if let next = announced, waitsFor(holders: holders, policy: policy, now: now) == nil {
            try promote(next, now: now)
            events.append(.signs(next.id))
        }
        if let root = signing, let key = root.key, now < root.certificate.notAfter,
            isHalfOver(intermediate.certificate, now), intermediate.certificate.notAfter < root.certificate.notAfter
        {
            intermediate = try Self.makeIntermediate(under: try Self.signer(root.certificate, key), now: now)
            events.append(.newIntermediate)
        }
        let over = roots.filter { $0.stage == .retired && now >= $0.lastLeafEnd + CertificateSchedule.backdating }
        for root in over { events.append(.forgotten(root.id)) }
        roots.removeAll { root in over.contains { $0.id == root.id } }
        return events
    }

    /// What an announced root waits for before it signs; nil when it waits for nothing or there is none.
    public func waitsFor(
        holders: [BundleHolder], policy: RotationPolicy = RotationPolicy(), now: Int64
    ) -> String? {
        guard let next = announced else { return nil }
        let end = next.since + (next.announcement ?? policy.announcement)
        if now < end {
            return "\(end - now) s until everybody has had time to take it"
        }
        let version = bundle.version
        let late = holders.filter { $0.version != version }.map(\.node).sorted()
        let clients = holders.filter { $0.isClient && $0.version != version }.map(\.node).sorted()
        let nodes = late.filter { !clients.contains($0) }
        if !nodes.isEmpty { return "node \(nodes.joined(separator: ", ")), whose proxies have not taken it" }
        guard !clients.isEmpty else { return nil }
        let named =
            clients.prefix(5).joined(separator: ", ") + (clients.count > 5 ? " and \(clients.count - 5) more" : "")
        return "client \(named), whose files have other roots"
    }

    private mutating func promote(_ next: Root, now: Int64) throws(IdentityError) {
        if let given = nextIntermediate, given.root == next.id {
            intermediate = given
            nextIntermediate = nil
        } else if let key = next.key {
            intermediate = try Self.makeIntermediate(under: try Self.signer(next.certificate, key), now: now)
        } else {
            throw IdentityError(.authority, "root \(next.id) has neither a key nor an intermediate here")
        }
        for index in roots.indices {
            switch roots[index].stage {
            case .signing:
                roots[index].stage = .retired
                roots[index].since = now
                // Whatever it has signed up to this second may live a whole life yet.
                roots[index].lastLeafEnd = now + CertificateSchedule.workloadLifetime
            case .announced:
                roots[index].stage = .signing
                roots[index].since = now
            case .retired: break
            }
        }
        reissue += 1
    }

    private static func signer(_ certificate: Certificate, _ key: PrivateKey) throws(IdentityError)
        -> CertificateAuthority
    {
        do throws(TLSError) { return try CertificateAuthority(certificate: certificate, key: key) } catch {
            throw IdentityError(error)
        }
    }

    /// Makes a working authority out of one that is not, in one step: new root, new intermediate, new certificates for
    /// all at once.
    ///
    /// Roots that still hold stay trusted until what they have signed has ended.
    public mutating func recover(to root: CertificateAuthority? = nil, now: Int64) throws(IdentityError)
        -> [AuthorityEvent]
    {
        let made: CertificateAuthority
        if let root { made = root } else { made = try Self.makeRoot(now: now) }
        intermediate = try Self.makeIntermediate(under: made, now: now)
        nextIntermediate = nil
        roots = roots.filter { $0.stage != .announced && $0.certificate.notAfter > now }.map { old in
            var old = old
            old.stage = .retired
            old.since = now
            old.lastLeafEnd = min(old.certificate.notAfter, now + CertificateSchedule.workloadLifetime)
            return old
        }
        roots.append(
            Root(certificate: made.certificate, key: made.key, stage: .signing, since: now, lastLeafEnd: now))
        reissue += 1
        return [.recovered(Self.id(made.certificate))]
    }

    // MARK: Alarms

    /// What somebody should look at now.
    public func alarms(
        holders: [BundleHolder], policy: RotationPolicy = RotationPolicy(), now: Int64
    ) -> [IdentityAlarm] {
        var alarms: [IdentityAlarm] = []
        if let root = signing {
            let remedy =
                root.key == nil
                ? "give a new one with skein certs rotate --root-cert F --ca-cert F --ca-key F" : "skein certs rotate"
            if now >= root.certificate.notAfter {
                alarms.append(
                    IdentityAlarm(
                        subject: "root \(root.id)", problem: "has expired", remedy: "skein certs recover"))
            } else if isDue(root.certificate, policy, now), announced == nil {
                alarms.append(
                    IdentityAlarm(
                        subject: "root \(root.id)", problem: "ends in \(days(root.certificate, now)) days",
                        remedy: remedy))
            }
        }
        let middle = intermediate.certificate
        if now >= middle.notAfter {
            alarms.append(
                IdentityAlarm(
                    subject: "intermediate \(Self.id(middle))", problem: "has expired", remedy: "skein certs recover"))
        } else if now >= CertificateSchedule.alarm(notBefore: middle.notBefore, notAfter: middle.notAfter),
            signing.map({ middle.notAfter < $0.certificate.notAfter || $0.key == nil }) ?? true
        {
            alarms.append(
                IdentityAlarm(
                    subject: "intermediate \(Self.id(middle))", problem: "ends in \(days(middle, now)) days",
                    remedy: "give a new one with skein certs rotate --root-cert F --ca-cert F --ca-key F"))
        }
        if let next = announced, now >= next.since + policy.patience,
            let reason = waitsFor(holders: holders, policy: policy, now: now)
        {
            alarms.append(
                IdentityAlarm(
                    subject: "root \(next.id)", problem: "has waited \((now - next.since) / 60) min for \(reason)",
                    remedy:
                        "start that node's agent, or remove its pods; run skein certs write --keep for clients with files"
                ))
        }
        return alarms
    }

    private func days(_ certificate: Certificate, _ now: Int64) -> Int64 { (certificate.notAfter - now) / Self.day }

    private func isDue(_ certificate: Certificate, _ policy: RotationPolicy, _ now: Int64) -> Bool {
        let life = certificate.notAfter - certificate.notBefore
        return Double(certificate.notAfter - now) < Double(life) * policy.renewalShare
    }

    private func isHalfOver(_ certificate: Certificate, _ now: Int64) -> Bool {
        now - certificate.notBefore >= (certificate.notAfter - certificate.notBefore) / 2
    }
}

extension Authority {
    /// Begins to replace the root by what somebody gives us; the root itself may sign, or an intermediate under it.
    public mutating func rotate(to given: GivenAuthority, now: Int64) throws(IdentityError) -> [AuthorityEvent] {
        let read = try Self.read(given)
        guard read.signer.certificate != read.root else { return try rotate(to: read.signer, now: now) }
        return try rotate(to: read.root, intermediate: read.signer, chain: read.chain, now: now)
    }

    /// An authority of what somebody gives us.
    public static func make(_ given: GivenAuthority, now: Int64) throws(IdentityError) -> Authority {
        let read = try read(given)
        guard read.signer.certificate == read.root else {
            return try make(root: read.root, intermediate: read.signer, chain: read.chain, now: now)
        }
        return Authority(
            roots: [Root(certificate: read.root, key: read.signer.key, stage: .signing, since: now, lastLeafEnd: now)],
            intermediate: try makeIntermediate(under: read.signer, now: now))
    }

    private static func read(
        _ given: GivenAuthority
    ) throws(IdentityError) -> (root: Certificate, signer: CertificateAuthority, chain: [Certificate]) {
        do throws(TLSError) {
            let root = try Certificate(pem: given.root)
            let signer = try CertificateAuthority(
                certificate: Certificate(pem: given.certificate), key: PrivateKey(pem: given.key))
            // Istio's cert-chain.pem begins with the intermediate itself and may end with the root.
            let chain = given.chain.isEmpty ? [] : try Certificate.all(pem: given.chain)
            return (root, signer, chain.filter { $0 != root && $0 != signer.certificate })
        } catch { throw IdentityError(.authority, "\(error)") }
    }
}
