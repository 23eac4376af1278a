public import TLS

/// The certificate authority of a mesh: its roots in their stages, and the intermediate that signs.
///
/// Pure: keys, time and what the nodes know come in. A new root replaces an old one in three stages, so that at every
/// moment everybody trusts whatever anybody presents: the new root is *announced* (all trust it, nothing is signed with
/// it), then it *signs*, and the old one is *retired* (still trusted) until the last certificate under it has ended.
public struct Authority: Sendable {
    /// Where a root stands.
    public enum Stage: String, Sendable, Hashable {
        /// Trusted; does not sign yet.
        case announced = "Announced"
        /// Trusted; signs.
        case signing = "Signing"
        /// Trusted until what it has signed has ended.
        case retired = "Retired"
    }

    /// A root.
    public struct Root: Sendable {
        /// Its certificate.
        public var certificate: Certificate
        /// Its key; nil when it is kept elsewhere, and only an intermediate was given.
        public var key: PrivateKey?
        /// Where it stands.
        public var stage: Stage
        /// When it came to that stage.
        public var since: Int64
        /// The end of the last certificate that was signed under it.
        public var lastLeafEnd: Int64
        /// How long it is announced at least, seconds; nil: as long as usual.
        public var announcement: Int64?
        /// The first digits of its fingerprint.
        public var id: String { Authority.id(certificate) }
    }

    /// The authority that signs workloads' certificates.
    public struct Intermediate: Sendable {
        /// Its certificate.
        public var certificate: Certificate
        /// Its key.
        public var key: PrivateKey
        /// What stands between it and the root, nearest first.
        public var chain: [Certificate]
        /// The root that it leads to.
        public var root: String
    }

    /// The roots: at most one announced, one signing, any number retired.
    public internal(set) var roots: [Root]
    /// What signs now.
    public internal(set) var intermediate: Intermediate
    /// What will sign when the announced root does, when its key is not here.
    var nextIntermediate: Intermediate?
    /// Counts up when all workloads are to ask for new certificates at once.
    public internal(set) var reissue: Int

    init(roots: [Root], intermediate: Intermediate, next: Intermediate? = nil, reissue: Int = 0) {
        self.roots = roots
        self.intermediate = intermediate
        nextIntermediate = next
        self.reissue = reissue
    }

    static let day: Int64 = 86_400
    /// A root of our own: ten years.
    public static let rootLifetime: Int64 = 3650 * day
    /// An intermediate of our own: one year; replaced at half life.
    public static let intermediateLifetime: Int64 = 365 * day

    /// The first digits of a certificate's fingerprint: what people call it by.
    public static func id(_ certificate: Certificate) -> String {
        String(SHA256.hexadecimal(certificate.fingerprint).prefix(12))
    }

    /// What everybody is to trust.
    public var bundle: TrustBundle { TrustBundle(roots.map(\.certificate)) }
    /// The root that signs.
    public var signing: Root? { roots.first { $0.stage == .signing } }
    /// The root that will sign next.
    public var announced: Root? { roots.first { $0.stage == .announced } }

    // MARK: Making

    /// A new authority with a root of its own.
    public static func make(now: Int64, rootLifetime: Int64 = rootLifetime) throws(IdentityError) -> Authority {
        let root = try makeRoot(now: now, lifetime: rootLifetime)
        return Authority(
            roots: [Root(certificate: root.certificate, key: root.key, stage: .signing, since: now, lastLeafEnd: now)],
            intermediate: try makeIntermediate(under: root, now: now))
    }

    /// A new root.
    public static func makeRoot(
        now: Int64, lifetime: Int64 = rootLifetime
    ) throws(IdentityError) -> CertificateAuthority {
        do throws(TLSError) {
            return try CertificateAuthority.make(
                subject: DistinguishedName(commonName: "Skein mesh root", organizations: ["skein"]),
                key: PrivateKey.makeP256(), notBefore: now - CertificateSchedule.backdating, notAfter: now + lifetime,
                pathLength: 1)
        } catch { throw IdentityError(error) }
    }

    static func makeIntermediate(under root: CertificateAuthority, now: Int64) throws(IdentityError) -> Intermediate {
        do throws(TLSError) {
            let key = try PrivateKey.makeP256()
            var leaf = CertificateAuthority.Leaf(
                subject: DistinguishedName(commonName: "Skein mesh intermediate", organizations: ["skein"]), usage: [],
                notBefore: now - CertificateSchedule.backdating,
                notAfter: min(now + intermediateLifetime, root.certificate.notAfter))
            leaf.pathLength = 0
            let certificate = try root.sign(leaf, for: key.publicKey)
            return Intermediate(certificate: certificate, key: key, chain: [], root: id(root.certificate))
        } catch { throw IdentityError(error) }
    }

    // MARK: Signing

    /// Signs a workload's key; the certificate comes first, then what leads to the root.
    func sign(
        _ key: PublicKey, for identity: WorkloadIdentity, now: Int64,
        lifetime: Int64 = CertificateSchedule.workloadLifetime
    ) throws(IdentityError) -> [Certificate] {
        let (from, to) = (intermediate.certificate.notBefore, intermediate.certificate.notAfter)
        let rootEnd = roots.first { $0.id == intermediate.root }?.certificate.notAfter ?? to
        let end = min(now + min(lifetime, CertificateSchedule.workloadLifetime), to, rootEnd)
        guard now >= from, end > now else {
            throw IdentityError(
                .authority, "the authority's own certificate has expired; skein certs recover makes a new one")
        }
        do throws(TLSError) {
            let signer = try CertificateAuthority(certificate: intermediate.certificate, key: intermediate.key)
            let leaf = CertificateAuthority.Leaf(
                subject: DistinguishedName(), alternativeNames: [.uri(identity.uri)], usage: [.server, .client],
                notBefore: max(from, now - min(CertificateSchedule.backdating, lifetime / 10)), notAfter: end)
            return [try signer.sign(leaf, for: key), intermediate.certificate] + intermediate.chain
        } catch { throw IdentityError(error) }
    }
}
