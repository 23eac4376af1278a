public import KubernetesAPI
import Serialization

/// The mesh configuration: ConfigMap `istio` in `istio-system`, member `mesh`, as far as it is used.
public struct MeshConfig: Sendable, Hashable {
    /// What happens to outbound traffic that no service matches.
    public enum OutboundPolicy: String, Sendable, Hashable {
        /// It goes where it was going.
        case allowAny = "ALLOW_ANY"
        /// It is refused.
        case registryOnly = "REGISTRY_ONLY"
    }

    /// `outboundTrafficPolicy.mode`.
    public var outboundPolicy = OutboundPolicy.allowAny
    /// `accessLogFile`; empty means no access log.
    public var accessLogFile = ""
    /// `accessLogFormat`; empty means the proxy's own.
    public var accessLogFormat = ""
    /// `accessLogEncoding` is `JSON`.
    public var logsJSON = false
    /// `connectTimeout` (T-12).
    public var connectTimeout = Duration.seconds(10)
    /// `defaultHttpRetryPolicy`; `nil` means the default of X-1.
    public var defaultRetries: VirtualService.HTTPRetry?
    /// Our extension `skein.retries: istio` restores Istio's default retry conditions (X-1, T-4).
    public var usesIstioRetries = false
    /// Our extension `skein.hostOwnership: istio` lets a rule claim hosts of other namespaces.
    public var guardsHosts = true
    /// Identities and mutual TLS.
    var security = SecurityConfig()
    /// What is wrong with the ConfigMap, if anything; the defaults are used then.
    public var problem: String?

    /// The defaults.
    public init() {}

    /// Reads the ConfigMap; `nil` means the defaults.
    public init(_ configMap: KubernetesObject?) {
        guard let text = configMap?.json["data"]?["mesh"]?.string else { return }
        let documents: [YAMLDocument]
        do {
            documents = try YAML.parse(text, file: "ConfigMap istio-system/istio: data.mesh")
        } catch {
            problem = "\(error)"
            return
        }
        guard let json = documents.first?.json else { return }
        let config = KubernetesObject(json: json)
        if let mode = json["outboundTrafficPolicy"]?["mode"]?.string {
            if let policy = OutboundPolicy(rawValue: mode) {
                outboundPolicy = policy
            } else {
                problem = "ConfigMap istio-system/istio: data.mesh: outboundTrafficPolicy.mode: \(mode) is unknown"
            }
        }
        accessLogFile = config.string("accessLogFile")
        accessLogFormat = config.string("accessLogFormat")
        logsJSON = config.string("accessLogEncoding") == "JSON"
        connectTimeout = config.duration("connectTimeout") ?? connectTimeout
        defaultRetries = config.view("defaultHttpRetryPolicy")
        security = SecurityConfig(json)
        usesIstioRetries = json["skein"]?["retries"]?.string == "istio"
        guardsHosts = json["skein"]?["hostOwnership"]?.string != "istio"
    }
}
