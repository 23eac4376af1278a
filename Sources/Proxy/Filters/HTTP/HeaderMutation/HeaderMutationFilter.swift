internal import EnvoyAPI
internal import HTTP
internal import Upstream

/// `envoy.filters.http.header_mutation`: changes fields of requests, responses and trailers, and query parameters.
struct HeaderMutationFilterConfig: HTTPFilterConfig {
    let name: String
    let isDisabled: Bool
    let mutations: MessageMutations
    let mostSpecificWins: Bool

    static let kind = HTTPFilterKind(
        EnvoyAPI.HeaderMutationFilter.self, perRoute: HeaderMutationPerRoute.self,
        compile: { message, context throws(ConfigurationError) in
            HeaderMutationFilterConfig(
                name: context.name, isDisabled: context.isDisabled,
                mutations: try MessageMutations(
                    compiling: message.mutations, at: FieldCheck.join(context.path, "mutations")),
                mostSpecificWins: message.mostSpecificHeaderMutationsWins)
        },
        compileRoute: { message, context throws(ConfigurationError) in
            try MessageMutations(compiling: message.mutations, at: FieldCheck.join(context.path, "mutations"))
        })

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? {
        var levels = stream.routeConfigs(for: name).compactMap { $0 as? MessageMutations }
        if !mostSpecificWins { levels.reverse() }
        // The filter's own come first, so that a route has the last word.
        levels = ([mutations] + levels).filter { !$0.isEmpty }
        return levels.isEmpty ? nil : HeaderMutationHTTPFilter(levels)
    }
}

/// The changes of one level.
struct MessageMutations: Sendable {
    private(set) var request = FieldMutations()
    private(set) var query: [QueryMutation] = []
    private(set) var response = FieldMutations()
    private(set) var requestTrailers = FieldMutations()
    private(set) var responseTrailers = FieldMutations()

    var isEmpty: Bool {
        request.isEmpty && query.isEmpty && response.isEmpty && requestTrailers.isEmpty && responseTrailers.isEmpty
    }

    init(compiling message: Mutations?, at path: String) throws(ConfigurationError) {
        guard let message else { return }
        request = try FieldMutations(compiling: message.requestMutations, at: path + ".request_mutations")
        response = try FieldMutations(compiling: message.responseMutations, at: path + ".response_mutations")
        requestTrailers = try FieldMutations(
            compiling: message.requestTrailersMutations, at: path + ".request_trailers_mutations")
        responseTrailers = try FieldMutations(
            compiling: message.responseTrailersMutations, at: path + ".response_trailers_mutations")
        for (index, mutation) in message.queryParameterMutations.enumerated() {
            query.append(
                try QueryMutation(compiling: mutation, at: "\(path).query_parameter_mutations[\(index)]"))
        }
    }
}

/// Changes of a field list, in their order.
struct FieldMutations: Sendable {
    private enum Step: Sendable {
        case change([Upstream.HeaderMutation])
        case removeMatching(Upstream.StringMatcher)
    }

    private var steps: [Step] = []

    var isEmpty: Bool { steps.isEmpty }

    init() {}

    init(compiling messages: [EnvoyAPI.HeaderMutation], at path: String) throws(ConfigurationError) {
        for (index, message) in messages.enumerated() {
            let place = "\(path)[\(index)]"
            switch message.action {
            case .remove(let name):
                steps.append(.change([try Upstream.HeaderMutation.removal(of: name, at: place + ".remove")]))
            case .append(let option):
                steps.append(.change(try Upstream.HeaderMutation.list(adding: [option], at: place + ".append")))
            case .removeOnMatch(let match):
                guard let matcher = match.keyMatcher else {
                    throw ConfigurationError(at: place + ".remove_on_match.key_matcher", "is missing")
                }
                steps.append(
                    .removeMatching(
                        try Upstream.StringMatcher(compiling: matcher, at: place + ".remove_on_match.key_matcher")))
            case nil: throw ConfigurationError(at: place, "set remove, append or remove_on_match")
            }
        }
    }

    /// Adds further changes after these.
    mutating func append(_ other: FieldMutations) { steps += other.steps }

    func apply(to headers: inout HeaderTable, _ stream: HTTPStream) {
        for step in steps {
            switch step {
            case .change(let mutations): HeaderRewriter(stream: stream).apply(mutations, to: &headers)
            case .removeMatching(let matcher):
                var index = 0
                while index < headers.count {
                    if matcher.matches(headers.name(at: index).octets) {
                        headers.remove(at: index)
                    } else {
                        index += 1
                    }
                }
            }
        }
    }
}

/// One request's changes.
final class HeaderMutationHTTPFilter: HTTPFilter {
    private let levels: [MessageMutations]

    init(_ levels: [MessageMutations]) {
        self.levels = levels
        var interest: FilterInterest = []
        for level in levels {
            if !level.request.isEmpty || !level.query.isEmpty { interest.insert(.requestHead) }
            if !level.response.isEmpty { interest.insert(.responseHead) }
            if !level.requestTrailers.isEmpty { interest.insert(.requestTrailers) }
            if !level.responseTrailers.isEmpty { interest.insert(.responseTrailers) }
        }
        self.interest = interest
    }

    let interest: FilterInterest

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        for level in levels {
            var headers = stream.request.headers
            level.request.apply(to: &headers, stream)
            stream.request.headers = headers
            for mutation in level.query {
                let path = mutation.apply(to: stream.request.pathBytes, stream)
                try? stream.request.setPath(path.span.bytes)
            }
        }
        return .next
    }

    func requestTrailers(_ stream: HTTPStream, _ trailers: inout HeaderTable) -> FilterStep {
        for level in levels { level.requestTrailers.apply(to: &trailers, stream) }
        return .next
    }

    func responseHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        for level in levels {
            var headers = stream.response.headers
            level.response.apply(to: &headers, stream)
            stream.response.headers = headers
        }
        return .next
    }

    func responseTrailers(_ stream: HTTPStream, _ trailers: inout HeaderTable) -> FilterStep {
        for level in levels { level.responseTrailers.apply(to: &trailers, stream) }
        return .next
    }
}
