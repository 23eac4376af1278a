internal import TLS

/// Trust domains of SPIFFE, each with its own authorities (`envoy.tls.cert_validator.spiffe`).
struct TrustDomains: Sendable {
    private static let scheme = "spiffe://"

    /// Fingerprints of authorities by trust domain.
    private var bundles: [String: Set<[UInt8]>] = [:]

    /// Adds a trust domain; false when it is there already.
    mutating func add(_ name: String, _ authorities: Set<[UInt8]>) -> Bool {
        guard bundles[name] == nil else { return false }
        bundles[name] = authorities
        return true
    }

    /// The trust domain of an id; nil when it is none.
    static func domain(of id: String) -> String? {
        guard id.hasPrefix(scheme) else { return nil }
        let domain = id.dropFirst(scheme.count).prefix { $0 != "/" }
        return domain.isEmpty ? nil : String(domain)
    }

    /// Why a peer is refused: ATK-26, an authority speaks for its own trust domain alone, and a peer has one id.
    func refusal(of facts: PeerFacts) -> PeerRefusal? {
        guard !facts.maySign else { return .other("a SPIFFE leaf must not be an authority") }
        let ids = facts.uris
        guard ids.count == 1, let domain = Self.domain(of: ids[0]) else {
            return .other("exactly one SPIFFE id is needed")
        }
        guard let bundle = bundles[domain] else { return .other("trust domain \(domain) is not among those trusted") }
        guard let authority = facts.authority, bundle.contains(authority) else {
            return .other("the authority does not speak for trust domain \(domain)")
        }
        return nil
    }
}
