import APIServer
import IO
import Serialization
import TLS

/// The authority of this Skein, kept in the data directory, and the certificates that it signs for the API.
struct Identities {
    private static let day: Int64 = 86_400

    let authority: CertificateAuthority
    private let directory: String

    /// Reads the authority, or makes it at the first start.
    init(directory: String, now: Int64) throws(ControlPlaneError) {
        self.directory = directory
        let (keyFile, certificateFile) = (directory + "/ca.key", directory + "/ca.crt")
        do throws(TLSError) {
            if File.exists(keyFile) && File.exists(certificateFile) {
                authority = try CertificateAuthority(
                    certificate: Certificate(pem: try Self.read(certificateFile)),
                    key: PrivateKey(pem: try Self.read(keyFile)))
                guard authority.certificate.notAfter > now else {
                    throw TLSError(certificateFile, "has expired; remove it and ca.key to make a new authority")
                }
            } else if File.exists(keyFile) || File.exists(certificateFile) {
                throw TLSError(
                    directory,
                    "has only one of ca.key and ca.crt; restore the other, or remove it to make a new authority")
            } else {
                authority = try CertificateAuthority.make(
                    subject: DistinguishedName(commonName: "skein-ca", organizations: ["skein"]),
                    key: PrivateKey.makeP256(), notBefore: now - 3600, notAfter: now + 3650 * Self.day)
                try Self.write(keyFile, authority.key.pem, mode: 0o600)
                try Self.write(certificateFile, authority.certificate.pem, mode: 0o644)
            }
        } catch {
            throw ControlPlaneError("the certificate authority in \(directory): \(error)")
        }
    }

    private static func read(_ path: String) throws(TLSError) -> [UInt8] {
        do throws(SystemError) {
            return try File.read(path)
        } catch {
            throw TLSError(path, error.description)
        }
    }

    private static func write(_ path: String, _ bytes: [UInt8], mode: UInt32) throws(TLSError) {
        do throws(SystemError) {
            try File.write(path, bytes, mode: mode)
        } catch {
            throw TLSError(path, error.description)
        }
    }

    /// What the API presents and whom it trusts.
    ///
    /// Made anew at each start and each month.
    func serverContext(
        address: SocketAddress, further: [String] = [], now: Int64
    ) throws(TLSError) -> TLSContext {
        var names: [SubjectAlternativeName] = [
            .dns("localhost"), .dns("kubernetes"), .dns("kubernetes.default"), .dns("kubernetes.default.svc"),
            .dns("kubernetes.default.svc.cluster.local"), .ip([127, 0, 0, 1]),
            .ip([UInt8](repeating: 0, count: 15) + [1]),
        ]
        if case .ip(let address, _) = address, !names.contains(.ip(address.bytes)) { names.append(.ip(address.bytes)) }
        names += further.map { name in IPAddress(name).map { .ip($0.bytes) } ?? .dns(name) }.filter {
            !names.contains($0)
        }
        let key = try PrivateKey.makeP256()
        let certificate = try authority.sign(
            CertificateAuthority.Leaf(
                subject: DistinguishedName(commonName: "skein-api"), alternativeNames: names, usage: .server,
                notBefore: now - 3600, notAfter: now + 365 * Self.day), for: key.publicKey)
        var configuration = TLSConfiguration()
        configuration.certificateChain = [certificate]
        configuration.privateKey = key
        configuration.trust = [authority.certificate]
        configuration.peerCertificate = .optional
        configuration.applicationProtocols = ["http/1.1"]
        return try TLSContext(configuration, role: .server)
    }

    /// What discovery presents on TCP: proxies know us by one of these names and show a certificate of this mesh, if they have one.
    func discoveryContext(
        address: SocketAddress, trusting roots: [Certificate], now: Int64
    ) throws(TLSError) -> TLSContext {
        var names: [SubjectAlternativeName] = [
            .dns("skein.skein-system.svc"), .dns("skein.skein-system.svc.cluster.local"),
            .dns("istiod.istio-system.svc"), .dns("istiod.istio-system.svc.cluster.local"), .dns("localhost"),
            .ip([127, 0, 0, 1]),
        ]
        if case .ip(let address, _) = address, !names.contains(.ip(address.bytes)) { names.append(.ip(address.bytes)) }
        let key = try PrivateKey.makeP256()
        let certificate = try authority.sign(
            CertificateAuthority.Leaf(
                subject: DistinguishedName(commonName: "skein-discovery"), alternativeNames: names, usage: .server,
                notBefore: now - 3600, notAfter: now + 365 * Self.day), for: key.publicKey)
        var configuration = TLSConfiguration()
        configuration.certificateChain = [certificate]
        configuration.privateKey = key
        configuration.trust = [authority.certificate] + roots
        configuration.peerCertificate = .optional
        configuration.applicationProtocols = ["h2"]
        return try TLSContext(configuration, role: .server)
    }

    /// Writes `kubeconfig` unless the present one is of this authority and still good for a month.
    func writeKubeconfig(server: String, now: Int64) throws(ControlPlaneError) {
        let path = directory + "/kubeconfig"
        if let text = try? File.text(path), text.contains(Base64.encode(authority.certificate.pem)),
            text.contains("server: \(server)\n"), isGood(text, now: now)
        {
            return
        }
        do {
            let key = try PrivateKey.makeP256()
            let certificate = try authority.sign(
                CertificateAuthority.Leaf(
                    subject: DistinguishedName(commonName: "skein-admin", organizations: ["system:masters"]),
                    usage: .client, notBefore: now - 3600, notAfter: now + 365 * Self.day), for: key.publicKey)
            let text = Kubeconfig.yaml(
                server: server, ca: authority.certificate.pem, certificate: certificate.pem, key: key.pem)
            try File.write(path, Array(text.utf8), mode: 0o600)
        } catch {
            throw ControlPlaneError("\(path) cannot be written: \(error)")
        }
    }

    private func isGood(_ kubeconfig: String, now: Int64) -> Bool {
        guard
            let line = kubeconfig.split(separator: "\n").first(where: { $0.contains("client-certificate-data:") }),
            let pem = line.split(separator: " ").last.flatMap({ Base64.decode(String($0)) }),
            let certificate = try? Certificate(pem: pem)
        else { return false }
        return certificate.notAfter > now + 30 * Self.day
    }
}
