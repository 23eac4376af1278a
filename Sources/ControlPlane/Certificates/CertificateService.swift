import EnvoyAPI
import HTTP
import IO
import Identity
import KubernetesAPI
import Mesh
import Serialization
import TLS
import Telemetry

/// Istio's certificate service: a workload without an agent sends a request for its key, first with a token, then with its certificate.
///
/// Signed is the identity that the caller was verified to have; what the request asks for beyond that is refused (ATK-39).
///
/// `@unchecked Sendable`: belongs to one loop (docs/threads.md).
final class CertificateService: @unchecked Sendable {
    static let certificateMethod = "/istio.v1.auth.IstioCertificateService/CreateCertificate"
    static let rootsMethod = "/skein.identity.v1.TrustBundle/Get"
    /// Both.
    static let methods = [certificateMethod, rootsMethod]

    private let authority: MeshAuthority
    private let loop: EventLoop
    private var bucket: TokenBucket
    private let log = Logger("identity")
    /// Signatures at once, and in a second, of all callers together.
    private static let burst = 2_500.0
    private static let rate = 500.0

    init(_ authority: MeshAuthority, on loop: EventLoop) {
        self.authority = authority
        self.loop = loop
        bucket = TokenBucket(burst: Self.burst, rate: Self.rate)
    }

    /// Answers one request of a verified caller.
    func serve(_ call: GRPCStream, _ who: ProxyStreams.Subscriber) async throws(GRPCStatus) {
        if call.path == Self.rootsMethod { return try await tellRoots(call, who) }
        guard bucket.take(now: loop.now) else {
            throw GRPCStatus(.resourceExhausted, "more than \(Int(Self.rate)) certificates a second; try again later")
        }
        guard let bytes = try await call.next() else { throw GRPCStatus(.invalidArgument, "a request is needed") }
        let request: IstioCertificateRequest
        do throws(MessageError) { request = try IstioCertificateRequest(serialized: bytes) } catch {
            throw GRPCStatus(.invalidArgument, "\(error)")
        }
        // Istio's agents send empty members; one with a value asks for what there is not.
        for (name, value) in (request.metadata?.object ?? [:]).sorted(by: { $0.key < $1.key })
        where value.string.map({ !$0.isEmpty }) ?? !value.isNull {
            throw GRPCStatus(.invalidArgument, "metadata.\(name): is not supported")
        }
        var lifetime = authority.lifetime
        if request.validityDuration != 0 {
            guard request.validityDuration >= CertificateSchedule.workloadLifetimeMin else {
                throw GRPCStatus(
                    .invalidArgument,
                    "validity_duration: less than \(CertificateSchedule.workloadLifetimeMin) seconds")
            }
            lifetime = min(request.validityDuration, lifetime)
        }
        do throws(IdentityError) {
            let chain = try authority.certify(Array(request.csr.utf8), for: who, lifetime: lifetime)
            var response = IstioCertificateResponse()
            // Leaf first, roots last: Istio's clients take the last member for what they are to trust.
            response.certChain =
                chain.map { String(decoding: $0.pem, as: UTF8.self) }
                + [String(decoding: authority.authority.bundle.pem, as: UTF8.self)]
            authority.hasFiles(Self.name(who), until: chain.first?.notAfter ?? 0)
            log.info("a certificate for a caller", ["caller": "\(who)", "seconds": "\(lifetime)"])
            try await Self.send(response, call)
        } catch {
            log.warning("a certificate is refused", ["caller": "\(who)", "reason": error.description])
            throw Self.status(error)
        }
    }

    /// Tells a verified caller what is to be trusted now: `skein.identity.v1.TrustBundle/Get`.
    private func tellRoots(_ call: GRPCStream, _ who: ProxyStreams.Subscriber) async throws(GRPCStatus) {
        guard try await call.next() != nil else { throw GRPCStatus(.invalidArgument, "a request is needed") }
        authority.hasRoots(Self.name(who))
        var answer = IdentityTrustBundle()
        answer.roots = String(decoding: authority.authority.bundle.pem, as: UTF8.self)
        try await call.send(answer.serialized())
    }

    private static func send(_ response: IstioCertificateResponse, _ call: GRPCStream) async throws(IdentityError) {
        // A caller that has gone gets nothing; its certificate is as if it had never been made.
        do throws(GRPCStatus) { try await call.send(response.serialized()) } catch {
            throw IdentityError(.authority, "the caller has gone: \(error)")
        }
    }

    /// Who keeps files: the pod, or the service account.
    private static func name(_ who: ProxyStreams.Subscriber) -> String {
        switch who {
        case .pod(let name, _): "pod \(name)"
        case .serviceAccount(let account): "\(account)"
        case .token(let token):
            token.pod.map { "pod \($0.namespace)/\($0.name)" } ?? "\(token.namespace)/\(token.serviceAccount)"
        }
    }

    static func status(_ error: IdentityError) -> GRPCStatus {
        switch error.code {
        case .badToken: GRPCStatus(.unauthenticated, error.message)
        case .notYours, .noSuchPod, .otherIdentity, .replay: GRPCStatus(.permissionDenied, error.message)
        case .badRequest: GRPCStatus(.invalidArgument, error.message)
        case .limit: GRPCStatus(.resourceExhausted, error.message)
        case .authority: GRPCStatus(.unavailable, error.message)
        }
    }
}

// Callers without an agent.
extension MeshAuthority {
    /// Certifies the key of a caller as what he was verified to be.
    func certify(
        _ request: [UInt8], for who: ProxyStreams.Subscriber, lifetime: Int64
    ) throws(IdentityError) -> [Certificate] {
        switch who {
        case .pod(let name, let uid): return try certify(request, uid: uid, pod: name, lifetime: lifetime)
        case .serviceAccount(let account): return try certify(request, account: account, lifetime: lifetime)
        case .token(let token):
            do throws(IdentityError) { try use(token, for: request) } catch {
                refused(error)
                throw error
            }
            let account = NamespacedName(namespace: token.namespace, name: token.serviceAccount)
            guard let pod = token.pod else { return try certify(request, account: account, lifetime: lifetime) }
            return try certify(
                request, uid: pod.uid, pod: NamespacedName(namespace: pod.namespace, name: pod.name),
                lifetime: lifetime)
        }
    }

    private func certify(
        _ request: [UInt8], account: NamespacedName, lifetime: Int64
    ) throws(IdentityError) -> [Certificate] {
        guard let accountUID = self.account(account) else {
            let error = IdentityError(.noSuchPod, "there is no service account \(account)")
            refused(error)
            throw error
        }
        // Whoever is a service account may be any of its pods; the one that stands for it here is nobody's.
        let stand = BoundPod(
            uid: "account/\(accountUID)", namespace: account.namespace, name: account.name,
            serviceAccount: account.name, node: "")
        return try sign(request, pod: stand, uid: stand.uid, lifetime: lifetime)
    }
}
