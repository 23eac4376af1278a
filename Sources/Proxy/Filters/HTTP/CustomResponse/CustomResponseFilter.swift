internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Telemetry
internal import Upstream

/// `envoy.filters.http.custom_response`: puts the configuration's answers in place of certain answers of upstreams.
struct CustomResponseFilterConfig: HTTPFilterConfig {
    let name: String
    let isDisabled: Bool
    let rules: CustomResponseRules
    let invalidAddress: MetricCounter
    let noRoute: MetricCounter

    static let kind = HTTPFilterKind(
        CustomResponse.self, perRoute: CustomResponse.self,
        compile: { message, context throws(ConfigurationError) in
            let scope = context.compile.metrics.scope("http", context.statPrefix)
            return CustomResponseFilterConfig(
                name: context.name, isDisabled: context.isDisabled,
                rules: try CustomResponseRules(compiling: message, at: context.path),
                invalidAddress: scope.counter("custom_response_invalid_uri"),
                noRoute: scope.counter("custom_response_redirect_no_route"))
        },
        compileRoute: { message, context throws(ConfigurationError) in
            try CustomResponseRules(compiling: message, at: context.path)
        })

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? { CustomResponseFilter(self) }
}

/// One level's rules.
struct CustomResponseRules: Sendable {
    /// What a rule looks at.
    enum Input: Sendable {
        case status
        /// `5xx`.
        case statusClass
        case responseHeader(HeaderName)
        case requestHeader(HeaderName)
        /// `true` where the proxy itself answered, `false` where the upstream did.
        case localReply
    }

    /// What a rule does.
    enum Policy: Sendable {
        case local(LocalResponse)
        case redirect(RedirectedResponse)
    }

    private let tree: MatchTree<Input, Policy>?

    init(compiling message: CustomResponse, at path: String) throws(ConfigurationError) {
        guard let matcher = message.customResponseMatcher else {
            tree = nil
            return
        }
        tree = try MatchTree(
            compiling: matcher, at: path + ".custom_response_matcher", takesExpressions: true,
            input: { (any, place) throws(ConfigurationError) in
                if any.holds(HttpResponseStatusCodeMatchInput.self) { return .status }
                if any.holds(HttpResponseStatusCodeClassMatchInput.self) { return .statusClass }
                if any.holds(HttpResponseLocalReplyMatchInput.self) { return .localReply }
                if any.holds(HttpResponseHeaderMatchInput.self) {
                    let input = try HTTPFilters.decode(any, as: HttpResponseHeaderMatchInput.self, at: place)
                    return .responseHeader(HeaderName(input.headerName))
                }
                if any.holds(HttpRequestHeaderMatchInput.self) {
                    let input = try HTTPFilters.decode(any, as: HttpRequestHeaderMatchInput.self, at: place)
                    return .requestHeader(HeaderName(input.headerName))
                }
                throw ConfigurationError(
                    at: place,
                    "unknown input \(any.typeURL); supported: the response's status, its class, whether it is a local reply, "
                        + "response and request headers"
                )
            },
            action: { (any, place) throws(ConfigurationError) in
                if any.holds(RedirectPolicy.self) {
                    return .redirect(
                        try RedirectedResponse(
                            compiling: try HTTPFilters.decode(any, as: RedirectPolicy.self, at: place), at: place))
                }
                guard any.holds(LocalResponsePolicy.self) else {
                    throw ConfigurationError(
                        at: place,
                        "unknown policy \(any.typeURL); supported: local_response_policy, redirect_policy")
                }
                return .local(
                    try LocalResponse(
                        compiling: try HTTPFilters.decode(any, as: LocalResponsePolicy.self, at: place), at: place))
            })
    }

    func policy(for stream: HTTPStream) -> Policy? {
        return tree?.find { input in
            switch input {
            case .status: return String(stream.response.status)
            case .localReply: return stream.isLocalReply ? "true" : "false"
            case .statusClass: return "\(stream.response.status / 100)xx"
            case .responseHeader(let name):
                return stream.response.headers.joined(name).map { String(decoding: $0, as: UTF8.self) }
            case .requestHeader(let name):
                let value = name.isPseudo ? stream.request.value(of: name) : stream.request.headers.joined(name)
                return value.map { String(decoding: $0, as: UTF8.self) }
            }
        } holds: {
            stream.holds($0)
        }
    }
}

/// An answer from the configuration.
final class LocalResponse: Sendable {
    let status: UInt16?
    let headers: [Upstream.HeaderMutation]
    private let body: [UInt8]
    private let format: SubstitutionFormat?

    init(compiling message: LocalResponsePolicy, at path: String) throws(ConfigurationError) {
        body =
            try message.body.map { body throws(ConfigurationError) in
                try DataSourceText.bytes(body, at: path + ".body")
            } ?? []
        format = try message.bodyFormat.map { format throws(ConfigurationError) in
            try SubstitutionFormat(compiling: format, at: path + ".body_format")
        }
        status = try Self.status(message.statusCode, at: path + ".status_code")
        headers = try HeaderMutation.list(
            adding: message.responseHeadersToAdd, at: path + ".response_headers_to_add")
    }

    static func status(_ code: UInt32?, at path: String) throws(ConfigurationError) -> UInt16? {
        guard let code else { return nil }
        guard (200..<600).contains(code) else { throw ConfigurationError(at: path, "\(code) is not in 200 to 599") }
        return UInt16(code)
    }

    func body(for stream: HTTPStream) -> [UInt8] {
        guard let format else { return body }
        var bytes: [UInt8] = []
        let moment = FormatMoment(type: .notSet, localReplyBody: body, now: stream.worker.loop.now)
        format.append(stream, moment, to: &bytes)
        return bytes
    }
}

/// The answer to one request.
final class CustomResponseFilter: HTTPFilter {
    private let config: CustomResponseFilterConfig

    init(_ config: CustomResponseFilterConfig) { self.config = config }

    let interest: FilterInterest = [.requestHead, .responseHead]
    private var sawRequest = false

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        sawRequest = true
        return .next
    }

    func responseHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        // What came from another place is not replaced in its turn.
        if let (redirected, status) = stream.customResponse {
            redirected.finish(stream, instead: status)
            return .next
        }
        // The most specific level that has a policy counts.
        var policy: CustomResponseRules.Policy?
        for case let rules as CustomResponseRules in stream.routeConfigs(for: config.name).reversed() {
            policy = rules.policy(for: stream)
            if policy != nil { break }
        }
        switch policy ?? config.rules.policy(for: stream) {
        case .local(let answer): return self.answer(answer, stream)
        case .redirect(let redirected): return redirect(redirected, stream)
        case nil: return .next
        }
    }

    private func answer(_ answer: LocalResponse, _ stream: HTTPStream) -> FilterStep {
        let status = answer.status ?? stream.response.status
        let body = answer.body(for: stream)
        stream.router?.abandon()
        // The details stay those of the response that is replaced.
        stream.localReply(
            status: status, bytes: body, details: ResponseDetails.viaUpstream, mutations: answer.headers)
        return .stop
    }

    private func redirect(_ redirected: RedirectedResponse, _ stream: HTTPStream) -> FilterStep {
        // A request that is still being sent, or that this filter never saw, cannot be made another.
        guard sawRequest, stream.requestIsComplete || stream.requestHasNoBody, !stream.isTunnel,
            stream.explanation == nil
        else { return .next }
        switch redirected.redirect(stream) {
        case .invalidAddress:
            config.invalidAddress.add(row: stream.worker.index)
            return .next
        case .noRoute:
            config.noRoute.add(row: stream.worker.index)
            return .next
        case nil: break
        }
        stream.customResponse = (redirected, stream.response.status)
        stream.router?.abandon()
        // Not from within the walk of the response through the filters, which ends with this.
        _ = stream.worker.schedule(after: .zero) { [weak stream] in stream?.followCustomResponse() }
        return .stopAll
    }
}
