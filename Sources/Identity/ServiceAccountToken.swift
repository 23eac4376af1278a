import Serialization
public import TLS

/// A service-account token (a JWT as Kubernetes makes them), and whether it is good for us (ATK-39).
///
/// Source: Kubernetes' "Managing Service Accounts", bound service account tokens; RFC 7519.
public struct ServiceAccountToken: Sendable, Hashable {
    /// For whom our tokens are: others are not taken.
    public static let audience = "skein"
    /// Bytes of a token at most.
    public static let bytesMax = 16 * 1024
    /// How far clocks may differ, seconds.
    static let leeway: Int64 = 30

    /// The namespace of the service account.
    public var namespace: String
    /// Its name.
    public var serviceAccount: String
    /// The pod that it is bound to; nil for one of the service account alone.
    public var pod: BoundPod?
    /// Its end, unix seconds.
    public var expires: Int64
    /// Its own number.
    public var id: String

    /// Reads and checks a token.
    ///
    /// - Parameters:
    ///   - text: the token.
    ///   - keys: the keys of whoever issues tokens.
    ///   - issuer: his name.
    ///   - audience: for whom it must be.
    ///   - now: unix seconds.
    ///   - pod: the pod of that uid, namespace and name as the API has it now: a token dies with its pod.
    ///   - account: the uid of the service account of that namespace and name: a token dies with its account, too.
    public init(
        _ text: String, keys: [VerificationKey], issuer: String, audience wanted: String = Self.audience, now: Int64,
        pod: (_ uid: String, _ namespace: String, _ name: String) -> BoundPod?,
        account find: (_ namespace: String, _ name: String) -> String?
    ) throws(IdentityError) {
        guard text.utf8.count <= Self.bytesMax else { throw Self.bad("it is longer than \(Self.bytesMax) bytes") }
        let parts = text.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 3, let head = Self.json(parts[0]), let claims = Self.json(parts[1]),
            let signature = Self.bytes(parts[2])
        else { throw Self.bad("it is no JSON Web Token") }
        guard let algorithm = head["alg"]?.string.flatMap(SignatureAlgorithm.init(rawValue:)),
            ![.hs256, .hs384, .hs512].contains(algorithm), head["crit"] == nil
        else { throw Self.bad("it is signed by an algorithm that is not taken") }
        let message = Array("\(parts[0]).\(parts[1])".utf8)
        guard keys.contains(where: { $0.isValid(signature, for: message, algorithm) }) else {
            throw Self.bad("nobody who issues tokens has signed it")
        }
        guard claims["iss"]?.string == issuer else { throw Self.bad("it is of another issuer") }
        let audiences = claims["aud"]?.array?.compactMap(\.string) ?? [claims["aud"]?.string].compactMap(\.self)
        guard audiences.contains(wanted) else {
            throw Self.bad("it is not for \(wanted), but for \(audiences.joined(separator: ", "))")
        }
        guard let expires = claims["exp"]?.int, Int64(expires) > now - Self.leeway else {
            throw Self.bad("it has expired")
        }
        if let start = claims["nbf"]?.int, Int64(start) > now + Self.leeway { throw Self.bad("it is not valid yet") }
        let bound = claims["kubernetes.io"]
        guard let namespace = bound?["namespace"]?.string, let account = bound?["serviceaccount"]?["name"]?.string,
            let accountUID = bound?["serviceaccount"]?["uid"]?.string,
            claims["sub"]?.string == "system:serviceaccount:\(namespace):\(account)"
        else { throw Self.bad("it is not bound to a service account") }
        guard let known = find(namespace, account), known == accountUID else {
            throw Self.bad("its service account is gone")
        }
        if let claimed = bound?["pod"] {
            guard let uid = claimed["uid"]?.string, !uid.isEmpty,
                let found = pod(uid, namespace, claimed["name"]?.string ?? ""), found.uid == uid, !found.hasEnded,
                found.namespace == namespace, found.serviceAccount == account
            else { throw Self.bad("its pod is gone") }
            self.pod = found
        } else {
            self.pod = nil
        }
        self.namespace = namespace
        serviceAccount = account
        self.expires = Int64(expires)
        id = claims["jti"]?.string ?? SHA256.hexadecimal(SHA256.hash(signature))
    }

    private static func bad(_ reason: String) -> IdentityError {
        IdentityError(.badToken, "the token is not good: \(reason)")
    }

    private static func bytes(_ part: String) -> [UInt8]? {
        // Only the alphabet of RFC 4648 section 5, without padding: each token has one spelling.
        guard !part.isEmpty,
            part.utf8.allSatisfy({
                ($0 >= 0x41 && $0 <= 0x5A) || ($0 >= 0x61 && $0 <= 0x7A) || ($0 >= 0x30 && $0 <= 0x39) || $0 == 0x2D
                    || $0 == 0x5F
            })
        else { return nil }
        let plain = part.map { $0 == "-" ? "+" : $0 == "_" ? "/" : $0 }
        return Base64.decode(String(plain) + String(repeating: "=", count: (4 - plain.count % 4) % 4))
    }

    private static func json(_ part: String) -> JSON? { bytes(part).flatMap { try? JSON.parse($0) } }
}

/// Tokens that were used: who comes with one again must come with the same key.
public struct TokenUses: Sendable {
    /// Tokens that are remembered; beyond it none is taken until some have ended.
    public static let usesMax = 100_000

    private struct Use: Sendable {
        /// SHA-256 of the key.
        var key: String
        var until: Int64
    }

    private var uses: [String: Use] = [:]

    /// No token was used.
    public init() {}

    /// The uses that are written down, one in a line, without those that have ended; what is no such line is passed over.
    public init(lines: [String], now: Int64) {
        for line in lines {
            let parts = line.split(separator: " ").map(String.init)
            guard parts.count == 3, let until = Int64(parts[0]), until > now, uses.count < Self.usesMax else {
                continue
            }
            uses[parts[2]] = Use(key: parts[1], until: until)
        }
    }

    /// What is to be written down, so that a token stays used in the next life of the control plane.
    public var lines: [String] { uses.map { id, use in Self.line(id, use) }.sorted() }

    private static func line(_ id: String, _ use: Use) -> String { "\(use.until) \(use.key) \(id)" }

    /// Notes that a token certifies a key; refuses a second key (ATK-39).
    ///
    /// - Returns: the line to be written down; nil when it was noted before.
    public mutating func use(
        _ token: ServiceAccountToken, for key: PublicKey, now: Int64
    ) throws(IdentityError) -> String? {
        let hash = SHA256.hexadecimal(SHA256.hash(key.der))
        let id = Self.id(token)
        if let known = uses[id], known.until > now {
            guard known.key == hash else {
                throw IdentityError(.replay, "the token was used for another key; ask for a new token")
            }
            return nil
        }
        if uses.count >= Self.usesMax {
            uses = uses.filter { $0.value.until > now }
            guard uses.count < Self.usesMax else {
                throw IdentityError(.limit, "more than \(Self.usesMax) tokens in use")
            }
        }
        let use = Use(key: hash, until: token.expires + ServiceAccountToken.leeway)
        uses[id] = use
        return Self.line(id, use)
    }

    /// What could not be written down is as if it had not been.
    public mutating func forget(_ token: ServiceAccountToken) { uses[Self.id(token)] = nil }

    /// Tokens are known by a hash: whatever stands in their number stands in no line.
    private static func id(_ token: ServiceAccountToken) -> String {
        SHA256.hexadecimal(SHA256.hash(Array(token.id.utf8)))
    }
}
