import EnvoyAPI
import KubernetesAPI
import Serialization

extension Clusters {
    /// How many requests may be retries unless it is said, in percent of the active ones (T-11, X-2).
    static let retryBudgetPercent = 20.0
    /// Retries that are always allowed at a time, unless it is said.
    static let retryBudgetMinimum: UInt32 = 3

    /// T-9, T-10: unlimited unless a positive number is written; T-11, X-2: retries have a budget, unless they have a
    /// number or the mesh is to be as Istio's.
    static func limits(_ settings: ClusterSettings?, _ config: MeshConfig) -> CircuitBreakers {
        func limit(_ value: Int?) -> UInt32 { value.flatMap { $0 > 0 ? UInt32(clamping: $0) : nil } ?? unlimited }
        let pool = settings?.connectionPool
        var thresholds = CircuitBreakers.Thresholds()
        thresholds.maxConnections = limit(pool?.maxConnections)
        thresholds.maxPendingRequests = limit(pool?.http1MaxPendingRequests)
        thresholds.maxRequests = limit(pool?.http2MaxRequests)
        thresholds.maxRetries = limit(pool?.maxRetries)
        let written = settings?.retryBudget
        if written != nil
            || (settings != nil && thresholds.maxRetries == unlimited && config.hasRetryBudget
                && !config.usesIstioRetries)
        {
            var budget = CircuitBreakers.Thresholds.RetryBudget()
            var percent = Percent()
            percent.value = min(max(written?.percent ?? retryBudgetPercent, 0), 100)
            budget.budgetPercent = percent
            budget.minRetryConcurrency =
                written?.minRetryConcurrency.map { UInt32(clamping: $0) } ?? retryBudgetMinimum
            thresholds.retryBudget = budget
        }
        var breakers = CircuitBreakers()
        breakers.thresholds = [thresholds]
        return breakers
    }

    /// Section O: Istio's defaults, and no panic as soon as ejection is on (O-7).
    ///
    /// What is left out has Envoy's defaults, which are those of O-2.
    static func eject(_ written: DestinationRule.OutlierDetection, _ cluster: inout Cluster) {
        var outlier = OutlierDetection()
        outlier.consecutive5xx = written.consecutive5xxErrors.map { UInt32(clamping: $0) }
        if written.consecutive5xxErrors == 0 { outlier.enforcingConsecutive5xx = 0 }
        if let gateway = written.consecutiveGatewayErrors, gateway > 0 {  // O-3: off by default
            outlier.consecutiveGatewayFailure = UInt32(clamping: gateway)
            outlier.enforcingConsecutiveGatewayFailure = 100
        } else {
            outlier.enforcingConsecutiveGatewayFailure = 0
        }
        outlier.interval = positive(written.interval)
        outlier.baseEjectionTime = positive(written.baseEjectionTime)
        outlier.maxEjectionPercent = written.maxEjectionPercent.map { UInt32(clamping: min(max($0, 0), 100)) }
        outlier.enforcingSuccessRate = 0  // O-6
        if written.splitExternalLocalOriginErrors {  // O-9
            outlier.splitExternalLocalOriginErrors = true
            outlier.enforcingLocalOriginSuccessRate = 0
            if let failures = written.consecutiveLocalOriginFailures {
                outlier.consecutiveLocalOriginFailure = UInt32(clamping: failures)
                if failures == 0 { outlier.enforcingConsecutiveLocalOriginFailure = 0 }
            }
        }
        cluster.outlierDetection = outlier
        var common = cluster.commonLbConfig ?? Cluster.CommonLbConfig()
        var panic = Percent()
        panic.value = Double(min(max(written.minHealthPercent, 0), 100))
        common.healthyPanicThreshold = panic
        cluster.commonLbConfig = common
    }

    /// Keep-alive probes: the policy's, else the mesh's.
    static func keepalive(_ pool: DestinationRule.ConnectionPool?, _ config: MeshConfig) -> UpstreamConnectionOptions? {
        guard let written = pool?.tcpKeepalive ?? config.tcpKeepalive else { return nil }
        var keepalive = TcpKeepalive()
        keepalive.keepaliveProbes = written["probes"]?.int.map { UInt32(clamping: $0) }
        let view = KubernetesObject(json: written)
        keepalive.keepaliveTime = view.duration("time").map { UInt32(clamping: $0.components.seconds) }
        keepalive.keepaliveInterval = view.duration("interval").map { UInt32(clamping: $0.components.seconds) }
        var options = UpstreamConnectionOptions()
        options.tcpKeepalive = keepalive
        return options
    }

    /// The version of HTTP towards the endpoints, and what one of their connections may be used for.
    ///
    /// - Parameter followsCaller: Whether a port that says nothing is spoken to as the request came: so at sidecars. Clients of a gateway
    ///   choose HTTP/2 because it is offered, which says nothing about the endpoints: those get HTTP/1.1, as with Istio, unless the policy
    ///   has `useClientProtocol`.
    static func protocolOptions(
        _ settings: ClusterSettings, _ port: MeshService.Port, _ service: MeshService, followsCaller: Bool,
        _ cluster: inout Cluster
    ) {
        let pool = settings.connectionPool
        var options = UpstreamHttpProtocolOptions()
        var isNeeded = false
        let requests = pool?.maxRequestsPerConnection.flatMap { $0 > 0 ? UInt32(clamping: $0) : nil }
        if requests != nil || pool?.idleTimeout != nil || pool?.maxConnectionDuration != nil {
            var common = EnvoyAPI.HttpProtocolOptions()
            common.maxRequestsPerConnection = requests
            common.idleTimeout = pool?.idleTimeout
            common.maxConnectionDuration = pool?.maxConnectionDuration
            options.commonHttpProtocolOptions = common
            isNeeded = true
        }
        if let codes = settings.outlierDetection?.errorCodes, !codes.isEmpty {
            options.outlierDetection = errors(codes)
            isNeeded = true
        }
        if let names = serverNames(settings, service) {
            options.upstreamHttpProtocolOptions = names
            isNeeded = true
        }
        var http2 = Http2ProtocolOptions()
        http2.maxConcurrentStreams = pool?.maxConcurrentStreams.flatMap { $0 > 0 ? UInt32(clamping: $0) : nil }
        if let alive = pool?.http2KeepAlive {
            var settings = KeepaliveSettings()
            settings.interval = alive.interval
            settings.timeout = alive.timeout ?? alive.interval
            http2.connectionKeepalive = settings
        }
        if pool?.useClientProtocol == true && port.portProtocol.mayBeHTTP
            || followsCaller && port.portProtocol == .sniffed
        {
            // As the request came: nobody knows what the endpoints speak.
            var same = UpstreamHttpProtocolOptions.UseDownstreamHttpConfig()
            same.httpProtocolOptions = Http1ProtocolOptions()
            same.http2ProtocolOptions = http2
            options.upstreamProtocolOptions = .useDownstreamProtocolConfig(same)
            isNeeded = true
        } else {
            var explicit = UpstreamHttpProtocolOptions.ExplicitHttpConfig()
            if port.portProtocol == .http2 || (pool?.h2UpgradePolicy == "UPGRADE" && port.portProtocol.mayBeHTTP) {
                explicit.protocolConfig = .http2ProtocolOptions(http2)
                isNeeded = true
            } else {
                explicit.protocolConfig = .httpProtocolOptions(Http1ProtocolOptions())
            }
            options.upstreamProtocolOptions = .explicitHttpConfig(explicit)
        }
        guard isNeeded else { return }
        cluster.typedExtensionProtocolOptions[protocolOptionsName] = AnyMessage(packing: options)
    }

    /// The key of the HTTP options of a cluster.
    static let protocolOptionsName = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

    /// O-8: these statuses count as errors, no others.
    private static func errors(_ codes: [Int]) -> UpstreamHttpProtocolOptions.OutlierDetection {
        let rules = codes.sorted().map { code -> MatchPredicate in
            var header = HeaderMatcher()
            header.name = ":status"
            var matcher = StringMatcher()
            matcher.matchPattern = .exact(String(code))
            header.headerMatchSpecifier = .stringMatch(matcher)
            var match = HttpHeadersMatch()
            match.headers = [header]
            var predicate = MatchPredicate()
            predicate.rule = .httpResponseHeadersMatch(match)
            return predicate
        }
        var outlier = UpstreamHttpProtocolOptions.OutlierDetection()
        if let only = rules.first, rules.count == 1 {
            outlier.errorMatcher = only
        } else {
            var set = MatchPredicate.MatchSet()
            set.rules = rules
            var any = MatchPredicate()
            any.rule = .orMatch(set)
            outlier.errorMatcher = any
        }
        return outlier
    }
}

extension ClusterSettings {
    /// What a policy says about connections that are carried as bytes: how long they may be idle or last, and through
    /// which HTTP proxy they go.
    func apply(to proxy: inout TcpProxy) {
        if let idle = connectionPool?.tcpIdleTimeout { proxy.idleTimeout = idle }
        if let longest = connectionPool?.maxConnectionDuration { proxy.maxDownstreamConnectionDuration = longest }
        if let tunnel, !tunnel.targetHost.isEmpty {
            var config = TcpProxy.TunnelingConfig()
            config.hostname = "\(tunnel.targetHost):\(tunnel.targetPort)"
            config.usePost = tunnel.protocol.uppercased() == "POST"
            proxy.tunnelingConfig = config
        }
    }
}
