public import EnvoyAPI

extension FaultPolicy {
    /// Compiles the fault filter's configuration, of the filter itself or of a route.
    public init(compiling message: HTTPFault, path: String = "") throws(ConfigurationError) {
        try self.init(compiling: message, FieldPath(path))
    }

    init(compiling message: HTTPFault, _ path: FieldPath) throws(ConfigurationError) {
        try FieldCheck.check(
            message, path, handles: "delay abort upstream_cluster headers downstream_nodes max_active_faults")
        self.init()
        if let delay = message.delay {
            let place = path / "delay"
            guard case .fixedDelay(let duration) = delay.faultDelaySecifier else {
                if case .headerDelay = delay.faultDelaySecifier { throw (place / "header_delay").unsupported() }
                throw (place / "fixed_delay").error("is missing")
            }
            guard duration > .zero else { throw (place / "fixed_delay").error("must be above 0") }
            self.delay = (duration, try Self.share(delay.percentage, place))
        }
        if let abort = message.abort {
            let place = path / "abort"
            let status: AbortStatus
            switch abort.errorType {
            case .httpStatus(let code):
                guard (200...599).contains(code) else {
                    throw (place / "http_status").error("\(code) is not in 200...599")
                }
                status = .http(UInt16(code))
            case .grpcStatus(let code): status = .grpc(code)
            case .headerAbort: throw (place / "header_abort").unsupported()
            case nil: throw place.error("has no error: set http_status or grpc_status")
            }
            self.abort = (status, try Self.share(abort.percentage, place))
        }
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
