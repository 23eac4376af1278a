internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Upstream

/// `envoy.filters.http.grpc_stats`: counts gRPC calls and their messages, for the cluster that a request goes to.
final class GRPCStatsFilterConfig: HTTPFilterConfig {
    /// Under which the counts of messages are in the filter state.
    static let stateKey = "envoy.filters.http.grpc_stats"

    let name: String
    let isDisabled: Bool
    let emitsFilterState: Bool
    let recordsTime: Bool
    let methods: Methods
    let book: GRPCCounterBook

    /// Which methods have counters of their own.
    enum Methods: Sendable {
        case all
        case some(Set<GRPCMethodName>)

        /// Whether no method has counters of its own.
        var isNone: Bool { if case .some(let listed) = self { listed.isEmpty } else { false } }

        /// The method to count a call for; nil: all calls of the cluster together.
        func named(_ method: GRPCMethodName) -> GRPCMethodName? {
            switch self {
            case .all: method
            case .some(let listed): listed.contains(method) ? method : nil
            }
        }
    }

    static let kind = HTTPFilterKind(EnvoyAPI.GrpcStatsFilterConfig.self) {
        message, context throws(ConfigurationError) in
        try FieldCheck.check(
            message,
            reads: [
                "emit_filter_state", "individual_method_stats_allowlist", "stats_for_all_methods",
                "enable_upstream_stats", "replace_dots_in_grpc_service_name",
            ], at: context.path)
        return GRPCStatsFilterConfig(message, context)
    }

    private init(_ message: EnvoyAPI.GrpcStatsFilterConfig, _ context: FilterContext) {
        name = context.name
        isDisabled = context.isDisabled
        emitsFilterState = message.emitFilterState
        recordsTime = message.enableUpstreamStats
        switch message.perMethodStatSpecifier {
        case .statsForAllMethods(let all): methods = all ? .all : .some([])
        case .individualMethodStatsAllowlist(let list):
            var listed: Set<GRPCMethodName> = []
            for service in list.services {
                for method in service.methodNames {
                    listed.insert(GRPCMethodName(service: service.name, method: method))
                }
            }
            methods = .some(listed)
        case nil: methods = .some([])
        }
        book = GRPCCounterBook(element: "grpc", replacesDots: message.replaceDotsInGrpcServiceName)
    }

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? {
        // Another filter may still turn these into gRPC; all else costs nothing.
        let isCandidate =
            stream.request.headers.parts.contains(.contentType)
            && stream.readRequest {
                $0.value(.contentType, hasPrefix: "application/grpc")
                    || $0.value(.contentType, hasPrefix: "application/x-protobuf")
            }
        guard isCandidate else { return nil }
        return GRPCStatsFilter(self)
    }
}

/// Counts one call.
final class GRPCStatsFilter: HTTPFilter {
    private let config: GRPCStatsFilterConfig
    private var counters: GRPCCounters?
    private var isGRPC = false
    private var answersGRPC = false
    private var requestMessages = GRPCFrameCounter()
    private var responseMessages = GRPCFrameCounter()

    init(_ config: GRPCStatsFilterConfig) { self.config = config }

    let interest: FilterInterest = [.requestHead, .requestBody, .responseHead, .responseBody, .responseTrailers]

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        guard stream.request.headers.isGRPC else { return .next }
        isGRPC = true
        _ = stream.currentRoute
        guard stream.readRequest({ GRPCMethodName.isMethod($0.path) }), let cluster = stream.target?.cluster,
            stream.worker.cluster(named: cluster) != nil
        else { return .next }
        let method = config.methods.isNone ? nil : GRPCMethodName(path: stream.request.pathBytes)
        counters = config.book.counters(
            cluster: cluster, method: method.flatMap { config.methods.named($0) }, stream.worker.metrics)
        return .next
    }

    func requestBody(_ stream: HTTPStream, _ chunk: inout BodyChunk, isEnd: Bool) -> BodyStep {
        guard isGRPC else { return .next }
        let count = chunk.withBytes { requestMessages.inspect($0) }
        if count > 0 { counters?.countRequestMessages(count, row: stream.worker.index) }
        return .next
    }

    func responseHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        let headers = stream.response.headers
        answersGRPC = isEnd ? headers.contains(.grpcStatus) : stream.response.status == 200 && headers.isGRPC
        guard let counters else { return .next }
        counters.countEnd(headers, row: stream.worker.index)
        if isEnd { recordTime(stream) }
        return .next
    }

    func responseBody(_ stream: HTTPStream, _ chunk: inout BodyChunk, isEnd: Bool) -> BodyStep {
        guard answersGRPC else { return .next }
        let count = chunk.withBytes { responseMessages.inspect($0) }
        if count > 0 { counters?.countResponseMessages(count, row: stream.worker.index) }
        return .next
    }

    func responseTrailers(_ stream: HTTPStream, _ trailers: inout HeaderTable) -> FilterStep {
        guard let counters else { return .next }
        counters.countEnd(trailers, row: stream.worker.index)
        recordTime(stream)
        return .next
    }

    private func recordTime(_ stream: HTTPStream) {
        guard config.recordsTime, let sent = stream.info.lastUpstreamByteSent,
            let received = stream.info.lastUpstreamByteReceived
        else { return }
        counters?.record(received - sent, row: stream.worker.index)
    }

    func streamEnded(_ stream: HTTPStream) {
        // Access logs are written after this.
        guard config.emitsFilterState, requestMessages.count > 0 || responseMessages.count > 0 else { return }
        stream.info.grpcMessages = (requestMessages.count, responseMessages.count)
    }
}
