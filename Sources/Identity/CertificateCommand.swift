public import Serialization

/// What root may have the mesh's authority do, as a line of JSON (`skein certs`).
public enum CertificateCommand: Sendable, Hashable {
    /// Tell how everything stands.
    case list
    /// Replace the root, in stages; a root or intermediate of one's own as PEM, or none.
    ///
    /// `announcement` is how long the new root is trusted before it signs, seconds; nil: as usual.
    case rotate(GivenAuthority?, announcement: Int64? = nil)
    /// Make a working authority at once, whatever is wrong with the present one.
    case recover
    /// Tell the roots to whoever keeps the files of a service account.
    case roots(namespace: String, serviceAccount: String)
    /// Certify a key for a service account, for a peer without an agent.
    case issue(namespace: String, serviceAccount: String, request: [UInt8])

    /// How long a root may be announced before it signs, seconds: up to a week.
    public static let announcements: ClosedRange<Int64> = 1...604_800

    /// Reads a line; nil when it is none of these.
    public init?(json: JSON) {
        guard json["op"]?.string == "certs" else { return nil }
        switch json["action"]?.string {
        case "list": self = .list
        case "rotate":
            let announcement = json["announcement"]?.int.map(Int64.init)
            if let announcement, !Self.announcements.contains(announcement) { return nil }
            guard let given = json["given"] else {
                self = .rotate(nil, announcement: announcement)
                return
            }
            func bytes(_ name: String) -> [UInt8] { Array((given[name]?.string ?? "").utf8) }
            self = .rotate(
                GivenAuthority(
                    root: bytes("root"), certificate: bytes("certificate"), key: bytes("key"),
                    chain: bytes("chain")), announcement: announcement)
        case "recover": self = .recover
        case "issue":
            guard let namespace = json["namespace"]?.string, let account = json["serviceAccount"]?.string,
                let request = json["request"]?.string
            else { return nil }
            self = .issue(namespace: namespace, serviceAccount: account, request: Array(request.utf8))
        case "roots":
            guard let namespace = json["namespace"]?.string, let account = json["serviceAccount"]?.string else {
                return nil
            }
            self = .roots(namespace: namespace, serviceAccount: account)
        default: return nil
        }
    }

    /// The line.
    public var json: JSON {
        func text(_ bytes: [UInt8]) -> JSON { .string(String(decoding: bytes, as: UTF8.self)) }
        switch self {
        case .list: return ["op": "certs", "action": "list"]
        case .recover: return ["op": "certs", "action": "recover"]
        case .roots(let namespace, let account):
            return [
                "op": "certs", "action": "roots", "namespace": .string(namespace), "serviceAccount": .string(account),
            ]
        case .rotate(let given, let announcement):
            var json: JSON = ["op": "certs", "action": "rotate"]
            if let announcement { json["announcement"] = .integer(announcement) }
            guard let given else { return json }
            json["given"] = [
                "root": text(given.root), "certificate": text(given.certificate), "key": text(given.key),
                "chain": text(given.chain),
            ]
            return json
        case .issue(let namespace, let account, let request):
            return [
                "op": "certs", "action": "issue", "namespace": .string(namespace), "serviceAccount": .string(account),
                "request": text(request),
            ]
        }
    }
}

/// An authority that somebody gives us, as PEM: a root, and what may sign under it.
public struct GivenAuthority: Sendable, Hashable {
    /// The root's certificate.
    public var root: [UInt8]
    /// The certificate that signs: the root itself, or an intermediate.
    public var certificate: [UInt8]
    /// Its key.
    public var key: [UInt8]
    /// What stands between it and the root; may be empty.
    public var chain: [UInt8]

    /// An authority of these parts.
    public init(root: [UInt8], certificate: [UInt8], key: [UInt8], chain: [UInt8] = []) {
        self.root = root
        self.certificate = certificate
        self.key = key
        self.chain = chain
    }
}
