import EnvoyAPI
import KubernetesAPI
import Serialization

/// Certificates, keys and authorities that gateways are given over the stream (SDS), from Secrets and ConfigMaps.
///
/// What they hold stands in the resources and nowhere else: no message of ours repeats it.
enum GatewaySecrets {
    /// The scheme of resource names that stand for Secrets.
    static let scheme = "kubernetes://"
    /// The scheme of resource names that stand for ConfigMaps with a `ca.crt`.
    static let configMapScheme = "configmap://"
    /// What the name of an authority's resource ends with.
    static let authoritySuffix = "-cacert"

    /// The resource with certificate and key of a Secret.
    static func certificateName(_ key: NamespacedName) -> String { "\(scheme)\(key)" }

    /// The resource with the authorities of a Secret or ConfigMap.
    static func authorityName(_ kind: String, _ key: NamespacedName) -> String {
        kind == "ConfigMap" ? "\(configMapScheme)\(key)" : "\(scheme)\(key)\(authoritySuffix)"
    }

    /// The resource of that name; `nil` when there is nothing usable, and then a listener that needs it does not serve.
    static func resource(_ name: String, _ objects: MeshObjects) -> EnvoyAPI.Secret? {
        var secret = EnvoyAPI.Secret()
        secret.name = name
        if name.hasPrefix(configMapScheme) {
            guard let key = key(name.dropFirst(configMapScheme.count)),
                let text = objects.object(.configMap, key)?.json["data"]?["ca.crt"]?.string
            else { return nil }
            secret.type = .validationContext(authority(Array(text.utf8), revoked: nil))
            return secret
        }
        guard name.hasPrefix(scheme), let key = key(name.dropFirst(scheme.count)) else { return nil }
        if name.hasSuffix(authoritySuffix) {
            let plain = NamespacedName(namespace: key.namespace, name: String(key.name.dropLast(authoritySuffix.count)))
            guard let (bytes, revoked) = authority(of: plain, objects) else { return nil }
            secret.type = .validationContext(authority(bytes, revoked: revoked))
            return secret
        }
        guard let object = objects.object(.secret, key), problem(certificateIn: object) == nil,
            let chain = member(object, ["tls.crt", "cert"]), let privateKey = member(object, ["tls.key", "key"])
        else { return nil }
        var certificate = TlsCertificate()
        certificate.certificateChain = source(chain)
        certificate.privateKey = source(privateKey)
        secret.type = .tlsCertificate(certificate)
        return secret
    }

    private static func key(_ text: Substring) -> NamespacedName? {
        let parts = text.split(separator: "/", maxSplits: 1)
        guard parts.count == 2 else { return nil }
        return NamespacedName(namespace: String(parts[0]), name: String(parts[1]))
    }

    private static func authority(_ bytes: [UInt8], revoked: [UInt8]?) -> CertificateValidationContext {
        var context = CertificateValidationContext()
        context.trustedCa = source(bytes)
        context.crl = revoked.map(source)
        return context
    }

    private static func source(_ bytes: [UInt8]) -> DataSource {
        var source = DataSource()
        source.specifier = .inlineBytes(bytes)
        return source
    }

    /// The authorities for a certificate's Secret: those of `NAME-cacert`, else its own.
    private static func authority(
        of key: NamespacedName, _ objects: MeshObjects
    ) -> (authority: [UInt8], revoked: [UInt8]?)? {
        let apart = NamespacedName(namespace: key.namespace, name: key.name + authoritySuffix)
        for candidate in [apart, key] {
            guard let object = objects.object(.secret, candidate),
                let bytes = member(object, ["ca.crt", "cacert"]), PEM.problem(certificates: bytes) == nil
            else { continue }
            return (bytes, member(object, ["ca.crl", "crl"]))
        }
        return nil
    }

    /// A member of a Secret, decoded.
    private static func member(_ secret: KubernetesObject, _ names: [String]) -> [UInt8]? {
        for name in names {
            if let text = secret.json["data"]?[name]?.string, let bytes = Base64.decode(text) { return bytes }
        }
        return nil
    }

    // MARK: Problems

    /// Why a Secret cannot serve as certificate; never shows what it holds.
    static func problem(certificateIn secret: KubernetesObject) -> String? {
        guard let chain = member(secret, ["tls.crt", "cert"]) else { return "data has neither tls.crt nor cert" }
        guard let key = member(secret, ["tls.key", "key"]) else { return "data has neither tls.key nor key" }
        if let problem = PEM.problem(certificates: chain) { return "the certificate \(problem)" }
        if let problem = PEM.problem(privateKey: key) { return "the private key \(problem)" }
        return nil
    }

    /// Why a Secret or ConfigMap cannot serve as authority.
    static func problem(authorityIn kind: String, _ key: NamespacedName, _ objects: MeshObjects) -> String? {
        if kind == "ConfigMap" {
            guard let object = objects.object(.configMap, key) else {
                return "there is no ConfigMap \(key) with a ca.crt"
            }
            guard let text = object.json["data"]?["ca.crt"]?.string else { return "ConfigMap \(key) has no ca.crt" }
            return PEM.problem(certificates: Array(text.utf8)).map { "ca.crt of ConfigMap \(key) \($0)" }
        }
        guard objects.object(.secret, key) != nil else { return "there is no Secret \(key)" }
        return authority(of: key, objects) == nil ? "Secret \(key) has no usable ca.crt" : nil
    }
}

/// The frame of PEM texts (RFC 7468): enough to tell a certificate from something else without reading it.
enum PEM {
    static func problem(certificates bytes: [UInt8]) -> String? {
        let blocks = blocks(bytes)
        guard !blocks.isEmpty else { return "is no PEM text" }
        for block in blocks where block.label != "CERTIFICATE" { return "has a block \(block.label)" }
        return blocks.allSatisfy(\.isSequence) ? nil : "is damaged"
    }

    static func problem(privateKey bytes: [UInt8]) -> String? {
        // Parameters of the curve may stand before an EC key.
        let keys = blocks(bytes).filter { $0.label.hasSuffix("PRIVATE KEY") }
        guard let key = keys.first else { return "is no PEM text" }
        if key.label.hasPrefix("ENCRYPTED") { return "is encrypted" }
        return key.isSequence ? nil : "is damaged"
    }

    private struct Block {
        var label: String
        /// Whether the content is one DER sequence of the right length.
        var isSequence: Bool
    }

    private static func blocks(_ bytes: [UInt8]) -> [Block] {
        var found: [Block] = []
        var label: String?
        var text = ""
        for line in String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline) {
            let line = line.filter { $0 != " " && $0 != "\t" || line.hasPrefix("-----") }
            if line.hasPrefix("-----BEGIN "), line.hasSuffix("-----") {
                label = String(line.dropFirst(11).dropLast(5))
                text = ""
            } else if line.hasPrefix("-----END "), let known = label {
                let content = Base64.decode(text) ?? []
                found.append(
                    Block(label: known, isSequence: line == "-----END \(known)-----" && isSequence(content)))
                label = nil
            } else if label != nil {
                text += line
            }
        }
        return found
    }

    private static func isSequence(_ der: [UInt8]) -> Bool {
        guard der.count > 2, der[0] == 0x30 else { return false }
        let first = Int(der[1])
        if first < 0x80 { return der.count == first + 2 }
        let count = first - 0x80
        guard (1...3).contains(count), der.count > 2 + count else { return false }
        let length = der[2..<2 + count].reduce(0) { $0 << 8 | Int($1) }
        return der.count == length + 2 + count
    }
}

extension GatewaySecrets {
    /// The authorities in a ConfigMap or Secret, as PEM.
    static func authorityText(_ kind: String, _ key: NamespacedName, _ objects: MeshObjects) -> [UInt8]? {
        if kind == "ConfigMap" {
            return objects.object(.configMap, key)?.json["data"]?["ca.crt"]?.string.map { Array($0.utf8) }
        }
        return authority(of: key, objects)?.authority
    }
}
