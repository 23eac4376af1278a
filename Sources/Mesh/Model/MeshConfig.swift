public import KubernetesAPI
public import Serialization

/// The mesh configuration: ConfigMap `istio` in `istio-system`, member `mesh` (Istio's `MeshConfig`).
///
/// What is read and has no effect, or cannot be read, stands in `problems` with its path; a value that cannot be read
/// leaves the default in force. The switches below `skein` restore Istio's behaviour where ours differs on purpose
/// (docs/operating.md).
public struct MeshConfig: Sendable, Hashable {
    /// What happens to outbound traffic that no service matches (R-13).
    public enum OutboundPolicy: String, Sendable, Hashable {
        /// It goes where it was going.
        case allowAny = "ALLOW_ANY"
        /// It is refused.
        case registryOnly = "REGISTRY_ONLY"
    }

    /// How paths are normalised before routing and policy (A-7, X-7).
    public enum PathNormalization: String, Sendable, Hashable {
        /// As it came.
        case none = "NONE"
        /// RFC 3986 dot segments, backslashes become slashes.
        case base = "BASE"
        /// And several slashes become one.
        case mergeSlashes = "MERGE_SLASHES"
        /// And escaped slashes are decoded before.
        case decodeAndMergeSlashes = "DECODE_AND_MERGE_SLASHES"
    }

    /// Something odd in the ConfigMap.
    public struct Problem: Sendable, Hashable {
        /// The field below `data.mesh`.
        public var field: String
        /// What is wrong with it.
        public var message: String
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
    /// `protocolDetectionTimeout`: how long the first bytes of a client are waited for on ports that say nothing (X-3).
    public var detectionTimeout = Duration.milliseconds(100)
    /// `defaultHttpRetryPolicy`; `nil` means the default of X-1.
    public var defaultRetries: VirtualService.HTTPRetry?
    /// `enableTracing`; `nil` when absent: traces are made when a tracing provider is named.
    public var enablesTracing: Bool?
    /// `defaultConfig.tracing.sampling` in percent; `nil` when absent.
    public var traceSampling: Double?
    /// `defaultConfig`.
    public var defaultProxyConfig = ProxyConfigValues()
    /// `extensionProviders` by name.
    public var providers: [String: ExtensionProvider] = [:]
    /// `defaultProviders.accessLogging`.
    public var defaultAccessLogging: [String] = []
    /// `defaultProviders.tracing`; the first one counts.
    public var defaultTracing: [String] = []
    /// Whether traces go to the control plane's own store when nothing is said about where they go.
    public var hasTraceStore = false
    /// Whether pods have addresses of both families: proxies then listen on both.
    public var isDualStack = false
    /// Where traces go unless a Telemetry says otherwise; `nil` when nowhere.
    var tracingProvider: ExtensionProvider? {
        guard let name = defaultTracing.first else { return hasTraceStore ? .traceStore : nil }
        return ProxyTelemetry.provider(name, self)
    }
    /// `meshMTLS.minProtocolVersion`: `TLSV1_2`, `TLSV1_3`, or empty.
    public var meshTLSVersionMin = ""
    /// `trustDomain`.
    public var trustDomain = "cluster.local"
    /// `trustDomainAliases`.
    public var trustDomainAliases: [String] = []
    /// `localityLbSetting` as written; `nil` means enabled without settings (B-4).
    public var localitySetting: JSON?
    /// `pathNormalization.normalization` for every proxy; `nil` means BASE in sidecars, and X-7 at gateways.
    public var pathNormalization: PathNormalization?
    /// `tcpKeepalive` as written.
    public var tcpKeepalive: JSON?

    /// Our extension `skein.retries: istio` restores Istio's default retry conditions (X-1, T-4).
    public var usesIstioRetries = false
    /// Our extension `skein.retryBudget: istio` takes the default retry budget away (X-2).
    public var hasRetryBudget = true
    /// Our extension `skein.protocolDetection: istio` waits for the client's first bytes as long as it takes (X-3, S-3).
    public var waitsForClients = false
    /// Our extension `skein.conflicts: istio`: dead configuration is accepted without a word (X-4).
    public var warnsOfConflicts = true
    /// Our extension `skein.hostOwnership: istio` lets a rule claim hosts of other namespaces (X-5).
    public var guardsHosts = true
    /// Identities and mutual TLS.
    var security = SecurityConfig()
    /// Our extension `skein.endpointDebounce`: how long endpoint changes are held back; zero sends them at once (X-6).
    public var endpointDebounce = Duration.zero
    /// Our extension `skein.gatewayPaths: istio` normalises paths at gateways as in sidecars (X-7).
    public var decodesGatewayPaths = true
    /// Our extension `skein.gatewayClusters: istio` tells gateways the clusters of all services, not of those that their routes name.
    public var tellsGatewaysEverything = false
    /// What is wrong with the ConfigMap.
    public var problems: [Problem] = []

    /// The first problem; `nil` when there is none.
    public var problem: String? {
        problems.first.map {
            "ConfigMap istio-system/istio: data.mesh: \($0.field.isEmpty ? "" : "\($0.field): ")\($0.message)"
        }
    }

    /// The defaults.
    public init() {}

    /// Reads the ConfigMap; `nil` means the defaults.
    public init(_ configMap: KubernetesObject?, hasTraceStore: Bool = false, isDualStack: Bool = false) {
        self.init()
        defer {
            self.hasTraceStore = hasTraceStore
            self.isDualStack = isDualStack
        }
        guard let text = configMap?.json["data"]?["mesh"]?.string else { return }
        do {
            guard let json = try YAML.parse(text, file: "data.mesh").first?.json, !json.isNull else { return }
            self = MeshConfig(json: json)
        } catch {
            problems = [Problem(field: "", message: "\(error)")]
        }
    }

    /// Reads the member `mesh`.
    init(json: JSON) {
        var reader = MeshConfigReader(json)
        outboundPolicy =
            reader.choice("outboundTrafficPolicy.mode", OutboundPolicy.init(rawValue:)) ?? outboundPolicy
        accessLogFile = reader.text("accessLogFile") ?? ""
        accessLogFormat = reader.text("accessLogFormat") ?? ""
        logsJSON = reader.choice("accessLogEncoding") { ["TEXT": false, "JSON": true][$0] } ?? false
        connectTimeout = reader.duration("connectTimeout") ?? connectTimeout
        if let time = reader.duration("protocolDetectionTimeout") {
            // Istio's zero means "as long as it takes"; that is what X-3 is about, and has a switch of its own.
            if time > .zero { detectionTimeout = time }
        }
        if reader.take("defaultHttpRetryPolicy") != nil {
            defaultRetries = KubernetesObject(json: json).view("defaultHttpRetryPolicy")
        }
        enablesTracing = reader.bool("enableTracing")
        if let written = reader.take("defaultConfig") {
            defaultProxyConfig = ProxyConfigValues(json: written)
            traceSampling = defaultProxyConfig.traceSampling
            for ignored in defaultProxyConfig.ignored {
                reader.problems.append(Problem(field: "defaultConfig.\(ignored.field)", message: ignored.message))
            }
        }
        for (index, element) in (reader.take("extensionProviders")?.array ?? []).enumerated() {
            do throws(ExtensionProvider.Refusal) {
                let provider = try ExtensionProvider(json: element)
                if providers.updateValue(provider, forKey: provider.name) != nil {
                    reader.report(
                        "extensionProviders[\(index)].name", "\"\(provider.name)\" is there twice; this one counts")
                }
            } catch {
                reader.report("extensionProviders[\(index)]\(error.field)", error.message)
            }
        }
        if let defaults = reader.take("defaultProviders") {
            let view = KubernetesObject(json: defaults)
            defaultAccessLogging = view.strings("accessLogging")
            defaultTracing = view.strings("tracing")
            for (field, names) in [("accessLogging", defaultAccessLogging), ("tracing", defaultTracing)] {
                for name in names where providers[name] == nil && !ExtensionProvider.builtIn.contains(name) {
                    reader.report("defaultProviders.\(field)", "no extension provider \"\(name)\"")
                }
            }
        }
        meshTLSVersionMin =
            reader.choice("meshMTLS.minProtocolVersion") { ["TLS_AUTO": "", "TLSV1_2": $0, "TLSV1_3": $0][$0] } ?? ""
        trustDomain = reader.text("trustDomain") ?? trustDomain
        trustDomainAliases = (reader.take("trustDomainAliases")?.array ?? []).compactMap(\.string)
        localitySetting = reader.take("localityLbSetting")
        pathNormalization = reader.choice("pathNormalization.normalization") {
            $0 == "DEFAULT" ? .base : PathNormalization(rawValue: $0)
        }
        tcpKeepalive = reader.take("tcpKeepalive")
        if let root = reader.text("rootNamespace"), root != Mesh.rootNamespace {
            reader.report("rootNamespace", "the root namespace is \(Mesh.rootNamespace); \"\(root)\" has no effect")
        }
        security = SecurityConfig(json)
        security.usesAutomaticTLS = reader.bool("enableAutoMtls") ?? true
        usesIstioRetries = reader.isIstio("skein.retries")
        hasRetryBudget = !reader.isIstio("skein.retryBudget")
        waitsForClients = reader.isIstio("skein.protocolDetection")
        warnsOfConflicts = !reader.isIstio("skein.conflicts")
        guardsHosts = !reader.isIstio("skein.hostOwnership")
        endpointDebounce = reader.duration("skein.endpointDebounce") ?? .zero
        decodesGatewayPaths = !reader.isIstio("skein.gatewayPaths")
        tellsGatewaysEverything = reader.isIstio("skein.gatewayClusters")
        problems = reader.finished()
    }
}

/// Reads members of a mesh configuration by their path, and remembers which were read.
struct MeshConfigReader {
    private let json: JSON
    private var taken: Set<String> = []
    var problems: [MeshConfig.Problem] = []

    /// Fields of Istio's that say nothing to us, and why.
    static let ignored: [String: String] = [
        "ingressControllerMode": "Ingresses of the classes skein and istio are served",
        "ingressService": "the gateway pods are found by their labels",
        "ingressSelector": "the gateway pods are found by their labels",
        "ingressClass": "Ingresses of the classes skein and istio are served",
        "enablePrometheusMerge": "the proxies' metrics have a port of their own",
        "discoverySelectors": "all namespaces are watched",
        "dnsRefreshRate": "names are asked for as often as their records say",
        "verifyCertificateAtClient": "certificates are always verified",
        "proxyHttpPort": "there is no HTTP proxy port", "proxyListenPort": "outbound traffic is captured at 15001",
        "proxyInboundListenPort": "inbound traffic is captured at 15006",
        "configSources": "objects come from our own API",
        "inboundTrafficPolicy": "ports without a service are passed through",
        "h2UpgradePolicy": "set connectionPool.http.h2UpgradePolicy in a DestinationRule",
        "certificates": "certificates come from the built-in authority",
        "caCertificates": "trust bundles come from the built-in authority", "ca": "the authority is built in",
        "tlsDefaults": "set TLS versions in the Gateway or DestinationRule",
        "defaultServiceExportTo": "set exportTo in each object",
        "defaultVirtualServiceExportTo": "set exportTo in each object",
        "defaultDestinationRuleExportTo": "set exportTo in each object",
        "enableEnvoyAccessLogService": "name an envoyHttpAls extension provider instead",
        "disableEnvoyListenerLog": "listeners have no logs of their own",
        "serviceSettings": "there are no settings by service", "hboneConfig": "there is no ambient mode",
        "accessLogFilter": "write a Telemetry with a filter", "serviceScopeConfigs": "there is one cluster",
        "statsCompression": "metrics are sent as they are asked for",
    ]

    init(_ json: JSON) { self.json = json }

    mutating func report(_ field: String, _ message: String) {
        problems.append(MeshConfig.Problem(field: field, message: message))
    }

    /// The value at a path of members.
    mutating func take(_ path: String) -> JSON? {
        let steps = path.split(separator: ".").map(String.init)
        if let first = steps.first { taken.insert(first) }
        taken.insert(path)
        var value: JSON? = json
        for step in steps { value = value?[step] }
        return value.flatMap { $0.isNull ? nil : $0 }
    }

    mutating func text(_ path: String) -> String? {
        guard let value = take(path) else { return nil }
        if value.string == nil { report(path, "is no text") }
        return value.string
    }

    mutating func bool(_ path: String) -> Bool? {
        guard let value = take(path) else { return nil }
        if value.bool == nil { report(path, "is neither true nor false") }
        return value.bool
    }

    mutating func duration(_ path: String) -> Duration? {
        guard let text = text(path) else { return nil }
        let duration = Duration(istio: text)
        if duration == nil { report(path, "\"\(text)\" is no duration, such as 1.5s") }
        return duration
    }

    mutating func choice<T>(_ path: String, _ read: (String) -> T?) -> T? {
        guard let text = text(path) else { return nil }
        let value = read(text)
        if value == nil { report(path, "\(text) is unknown") }
        return value
    }

    /// Whether one of our switches asks for Istio's behaviour; the other value is `skein`.
    mutating func isIstio(_ path: String) -> Bool {
        choice(path) { ["istio": true, "skein": false][$0] } ?? false
    }

    /// All problems, with the members that nobody asked for.
    func finished() -> [MeshConfig.Problem] {
        var problems = problems
        func look(_ value: JSON, _ prefix: String, _ reasons: [String: String]) {
            for name in (value.object ?? [:]).keys.sorted() where !taken.contains(prefix + name) {
                problems.append(
                    MeshConfig.Problem(
                        field: prefix + name, message: "has no effect: \(reasons[name] ?? "unknown field")"))
            }
        }
        look(json, "", Self.ignored)
        if let skein = json["skein"] { look(skein, "skein.", [:]) }
        return problems
    }
}
