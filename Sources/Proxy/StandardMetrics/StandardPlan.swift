internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Upstream

/// One of Istio's standard metrics.
enum StandardMetric: String, CaseIterable, Sendable, Hashable {
    case requests = "requests_total"
    case requestDuration = "request_duration_milliseconds"
    case requestBytes = "request_bytes"
    case responseBytes = "response_bytes"
    case tcpConnectionsOpened = "tcp_connections_opened_total"
    case tcpConnectionsClosed = "tcp_connections_closed_total"
    case tcpSentBytes = "tcp_sent_bytes_total"
    case tcpReceivedBytes = "tcp_received_bytes_total"

    var isForConnections: Bool { rawValue.hasPrefix("tcp_") }
    var isHistogram: Bool { self == .requestDuration || self == .requestBytes || self == .responseBytes }

    var help: String {
        switch self {
        case .requests: "Requests that a proxy of the mesh has seen to their end."
        case .requestDuration: "Time from a request's first byte to its answer's last, in milliseconds."
        case .requestBytes: "Sizes of requests: head and body."
        case .responseBytes: "Sizes of responses: head and body."
        case .tcpConnectionsOpened: "Connections that were opened."
        case .tcpConnectionsClosed: "Connections that have ended."
        case .tcpSentBytes: "Bytes that were sent to clients."
        case .tcpReceivedBytes: "Bytes that came from clients."
        }
    }
}

/// What a filter `istio.stats` tells of what it sees: the side, and which labels differ from Istio's.
struct StandardPlan: Hashable, Sendable {
    /// How the labels of one metric differ.
    struct Changes: Hashable, Sendable {
        var isDropped = false
        var removed: Set<String> = []
        /// Labels that are added or replaced: their name, and which of `expressions` computes them.
        var added: [String: Int] = [:]
    }

    /// Whether the proxy is at the server's side of what passes here.
    var isServer = false
    var changes: [StandardMetric: Changes] = [:]
    /// What is computed of each request.
    var expressions: [TagExpression] = []

    init(isServer: Bool = false) { self.isServer = isServer }

    init(compiling message: IstioStatsConfig, isServer: Bool, at path: String) throws(ConfigurationError) {
        try FieldCheck.check(
            message,
            reads: ["metrics", "definitions", "reporter", "tcp_reporting_duration", "stat_prefix"], at: path)
        guard case .unspecified = message.reporter else {
            throw ConfigurationError(at: path + ".reporter", "the side of the listener says who reports")
        }
        guard message.definitions.isEmpty else {
            throw ConfigurationError(at: path + ".definitions", "metrics of one's own are not supported")
        }
        guard message.statPrefix.isEmpty || message.statPrefix == "istio" else {
            throw ConfigurationError(at: path + ".stat_prefix", "the metrics are istio_*")
        }
        self.isServer = isServer
        for (index, override) in message.metrics.enumerated() {
            try take(override, at: "\(path).metrics[\(index)]")
        }
    }

    private mutating func take(_ override: IstioMetricConfig, at path: String) throws(ConfigurationError) {
        guard override.match.isEmpty else {
            throw ConfigurationError(at: path + ".match", "conditions are not supported")
        }
        let meant: [StandardMetric]
        if override.name.isEmpty {
            meant = StandardMetric.allCases
        } else if let metric = StandardMetric(rawValue: override.name) {
            meant = [metric]
        } else if Self.untold.contains(override.name) {
            meant = []
        } else {
            throw ConfigurationError(at: path + ".name", "there is no metric \"\(override.name)\"")
        }
        var added: [String: Int] = [:]
        for (name, text) in override.dimensions.sorted(by: { $0.key < $1.key }) {
            guard StandardLabels.isName(name) else {
                throw ConfigurationError(at: "\(path).dimensions[\(name)]", "is no name of a label")
            }
            guard let expression = TagExpression(text) else {
                throw ConfigurationError(
                    at: "\(path).dimensions[\(name)]", "\"\(text)\" is not supported: \(TagExpression.supported)")
            }
            if let known = expressions.firstIndex(of: expression) {
                added[name] = known
            } else {
                guard expressions.count < Limits.standardTags else {
                    throw ConfigurationError(at: path, "more than \(Limits.standardTags) computed labels")
                }
                expressions.append(expression)
                added[name] = expressions.count - 1
            }
        }
        for metric in meant {
            var here = changes[metric] ?? Changes()
            here.isDropped = override.drop
            here.removed.formUnion(override.tagsToRemove)
            here.added.merge(added) { $1 }
            changes[metric] = here
        }
    }

    /// Metrics of Istio that are not told here: messages of gRPC streams.
    private static let untold: Set<String> = ["request_messages_total", "response_messages_total"]
}

/// What a filter `istio.stats` asks for.
struct StandardSettings: Sendable {
    let plan: StandardPlan
    /// Who we are.
    let own: WorkloadDirectory.Peer?
    /// How often connections that last tell their bytes.
    let interval: Duration

    init(compiling message: IstioStatsConfig, at path: String, context: CompileContext) throws(ConfigurationError) {
        plan = try StandardPlan(compiling: message, isServer: context.isIngress, at: path)
        own = Self.own(context)
        if let interval = message.tcpReportingDuration, interval < .milliseconds(1) {
            throw ConfigurationError(at: path + ".tcp_reporting_duration", "must be at least 1 ms")
        }
        interval = message.tcpReportingDuration ?? .seconds(5)
    }

    /// The workload that this proxy serves, by the address that its node names.
    private static func own(_ context: CompileContext) -> WorkloadDirectory.Peer? {
        let facts = WorkloadFacts(node: context.node)
        let named = context.node?.metadata?["INSTANCE_IPS"]?.string ?? ""
        let words = (context.node?.id ?? "").split(separator: "~", omittingEmptySubsequences: false)
        let candidates = named.split(separator: ",") + (words.count > 1 ? [words[1]] : [])
        guard let address = candidates.lazy.compactMap({ IPAddress($0) }).first else {
            return WorkloadDirectory.Peer(facts)
        }
        return context.metrics.standard.directory.peer(address, presuming: facts)
    }
}

/// `istio.stats` in an HTTP filter chain: no filter runs, the connection manager records what has ended.
final class IstioStatsFilterConfig: HTTPFilterConfig {
    let name: String
    let settings: StandardSettings

    static let kind = HTTPFilterKind(IstioStatsConfig.self) { message, context throws(ConfigurationError) in
        try IstioStatsFilterConfig(message, context)
    }

    private init(_ message: IstioStatsConfig, _ context: FilterContext) throws(ConfigurationError) {
        name = context.name
        settings = try StandardSettings(compiling: message, at: context.path, context: context.compile)
    }

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? { nil }

    func explain(_ stream: HTTPStream, _ note: (_ text: String, _ path: String) -> Void) -> ExplainedFilterRun {
        .decidesNothing("counts what has ended")
    }
}
