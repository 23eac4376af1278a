import Serialization
public import TLS

/// Makes service-account tokens as Kubernetes does, and knows its own again.
///
/// Pure: time and numbers come in. Source: Kubernetes' "Managing Service Accounts" (bound service account tokens); RFC 7515, ES256 of RFC 7518.
public struct TokenIssuer: Sendable {
    /// The `iss` of the tokens, as with Kubernetes.
    public static let name = "https://kubernetes.default.svc.cluster.local"
    /// The shortest life of a token that may be asked for, seconds.
    public static let lifetimeMin: Int64 = 600
    /// The life of a token of which nothing is said, seconds.
    public static let lifetimeDefault: Int64 = 3600
    /// The longest life of a token; who asks for more gets this.
    public static let lifetimeMax: Int64 = 86_400

    /// Whom a token is for.
    public struct Subject: Sendable, Hashable {
        /// The service account's namespace.
        public var namespace: String
        /// Its name.
        public var serviceAccount: String
        /// Its uid.
        public var serviceAccountUID: String
        /// The pod that the token is bound to: it is good while that is there.
        public var pod: (name: String, uid: String)?

        /// A service account, and perhaps one of its pods.
        public init(
            namespace: String, serviceAccount: String, serviceAccountUID: String,
            pod: (name: String, uid: String)? = nil
        ) {
            self.namespace = namespace
            self.serviceAccount = serviceAccount
            self.serviceAccountUID = serviceAccountUID
            self.pod = pod
        }

        /// Field by field.
        public static func == (left: Subject, right: Subject) -> Bool {
            left.namespace == right.namespace && left.serviceAccount == right.serviceAccount
                && left.serviceAccountUID == right.serviceAccountUID && left.pod?.name == right.pod?.name
                && left.pod?.uid == right.pod?.uid
        }

        /// Field by field.
        public func hash(into hasher: inout Hasher) {
            hasher.combine(namespace)
            hasher.combine(serviceAccount)
            hasher.combine(pod?.uid)
        }
    }

    private let key: PrivateKey
    /// What others check the tokens with.
    public let verificationKey: VerificationKey
    private let keyID: String

    /// An issuer with a P-256 key.
    public init(key: PrivateKey) throws(IdentityError) {
        self.key = key
        let der = key.publicKey.der
        // The last 64 bytes of a P-256 SubjectPublicKeyInfo (RFC 5480) are the coordinates.
        guard der.count == 91 else { throw IdentityError(.authority, "the key of tokens is no P-256 key") }
        do throws(TLSError) {
            verificationKey = try VerificationKey(
                curve: .p256, x: Array(der.suffix(64).prefix(32)), y: Array(der.suffix(32)))
        } catch { throw IdentityError(error) }
        keyID = String(SHA256.hexadecimal(SHA256.hash(der)).prefix(16))
    }

    /// A token.
    ///
    /// - Parameters:
    ///   - id: its own number (`jti`), not used before.
    ///   - now: unix seconds.
    public func token(
        for subject: Subject, audiences: [String], id: String, now: Int64, lifetime: Int64
    ) throws(IdentityError) -> String {
        var bound: JSON = [
            "namespace": .string(subject.namespace),
            "serviceaccount": [
                "name": .string(subject.serviceAccount), "uid": .string(subject.serviceAccountUID),
            ],
        ]
        if let pod = subject.pod { bound["pod"] = ["name": .string(pod.name), "uid": .string(pod.uid)] }
        let claims: JSON = [
            "aud": .array(audiences.map { .string($0) }), "exp": .integer(now + lifetime), "iat": .integer(now),
            "iss": .string(Self.name), "jti": .string(id), "kubernetes.io": bound, "nbf": .integer(now),
            "sub": .string("system:serviceaccount:\(subject.namespace):\(subject.serviceAccount)"),
        ]
        let head: JSON = ["alg": "ES256", "kid": .string(keyID), "typ": "JWT"]
        let text = "\(Base64.encodeURL(head.bytes)).\(Base64.encodeURL(claims.bytes))"
        let signature: [UInt8]
        do throws(TLSError) { signature = try key.sign(Array(text.utf8)) } catch { throw IdentityError(error) }
        guard let raw = Self.raw(signature) else {
            throw IdentityError(.authority, "the signature of a token cannot be written")
        }
        return "\(text).\(Base64.encodeURL(raw))"
    }

    /// A signature as a JSON Web Signature has it, `r` and `s` of 32 bytes each, of the DER sequence of two integers.
    private static func raw(_ der: [UInt8]) -> [UInt8]? {
        guard der.count > 2, der[0] == 0x30, Int(der[1]) == der.count - 2 else { return nil }
        var rest = der.dropFirst(2)
        var raw: [UInt8] = []
        for _ in 0..<2 {
            guard rest.popFirst() == 0x02, let count = rest.popFirst(), rest.count >= Int(count) else { return nil }
            let number = rest.prefix(Int(count)).drop { $0 == 0 }
            guard number.count <= 32 else { return nil }
            raw += [UInt8](repeating: 0, count: 32 - number.count) + number
            rest = rest.dropFirst(Int(count))
        }
        return rest.isEmpty ? raw : nil
    }
}
