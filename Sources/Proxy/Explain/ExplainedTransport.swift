internal import EnvoyAPI
internal import IO
internal import Serialization
internal import TLS

// What an explanation says of certificates: what a side shows, whom it trusts, and which names it accepts.
extension TransportContext {
    private var common: CommonTlsContext? {
        switch recipe {
        case .downstream(let message): message.commonTlsContext
        case .upstream(let message, _): message.commonTlsContext
        }
    }

    /// The protocols that are offered or taken, by ALPN.
    var offers: [String] {
        if let names = common?.alpnProtocols, !names.isEmpty { return names }
        if case .upstream(_, let names) = recipe { return names }
        return []
    }

    /// The names that a peer's certificate must have one of, as configured.
    var acceptedNames: [String] {
        let context: CertificateValidationContext? =
            switch common?.validationContextType {
            case .validationContext(let context): context
            case .combinedValidationContext(let both): both.defaultValidationContext
            default: nil
            }
        return (context?.matchTypedSubjectAltNames ?? []).compactMap { $0.matcher?.json(names: .proto) }.map {
            matcher in
            (matcher.object ?? [:]).map { "\($0.key) \($0.value.string ?? $0.value.text)" }.sorted().joined(
                separator: " ")
        }
    }

    /// For programs, and for the other side's proxy to judge (`client_chain`, `host_chain`).
    var summary: JSON {
        let made = ingredients
        let now = WallClock.now.seconds
        var json: JSON = [
            "presents": .array(made.certificates.map { Self.json($0.facts, now) }),
            "chain": .array(made.certificates.map { .string(Base64.encodeURL($0.facts.der)) }),
            "trusts": .array(made.authorities.map { Self.json($0.facts, now) }),
            "accepts": .array(acceptedNames.map { .string($0) }), "verifies_peer": .bool(verifiesPeers),
        ]
        if current == nil { json["problem"] = .string(problem) }
        return json
    }

    private static func json(_ facts: PeerFacts, _ now: Int64) -> JSON {
        [
            "names": .array((facts.uris + facts.dnsNames).map { .string($0) }), "subject": .string(facts.subject),
            "issuer": .string(facts.issuer), "serial": .string(facts.serial),
            "not_before": .integer(facts.notBefore), "not_after": .integer(facts.notAfter),
            "is_valid": .bool(facts.notBefore <= now && now < facts.notAfter),
        ]
    }

    /// Notes what is shown and trusted.
    func note(in explanation: Explanation, _ step: String, at path: String) {
        let made = ingredients
        if current == nil, explanation.isLive {
            explanation.note(step, "no handshake can begin: \(problem)", at: path, level: 1)
        }
        let now = WallClock.now.seconds
        if let leaf = made.certificates.first?.facts {
            explanation.note(
                step,
                "shows \((leaf.uris + leaf.dnsNames).first ?? leaf.subject), \(Self.validity(leaf, now))", level: 1)
        }
        for authority in made.authorities where authority.facts.notAfter <= now {
            explanation.note(
                step, "trusts \(authority.facts.subject), \(Self.validity(authority.facts, now))", level: 1)
        }
        if verifiesPeers {
            let names = acceptedNames
            explanation.note(
                step,
                "accepts certificates under \(made.authorities.count) roots"
                    + (names.isEmpty ? "" : " with the name " + names.joined(separator: " or ")), level: 1)
        }
    }

    private static func validity(_ facts: PeerFacts, _ now: Int64) -> String {
        if facts.notAfter <= now { return "expired \(Self.span(now - facts.notAfter)) ago" }
        if facts.notBefore > now { return "valid in \(Self.span(facts.notBefore - now)) only" }
        return "valid for another \(Self.span(facts.notAfter - now))"
    }

    static func span(_ seconds: Int64) -> String {
        seconds >= 172_800
            ? "\(seconds / 86_400) days" : seconds >= 7200 ? "\(seconds / 3600) hours" : "\(seconds) seconds"
    }
}
