import Serialization

/// Who calls.
public struct APIUser: Sendable, Hashable {
    /// The name: common name of the client certificate.
    public var name: String
    /// The groups: organisations of the client certificate.
    public var groups: [String]

    /// A user.
    public init(name: String, groups: [String]) {
        self.name = name
        self.groups = groups
    }

    /// Root on this machine, over the unix socket.
    public static let root = APIUser(name: "system:admin", groups: ["system:masters", "system:authenticated"])
    /// A service account, as its token says.
    public static func serviceAccount(_ namespace: String, _ name: String) -> APIUser {
        APIUser(
            name: "system:serviceaccount:\(namespace):\(name)",
            groups: serviceAccountGroups(namespace) + ["system:authenticated"])
    }

    static func serviceAccountGroups(_ namespace: String) -> [String] {
        ["system:serviceaccounts", "system:serviceaccounts:\(namespace)"]
    }

    /// Whether everything is allowed.
    public var isMaster: Bool { groups.contains("system:masters") }
}

/// A request without its transport.
public struct APIRequest: Sendable {
    /// `GET`, `POST` and so on.
    public var method: String
    /// Path and query as they are on the wire.
    public let target: String
    /// The path, percent-decoded, by its parts.
    public var path: [String]
    /// The query parameters, decoded; the first of a name counts.
    public var query: [String: String]
    /// The query parameters, decoded, in their order.
    private var items: [(name: String, value: String)] = []
    /// The `Accept` header.
    public var accept: String
    /// The `Content-Type` header.
    public var contentType: String
    /// The `User-Agent` header.
    public var userAgent: String
    /// The body.
    public var body: [UInt8]
    /// Who calls; `nil` when nobody knows.
    public var user: APIUser?
    /// Who the caller wants to be.
    public var impersonation: Impersonation?

    /// A request for `target` (path and query as they are on the wire).
    public init(
        method: String, target: String, accept: String = "", contentType: String = "", userAgent: String = "",
        body: [UInt8] = [], user: APIUser? = .root
    ) throws(StatusError) {
        self.method = method
        self.target = target
        self.accept = accept
        self.contentType = contentType
        self.userAgent = userAgent
        self.body = body
        self.user = user
        let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        path = []
        for part in (parts.first ?? "").split(separator: "/") { path.append(try APIRequest.decoded(part, plus: false)) }
        query = [:]
        for pair in (parts.count > 1 ? parts[1] : "").split(separator: "&") {
            let halves = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = try APIRequest.decoded(halves.first ?? "", plus: true)
            let value = try APIRequest.decoded(halves.count > 1 ? halves[1] : "", plus: true)
            items.append((name, value))
            if query[name] == nil { query[name] = value }
        }
        readWatchPath()
    }

    /// Reads the old form of a watch, `/api/v1/watch/namespaces/NAMESPACE/pods/NAME`, as the one with parameters.
    ///
    /// Kubernetes calls these paths deprecated since 1.11 and serves them still; Ruby's kubeclient 4 asks for nothing else.
    private mutating func readWatchPath() {
        guard method == "GET", let depth = path.first.flatMap({ ["api": 2, "apis": 3][$0] }), path.count > depth + 1,
            path[depth] == "watch"
        else { return }
        path.remove(at: depth)
        query["watch"] = "true"
        let isNamespaced = path[depth] == "namespaces" && path.count > depth + 2
        let place = depth + (isNamespaced ? 3 : 1)
        guard path.count == place + 1 else { return }
        let name = "metadata.name=" + path.removeLast()
        query["fieldSelector"] = [query["fieldSelector"], name].compactMap(\.self).filter { !$0.isEmpty }.joined(
            separator: ",")
    }

    private static func decoded(_ text: Substring, plus: Bool) throws(StatusError) -> String {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            switch byte {
            case 0x25:
                guard rest.count >= 2, let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
                else {
                    throw .badRequest("bad percent encoding in \(text)")
                }
                bytes.append(value)
                rest = rest.dropFirst(2)
            case 0x2b where plus: bytes.append(0x20)
            default: bytes.append(byte)
            }
        }
        guard let result = String(validating: bytes, as: UTF8.self) else { throw .badRequest("the path is no UTF-8") }
        return result
    }

    /// All values of a query parameter that may be given more than once.
    func values(_ name: String) -> [String] { items.filter { $0.name == name }.map(\.value) }

    /// Whether a query parameter is there and neither `false` nor `0`: how Kubernetes reads all flags (clients in Python send `True`).
    func flag(_ name: String) -> Bool { query[name].map { $0.lowercased() != "false" && $0 != "0" } ?? false }

    /// The whole number of a query parameter.
    func number(_ name: String) throws(StatusError) -> Int? {
        guard let text = query[name], !text.isEmpty else { return nil }
        guard let number = Int(text) else { throw .badRequest("query parameter \(name): \(text) is no whole number") }
        return number
    }
}

/// An answer without its transport.
public struct APIResponse {
    /// What follows the head.
    public enum Body {
        /// Everything at once.
        case bytes([UInt8])
        /// Events as they happen.
        case watch(WatchStream)
        /// The log of a container, from whoever runs it.
        case log(LogRequest)
        /// Streams of a container in both directions, from whoever runs it.
        case streams(StreamRequest)
        /// What pods or machines use, when they have been measured.
        case usage(UsageQuestion)
        /// What a port of a pod, or the agent of a node, answers to the same request.
        case proxy(ProxyRequest)
    }

    /// The HTTP status.
    public var status: Int
    /// `Content-Type`.
    public var contentType: String
    /// Texts for `Warning` headers, which kubectl shows.
    public var warnings: [String] = []
    /// `Retry-After` in seconds: client-go comes again by itself, for 429 and 5xx.
    public var retryAfter: Int?
    /// `Location`, for an answer that sends elsewhere.
    public var location: String?
    /// What follows.
    public var body: Body

    /// An answer.
    public init(status: Int = 200, contentType: String, warnings: [String] = [], body: Body) {
        self.status = status
        self.contentType = contentType
        self.warnings = warnings
        self.body = body
    }

    static func json(_ json: JSON, status: Int = 200, warnings: [String] = []) -> APIResponse {
        APIResponse(
            status: status, contentType: "application/json", warnings: warnings, body: .bytes(json.bytes + [0x0a]))
    }

    static func text(_ text: String) -> APIResponse {
        APIResponse(contentType: "text/plain; charset=utf-8", body: .bytes(Array(text.utf8)))
    }

    static func failure(_ error: StatusError) -> APIResponse {
        var response = APIResponse.json(error.json, status: error.code)
        response.retryAfter = error.details["retryAfterSeconds"]?.int
        return response
    }
}

/// The log of which container is wanted, and how.
public struct LogRequest: Sendable, Hashable {
    /// Namespace of the pod.
    public var namespace: String
    /// The pod.
    public var pod: String
    /// The container.
    public var container: String
    /// The node that the pod is bound to.
    public var node: String
    /// The query for the node agent: `follow=true&tailLines=10`.
    public var query: String
}
