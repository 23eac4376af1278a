public import Serialization

/// An Istio VirtualService: how requests for a host are routed (`networking.istio.io`, virtual_service.proto).
public struct VirtualService: JSONView {
    /// The whole object.
    public var json: JSON
    /// Looks at `json` as a VirtualService.
    public init(json: JSON) { self.json = json }

    /// Name, namespace and the rest.
    public var metadata: ObjectMeta { ObjectMeta(json: json["metadata"] ?? .object([:])) }
    private var spec: KubernetesObject { KubernetesObject(json: json["spec"] ?? .object([:])) }
    /// The destination hosts that the rule applies to.
    public var hosts: [String] { spec.strings("hosts") }
    /// The gateways that apply the rule; empty means `mesh`.
    public var gateways: [String] { spec.strings("gateways") }
    /// The namespaces that see the rule; empty means all.
    public var exportTo: [String] { spec.strings("exportTo") }
    /// The HTTP routes in order.
    public var http: [HTTPRoute] { spec.views("http") }
    /// The TCP routes in order.
    public var tcp: [TCPRoute] { spec.views("tcp") }
    /// The TLS routes, chosen by SNI, in order.
    public var tls: [TLSRoute] { spec.views("tls") }

    /// One entry of `spec.http`.
    public struct HTTPRoute: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as an HTTP route.
        public init(json: JSON) { self.json = json }
        /// Name for logs.
        public var name: String { string("name") }
        /// The alternatives of conditions; empty means every request.
        public var match: [HTTPMatchRequest] { views("match") }
        /// Where requests go, with weights.
        public var route: [Destination] { views("route") }
        /// Answers with a redirect instead.
        public var redirect: HTTPRedirect? { view("redirect") }
        /// Answers with a fixed response instead.
        public var directResponse: HTTPDirectResponse? { view("directResponse") }
        /// Changes path and authority on the way.
        public var rewrite: HTTPRewrite? { view("rewrite") }
        /// The time for the whole request with its retries; absent means none (T-1).
        public var timeout: Duration? { duration("timeout") }
        /// The retry policy.
        public var retries: HTTPRetry? { view("retries") }
        /// Faults to inject.
        public var fault: HTTPFaultInjection? { view("fault") }
        /// Header changes.
        public var headers: Headers? { view("headers") }
        /// The destinations of mirrored requests: `mirror` with its percentage, then `mirrors` (H-16).
        public var mirrors: [HTTPMirrorPolicy] {
            var all: [HTTPMirrorPolicy] = views("mirrors")
            if let single = json["mirror"], !single.isNull {
                var members: [String: JSON] = ["destination": single]
                members["percentage"] = json["mirrorPercentage"]
                if let whole = json["mirrorPercent"] ?? json["mirror_percent"], members["percentage"] == nil {
                    members["percentage"] = .object(["value": whole])
                }
                all.insert(HTTPMirrorPolicy(json: .object(members)), at: 0)
            }
            return all
        }
        /// The CORS policy (H-19).
        public var corsPolicy: CorsPolicy? { view("corsPolicy") }
        /// The VirtualService that has the routes (H-18): its name, and its namespace when it is another.
        public var delegate: (name: String, namespace: String)? {
            guard let delegate = json["delegate"], !delegate.isNull else { return nil }
            return (delegate["name"]?.string ?? "", delegate["namespace"]?.string ?? "")
        }
    }

    /// One entry of `match`: all its conditions must hold.
    public struct HTTPMatchRequest: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as conditions.
        public init(json: JSON) { self.json = json }
        /// Name for logs.
        public var name: String { string("name") }
        /// Path condition.
        public var uri: StringMatch? { stringMatch("uri") }
        /// Scheme condition.
        public var scheme: StringMatch? { stringMatch("scheme") }
        /// Method condition.
        public var method: StringMatch? { stringMatch("method") }
        /// Authority condition.
        public var authority: StringMatch? { stringMatch("authority") }
        /// Header conditions.
        public var headers: [(name: String, match: StringMatch)] { stringMatches("headers") }
        /// Inverted header conditions.
        public var withoutHeaders: [(name: String, match: StringMatch)] { stringMatches("withoutHeaders") }
        /// Query parameter conditions.
        public var queryParams: [(name: String, match: StringMatch)] { stringMatches("queryParams") }
        /// The destination port, decided at configuration time.
        public var port: Int? { int("port") }
        /// Labels of the caller, decided at configuration time.
        public var sourceLabels: [String: String] { map("sourceLabels") }
        /// Namespace of the caller, decided at configuration time.
        public var sourceNamespace: String { string("sourceNamespace") }
        /// Gateways for this entry instead of the rule's.
        public var gateways: [String] { strings("gateways") }
        /// Whether the case of the path does not matter.
        public var ignoreUriCase: Bool { bool("ignoreUriCase") }
        /// The name under which statistics of the route are kept.
        public var statPrefix: String { string("statPrefix") }
    }

    /// Where copies of requests go, and how many (H-16).
    public struct HTTPMirrorPolicy: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as a mirror policy.
        public init(json: JSON) { self.json = json }
        /// The destination.
        public var destination: Destination { Destination(json: json) }
        /// Share of requests in percent; absent means all.
        public var percentage: Double { json["percentage"].map { $0["value"]?.double ?? 0 } ?? 100 }
    }

    /// `corsPolicy` (H-19).
    public struct CorsPolicy: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as a CORS policy.
        public init(json: JSON) { self.json = json }
        /// The origins that may ask; the deprecated `allowOrigin` reads as exact matches, `*` as every origin.
        public var allowOrigins: [StringMatch] {
            let written = json["allowOrigins"]?.array ?? []
            if !written.isEmpty { return written.map(StringMatch.init(json:)) }
            return strings("allowOrigin").map { $0 == "*" ? .prefix("") : .exact($0) }
        }
        /// Methods of `Access-Control-Allow-Methods`.
        public var allowMethods: [String] { strings("allowMethods") }
        /// Fields of `Access-Control-Allow-Headers`.
        public var allowHeaders: [String] { strings("allowHeaders") }
        /// Fields of `Access-Control-Expose-Headers`.
        public var exposeHeaders: [String] { strings("exposeHeaders") }
        /// How long a preflight may be kept.
        public var maxAge: Duration? { duration("maxAge") }
        /// Whether credentials may be sent; `nil` when the member is absent.
        public var allowCredentials: Bool? { json["allowCredentials"]?.bool }
        /// Whether preflights of other origins end at the proxy (`unmatchedPreflights: IGNORE`).
        public var ignoresUnmatchedPreflights: Bool { string("unmatchedPreflights") == "IGNORE" }
    }

    /// A destination with its weight (`HTTPRouteDestination`, `RouteDestination`).
    public struct Destination: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as a weighted destination.
        public init(json: JSON) { self.json = json }
        private var destination: KubernetesObject { KubernetesObject(json: json["destination"] ?? .object([:])) }
        /// The host as written.
        public var host: String { destination.string("host") }
        /// The subset; empty for the whole service.
        public var subset: String { destination.string("subset") }
        /// The port, if it is chosen.
        public var port: Int? { destination.json["port"]?["number"]?.int }
        /// The relative weight (H-7); absent reads as 0.
        public var weight: Int { int("weight") ?? 0 }
        /// Header changes for this destination.
        public var headers: Headers? { view("headers") }
    }

    /// `headers` of a route or destination.
    public struct Headers: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as header changes.
        public init(json: JSON) { self.json = json }
        /// Changes of the request.
        public var request: HeaderOperations? { view("request") }
        /// Changes of the response.
        public var response: HeaderOperations? { view("response") }
    }

    /// Set, add and remove of headers (H-14).
    public struct HeaderOperations: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as header operations.
        public init(json: JSON) { self.json = json }
        /// Overwritten headers.
        public var set: [String: String] { map("set") }
        /// Appended headers.
        public var add: [String: String] { map("add") }
        /// Removed headers.
        public var remove: [String] { strings("remove") }
    }

    /// `redirect` (H-15).
    public struct HTTPRedirect: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as a redirect.
        public init(json: JSON) { self.json = json }
        /// The new path.
        public var uri: String { string("uri") }
        /// What stands in place of the matched beginning of the path.
        public var prefixRewrite: String { string("prefixRewrite") }
        /// The new authority.
        public var authority: String { string("authority") }
        /// The new port.
        public var port: Int? { int("port") }
        /// `FROM_PROTOCOL_DEFAULT` or `FROM_REQUEST_PORT`.
        public var derivePort: String { string("derivePort") }
        /// The new scheme.
        public var scheme: String { string("scheme") }
        /// The status code; absent means 301.
        public var redirectCode: Int? { int("redirectCode") }
    }

    /// `directResponse`.
    public struct HTTPDirectResponse: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as a direct response.
        public init(json: JSON) { self.json = json }
        /// The status code.
        public var status: Int { int("status") ?? 0 }
        /// The body as text; `nil` when there is none.
        public var bodyString: String? { json["body"]?["string"]?.string }
        /// The body in base64; `nil` when there is none.
        public var bodyBase64: String? { json["body"]?["bytes"]?.string }
    }

    /// `rewrite` (H-13).
    public struct HTTPRewrite: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as a rewrite.
        public init(json: JSON) { self.json = json }
        /// The new path or prefix.
        public var uri: String { string("uri") }
        /// The new authority.
        public var authority: String { string("authority") }
        /// `uriRegexRewrite.match`.
        public var regexMatch: String { json["uriRegexRewrite"]?["match"]?.string ?? "" }
        /// `uriRegexRewrite.rewrite`.
        public var regexRewrite: String { json["uriRegexRewrite"]?["rewrite"]?.string ?? "" }
    }

    /// `retries`.
    public struct HTTPRetry: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as a retry policy.
        public init(json: JSON) { self.json = json }
        /// Retries after the first try; 0 switches them off; `nil` when the member is absent.
        public var attempts: Int? { int("attempts") }
        /// The time for each try.
        public var perTryTimeout: Duration? { duration("perTryTimeout") }
        /// Conditions, comma separated; numbers are status codes (T-6).
        public var retryOn: String { string("retryOn") }
        /// The base of the back-off.
        public var backoff: Duration? { duration("backoff") }
        /// Whether hosts that were tried before may be chosen again.
        public var retryIgnorePreviousHosts: Bool? { json["retryIgnorePreviousHosts"]?.bool }
        /// Whether tries after the first go to other localities.
        public var retryRemoteLocalities: Bool { bool("retryRemoteLocalities") }
    }

    /// `fault` (H-17).
    public struct HTTPFaultInjection: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as faults.
        public init(json: JSON) { self.json = json }
        /// The injected delay.
        public var fixedDelay: Duration? { json["delay"].flatMap { KubernetesObject(json: $0).duration("fixedDelay") } }
        /// Share of delayed requests in percent; absent means none.
        public var delayPercent: Double { Self.percent(json["delay"]) }
        /// The injected status.
        public var abortStatus: Int? { json["abort"]?["httpStatus"]?.int }
        /// The injected gRPC status, by name or number.
        public var abortGRPCStatus: String? { json["abort"]?["grpcStatus"]?.string }
        /// Share of aborted requests in percent; absent means none.
        public var abortPercent: Double { Self.percent(json["abort"]) }

        private static func percent(_ part: JSON?) -> Double {
            part?["percentage"]?["value"]?.double ?? part?["percent"]?.double ?? 0
        }
    }

    /// One entry of `spec.tls`.
    public struct TLSRoute: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as a TLS route.
        public init(json: JSON) { self.json = json }
        /// The alternatives of conditions.
        public var match: [L4Match] { views("match") }
        /// Where connections go, with weights.
        public var route: [Destination] { views("route") }
        /// The same route without its server names.
        public var tcp: TCPRoute { TCPRoute(json: json) }
    }

    /// One entry of `spec.tcp`.
    public struct TCPRoute: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as a TCP route.
        public init(json: JSON) { self.json = json }
        /// The alternatives of conditions.
        public var match: [L4Match] { views("match") }
        /// Where connections go, with weights.
        public var route: [Destination] { views("route") }
    }

    /// One entry of `match` of a TCP or TLS route.
    public struct L4Match: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as conditions.
        public init(json: JSON) { self.json = json }
        /// The destination port.
        public var port: Int? { int("port") }
        /// Labels of the caller.
        public var sourceLabels: [String: String] { map("sourceLabels") }
        /// Namespace of the caller.
        public var sourceNamespace: String { string("sourceNamespace") }
        /// Gateways for this entry instead of the rule's.
        public var gateways: [String] { strings("gateways") }
        /// Destination prefixes instead of the service's addresses.
        public var destinationSubnets: [String] { strings("destinationSubnets") }
        /// Server names of a TLS route: names, or `*.` and a suffix.
        public var sniHosts: [String] { strings("sniHosts").map { $0.lowercased() } }
    }
}
