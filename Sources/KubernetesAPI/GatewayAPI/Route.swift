public import Serialization

extension GatewayAPI {
    /// A route of any kind: HTTPRoute, GRPCRoute, TLSRoute, TCPRoute, UDPRoute.
    public struct Route: JSONView {
        /// The whole object.
        public var json: JSON
        /// Looks at `json` as a route.
        public init(json: JSON) { self.json = json }
        private var spec: KubernetesObject { KubernetesObject(json: json["spec"] ?? .object([:])) }
        /// What it attaches to.
        public var parents: [Reference] { spec.views("parentRefs") }
        /// The hosts; empty means those of the listener.
        public var hostnames: [String] { spec.strings("hostnames").map { $0.lowercased() } }
        /// The rules.
        public var rules: [Rule] { spec.views("rules") }
        /// `useDefaultGateways`; empty when it is left out.
        public var useDefaultGateways: String { spec.string("useDefaultGateways") }
    }

    /// One rule of a route.
    public struct Rule: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as a rule.
        public init(json: JSON) { self.json = json }
        /// Its name; empty when it has none.
        public var name: String { string("name") }
        /// The conditions, of which one must hold; empty means all requests.
        public var matches: [Match] { views("matches") }
        /// What is done with requests.
        public var filters: [Filter] { views("filters") }
        /// Where they go.
        public var backends: [Reference] { views("backendRefs") }
        /// The longest time for the whole request; zero means none (T-14).
        public var requestTimeout: Duration? { KubernetesObject(json: json["timeouts"] ?? .null).duration("request") }
        /// The longest time for one try at a backend; zero means none (T-14).
        public var backendTimeout: Duration? {
            KubernetesObject(json: json["timeouts"] ?? .null).duration("backendRequest")
        }
        /// When requests are tried again.
        public var retry: Retry? { view("retry") }
        /// How requests of one client stay with one endpoint.
        public var sessionPersistence: SessionPersistence? { view("sessionPersistence") }
    }

    /// Conditions that hold together.
    public struct Match: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as a match.
        public init(json: JSON) { self.json = json }
        /// `Exact`, `PathPrefix`, `RegularExpression`.
        public var pathType: String { json["path"]?["type"]?.string ?? "PathPrefix" }
        /// The path.
        public var path: String { json["path"]?["value"]?.string ?? "/" }
        /// The method of an HTTPRoute.
        public var method: String? { json["method"]?.string }
        /// The method of a GRPCRoute.
        public var grpcMethod: GRPCMethod? { json["method"]?.object == nil ? nil : view("method") }
        /// Conditions on headers.
        public var headers: [ValueMatch] { views("headers") }
        /// Conditions on query parameters.
        public var queryParams: [ValueMatch] { views("queryParams") }
    }

    /// The condition on a gRPC method.
    public struct GRPCMethod: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as a method match.
        public init(json: JSON) { self.json = json }
        /// Whether service and method are regular expressions.
        public var isRegularExpression: Bool { string("type") == "RegularExpression" }
        /// The service; empty means any.
        public var service: String { string("service") }
        /// The method; empty means any.
        public var method: String { string("method") }
    }

    /// The condition on a header or query parameter.
    public struct ValueMatch: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as a condition.
        public init(json: JSON) { self.json = json }
        /// Whether the value is a regular expression.
        public var isRegularExpression: Bool { string("type") == "RegularExpression" }
        /// The name.
        public var name: String { string("name") }
        /// The value.
        public var value: String { string("value") }
    }

    /// One entry of `filters`.
    public struct Filter: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as a filter.
        public init(json: JSON) { self.json = json }
        /// The filter's type, such as `RequestHeaderModifier`.
        public var type: String { string("type") }
        /// Of type `RequestHeaderModifier`.
        public var requestHeaders: HeaderModifier? { view("requestHeaderModifier") }
        /// Of type `ResponseHeaderModifier`.
        public var responseHeaders: HeaderModifier? { view("responseHeaderModifier") }
        /// Of type `RequestRedirect`.
        public var redirect: Redirect? { view("requestRedirect") }
        /// Of type `URLRewrite`.
        public var rewrite: Rewrite? { view("urlRewrite") }
        /// Of type `RequestMirror`.
        public var mirror: Mirror? { view("requestMirror") }
        /// Of type `CORS`.
        public var cors: CORS? { view("cors") }
    }

    /// Changes of headers.
    public struct HeaderModifier: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as a header modifier.
        public init(json: JSON) { self.json = json }
        private func pairs(_ name: String) -> [(name: String, value: String)] {
            (json[name]?.array ?? []).map { ($0["name"]?.string ?? "", $0["value"]?.string ?? "") }
        }
        /// Headers that are overwritten.
        public var set: [(name: String, value: String)] { pairs("set") }
        /// Headers that get a further value.
        public var add: [(name: String, value: String)] { pairs("add") }
        /// Headers that are removed.
        public var remove: [String] { strings("remove") }
    }

    /// A change of the path.
    public enum PathModifier: Sendable, Hashable {
        /// The whole path is replaced.
        case full(String)
        /// The matched prefix is replaced.
        case prefix(String)

        init?(_ json: JSON?) {
            switch json?["type"]?.string {
            case "ReplaceFullPath": self = .full(json?["replaceFullPath"]?.string ?? "/")
            case "ReplacePrefixMatch": self = .prefix(json?["replacePrefixMatch"]?.string ?? "")
            default: return nil
            }
        }
    }

    /// A redirect.
    public struct Redirect: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as a redirect.
        public init(json: JSON) { self.json = json }
        /// The scheme; empty means that of the request.
        public var scheme: String { string("scheme") }
        /// The host; empty means that of the request.
        public var hostname: String { string("hostname") }
        /// The path.
        public var path: PathModifier? { PathModifier(json["path"]) }
        /// The port.
        public var port: Int? { int("port") }
        /// The status.
        public var statusCode: Int { int("statusCode") ?? 302 }
    }

    /// A rewrite of host and path.
    public struct Rewrite: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as a rewrite.
        public init(json: JSON) { self.json = json }
        /// The host; empty means that it stays.
        public var hostname: String { string("hostname") }
        /// The path.
        public var path: PathModifier? { PathModifier(json["path"]) }
    }

    /// A mirror.
    public struct Mirror: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as a mirror.
        public init(json: JSON) { self.json = json }
        /// Where copies go.
        public var backend: Reference { Reference(json: json["backendRef"] ?? .object([:])) }
        /// The share of requests in percent.
        public var percent: Int? { int("percent") }
        /// The share of requests as a fraction.
        public var fraction: (numerator: Int, denominator: Int)? {
            json["fraction"].map { ($0["numerator"]?.int ?? 0, $0["denominator"]?.int ?? 100) }
        }
    }

    /// A CORS policy.
    public struct CORS: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as a CORS policy.
        public init(json: JSON) { self.json = json }
        /// Origins, `*`, or with a wildcard as first label.
        public var allowOrigins: [String] { strings("allowOrigins") }
        /// Methods, or `*`.
        public var allowMethods: [String] { strings("allowMethods") }
        /// Request headers, or `*`.
        public var allowHeaders: [String] { strings("allowHeaders") }
        /// Response headers, or `*`.
        public var exposeHeaders: [String] { strings("exposeHeaders") }
        /// Whether requests may carry credentials.
        public var allowsCredentials: Bool { bool("allowCredentials") }
        /// Seconds for which a preflight's answer is kept.
        public var maxAge: Int { int("maxAge") ?? 5 }
    }

    /// When requests are tried again (experimental channel).
    public struct Retry: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as a retry policy.
        public init(json: JSON) { self.json = json }
        /// The statuses that count as failed.
        public var codes: [Int] { (json["codes"]?.array ?? []).compactMap(\.int) }
        /// Retries at most.
        public var attempts: Int? { int("attempts") }
        /// The shortest time between tries.
        public var backoff: Duration? { KubernetesObject(json: json).duration("backoff") }
    }

    /// How requests of one client stay with one endpoint (experimental channel).
    public struct SessionPersistence: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as session persistence.
        public init(json: JSON) { self.json = json }
        /// Whether a header carries the session, in the place of a cookie.
        public var usesHeader: Bool { string("type") == "Header" }
        /// The name of the cookie; empty means ours.
        public var cookieName: String { json["cookie"]?["name"]?.string ?? string("sessionName") }
        /// The path of the cookie.
        public var cookiePath: String { json["cookie"]?["path"]?.string ?? "/" }
        /// Whether the cookie outlives the browser's session.
        public var isPermanent: Bool {
            (json["cookie"]?["lifetimeType"] ?? json["cookieConfig"]?["lifetimeType"])?.string == "Permanent"
        }
        /// The name of the header.
        public var headerName: String { json["header"]?["name"]?.string ?? "" }
        /// How long a session lasts at most.
        public var absoluteTimeout: Duration? { KubernetesObject(json: json).duration("absoluteTimeout") }
    }
}
