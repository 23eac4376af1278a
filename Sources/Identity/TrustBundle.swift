public import TLS

/// The roots that a trust domain's peers are verified against; several while one replaces another.
public struct TrustBundle: Sendable, Hashable {
    /// The roots, in the order of their fingerprints.
    public let roots: [Certificate]
    /// The same for the same roots, on every machine.
    public let version: String

    /// A bundle of roots; doubles count once.
    public init(_ roots: [Certificate]) {
        var seen: Set<[UInt8]> = []
        self.roots = roots.filter { seen.insert($0.fingerprint).inserted }
            .sorted { $0.fingerprint.lexicographicallyPrecedes($1.fingerprint) }
        version = SHA256.hexadecimal(SHA256.hash(self.roots.flatMap(\.fingerprint))).prefix(16).description
    }

    /// Reads a bundle from PEM.
    public init(pem: [UInt8]) throws(TLSError) { self.init(try Certificate.all(pem: pem)) }

    /// The roots as PEM, one behind the other.
    public var pem: [UInt8] { roots.flatMap(\.pem) }
}

/// Whether a chain of certificates leads to a trusted root at a moment: what the peers of a workload will say of it.
public enum ChainCheck {
    /// The most certificates of a chain that is looked at.
    public static let certificatesMax = 8

    /// What is wrong with a chain (leaf first), or nil when it holds.
    public static func problem(_ chain: [Certificate], trusting bundle: TrustBundle, at now: Int64) -> String? {
        guard let leaf = chain.first else { return "there is no certificate" }
        guard chain.count <= certificatesMax else { return "more than \(certificatesMax) certificates" }
        var current = leaf
        for (index, certificate) in chain.enumerated() {
            if let problem = time(certificate, now) { return problem }
            if index > 0 {
                guard certificate.isCA else { return "\(certificate.subject) may not sign certificates" }
                guard current.isSigned(by: certificate) else {
                    return "\(name(current)) is not signed by \(certificate.subject)"
                }
            }
            current = certificate
        }
        let signers = bundle.roots.filter { $0 == current || current.isSigned(by: $0) }
        guard !signers.isEmpty else { return "\(name(current)) is signed by no trusted root" }
        guard signers.contains(where: { time($0, now) == nil }) else {
            return signers.first.flatMap { time($0, now) } ?? "no root holds"
        }
        return nil
    }

    private static func time(_ certificate: Certificate, _ now: Int64) -> String? {
        if now < certificate.notBefore { return "\(name(certificate)) is not valid yet" }
        if now >= certificate.notAfter { return "\(name(certificate)) has expired" }
        return nil
    }

    private static func name(_ certificate: Certificate) -> String {
        for case .uri(let uri) in certificate.alternativeNames { return uri }
        return certificate.subject.description
    }
}
