import EnvoyAPI
import Serialization

/// A workload's own certificate and the roots of its mesh, as the secrets that proxies ask for (SDS).
///
/// The private key stands in the resource and nowhere else; no description of ours shows what a resource holds.
public enum WorkloadSecrets {
    /// The name of the secret with certificate and key, as with Istio.
    public static let certificateName = "default"
    /// The name of the secret with the roots, as with Istio.
    public static let rootName = "ROOTCA"
    /// Both names.
    public static let names: Set<String> = [certificateName, rootName]

    private static func source(_ bytes: [UInt8]) -> DataSource {
        var source = DataSource()
        source.specifier = .inlineBytes(bytes)
        return source
    }

    /// The certificate chain and key, both as PEM, under `default`.
    ///
    /// - Parameter version: what stands for this certificate and no other.
    public static func certificate(chain: [UInt8], key: [UInt8], version: String) -> EncodedResource {
        var certificate = TlsCertificate()
        certificate.certificateChain = source(chain)
        certificate.privateKey = source(key)
        var secret = Secret()
        secret.name = certificateName
        secret.type = .tlsCertificate(certificate)
        return EncodedResource(name: certificateName, version: version, message: AnyMessage(packing: secret))
    }

    /// The roots, as PEM, under `ROOTCA`.
    ///
    /// - Parameter version: what stands for these roots and no others.
    public static func roots(_ pem: [UInt8], version: String) -> EncodedResource {
        var validation = CertificateValidationContext()
        validation.trustedCa = source(pem)
        var secret = Secret()
        secret.name = rootName
        secret.type = .validationContext(validation)
        return EncodedResource(name: rootName, version: version, message: AnyMessage(packing: secret))
    }

    /// A part of a snapshot that holds these and nothing else.
    public static func part(_ secrets: [EncodedResource]) -> SnapshotPart {
        let table = ResourceTable(Dictionary(secrets.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first }))
        return SnapshotPart([Secret.typeURL: [table]])
    }
}
