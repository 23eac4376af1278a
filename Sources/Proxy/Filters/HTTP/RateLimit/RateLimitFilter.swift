internal import EnvoyAPI
internal import HTTP
internal import Serialization
internal import Telemetry
internal import Upstream

/// The limit on one request.
final class RateLimitFilter: HTTPFilter {
    private static let path = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
    private static let namespace = "envoy.filters.http.ratelimit"
    /// Filter state that says how much a request counts.
    private static let hitsKey = "envoy.ratelimit.hits_addend"

    private let config: RateLimitFilterConfig
    private var call: GRPCCall?
    private var cluster: ClusterRuntime?
    private var shows: [Bool] = []
    private var isInCall = false
    private var isDone = false
    private var mayPass = false
    private var responseChanges: [FieldChange] = []

    init(_ config: RateLimitFilterConfig) { self.config = config }

    let interest: FilterInterest = [.requestHead, .responseHead]

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        guard isConcerned(stream), config.enabled.includes(random: stream.worker.random.next()) else { return .next }
        let descriptors = stream.rateLimitDescriptors(
            config.rules(of: stream), stage: config.stage, serviceCluster: config.serviceCluster, atEnd: false)
        guard !descriptors.isEmpty else { return .next }
        shows = descriptors.map { $0.showsLimit ?? config.showsLimit }
        cluster = stream.target.flatMap { stream.worker.cluster(named: $0.cluster) }
        let call = self.call(descriptors, stream) { [weak self, weak stream] result in
            guard let self, let stream else { return }
            self.call = nil
            self.answered(result, stream)
        }
        self.call = call
        isInCall = true
        call.start()
        isInCall = false
        return isDone && mayPass ? .next : .stop
    }

    private func isConcerned(_ stream: HTTPStream) -> Bool {
        switch config.requestType {
        case .both: true
        case .internal: stream.isInternal
        case .external: !stream.isInternal
        }
    }

    private func call(
        _ descriptors: [Upstream.RateLimitDescriptor], _ stream: HTTPStream,
        done: @escaping (Result<[UInt8], GRPCStatus>) -> Void
    ) -> GRPCCall {
        let request = RateLimitRequest(
            domain: config.domain(of: stream), descriptors,
            hits: stream.info.filterState[Self.hitsKey].flatMap { UInt32($0) } ?? 0)
        return GRPCCall(
            config.target, path: Self.path, message: request.serialized(), worker: stream.worker, stream: stream,
            timeout: config.timeout > .zero ? config.timeout : nil, done: done)
    }

    // MARK: Answer

    private func answered(_ result: Result<[UInt8], GRPCStatus>, _ stream: HTTPStream) {
        guard !isDone, !stream.isFinished else { return }
        isDone = true
        guard case .success(let bytes) = result, let response = try? RateLimitResponse(serialized: bytes) else {
            return failed(stream)
        }
        let verdict = RateLimitVerdict(response)
        if case .object(let members)? = verdict.metadata, !members.isEmpty {
            var metadata = stream.info.metadata[Self.namespace] ?? .object([:])
            for (key, value) in members { metadata[key] = value }
            stream.info.metadata[Self.namespace] = metadata
        }
        let limits =
            shows.contains(true) ? verdict.limitHeaders { self.shows.indices.contains($0) && self.shows[$0] } : []
        guard verdict.isOverLimit else {
            count("ok")
            return goOn(verdict, limits, stream)
        }
        count("over_limit")
        cluster?.metrics.countResponse(config.limitedStatus, isInternal: true, row: stream.worker.index)
        // As Envoy: the response says so even where nobody enforces it.
        let mark = config.marksLimited ? [FieldChange("x-envoy-ratelimited", "true")] : []
        guard config.enforced.includes(random: stream.worker.random.next()) else {
            return goOn(verdict, mark + limits, stream)
        }
        stream.info.flags.insert(.rateLimited)
        var headers = HeaderTable()
        for change in mark + verdict.responseHeaders + limits { headers.apply(change) }
        var fields: [(String, String)] = []
        for index in 0..<headers.count { fields.append((headers.nameText(at: index), headers.valueText(at: index))) }
        stream.localReply(
            status: config.limitedStatus, bytes: verdict.body, details: "request_rate_limited", headers: fields,
            grpcStatus: config.isResourceExhausted ? 8 : nil, mutations: config.responseMutations)
    }

    private func goOn(_ verdict: RateLimitVerdict, _ limits: [FieldChange], _ stream: HTTPStream) {
        for change in verdict.requestHeaders { stream.request.headers.apply(change) }
        responseChanges = verdict.responseHeaders + limits
        goOn(stream)
    }

    private func goOn(_ stream: HTTPStream) {
        mayPass = true
        if !isInCall { stream.resumeRequest(self) }
    }

    private func failed(_ stream: HTTPStream) {
        count("error")
        guard config.denied.includes(random: stream.worker.random.next()) else {
            count("failure_mode_allowed")
            return goOn(stream)
        }
        stream.info.flags.insert(.rateLimitServiceError)
        stream.localReply(status: config.errorStatus, details: "rate_limiter_error")
    }

    private func count(_ name: String) {
        guard let cluster else { return }
        cluster.rateLimitScope.counter(config.statPrefix + name).add(row: cluster.worker.index)
    }

    // MARK: Response

    func responseHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        if !responseChanges.isEmpty {
            var headers = stream.response.headers
            for change in responseChanges { headers.apply(change) }
            stream.response.headers = headers
        }
        return .next
    }

    func streamEnded(_ stream: HTTPStream) {
        isDone = true
        call?.cancel()
        call = nil
        guard isConcerned(stream) else { return }
        // What counts at the end is told, and nobody waits for the answer.
        let rules = config.rules(of: stream)
        guard rules.contains(where: \.appliesOnStreamDone) else { return }
        let descriptors = stream.rateLimitDescriptors(
            rules, stage: config.stage, serviceCluster: config.serviceCluster, atEnd: true)
        if !descriptors.isEmpty { call(descriptors, stream) { _ in }.start() }
    }
}
