public import Serialization

/// Something outside that proxies send logs, traces or questions to (`MeshConfig.extensionProviders`).
public struct ExtensionProvider: Sendable, Hashable {
    /// What it is.
    public enum Kind: String, Sendable, Hashable {
        /// Access logs into a file.
        case fileAccessLog = "envoyFileAccessLog"
        /// Access logs of requests by gRPC (`envoy.service.accesslog.v3`).
        case httpAccessLogService = "envoyHttpAls"
        /// Access logs of connections by gRPC.
        case tcpAccessLogService = "envoyTcpAls"
        /// Access logs by OpenTelemetry.
        case otelAccessLog = "envoyOtelAls"
        /// Traces by OpenTelemetry.
        case otelTracing = "opentelemetry"
        /// Traces by Zipkin.
        case zipkin = "zipkin"
        /// Traces into the control plane's own store.
        case traceStore = "skein"
        /// Checks of requests by gRPC (AuthorizationPolicy with CUSTOM).
        case externalAuthorizationGRPC = "envoyExtAuthzGrpc"
        /// Checks of requests by HTTP.
        case externalAuthorizationHTTP = "envoyExtAuthzHttp"
        /// Metrics that are asked for; always there.
        case prometheus = "prometheus"
    }

    /// Why an entry cannot be used.
    struct Refusal: Error {
        var field: String
        var message: String
    }

    /// Providers that are there without being written.
    static let builtIn: Set<String> = ["envoy", "prometheus", "skein"]
    /// Kinds of Istio's that we do not have.
    static let absent: [String: String] = [
        "lightstep": "use opentelemetry", "datadog": "use opentelemetry", "skywalking": "use opentelemetry",
        "stackdriver": "use opentelemetry", "opencensus": "use opentelemetry",
        "sds": "secrets come from the control plane",
    ]

    /// The name by which Telemetry and AuthorizationPolicy refer to it.
    public var name: String
    /// What it is.
    public var kind: Kind
    /// The settings as written.
    public var settings: JSON

    init(json: JSON) throws(Refusal) {
        guard let name = json["name"]?.string, !name.isEmpty else {
            throw Refusal(field: ".name", message: "is missing")
        }
        self.name = name
        guard let member = (json.object ?? [:]).keys.sorted().first(where: { $0 != "name" }) else {
            throw Refusal(field: "", message: "one of the providers is needed")
        }
        guard let kind = Kind(rawValue: member) else {
            throw Refusal(field: ".\(member)", message: Self.absent[member] ?? "is no provider that we know")
        }
        self.kind = kind
        settings = json[member] ?? .object([:])
        if kind != .fileAccessLog && kind != .prometheus && kind != .traceStore {
            guard service != "", let port, (1...65535).contains(port) else {
                throw Refusal(field: ".\(member)", message: "service and port are needed")
            }
        }
    }

    /// The log of `meshConfig.accessLogFile`, which is always there under the name `envoy`.
    static let envoy = ExtensionProvider(file: "/dev/stdout")

    /// The control plane's own store of traces, which is always there under the name `skein`.
    static let traceStore = ExtensionProvider(traceStore: "skein")

    private init(traceStore name: String) {
        self.name = name
        kind = .traceStore
        settings = .object([:])
    }

    private init(file: String) {
        name = "envoy"
        kind = .fileAccessLog
        settings = .object(["path": .string(file)])
    }

    /// The host of the service: `name.namespace.svc…`, `namespace/name…`, or a ServiceEntry's.
    public var service: String {
        let written = settings["service"]?.string ?? ""
        // `namespace/host` says where the service is; host names are unique among us.
        return String(written.split(separator: "/").last ?? "").lowercased()
    }

    /// The port of the service.
    public var port: Int? { settings["port"]?.int }
}
