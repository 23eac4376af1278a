internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Upstream

/// `envoy.filters.http.custom_response`: puts the configuration's answers in place of certain answers of upstreams.
struct CustomResponseFilterConfig: HTTPFilterConfig {
    let name: String
    let isDisabled: Bool
    let rules: CustomResponseRules

    static let kind = HTTPFilterKind(
        CustomResponse.self, perRoute: CustomResponse.self,
        compile: { message, context throws(ConfigurationError) in
            CustomResponseFilterConfig(
                name: context.name, isDisabled: context.isDisabled,
                rules: try CustomResponseRules(compiling: message, at: context.path))
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
    }

    private let tree: MatchTree<Input, LocalResponse>?

    init(compiling message: CustomResponse, at path: String) throws(ConfigurationError) {
        guard let matcher = message.customResponseMatcher else {
            tree = nil
            return
        }
        tree = try MatchTree(
            compiling: matcher, at: path + ".custom_response_matcher",
            input: { (any, place) throws(ConfigurationError) in
                if any.holds(HttpResponseStatusCodeMatchInput.self) { return .status }
                if any.holds(HttpResponseStatusCodeClassMatchInput.self) { return .statusClass }
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
                    "unknown input \(any.typeURL); supported: the response's status, its class, response and request headers"
                )
            },
            action: { (any, place) throws(ConfigurationError) in
                guard any.holds(LocalResponsePolicy.self) else {
                    throw ConfigurationError(
                        at: place, "unknown policy \(any.typeURL); supported: local_response_policy")
                }
                return try LocalResponse(
                    compiling: try HTTPFilters.decode(any, as: LocalResponsePolicy.self, at: place), at: place)
            })
    }

    func answer(for stream: HTTPStream) -> LocalResponse? {
        tree?.find { input in
            switch input {
            case .status: return String(stream.response.status)
            case .statusClass: return "\(stream.response.status / 100)xx"
            case .responseHeader(let name):
                return stream.response.headers.joined(name).map { String(decoding: $0, as: UTF8.self) }
            case .requestHeader(let name):
                let value = name.isPseudo ? stream.request.value(of: name) : stream.request.headers.joined(name)
                return value.map { String(decoding: $0, as: UTF8.self) }
            }
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
        if let code = message.statusCode {
            guard (200..<600).contains(code) else {
                throw ConfigurationError(at: path + ".status_code", "\(code) is not in 200 to 599")
            }
            status = UInt16(code)
        } else {
            status = nil
        }
        headers = try HeaderMutation.list(
            adding: message.responseHeadersToAdd, at: path + ".response_headers_to_add")
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

    let interest = FilterInterest.responseHead

    func responseHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        // The most specific level that has an answer counts.
        var answer: LocalResponse?
        for case let rules as CustomResponseRules in stream.routeConfigs(for: config.name).reversed() {
            answer = rules.answer(for: stream)
            if answer != nil { break }
        }
        guard let answer = answer ?? config.rules.answer(for: stream) else { return .next }
        let status = answer.status ?? stream.response.status
        let body = answer.body(for: stream)
        stream.router?.abandon()
        // The details stay those of the response that is replaced.
        stream.localReply(
            status: status, bytes: body, details: ResponseDetails.viaUpstream, mutations: answer.headers)
        return .stop
    }
}
