internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Synchronization
internal import Telemetry
internal import Upstream

/// `envoy.filters.http.admission_control`: refuses requests by chance where too many of those before have failed.
final class AdmissionControlFilterConfig: HTTPFilterConfig {
    /// One loop's view; the lock is never waited for.
    final class Loop: Sendable {
        let window: Mutex<AdmissionWindow>
        init(_ length: Duration) { window = Mutex(AdmissionWindow(window: length)) }
    }

    let name: String
    let isDisabled: Bool
    let isEnabled: RuntimeSwitch
    private let aggression: RuntimeReal?
    private let successThreshold: RuntimeReal?
    private let rateThreshold: RuntimeNumber?
    private let probabilityMax: RuntimeReal?
    private let httpSuccess: [Range<Int32>]
    private let grpcSuccess: Set<UInt32>
    private let loops: [Loop]
    let rejected: MetricCounter
    let succeeded: MetricCounter
    let failed: MetricCounter

    static let kind = HTTPFilterKind(AdmissionControl.self) { message, context throws(ConfigurationError) in
        try AdmissionControlFilterConfig(message, context)
    }

    /// OK, and what is the caller's fault.
    private static let grpcSuccessDefault: Set<UInt32> = [0, 1, 2, 3, 5, 6, 9, 11, 12, 16]
    private static let windowMax: Duration = .seconds(3600)

    init(_ message: AdmissionControl, _ context: FilterContext) throws(ConfigurationError) {
        let path = context.path
        name = context.name
        isDisabled = context.isDisabled
        isEnabled = RuntimeSwitch(message.enabled)
        aggression = message.aggression.map { RuntimeReal($0) }
        successThreshold = message.srThreshold.map { RuntimeReal($0) }
        rateThreshold = message.rpsThreshold.map { RuntimeNumber($0) }
        probabilityMax = message.maxRejectionProbability.map { RuntimeReal($0) }
        if let successThreshold, successThreshold.standard < 1 {
            throw ConfigurationError(at: path + ".sr_threshold.default_value", "is below 1 percent")
        }
        guard case .successCriteria(let criteria) = message.evaluationCriteria else {
            throw ConfigurationError(at: path + ".success_criteria", "is missing")
        }
        if let http = criteria.httpCriteria {
            var ranges: [Range<Int32>] = []
            for (index, range) in http.httpSuccessStatus.enumerated() {
                guard range.start >= 100, range.end <= 600, range.start <= range.end else {
                    throw ConfigurationError(
                        at: "\(path).success_criteria.http_criteria.http_success_status[\(index)]",
                        "is no range of statuses")
                }
                ranges.append(range.start..<range.end)
            }
            httpSuccess = ranges
        } else {
            httpSuccess = [100..<500]
        }
        if let grpc = criteria.grpcCriteria {
            for (index, status) in grpc.grpcSuccessStatus.enumerated() where status > 16 {
                throw ConfigurationError(
                    at: "\(path).success_criteria.grpc_criteria.grpc_success_status[\(index)]",
                    "\(status) is no status of gRPC")
            }
            grpcSuccess = Set(grpc.grpcSuccessStatus)
        } else {
            grpcSuccess = Self.grpcSuccessDefault
        }
        let window = message.samplingWindow ?? .seconds(30)
        guard window >= .seconds(1), window <= Self.windowMax else {
            throw ConfigurationError(at: path + ".sampling_window", "must be one second to one hour")
        }
        loops = (0..<max(context.compile.metrics.workers, 1)).map { _ in Loop(window) }
        let scope = context.scope("admission_control")
        rejected = scope.counter("rq_rejected")
        succeeded = scope.counter("rq_success")
        failed = scope.counter("rq_failure")
    }

    var rules: AdmissionWindow.Rules {
        AdmissionWindow.Rules(
            aggression: max(aggression?.value ?? 1, 1),
            successThreshold: min(max(successThreshold?.value ?? 95, 1), 100) / 100,
            rateThreshold: Double(rateThreshold?.value ?? 0),
            probabilityMax: min(max(probabilityMax?.value ?? 80, 0), 100) / 100)
    }

    func loop(_ index: Int) -> Loop? { loops.indices.contains(index) ? loops[index] : nil }

    func isSuccess(http status: UInt16) -> Bool { httpSuccess.contains { $0.contains(Int32(status)) } }

    func isSuccess(grpc status: UInt32) -> Bool { grpcSuccess.contains(status) }

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? {
        isEnabled.value ? AdmissionControlFilter(self) : nil
    }
}

/// One request, refused or counted.
final class AdmissionControlFilter: HTTPFilter {
    private let config: AdmissionControlFilterConfig
    /// It went on, and what became of it is not known yet.
    private var isOpen = false
    private var isGRPC = false

    init(_ config: AdmissionControlFilterConfig) { self.config = config }

    let interest: FilterInterest = [.requestHead, .responseHead, .responseTrailers]

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        let worker = stream.worker
        guard !stream.info.isHealthCheck, let loop = config.loop(worker.index) else { return .next }
        let random = worker.random.next()
        let now = worker.loop.now
        if loop.window.withLock({ $0.refuses(config.rules, at: now, random: random) }) {
            config.rejected.add(row: worker.index)
            stream.localReply(status: 503, details: ResponseDetails.admissionControlDenied)
            return .stop
        }
        isOpen = true
        return .next
    }

    func responseHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        guard isOpen else { return .next }
        if stream.response.headers.isGRPC {
            guard let status = stream.response.headers[.grpcStatus] else {
                isGRPC = true
                return .next
            }
            record(UInt32(status).map { config.isSuccess(grpc: $0) } ?? false, stream)
        } else {
            record(config.isSuccess(http: stream.response.status), stream)
        }
        return .next
    }

    func responseTrailers(_ stream: HTTPStream, _ trailers: inout HeaderTable) -> FilterStep {
        if isOpen, isGRPC {
            let status = trailers[.grpcStatus].flatMap { UInt32($0) }
            record(status.map { config.isSuccess(grpc: $0) } ?? false, stream)
        }
        return .next
    }

    private func record(_ isSuccess: Bool, _ stream: HTTPStream) {
        isOpen = false
        let worker = stream.worker
        (isSuccess ? config.succeeded : config.failed).add(row: worker.index)
        let now = worker.loop.now
        config.loop(worker.index)?.window.withLock { $0.record(isSuccess: isSuccess, at: now) }
    }

    func streamEnded(_ stream: HTTPStream) {
        // Whoever went away without an answer counts as failed.
        if isOpen { record(false, stream) }
    }
}
