internal import EnvoyAPI
internal import HTTP
internal import Serialization
internal import Upstream

/// The compiled router of a connection manager.
struct RouterConfig: Sendable {
    /// `x-envoy-*` fields are neither sent nor told.
    var suppressesEnvoyHeaders = false
    /// Filters of tries in clusters that have none of their own; nil is none.
    var upstreamFilters: UpstreamFilterChain?
    /// Where a line is written for each try.
    var upstreamLogs: [AccessLogConfig] = []
    /// A line is written when a try has its connection, too, and then each so often.
    var logsNewTries = false
    var tryLogInterval: Duration?
    private static let tryLogIntervalMin = Duration.milliseconds(1)
    /// Fields of trusted clients that have to be well formed; others are answered by 400.
    var strictHeaders: [StrictHeader] = []
    /// `x-envoy-expected-rq-timeout-ms` of a request is its time, since an Envoy before us has decided.
    var respectsExpectedTimeout = false

    /// One of the fields that `strict_check_headers` may name.
    enum StrictHeader: String, Sendable, CaseIterable {
        case timeout = "x-envoy-upstream-rq-timeout-ms"
        case perTryTimeout = "x-envoy-upstream-rq-per-try-timeout-ms"
        case maxRetries = "x-envoy-max-retries"
        case retryOn = "x-envoy-retry-on"
        case retryGRPCOn = "x-envoy-retry-grpc-on"

        /// Whether a value means something.
        func takes(_ value: String) -> Bool {
            switch self {
            case .timeout, .perTryTimeout, .maxRetries: UInt32(value) != nil
            case .retryOn, .retryGRPCOn:
                value.split(separator: ",", omittingEmptySubsequences: false).allSatisfy {
                    RetryPolicy.Conditions.isKnown(String($0.filter { $0 != " " }), isGRPC: self == .retryGRPCOn)
                }
            }
        }
    }

    init() {}

    init(
        compiling message: EnvoyAPI.Router, at path: String, statPrefix: String, context: CompileContext
    ) throws(ConfigurationError) {
        try FieldCheck.check(
            message,
            reads: [
                "suppress_envoy_headers", "start_child_span", "upstream_http_filters", "upstream_log",
                "upstream_log_options", "strict_check_headers", "respect_expected_rq_timeout",
            ], at: path)
        suppressesEnvoyHeaders = message.suppressEnvoyHeaders
        upstreamFilters = try UpstreamFilterChain(
            compiling: message.upstreamHttpFilters, at: path + ".upstream_http_filters", statPrefix: statPrefix,
            isOfCluster: false, context: context)
        upstreamLogs = try AccessLogConfig.compile(
            message.upstreamLog, at: path + ".upstream_log", context: context)
        logsNewTries = message.upstreamLogOptions?.flushUpstreamLogOnUpstreamStream ?? false
        tryLogInterval = message.upstreamLogOptions?.upstreamLogFlushInterval
        if let tryLogInterval, tryLogInterval < Self.tryLogIntervalMin {
            throw ConfigurationError(
                at: path + ".upstream_log_options.upstream_log_flush_interval", "is below 1 ms")
        }
        for (index, name) in message.strictCheckHeaders.enumerated() {
            guard let header = StrictHeader(rawValue: name.lowercased()) else {
                throw ConfigurationError(
                    at: "\(path).strict_check_headers[\(index)]",
                    "\(name) is none of " + StrictHeader.allCases.map(\.rawValue).joined(separator: ", "))
            }
            strictHeaders.append(header)
        }
        respectsExpectedTimeout = message.respectExpectedRqTimeout
    }
}

extension Router {
    /// Answers a request whose `x-envoy-*` fields are malformed; true when it has.
    func refusesHeaders() -> Bool {
        let wanted = stream.manager.config.router.strictHeaders
        guard !wanted.isEmpty else { return false }
        for header in RouterConfig.StrictHeader.allCases where wanted.contains(header) {
            guard let value = stream.request.headers[header.rawValue], !header.takes(value) else { continue }
            stream.info.flags.insert(.invalidEnvoyRequestHeaders)
            stream.localReply(
                status: 400, body: "invalid header '\(header.rawValue)' with value '\(value)'",
                details: "request_headers_failed_strict_check{\(header.rawValue)}")
            return true
        }
        return false
    }
}
