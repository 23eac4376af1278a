internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Telemetry
internal import Upstream

/// `envoy.filters.http.bandwidth_limit`: bodies go on at a rate that all requests share.
struct BandwidthLimitFilterConfig: HTTPFilterConfig {
    let name: String
    let isDisabled: Bool
    let settings: BandwidthLimitSettings

    static let kind = HTTPFilterKind(
        BandwidthLimit.self, perRoute: BandwidthLimit.self,
        compile: { message, context throws(ConfigurationError) in
            BandwidthLimitFilterConfig(
                name: context.name, isDisabled: context.isDisabled,
                settings: try BandwidthLimitSettings(compiling: message, at: context.path, context.compile))
        },
        compileRoute: { message, context throws(ConfigurationError) in
            guard message.limitKbps != nil else {
                throw ConfigurationError(at: context.path + ".limit_kbps", "is missing")
            }
            return try BandwidthLimitSettings(compiling: message, at: context.path, context.compile)
        })

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? {
        let settings = stream.routeConfig(for: name) as? BandwidthLimitSettings ?? settings
        guard settings.limitsRequests || settings.limitsResponses, settings.isEnabled.value else { return nil }
        return BandwidthLimitFilter(settings)
    }
}

/// One direction's counters.
struct BandwidthMetrics: Sendable {
    let enabled: MetricCounter
    let enforced: MetricCounter
    let pending: MetricGauge
    let incoming: MetricGauge
    let allowed: MetricGauge
    let incomingTotal: MetricCounter
    let allowedTotal: MetricCounter
    let duration: MetricHistogram

    init(_ scope: MetricScope, _ direction: String) {
        enabled = scope.counter(direction + "_enabled")
        enforced = scope.counter(direction + "_enforced")
        pending = scope.gauge(direction + "_pending")
        incoming = scope.gauge(direction + "_incoming_size")
        allowed = scope.gauge(direction + "_allowed_size")
        incomingTotal = scope.counter(direction + "_incoming_total_size")
        allowedTotal = scope.counter(direction + "_allowed_total_size")
        duration = scope.histogram(direction + "_transfer_duration")
    }
}

/// One level's settings, with the bucket that its requests share.
final class BandwidthLimitSettings: Sendable {
    let limitsRequests: Bool
    let limitsResponses: Bool
    let isEnabled: RuntimeSwitch
    let interval: Duration
    let bucket: EvenTokenBucket
    let request: BandwidthMetrics
    let response: BandwidthMetrics
    /// Put before the names of trailers that tell the delays; nil tells nothing.
    let trailerPrefix: String?

    init(compiling message: BandwidthLimit, at path: String, _ context: CompileContext) throws(ConfigurationError) {
        guard !message.statPrefix.isEmpty else { throw ConfigurationError(at: path + ".stat_prefix", "is empty") }
        switch message.enableMode {
        case .disabled: (limitsRequests, limitsResponses) = (false, false)
        case .request: (limitsRequests, limitsResponses) = (true, false)
        case .response: (limitsRequests, limitsResponses) = (false, true)
        case .requestAndResponse: (limitsRequests, limitsResponses) = (true, true)
        case .unrecognized(let number):
            throw ConfigurationError(at: path + ".enable_mode", "\(number) is no mode")
        }
        let limit = message.limitKbps ?? 0
        guard limit > 0 || !(limitsRequests || limitsResponses) else {
            throw ConfigurationError(at: path + ".limit_kbps", "must be 1 or more")
        }
        guard limit <= Self.limitMax else {
            throw ConfigurationError(at: path + ".limit_kbps", "is more than \(Self.limitMax)")
        }
        interval = message.fillInterval ?? BodyTrickle.intervalDefault
        guard interval >= .milliseconds(20), interval <= .seconds(1) else {
            throw ConfigurationError(at: path + ".fill_interval", "must be 20 ms to 1 s")
        }
        isEnabled = RuntimeSwitch(message.runtimeEnabled)
        let bytes = Int(limit) * 1024
        bucket = EvenTokenBucket(size: max(bytes, 1), rate: Double(bytes), at: .now)
        let scope = context.metrics.scope(message.statPrefix, "http_bandwidth_limit")
        request = BandwidthMetrics(scope, "request")
        response = BandwidthMetrics(scope, "response")
        if message.enableResponseTrailers {
            let prefix = message.responseTrailerPrefix.isEmpty ? "" : message.responseTrailerPrefix + "-"
            var probe = HeaderTable()
            do throws(HTTPFieldError) {
                try probe.append(prefix + "x", "x")
            } catch {
                throw ConfigurationError(at: path + ".response_trailer_prefix", "is no part of a header's name")
            }
            trailerPrefix = prefix
        } else {
            trailerPrefix = nil
        }
    }

    /// 1 TiB/s.
    private static let limitMax: UInt64 = 1 << 30
}

/// The two bodies of one request.
final class BandwidthLimitFilter: HTTPFilter {
    private let settings: BandwidthLimitSettings
    private var request: Side?
    private var response: Side?
    private var requestDuration: Duration = .zero
    private var requestDelay: Duration = .zero

    /// One direction under way.
    private final class Side {
        let trickle: BodyTrickle
        let metrics: BandwidthMetrics
        var isPending = false
        /// When the first piece came that had to wait.
        var delayed: MonotonicTime?

        init(_ settings: BandwidthLimitSettings, _ metrics: BandwidthMetrics) {
            trickle = BodyTrickle(settings.bucket, interval: settings.interval)
            self.metrics = metrics
        }

        func end(_ row: Int) {
            guard isPending else { return }
            isPending = false
            metrics.pending.subtract(row: row)
        }
    }

    init(_ settings: BandwidthLimitSettings) {
        self.settings = settings
        var interest: FilterInterest = []
        if settings.limitsRequests { interest.formUnion([.requestHead, .requestBody]) }
        if settings.limitsResponses { interest.formUnion([.responseHead, .responseBody]) }
        self.interest = interest
    }

    let interest: FilterInterest

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        settings.request.enabled.add(row: stream.worker.index)
        return .next
    }

    func responseHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        settings.response.enabled.add(row: stream.worker.index)
        return .next
    }

    func requestBody(_ stream: HTTPStream, _ chunk: inout BodyChunk, isEnd: Bool) -> BodyStep {
        let side = request ?? Side(settings, settings.request)
        if request == nil {
            request = side
            side.trickle.onEnd = { [weak self, unowned side] duration in
                self?.requestDuration = duration
                self?.requestDelay = side.delayed == nil ? .zero : duration
            }
        }
        return take(stream, chunk, side, .request)
    }

    func responseBody(_ stream: HTTPStream, _ chunk: inout BodyChunk, isEnd: Bool) -> BodyStep {
        let side = response ?? Side(settings, settings.response)
        if response == nil {
            response = side
            side.trickle.onEnd = { [weak self, weak stream, unowned side] duration in
                guard let self, let stream else { return }
                self.tell(stream, duration, delay: side.delayed == nil ? .zero : duration)
            }
        }
        return take(stream, chunk, side, .response)
    }

    private func take(
        _ stream: HTTPStream, _ chunk: borrowing BodyChunk, _ side: Side, _ flow: FilterDirection.Flow
    ) -> BodyStep {
        let row = stream.worker.index
        if !side.isPending {
            side.isPending = true
            side.metrics.pending.add(row: row)
        }
        side.metrics.incoming.set(UInt64(chunk.count), row: row)
        side.metrics.incomingTotal.add(UInt64(chunk.count), row: row)
        if side.trickle.onPassed == nil {
            let metrics = side.metrics
            side.trickle.onPassed = { [unowned side] bytes, isEnforced in
                metrics.allowed.set(UInt64(bytes), row: row)
                metrics.allowedTotal.add(UInt64(bytes), row: row)
                if isEnforced {
                    metrics.enforced.add(row: row)
                    side.delayed = side.delayed ?? .now
                }
            }
            let end = side.trickle.onEnd
            side.trickle.onEnd = { [unowned side] duration in
                metrics.duration.record(duration, row: row)
                side.end(row)
                end?(duration)
            }
        }
        side.trickle.begin(flow, stream, self)
        return .wait
    }

    /// Trailers that tell how long the bodies took.
    private func tell(_ stream: HTTPStream, _ duration: Duration, delay: Duration) {
        guard let prefix = settings.trailerPrefix else { return }
        var trailers = stream.responseFilters.trailers ?? HeaderTable()
        let values: [(String, Duration)] = [
            ("bandwidth-request-duration-ms", requestDuration), ("bandwidth-response-duration-ms", duration),
            ("bandwidth-request-delay-ms", requestDelay), ("bandwidth-response-delay-ms", delay),
        ]
        for (name, value) in values {
            let milliseconds = value.wholeNanoseconds / 1_000_000
            if milliseconds > 0 { try? trailers.set(prefix + name, String(milliseconds)) }
        }
        if !trailers.isEmpty { stream.responseFilters.trailers = trailers }
    }

    func streamEnded(_ stream: HTTPStream) {
        for side in [request, response] {
            side?.trickle.cancel()
            side?.end(stream.worker.index)
        }
    }
}
