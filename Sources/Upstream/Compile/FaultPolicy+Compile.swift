public import EnvoyAPI

extension FaultPolicy {
    /// Compiles the fault filter's configuration, of the filter itself or of a route.
    public init(compiling message: HTTPFault, path: String = "") throws(ConfigurationError) {
        try self.init(compiling: message, FieldPath(path))
    }

    init(compiling message: HTTPFault, _ path: FieldPath) throws(ConfigurationError) {
        try FieldCheck.check(
            message, path,
            handles:
                "delay abort response_rate_limit upstream_cluster headers downstream_nodes max_active_faults disable_downstream_cluster_stats filter_metadata"
        )
        self.init()
        if let delay = message.delay {
            let place = path / "delay"
            switch delay.faultDelaySecifier {
            case .fixedDelay(let duration):
                guard duration > .zero else { throw (place / "fixed_delay").error("must be above 0") }
                self.delay = (.fixed(duration), try Self.share(delay.percentage, place))
            case .headerDelay: self.delay = (.header, try Self.share(delay.percentage, place))
            case nil: throw place.error("has no delay: set fixed_delay or header_delay")
            }
        }
        if let abort = message.abort {
            let place = path / "abort"
            let status: Source<AbortStatus>
            switch abort.errorType {
            case .httpStatus(let code):
                guard (200...599).contains(code) else {
                    throw (place / "http_status").error("\(code) is not in 200...599")
                }
                status = .fixed(.http(UInt16(code)))
            case .grpcStatus(let code): status = .fixed(.grpc(code))
            case .headerAbort: status = .header
            case nil: throw place.error("has no error: set http_status, grpc_status or header_abort")
            }
            self.abort = (status, try Self.share(abort.percentage, place))
        }
        if let rate = message.responseRateLimit {
            let place = path / "response_rate_limit"
            let share = try Self.share(rate.percentage, place)
            switch rate.limitType {
            case .fixedLimit(let limit):
                guard limit.limitKbps > 0 else { throw (place / "fixed_limit.limit_kbps").error("must be above 0") }
                self.rate = (.fixed(limit.limitKbps), share)
            case .headerLimit: self.rate = (.header, share)
            case nil: throw place.error("has no limit: set fixed_limit or header_limit")
            }
        }
        skipsClusterStatistics = message.disableDownstreamClusterStats
        upstreamCluster = message.upstreamCluster
        headers = try HeaderMatcher.list(message.headers, path / "headers")
        downstreamNodes = message.downstreamNodes.map { Array($0.utf8) }
        activeFaultsMax = message.maxActiveFaults
    }

    /// An absent percentage is 0 % (H-17).
    private static func share(
        _ message: FractionalPercent?, _ path: FieldPath
    ) throws(ConfigurationError) -> Fraction {
        guard let message else { return .none }
        return try Fraction(compiling: message, path / "percentage")
    }
}
