internal import EnvoyAPI
internal import HTTP
internal import TLS
internal import Upstream

/// What becomes of `x-forwarded-client-cert` (`forward_client_cert_details`).
///
/// ATK-17: without a configuration, and without a client certificate, nothing of it passes; only the two modes that say so forward what a client
/// sent.
struct ForwardedClientCertificate: Sendable {
    private enum Mode: Sendable { case sanitize, forwardOnly, appendForward, sanitizeSet, alwaysForwardOnly }

    private enum Detail: Sendable { case certificate, chain, subject, uri, dns }

    private let mode: Mode
    /// In Envoy's order, behind `By` and `Hash`.
    private let details: [Detail]

    init(compiling message: HttpConnectionManager, at path: String) throws(ConfigurationError) {
        switch message.forwardClientCertDetails {
        case .sanitize: mode = .sanitize
        case .forwardOnly: mode = .forwardOnly
        case .appendForward: mode = .appendForward
        case .sanitizeSet: mode = .sanitizeSet
        case .alwaysForwardOnly: mode = .alwaysForwardOnly
        case .unrecognized(let number):
            throw ConfigurationError(at: path + ".forward_client_cert_details", "\(number) is no mode")
        }
        let wanted = message.setCurrentClientCertDetails
        var details: [Detail] = []
        if wanted?.cert == true { details.append(.certificate) }
        if wanted?.chain == true { details.append(.chain) }
        if wanted?.subject == true { details.append(.subject) }
        if wanted?.uri == true { details.append(.uri) }
        if wanted?.dns == true { details.append(.dns) }
        self.details = details
    }

    /// Rewrites the header of a request.
    func apply(to headers: inout HeaderTable, tls: TLSFacts?) {
        guard mode != .alwaysForwardOnly else { return }
        guard mode != .sanitize, let tls, let peer = tls.peer else {
            headers.remove(.xForwardedClientCert)
            return
        }
        guard mode != .forwardOnly else { return }
        // One connection asks for the same text with each request.
        let element = tls.forwardedElement ?? text(tls, peer)
        tls.forwardedElement = element
        if mode == .appendForward, let old = headers[.xForwardedClientCert], !old.isEmpty {
            try? headers.set(.xForwardedClientCert, "\(old),\(element)")
        } else {
            try? headers.set(.xForwardedClientCert, element)
        }
    }

    /// The element that tells of this connection's peer.
    func text(_ tls: TLSFacts, _ peer: PeerFacts) -> String {
        var parts = (tls.local?.uris ?? []).map { "By=\(Self.quoted($0))" }
        parts.append("Hash=\(Hexadecimal.text(peer.fingerprint))")
        for detail in details {
            switch detail {
            case .certificate: parts.append("Cert=\"\(PEMText.urlEncoded(peer.chain.prefix(1)))\"")
            case .chain: parts.append("Chain=\"\(PEMText.urlEncoded(peer.chain[...]))\"")
            case .subject: parts.append("Subject=\"\(Self.escaped(peer.subject))\"")
            case .uri: parts += peer.uris.isEmpty ? ["URI="] : peer.uris.map { "URI=\(Self.quoted($0))" }
            case .dns: parts += peer.dnsNames.map { "DNS=\(Self.quoted($0))" }
            }
        }
        return parts.joined(separator: ";")
    }

    /// A value with a delimiter in it would end early and say what its owner likes.
    private static func quoted(_ text: String) -> String {
        text.utf8.contains { $0 == 0x2C || $0 == 0x3B || $0 == 0x3D || $0 == 0x22 } ? "\"\(escaped(text))\"" : text
    }

    /// Quotation marks behind a backslash, and what no header may hold left out.
    private static func escaped(_ text: String) -> String {
        guard text.utf8.contains(where: { $0 == 0x22 || $0 < 0x20 || $0 == 0x7F }) else { return text }
        var result = ""
        var isEscaped = false
        for character in text.unicodeScalars {
            if character == "\"", !isEscaped { result += "\\" }
            if character.value >= 0x20, character.value != 0x7F { result.unicodeScalars.append(character) }
            isEscaped = character == "\\" && !isEscaped
        }
        return result
    }
}
