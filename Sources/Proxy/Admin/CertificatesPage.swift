internal import EnvoyAPI
internal import IO
internal import Serialization
internal import TLS

/// `/certs`: the certificates that transport sockets use, with what matters for knowing when they end.
enum CertificatesPage {
    static func of(_ secrets: SecretStore) -> JSON {
        var message = Certificates()
        let now = WallClock.now.seconds
        for context in secrets.certificates {
            var certificate = AdminCertificate()
            certificate.certChain = context.certificates.map { details($0, now: now) }
            certificate.caCert = context.authorities.map { details($0, now: now) }
            message.certificates.append(certificate)
        }
        return message.json(names: .proto)
    }

    private static func details(_ certificate: CertificateFact, now: Int64) -> CertificateDetails {
        let facts = certificate.facts
        var details = CertificateDetails()
        details.path = certificate.path
        details.serialNumber = facts.serial
        details.validFrom = Timestamp(seconds: facts.notBefore)
        details.expirationTime = Timestamp(seconds: facts.notAfter)
        details.daysUntilExpiration = UInt64(clamping: (facts.notAfter - now) / 86_400)
        details.subjectAltNames = facts.names.compactMap { name in
            var result = SubjectAlternateName()
            switch name {
            case .dns(let text): result.name = .dns(text)
            case .uri(let text): result.name = .uri(text)
            case .ip(let bytes): result.name = .ipAddress(IPAddress(bytes: bytes).map { "\($0)" } ?? "")
            case .email, .other: return nil
            }
            return result
        }
        return details
    }
}
