internal import EnvoyAPI
internal import IO
internal import Serialization
internal import TLS

/// `/certs`: the certificates that are presented and trusted, never a key.
enum CertificateReport {
    static func json(_ secrets: SecretStore, now: Int64) -> JSON {
        var message = Certificates()
        for (certificates, authorities) in secrets.certificates {
            guard !certificates.isEmpty || !authorities.isEmpty else { continue }
            var entry = AdminCertificate()
            entry.caCert = authorities.map { details($0, now) }
            entry.certChain = certificates.map { details($0, now) }
            message.certificates.append(entry)
        }
        let json = message.json(names: .proto)
        // An empty list is left out of a message, but not of Envoy's page.
        if case .object(let members) = json, members.isEmpty { return .object(["certificates": .array([])]) }
        return json
    }

    private static func details(_ fact: CertificateFact, _ now: Int64) -> CertificateDetails {
        var details = CertificateDetails()
        details.path = fact.path
        details.serialNumber = fact.facts.serial
        details.daysUntilExpiration = UInt64(max(0, fact.facts.notAfter - now) / 86_400)
        details.validFrom = Timestamp(seconds: fact.facts.notBefore)
        details.expirationTime = Timestamp(seconds: fact.facts.notAfter)
        for name in fact.facts.names {
            var alternative = SubjectAlternateName()
            switch name {
            case .dns(let text): alternative.name = .dns(text)
            case .uri(let text): alternative.name = .uri(text)
            case .ip(let bytes): alternative.name = .ipAddress(IPAddress(bytes: bytes).map { "\($0)" } ?? "")
            case .email, .other: continue
            }
            details.subjectAltNames.append(alternative)
        }
        return details
    }
}
