internal import EnvoyAPI
internal import HTTP
internal import Serialization
internal import Upstream

/// What a matcher tree can ask of a request, of its connection and, where there is one, of its response.
enum HTTPMatchInput: Sendable {
    case header(HeaderName)
    case queryParameter(String)
    case connection(ConnectionMatchInput)
    case responseHeader(HeaderName)
    case responseStatus
    /// `2xx`.
    case responseClass

    /// - Parameter takesResponses: Whether there is a response when the tree is asked.
    init(compiling any: AnyMessage, at path: String, takesResponses: Bool) throws(ConfigurationError) {
        if let input = try ConnectionMatchInput(compiling: any, at: path) {
            self = .connection(input)
            return
        }
        if any.holds(HttpRequestHeaderMatchInput.self) {
            let input = try HTTPFilters.decode(any, as: HttpRequestHeaderMatchInput.self, at: path)
            self = .header(try Self.name(input.headerName, at: path + ".header_name"))
            return
        }
        if any.holds(HttpRequestQueryParamMatchInput.self) {
            let input = try HTTPFilters.decode(any, as: HttpRequestQueryParamMatchInput.self, at: path)
            guard !input.queryParam.isEmpty else {
                throw ConfigurationError(at: path + ".query_param", "a name is needed")
            }
            self = .queryParameter(input.queryParam)
            return
        }
        if takesResponses {
            if any.holds(HttpResponseHeaderMatchInput.self) {
                let input = try HTTPFilters.decode(any, as: HttpResponseHeaderMatchInput.self, at: path)
                self = .responseHeader(try Self.name(input.headerName, at: path + ".header_name"))
                return
            }
            if any.holds(HttpResponseStatusCodeMatchInput.self) {
                self = .responseStatus
                return
            }
            if any.holds(HttpResponseStatusCodeClassMatchInput.self) {
                self = .responseClass
                return
            }
        }
        // An input that is not read would match nobody, and so keep out or let in whom it should not.
        throw ConfigurationError(
            at: path,
            "unknown input \(any.typeURL); supported: request headers, query parameters, "
                + (takesResponses ? "response headers, response status, " : "") + ConnectionMatchInput.names)
    }

    private static func name(_ text: String, at path: String) throws(ConfigurationError) -> HeaderName {
        guard !text.isEmpty else { throw ConfigurationError(at: path, "a name is needed") }
        return HeaderName(text)
    }

    /// Whether it is known only when the response is there.
    var isOfResponse: Bool {
        switch self {
        case .responseHeader, .responseStatus, .responseClass: true
        case .header, .queryParameter, .connection: false
        }
    }

    /// Its value for a stream; nil where there is none.
    func fact(_ stream: HTTPStream, _ view: RequestRBACView) -> MatchFact? {
        switch self {
        case .header(let name):
            let value = name.isPseudo ? stream.request.value(of: name) : stream.request.headers.joined(name)
            return value.map { .text(String(decoding: $0, as: UTF8.self)) }
        case .queryParameter(let name):
            return RequestQuery(stream.request.pathBytes).first(Array(name.utf8)).map {
                .text(String(decoding: $0, as: UTF8.self))
            }
        case .connection(let input): return input.fact(view)
        case .responseHeader(let name):
            if name.isPseudo { return name.description == ":status" ? .text("\(stream.response.status)") : nil }
            return stream.response.headers.joined(name).map { .text(String(decoding: $0, as: UTF8.self)) }
        case .responseStatus: return .text("\(stream.response.status)")
        case .responseClass: return .text("\(stream.response.status / 100)xx")
        }
    }
}
