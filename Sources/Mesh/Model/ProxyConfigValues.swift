public import Serialization

/// What Istio's `ProxyConfig` says, as `meshConfig.defaultConfig`, as a ProxyConfig object, or as the annotation
/// `proxy.istio.io/config` of a pod.
public struct ProxyConfigValues: Sendable, Hashable {
    /// A member that has no effect, and why.
    public struct Ignored: Sendable, Hashable {
        /// The member.
        public var field: String
        /// The reason.
        public var message: String
    }

    /// The annotation by which the node agent learns what to start a pod's proxy with.
    public static let annotation = "proxy.istio.io/config"

    /// `concurrency`: loops of the proxy; 0 means one for each processor.
    public var concurrency: Int?
    /// `proxyMetadata.SKEIN_ON_DEMAND`: whether sidecars ask for the virtual hosts and clusters that they use; they do when nothing is said.
    public var isOnDemand: Bool?
    /// `tracing.sampling` in percent.
    public var traceSampling: Double?
    /// `tracing.customTags` as written.
    public var traceTags: JSON?
    /// `holdApplicationUntilProxyStarts`: the application waits anyhow.
    public var ignored: [Ignored] = []

    /// Nothing said.
    public init() {}

    /// What a member that has no effect is answered with.
    static let reasons: [String: String] = [
        "environmentVariables": "the proxy is not told by variables: options of Istio's agent have no meaning here",
        "image": "there is one proxy image, which belongs to the node agent",
        "holdApplicationUntilProxyStarts": "applications always wait for their proxy",
        "terminationDrainDuration": "the stop order waits for acknowledgements instead",
        "drainDuration": "the stop order waits for acknowledgements instead",
        "discoveryAddress": "configuration comes over the pod's own socket",
        "statsUdpAddress": "metrics are asked for",
        "statNameLength": "names of metrics have no limit", "configPath": "the bundle decides",
        "binaryPath": "the bundle decides",
        "serviceCluster": "the pod's identity decides", "proxyAdminPort": "the admin server is at a unix socket",
        "controlPlaneAuthPolicy": "the pod's socket is its identity",
        "customConfigFile": "configuration comes from the mesh",
        "interceptionMode": "connections are captured by the node agent",
        "statusPort": "health is asked for by the node agent",
        "extraStatTags": "the metrics' labels are fixed", "proxyStatsMatcher": "all metrics are kept",
        "gatewayTopology": "set use of X-Forwarded-For by an EnvoyFilter", "meshId": "there is one mesh",
        "envoyAccessLogService": "name an extension provider", "envoyMetricsService": "metrics are asked for",
        "readinessProbe": "probes are those of the pod", "privateKeyProvider": "keys are in memory only",
        "proxyHeaders": "headers are set by routes",
        "caCertificatesPem": "trust bundles come from the built-in authority",
        "tracingServiceName": "the service name is that of the workload", "zipkinAddress": "name an extension provider",
        "availabilityZone": "localities come from nodes", "runtimeValues": "write an EnvoyFilter",
        "fileFlushInterval": "logs are flushed as the proxy's options say",
        "fileFlushMinSizeKb": "logs are flushed as the proxy's options say",
        "parentShutdownDuration": "the node agent decides", "connectTimeout": "set connectTimeout of the mesh",
    ]

    /// Reads the members; the selector of an object is not looked at.
    public init(json: JSON) {
        for (name, value) in (json.object ?? [:]).sorted(by: { $0.key < $1.key }) where !value.isNull {
            switch name {
            case "selector": break
            case "concurrency":
                if let number = value.int, (0...1024).contains(number) {
                    concurrency = number
                } else {
                    ignored.append(Ignored(field: name, message: "has no effect: 0 to 1024 threads are possible"))
                }
            case "proxyMetadata": metadata(value)
            case "tracing": tracing(value)
            default:
                ignored.append(
                    Ignored(field: name, message: "has no effect: \(Self.reasons[name] ?? "unknown field")"))
            }
        }
    }

    /// The one variable that is read.
    public static let onDemandVariable = "SKEIN_ON_DEMAND"

    private mutating func metadata(_ json: JSON) {
        for (name, value) in (json.object ?? [:]).sorted(by: { $0.key < $1.key }) {
            switch (name, value.string ?? value.bool.map(String.init(describing:))) {
            case (Self.onDemandVariable, "true"): isOnDemand = true
            case (Self.onDemandVariable, "false"): isOnDemand = false
            case (Self.onDemandVariable, _):
                ignored.append(
                    Ignored(field: "proxyMetadata.\(name)", message: "has no effect: it is \"true\" or \"false\""))
            default:
                ignored.append(
                    Ignored(
                        field: "proxyMetadata.\(name)",
                        message: "has no effect: of the variables only \(Self.onDemandVariable) is read"))
            }
        }
    }

    /// As the annotation of a pod, of what its proxy is started with; nil when nothing is said of that.
    public var annotation: String? {
        var members: [String: JSON] = [:]
        if let concurrency { members["concurrency"] = .integer(Int64(concurrency)) }
        if let isOnDemand { members["proxyMetadata"] = [Self.onDemandVariable: .string(isOnDemand ? "true" : "false")] }
        return members.isEmpty ? nil : JSON.object(members).text
    }

    private mutating func tracing(_ json: JSON) {
        for (name, value) in (json.object ?? [:]).sorted(by: { $0.key < $1.key }) {
            switch name {
            case "sampling":
                if let share = value.double, (0...100).contains(share) {
                    traceSampling = share
                } else {
                    ignored.append(Ignored(field: "tracing.sampling", message: "has no effect: it is a percentage"))
                }
            case "customTags": traceTags = value
            default:
                ignored.append(
                    Ignored(field: "tracing.\(name)", message: "has no effect: name a tracing extension provider"))
            }
        }
    }
}
