internal import EnvoyAPI
internal import HTTP
internal import Serialization
internal import Telemetry
internal import Upstream

/// `envoy.filters.http.header_to_metadata`: keeps values of headers and cookies as dynamic metadata.
struct HeaderToMetadataFilterConfig: HTTPFilterConfig {
    let name: String
    let isDisabled: Bool
    let rules: HeaderToMetadataRules

    static let kind = HTTPFilterKind(
        HeaderToMetadata.self, perRoute: HeaderToMetadata.self,
        compile: { message, context throws(ConfigurationError) in
            let rules = try HeaderToMetadataRules(compiling: message, at: context.path, context.compile)
            return HeaderToMetadataFilterConfig(name: context.name, isDisabled: context.isDisabled, rules: rules)
        },
        compileRoute: { message, context throws(ConfigurationError) in
            let rules = try HeaderToMetadataRules(compiling: message, at: context.path, context.compile)
            guard !rules.isEmpty else {
                throw ConfigurationError(at: context.path, "has neither request_rules nor response_rules")
            }
            return rules
        })

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? {
        let rules = stream.routeConfig(for: name) as? HeaderToMetadataRules ?? rules
        return rules.isEmpty ? nil : HeaderToMetadataFilter(rules)
    }
}

/// One level's rules.
struct HeaderToMetadataRules: Sendable {
    let request: [HeaderToMetadataRule]
    let response: [HeaderToMetadataRule]
    let requestCount: MetricCounter?
    let responseCount: MetricCounter?

    var isEmpty: Bool { request.isEmpty && response.isEmpty }

    init(compiling message: HeaderToMetadata, at path: String, _ context: CompileContext) throws(ConfigurationError) {
        request = try Self.rules(message.requestRules, at: FieldCheck.join(path, "request_rules"))
        response = try Self.rules(message.responseRules, at: FieldCheck.join(path, "response_rules"))
        if message.statPrefix.isEmpty {
            requestCount = nil
            responseCount = nil
        } else {
            let scope = context.metrics.scope("http_filter_name", message.statPrefix)
            requestCount = scope.counter("request_rules_processed")
            responseCount = scope.counter("response_rules_processed")
        }
    }

    private static let namespace = "envoy.filters.http.header_to_metadata"

    private static func rules(_ messages: [HeaderToMetadata.Rule], at path: String) throws(ConfigurationError)
        -> [HeaderToMetadataRule]
    {
        var result: [HeaderToMetadataRule] = []
        for (index, message) in messages.enumerated() {
            result.append(
                try HeaderToMetadataRule(compiling: message, at: "\(path)[\(index)]", defaultNamespace: namespace))
        }
        return result
    }
}

/// The rules at work on one stream.
final class HeaderToMetadataFilter: HTTPFilter {
    private let rules: HeaderToMetadataRules

    init(_ rules: HeaderToMetadataRules) {
        self.rules = rules
        var interest: FilterInterest = []
        if !rules.request.isEmpty { interest.insert(.requestHead) }
        if !rules.response.isEmpty { interest.insert(.responseHead) }
        self.interest = interest
    }

    let interest: FilterInterest

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        var headers = stream.request.headers
        for rule in rules.request {
            rule.apply(to: &headers, value: { stream.request.value(of: $0) }, &stream.info.metadata)
            rules.requestCount?.add(row: stream.worker.index)
        }
        stream.request.headers = headers
        return .next
    }

    func responseHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        var headers = stream.response.headers
        let status = stream.response.status
        for rule in rules.response {
            rule.apply(
                to: &headers, value: { $0.description == ":status" ? Array(String(status).utf8) : nil },
                &stream.info.metadata)
            rules.responseCount?.add(row: stream.worker.index)
        }
        stream.response.headers = headers
        return .next
    }
}
