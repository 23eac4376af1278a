internal import EnvoyAPI
internal import Lua
internal import Serialization
internal import Telemetry
internal import Upstream

/// `envoy.filters.http.lua`: runs scripts on requests and responses.
final class LuaHTTPFilterConfig: HTTPFilterConfig {
    let name: String
    let isDisabled: Bool
    let clearsRoute: Bool
    let standard: LuaProgram?
    let named: [String: LuaProgram]
    let errors: MetricCounter
    let executions: MetricCounter

    static let kind = HTTPFilterKind(
        LuaFilterConfig.self, perRoute: LuaPerRoute.self,
        compile: { message, context throws(ConfigurationError) in
            try LuaHTTPFilterConfig(compiling: message, context)
        },
        compileRoute: { message, context throws(ConfigurationError) in
            try LuaRoute(compiling: message, context)
        })

    private init(compiling message: LuaFilterConfig, _ context: FilterContext) throws(ConfigurationError) {
        let path = context.path
        try FieldCheck.check(
            message,
            reads: ["inline_code", "source_codes", "default_source_code", "stat_prefix", "clear_route_cache"],
            at: path)
        name = context.name
        isDisabled = context.isDisabled
        clearsRoute = message.clearRouteCache ?? true
        let workers = context.compile.metrics.workers
        if let source = message.defaultSourceCode {
            guard message.inlineCode.isEmpty else {
                throw ConfigurationError(at: path + ".inline_code", "cannot stand beside default_source_code")
            }
            let place = path + ".default_source_code"
            standard = try LuaProgram(try DataSourceText.bytes(source, at: place), at: place, workers: workers)
        } else if !message.inlineCode.isEmpty {
            standard = try LuaProgram(Array(message.inlineCode.utf8), at: path + ".inline_code", workers: workers)
        } else {
            standard = nil
        }
        guard message.sourceCodes.count <= LuaLimits.sources else {
            throw ConfigurationError(at: path + ".source_codes", "more than \(LuaLimits.sources)")
        }
        var named: [String: LuaProgram] = [:]
        for (name, source) in message.sourceCodes.sorted(by: { $0.key < $1.key }) {
            let place = "\(path).source_codes[\(name)]"
            named[name] = try LuaProgram(try DataSourceText.bytes(source, at: place), at: place, workers: workers)
        }
        self.named = named
        var elements = ["http", context.statPrefix, "lua"]
        if !message.statPrefix.isEmpty { elements.append(message.statPrefix) }
        let scope = context.compile.metrics.registry.scope(elements)
        errors = scope.counter("errors")
        executions = scope.counter("executions")
    }

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? { LuaFilter(self) }

    /// The script for a stream's present route.
    func program(_ stream: HTTPStream) -> (program: LuaProgram?, context: JSON?) {
        guard let route = stream.routeConfig(for: name) as? LuaRoute else { return (standard, nil) }
        switch route.choice {
        case .none: return (nil, nil)
        case .standard: return (standard, route.context)
        case .named(let name): return (named[name], route.context)
        case .own(let program): return (program, route.context)
        }
    }
}

/// What a route says about scripts.
struct LuaRoute: Sendable {
    enum Choice: Sendable {
        /// No script.
        case none
        case standard
        case named(String)
        case own(LuaProgram)
    }

    let choice: Choice
    let context: JSON?

    init(compiling message: LuaPerRoute, _ context: RouteFilterContext) throws(ConfigurationError) {
        self.context = message.filterContext
        switch message.override {
        case .disabled(let isDisabled):
            guard isDisabled else {
                throw ConfigurationError(at: FieldCheck.join(context.path, "disabled"), "must be true")
            }
            choice = .none
        case .name(let name): choice = name.isEmpty ? .standard : .named(name)
        case .sourceCode(let source):
            let place = FieldCheck.join(context.path, "source_code")
            choice = .own(
                try LuaProgram(
                    try DataSourceText.bytes(source, at: place), at: place, workers: context.compile.metrics.workers))
        case nil: choice = .standard
        }
    }
}
