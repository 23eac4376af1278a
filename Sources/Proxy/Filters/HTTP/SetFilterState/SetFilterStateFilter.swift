internal import EnvoyAPI
internal import IO
internal import Upstream

/// `envoy.filters.http.set_filter_state`: gives the stream named values that later filters, matchers and logs read.
struct SetFilterStateFilterConfig: HTTPFilterConfig {
    let name: String
    let isDisabled: Bool
    let values: [FilterStateTemplate]
    let clearsRoute: Bool

    static let kind = HTTPFilterKind(
        HTTPSetFilterState.self, perRoute: HTTPSetFilterState.self,
        compile: { message, context throws(ConfigurationError) in
            SetFilterStateFilterConfig(
                name: context.name, isDisabled: context.isDisabled,
                values: try FilterStateTemplate.list(
                    message.onRequestHeaders, at: FieldCheck.join(context.path, "on_request_headers")),
                clearsRoute: message.clearRouteCache)
        },
        compileRoute: { message, context throws(ConfigurationError) in
            SetFilterStateRoute(
                values: try FilterStateTemplate.list(
                    message.onRequestHeaders, at: FieldCheck.join(context.path, "on_request_headers")),
                clearsRoute: message.clearRouteCache)
        })

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? {
        // The filter's own values first, then a level's, the most general first.
        var values = values
        var clearsRoute = clearsRoute
        for case let route as SetFilterStateRoute in stream.routeConfigs(for: name) {
            values += route.values
            clearsRoute = clearsRoute || route.clearsRoute
        }
        return values.isEmpty ? nil : SetFilterStateFilter(values, clearsRoute: clearsRoute)
    }
}

/// What a route adds.
struct SetFilterStateRoute: Sendable {
    let values: [FilterStateTemplate]
    let clearsRoute: Bool
}

/// One value: its key, and a format that is filled in for each request.
struct FilterStateTemplate: Sendable {
    let key: String
    let format: SubstitutionFormat
    let factory: FilterStateFactory
    let skipsEmpty: Bool
    let isReadOnly: Bool

    /// - Parameter isOfConnection: A network filter's: a tcp_proxy may follow.
    static func list(
        _ messages: [FilterStateValue], at path: String, isOfConnection: Bool = false
    ) throws(ConfigurationError) -> [FilterStateTemplate] {
        var result: [FilterStateTemplate] = []
        for (index, message) in messages.enumerated() {
            result.append(try FilterStateTemplate(compiling: message, at: "\(path)[\(index)]", isOfConnection))
        }
        return result
    }

    init(compiling message: FilterStateValue, at path: String, _ isOfConnection: Bool) throws(ConfigurationError) {
        try FieldCheck.check(
            message,
            reads: ["object_key", "factory_key", "format_string", "read_only", "skip_if_empty"],
            at: path)
        guard case .objectKey(let key) = message.key, !key.isEmpty else {
            throw ConfigurationError(at: path + ".object_key", "is empty")
        }
        self.key = key
        factory = try FilterStateFactory.find(
            message.factoryKey, key: key, isOfConnection: isOfConnection,
            at: path + (message.factoryKey.isEmpty ? ".object_key" : ".factory_key"))
        guard case .formatString(let format) = message.value else {
            throw ConfigurationError(at: path + ".format_string", "is missing")
        }
        switch format.format {
        case .textFormat, .textFormatSource: break
        default: throw ConfigurationError(at: path + ".format_string", "only text formats are supported")
        }
        self.format = try SubstitutionFormat(compiling: format, at: path + ".format_string")
        skipsEmpty = message.skipIfEmpty
        isReadOnly = message.readOnly
    }

    /// The value for a request or connection; nil where it has none.
    func object(_ context: some FormatContext, now: MonotonicTime) -> String? {
        var bytes: [UInt8] = []
        format.append(context, FormatMoment(now: now), to: &bytes)
        let text = String(decoding: bytes, as: UTF8.self)
        return text.isEmpty && skipsEmpty ? nil : factory.object(text)
    }
}

/// The values of one request.
final class SetFilterStateFilter: HTTPFilter {
    private let values: [FilterStateTemplate]
    private let clearsRoute: Bool

    init(_ values: [FilterStateTemplate], clearsRoute: Bool) {
        self.values = values
        self.clearsRoute = clearsRoute
    }

    let interest = FilterInterest.requestHead

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        var readOnly: Set<String> = []
        for value in values {
            guard !readOnly.contains(value.key), let object = value.object(stream, now: stream.worker.loop.now)
            else { continue }
            stream.info.filterState[value.key] = object
            if value.isReadOnly { readOnly.insert(value.key) }
        }
        if clearsRoute { stream.clearRoute() }
        return .next
    }
}
