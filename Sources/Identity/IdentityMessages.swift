public import Serialization

/// What the agent of a node says to the mesh's authority, one JSON object in a line.
public enum IdentityRequest: Sendable, Hashable {
    /// A key of a pod of this node is to be certified; the answer has the same number.
    case certificate(number: Int, uid: String, request: [UInt8])
    /// How the certificate of a pod stands.
    case report(IdentityReport)

    /// Reads a line; nil when it is none of these.
    public init?(json: JSON) {
        switch json["op"]?.string {
        case "certificate":
            guard let number = json["number"]?.int, let uid = json["uid"]?.string, !uid.isEmpty,
                let request = json["request"]?.string
            else { return nil }
            self = .certificate(number: number, uid: uid, request: Array(request.utf8))
        case "identity":
            guard let report = IdentityReport(json: json) else { return nil }
            self = .report(report)
        default: return nil
        }
    }

    /// The line.
    public var json: JSON {
        switch self {
        case .certificate(let number, let uid, let request):
            [
                "op": "certificate", "number": .integer(Int64(number)), "uid": .string(uid),
                "request": .string(String(decoding: request, as: UTF8.self)),
            ]
        case .report(let report): report.json
        }
    }
}

/// How the certificate of a pod stands, as its node tells it.
public struct IdentityReport: Sendable, Hashable {
    /// The pod's uid.
    public var uid: String
    /// Its namespace and name.
    public var namespace: String
    /// Its name.
    public var name: String
    /// The SPIFFE id; empty while there is no certificate.
    public var identity = ""
    /// The certificate's times, unix seconds; 0 while there is none.
    public var notBefore: Int64 = 0
    /// Its end.
    public var notAfter: Int64 = 0
    /// When it is to be renewed.
    public var renewal: Int64 = 0
    /// The root that it leads to, by the first digits of its fingerprint.
    public var root = ""
    /// The version of the trust bundle that the pod's proxy has taken.
    public var bundle = ""
    /// What is wrong; empty when nothing is.
    public var problem = ""

    /// A report about a pod without a certificate.
    public init(uid: String, namespace: String, name: String) {
        self.uid = uid
        self.namespace = namespace
        self.name = name
    }

    init?(json: JSON) {
        guard let uid = json["uid"]?.string, let name = json["name"]?.string else { return nil }
        func text(_ member: String) -> String { json[member]?.string ?? "" }
        func number(_ member: String) -> Int64 { Int64(json[member]?.int ?? 0) }
        self.init(uid: uid, namespace: text("namespace"), name: name)
        identity = text("identity")
        notBefore = number("notBefore")
        notAfter = number("notAfter")
        renewal = number("renewal")
        root = text("root")
        bundle = text("bundle")
        problem = text("problem")
    }

    var json: JSON {
        [
            "op": "identity", "uid": .string(uid), "namespace": .string(namespace), "name": .string(name),
            "identity": .string(identity), "notBefore": .integer(notBefore), "notAfter": .integer(notAfter),
            "renewal": .integer(renewal), "root": .string(root), "bundle": .string(bundle),
            "problem": .string(problem),
        ]
    }

    /// How it stands at a moment.
    public func health(at now: Int64) -> CertificateHealth {
        CertificateSchedule.health(notBefore: notBefore, notAfter: notAfter, now: now)
    }
}

/// What the authority says to a node's agent.
public enum IdentityReply: Sendable, Hashable {
    /// The certificate that was asked for under that number, then its intermediates, as PEM.
    case certificate(number: Int, chain: [UInt8])
    /// It is not issued.
    case refused(number: Int, reason: String)
    /// What is to be trusted from now on.
    case trust(TrustNotice)

    /// Reads a line; nil when it is none of these.
    public init?(json: JSON) {
        func number() -> Int { json["number"]?.int ?? 0 }
        switch json["op"]?.string {
        case "certificate":
            guard let chain = json["chain"]?.string else { return nil }
            self = .certificate(number: number(), chain: Array(chain.utf8))
        case "refused": self = .refused(number: number(), reason: json["reason"]?.string ?? "")
        case "trust":
            guard let roots = json["roots"]?.string else { return nil }
            self = .trust(TrustNotice(roots: Array(roots.utf8), reissue: json["reissue"]?.int ?? 0))
        default: return nil
        }
    }

    /// The line.
    public var json: JSON {
        switch self {
        case .certificate(let number, let chain):
            [
                "op": "certificate", "number": .integer(Int64(number)),
                "chain": .string(String(decoding: chain, as: UTF8.self)),
            ]
        case .refused(let number, let reason):
            ["op": "refused", "number": .integer(Int64(number)), "reason": .string(reason)]
        case .trust(let notice):
            [
                "op": "trust", "roots": .string(String(decoding: notice.roots, as: UTF8.self)),
                "reissue": .integer(Int64(notice.reissue)),
            ]
        }
    }
}

/// The roots of the mesh, and whether certificates are to be replaced before their time.
public struct TrustNotice: Sendable, Hashable {
    /// The roots as PEM.
    public var roots: [UInt8]
    /// A certificate that was asked for under a smaller number is to be replaced at once.
    public var reissue: Int

    /// A notice.
    public init(roots: [UInt8], reissue: Int) {
        self.roots = roots
        self.reissue = reissue
    }
}
