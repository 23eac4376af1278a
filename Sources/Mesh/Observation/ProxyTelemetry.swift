import EnvoyAPI
import KubernetesAPI
import Serialization

/// What one proxy logs and traces: the mesh configuration, then the Telemetry of the root namespace, of the own namespace
/// and of the workload, each over the one before.
struct ProxyTelemetry: Sendable, Hashable {
    /// A log, and which of its entries are written.
    struct Log: Sendable, Hashable {
        var provider: ExtensionProvider
        var filter: AccessLogFilter?
    }

    /// How requests are traced.
    struct Trace: Sendable, Hashable {
        var provider: ExtensionProvider?
        /// Percent of the requests.
        var sampling: Double
        var tags: [String: JSON] = [:]
        /// Spans are passed on, but not reported.
        var isDisabled = false
    }

    /// Which end of a request a proxy is at.
    enum Side: String, Sendable { case client = "CLIENT", server = "SERVER" }

    /// Share of traced requests, in percent, unless something else is written; Istio's.
    static let samplingDefault = 1.0

    private let config: MeshConfig
    private var logs: [Side: [Log]] = [:]
    private var traces: [Side: Trace] = [:]
    private var metrics: [Side: MetricOverrides] = [:]

    /// What the mesh configuration alone says.
    init(config: MeshConfig) {
        self.config = config
        let named = config.defaultAccessLogging.compactMap { Self.provider($0, config) }
        let file = config.accessLogFile.isEmpty ? [] : [ExtensionProvider.envoy]
        let inForce = (config.defaultAccessLogging.isEmpty ? file : named).map { Log(provider: $0) }
        logs = [.client: inForce, .server: inForce]
        guard config.enablesTracing != false, let provider = config.tracingProvider else { return }
        let trace = Trace(
            provider: provider, sampling: config.traceSampling ?? Self.samplingDefault,
            tags: config.defaultProxyConfig.traceTags?.object ?? [:])
        traces = [.client: trace, .server: trace]
    }

    /// What a workload's proxy does.
    init(model: MeshModel, namespace: String, labels: [String: String]) {
        self.init(config: model.config)
        for rule in Self.rules(model, namespace: namespace, labels: labels) {
            for side in [Side.client, .server] {
                log(rule, side)
                metrics[side, default: MetricOverrides()].add(rule, side)
                trace(rule, side)
            }
        }
    }

    /// The Telemetry objects that count for a workload, the most general one first: at each level the oldest.
    static func rules(_ model: MeshModel, namespace: String, labels: [String: String]) -> [IstioTelemetry] {
        var root: IstioTelemetry?
        var own: IstioTelemetry?
        var workload: IstioTelemetry?
        for object in model.objects(.telemetry) {
            let rule = IstioTelemetry(json: object.json)
            if rule.hasTargets { continue }
            if !rule.selector.isEmpty {
                // A selector of the root namespace is for workloads of all namespaces.
                guard object.namespace == namespace || object.namespace == Mesh.rootNamespace,
                    rule.selector.allSatisfy({ labels[$0.key] == $0.value })
                else { continue }
                workload = workload ?? rule
            } else if object.namespace == namespace {
                own = own ?? rule
            } else if object.namespace == Mesh.rootNamespace {
                root = root ?? rule
            }
        }
        return [root, own, workload].compactMap { $0 }
    }

    static func provider(_ name: String, _ config: MeshConfig) -> ExtensionProvider? {
        switch name {
        case "envoy": .envoy
        case ExtensionProvider.traceStore.name: config.providers[name] ?? .traceStore
        default: config.providers[name]
        }
    }

    // MARK: Merging

    private mutating func log(_ rule: IstioTelemetry, _ side: Side) {
        var inForce = logs[side] ?? []
        // The first providers that a level names stand instead of those of the levels above.
        var isFirst = true
        for entry in rule.accessLogging where entry.mode == "CLIENT_AND_SERVER" || entry.mode == side.rawValue {
            let named = entry.providers.compactMap { Self.provider($0, config) }.filter(AccessLogs.isLog)
            if entry.isDisabled {
                inForce.removeAll { log in entry.providers.isEmpty || named.contains { $0.name == log.provider.name } }
                continue
            }
            if !named.isEmpty {
                if isFirst { inForce = [] }
                isFirst = false
                inForce.removeAll { log in named.contains { $0.name == log.provider.name } }
                inForce += named.map { Log(provider: $0) }
            } else if inForce.isEmpty && entry.providers.isEmpty {
                inForce = [Log(provider: .envoy)]
            }
            guard let text = entry.filter else { continue }
            // What cannot be read is told by the analysis; logging everything would be the larger surprise.
            let filter = try? LogExpression.filter(text)
            let concerned = Set((named.isEmpty ? inForce.map(\.provider) : named).map(\.name))
            if let filter {
                for index in inForce.indices where concerned.contains(inForce[index].provider.name) {
                    inForce[index].filter = filter
                }
            } else {
                inForce.removeAll { concerned.contains($0.provider.name) }
            }
        }
        logs[side] = inForce
    }

    private mutating func trace(_ rule: IstioTelemetry, _ side: Side) {
        for entry in rule.tracing where entry.mode == "CLIENT_AND_SERVER" || entry.mode == side.rawValue {
            var trace =
                traces[side]
                ?? Trace(
                    provider: config.tracingProvider,
                    sampling: config.traceSampling ?? Self.samplingDefault,
                    tags: config.defaultProxyConfig.traceTags?.object ?? [:])
            if let name = entry.providers.first, let provider = Self.provider(name, config), Traces.isTracer(provider) {
                trace.provider = provider
            }
            if let sampling = entry.sampling, (0...100).contains(sampling) { trace.sampling = sampling }
            trace.tags.merge(entry.customTags) { _, inner in inner }
            if entry.json["disableSpanReporting"] != nil { trace.isDisabled = entry.isDisabled }
            traces[side] = trace
        }
    }

    // MARK: Result

    /// The access logs of a listener.
    func accessLogs(_ side: Side) -> [AccessLog] {
        (logs[side] ?? []).compactMap { log in
            guard var message = AccessLogs.log(log.provider, config) else { return nil }
            message.filter = log.filter
            return message
        }
    }

    /// The tracing of a connection manager; `nil` when nothing is traced.
    func tracing(_ side: Side) -> HttpConnectionManager.Tracing? {
        guard let trace = traces[side], !trace.isDisabled, let provider = trace.provider else { return nil }
        return Traces.tracing(provider, sampling: trace.sampling, tags: trace.tags)
    }

    /// The filter that tells Istio's standard metrics.
    ///
    /// Whoever does not know it may do without it, as Envoy itself does.
    func metricFilters(_ side: Side) -> [HttpFilter] {
        var filter = HttpFilter()
        filter.name = FilterNames.istioStats
        filter.configType = .typedConfig(AnyMessage(packing: (metrics[side] ?? MetricOverrides()).message))
        filter.isOptional = true
        return [filter]
    }

    /// The labels on which what a proxy logs depends.
    static func labelKeys(_ model: MeshModel) -> Set<String> {
        Set(model.objects(.telemetry).flatMap { IstioTelemetry(json: $0.json).selector.keys })
    }
}
