public import TLS

/// Who asks for a certificate, as was verified before: never what the request says.
public enum CertificateCaller: Sendable, Hashable {
    /// The agent of a node: by the kernel's word on this machine, by its certificate on others.
    case node(String)
    /// A workload with a token of its service account, bound to a pod.
    case pod(uid: String)
}

/// A pod as the API has it.
public struct BoundPod: Sendable, Hashable {
    /// Its uid.
    public var uid: String
    /// Its namespace.
    public var namespace: String
    /// Its name.
    public var name: String
    /// Its service account.
    public var serviceAccount: String
    /// The node that it is bound to.
    public var node: String
    /// Whether it has ended: it needs no certificate any more.
    public var hasEnded: Bool

    /// A pod.
    public init(
        uid: String, namespace: String, name: String, serviceAccount: String, node: String, hasEnded: Bool = false
    ) {
        self.uid = uid
        self.namespace = namespace
        self.name = name
        self.serviceAccount = serviceAccount
        self.node = node
        self.hasEnded = hasEnded
    }
}

/// Decides who gets a certificate, for which name, and remembers whose key is whose.
///
/// Pure: the pod, the time and the authority come in (ATK-39).
public struct CertificateIssuer: Sendable {
    /// Bytes of a request.
    public static let requestBytesMax = 16 * 1024
    /// Keys that are remembered; beyond it the oldest go.
    public static let keysMax = 100_000

    private struct KeyOwner: Sendable {
        var pod: String
        var until: Int64
    }

    /// Whose each certified key is, by the hash of the key.
    private var keys: [[UInt8]: KeyOwner] = [:]
    /// Certificates signed since the start.
    public private(set) var issued = 0
    /// Refusals since the start, by kind.
    public private(set) var refused: [IdentityError.Code: Int] = [:]

    /// An issuer that has signed nothing.
    public init() {}

    /// Signs a pod's key.
    ///
    /// - Parameters:
    ///   - request: the request as PEM.
    ///   - pod: the pod that it is for, as the API has it now; nil when there is none.
    ///   - caller: who asks.
    ///   - trustDomain: the mesh's.
    ///   - now: unix seconds.
    ///   - lifetime: how long the certificate is to hold, seconds; never longer than is usual.
    /// - Returns: the certificate, then its intermediates.
    public mutating func issue(
        _ request: [UInt8], pod: BoundPod?, caller: CertificateCaller, trustDomain: String, authority: Authority,
        now: Int64, lifetime: Int64 = CertificateSchedule.workloadLifetime
    ) throws(IdentityError) -> [Certificate] {
        do throws(IdentityError) {
            let identity = try Self.identity(of: pod, caller: caller, trustDomain: trustDomain)
            let read = try Self.read(request, for: identity)
            let key = SHA256.hash(read.publicKey.der)
            let owner = pod?.uid ?? ""
            if let known = keys[key], known.until > now, known.pod != owner {
                throw IdentityError(.replay, "the key of this request belongs to another pod; make a new one")
            }
            let chain = try authority.sign(read.publicKey, for: identity, now: now, lifetime: lifetime)
            remember(key, KeyOwner(pod: owner, until: chain.first?.notAfter ?? now), now)
            issued += 1
            return chain
        } catch {
            refused(error)
            throw error
        }
    }

    /// Counts a refusal that came before anything was signed.
    public mutating func refused(_ error: IdentityError) { refused[error.code, default: 0] += 1 }

    /// For whom the caller may speak: a node for pods bound to it, a pod for itself.
    private static func identity(
        of pod: BoundPod?, caller: CertificateCaller, trustDomain: String
    ) throws(IdentityError) -> WorkloadIdentity {
        guard let pod else { throw IdentityError(.noSuchPod, "there is no such pod") }
        guard !pod.hasEnded else {
            throw IdentityError(.noSuchPod, "pod \(pod.namespace)/\(pod.name) has ended")
        }
        switch caller {
        case .node(let node):
            guard pod.node == node else {
                throw IdentityError(
                    .notYours, "pod \(pod.namespace)/\(pod.name) runs on node \(pod.node), not on \(node)")
            }
        case .pod(let uid):
            guard pod.uid == uid else {
                throw IdentityError(.notYours, "the token is not that of pod \(pod.namespace)/\(pod.name)")
            }
        }
        guard
            let identity = WorkloadIdentity(
                trustDomain: trustDomain, namespace: pod.namespace, serviceAccount: pod.serviceAccount)
        else {
            throw IdentityError(
                .badRequest,
                "\(trustDomain)/ns/\(pod.namespace)/sa/\(pod.serviceAccount) cannot be written as a SPIFFE id")
        }
        return identity
    }

    /// What a request may ask for: nothing, or the very name that it will get.
    private static func read(
        _ request: [UInt8], for identity: WorkloadIdentity
    ) throws(IdentityError) -> CertificateRequest {
        guard request.count <= requestBytesMax else {
            throw IdentityError(.limit, "a request of more than \(requestBytesMax) bytes")
        }
        let read: CertificateRequest
        do throws(TLSError) { read = try CertificateRequest(pem: request) } catch {
            throw IdentityError(.badRequest, "\(error)")
        }
        guard read.alternativeNames.allSatisfy({ $0 == .uri(identity.uri) }) else {
            let names = read.alternativeNames.map(\.description).joined(separator: ", ")
            throw IdentityError(.otherIdentity, "the request is for \(names), the caller is \(identity)")
        }
        return read
    }

    private mutating func remember(_ key: [UInt8], _ owner: KeyOwner, _ now: Int64) {
        if keys.count >= Self.keysMax {
            keys = keys.filter { $0.value.until > now }
            // Still too many: those that end first are the least use to a thief.
            if keys.count >= Self.keysMax, let first = keys.min(by: { $0.value.until < $1.value.until })?.key {
                keys[first] = nil
            }
        }
        keys[key] = owner
    }
}
