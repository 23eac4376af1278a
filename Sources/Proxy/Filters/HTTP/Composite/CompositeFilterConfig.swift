internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Telemetry
internal import Upstream

/// `envoy.filters.http.composite` and `ExtensionWithMatcher`: a matcher tree chooses for each request which filters it passes, or whether it passes
/// one at all.
final class CompositeFilterConfig: HTTPFilterConfig {
    /// What a match does.
    enum Action: Sendable {
        /// The filter is passed over.
        case skip
        case execute(Execution)
    }

    /// Filters that a match puts in.
    struct Execution: Sendable {
        /// As logs call it.
        var name: String
        var filters: [any HTTPFilterConfig]
        /// The share of requests; nil is all.
        var share: Fraction?
    }

    typealias Tree = MatchTree<HTTPMatchInput, Action>

    /// The filter that a match may skip; nil for the composite filter, which is nothing without a match.
    let inner: (any HTTPFilterConfig)?
    let name: String
    let isDisabled: Bool
    let matching: Matching?
    /// Every filter that may come to work, for what is done with filters when a listener is made.
    let nested: [any HTTPFilterConfig]
    private let delegated: MetricCounter
    private let isOfTry: Bool

    /// A tree, and whether it asks about the response.
    struct Matching: Sendable {
        let tree: Tree
        let asksResponse: Bool
        let filters: [any HTTPFilterConfig]
    }

    /// What a route says: another tree.
    struct Override: Sendable {
        let matching: Matching
    }

    static let kind = HTTPFilterKind(
        Composite.self, perRoute: CompositePerRoute.self,
        compile: { message, context throws(ConfigurationError) in
            try CompositeFilterConfig(composite: message, matcher: message.matcher, "matcher", context)
        },
        compileRoute: { message, context throws(ConfigurationError) in
            try route(message.matcher, "matcher", context)
        })

    static let delegateKind = HTTPFilterKind(
        ExtensionWithMatcher.self, perRoute: ExtensionWithMatcherPerRoute.self,
        compile: { message, context throws(ConfigurationError) in try delegate(message, context) },
        compileRoute: { message, context throws(ConfigurationError) in
            try route(message.xdsMatcher, "xds_matcher", context)
        })

    private static func route(
        _ matcher: Matcher?, _ field: String, _ context: RouteFilterContext
    ) throws(ConfigurationError) -> Override {
        let place = FieldCheck.join(context.path, field)
        guard let matcher else { throw ConfigurationError(at: place, "is missing") }
        // What a route's tree puts in is compiled under the table's own name: there is no connection manager to count for.
        let filter = FilterContext(
            name: "", path: context.path, statPrefix: "", isDisabled: false, compile: context.compile)
        return Override(matching: try matching(matcher, at: place, chains: [:], filter))
    }

    private static func delegate(
        _ message: ExtensionWithMatcher, _ context: FilterContext
    ) throws(ConfigurationError) -> any HTTPFilterConfig {
        let place = context.path + ".extension_config"
        guard let any = message.extensionConfig?.typedConfig else {
            throw ConfigurationError(at: place + ".typed_config", "is missing")
        }
        var matcher = message.xdsMatcher
        var field = "xds_matcher"
        if let old = message.matcher {
            guard matcher == nil else {
                throw ConfigurationError(at: context.path + ".matcher", "either matcher or xds_matcher")
            }
            field = "matcher"
            do throws(MessageError) {
                // The two spellings have the same fields under the same numbers.
                matcher = try Matcher(serialized: old.serialized())
            } catch {
                throw ConfigurationError(at: "\(context.path).matcher", error.problem)
            }
        }
        if any.holds(Composite.self) {
            let composite = try HTTPFilters.decode(any, as: Composite.self, at: place + ".typed_config")
            guard composite.matcher == nil else {
                throw ConfigurationError(
                    at: place + ".typed_config.matcher", "\(field) chooses already; remove one of them")
            }
            return try CompositeFilterConfig(composite: composite, matcher: matcher, field, context)
        }
        guard any.name != ExtensionWithMatcher.schema.name, let kind = HTTPFilters.kind(any.name) else {
            throw ConfigurationError(at: place, "unknown HTTP filter \(any.typeURL)")
        }
        try checkPlace(any, place, context)
        let inner = try kind.compile(any, context.nested(at: place + ".typed_config"))
        return try CompositeFilterConfig(skipping: inner, matcher, field, context)
    }

    private static func checkPlace(
        _ any: AnyMessage, _ place: String, _ context: FilterContext
    ) throws(ConfigurationError) {
        guard context.place == .connectionManager || UpstreamFilterChain.kinds.contains(any.name) else {
            throw ConfigurationError(at: place, "\(any.typeURL) is no filter of upstream requests")
        }
    }

    private init(
        skipping inner: any HTTPFilterConfig, _ matcher: Matcher?, _ field: String, _ context: FilterContext
    ) throws(ConfigurationError) {
        self.inner = inner
        name = context.name
        isDisabled = context.isDisabled
        isOfTry = context.place != .connectionManager
        matching = try matcher.map { matcher throws(ConfigurationError) in
            let made = try Self.matching(matcher, at: FieldCheck.join(context.path, field), chains: nil, context)
            return made
        }
        nested = [inner]
        delegated = context.scope("composite").counter("filter_delegation_success")
    }

    private init(
        composite message: Composite, matcher: Matcher?, _ field: String, _ context: FilterContext
    ) throws(ConfigurationError) {
        inner = nil
        name = context.name
        isDisabled = context.isDisabled
        isOfTry = context.place != .connectionManager
        guard message.namedFilterChains.isEmpty || !isOfTry else {
            throw ConfigurationError(
                at: context.path + ".named_filter_chains", "there are none for upstream requests")
        }
        var chains: [String: [any HTTPFilterConfig]] = [:]
        for (key, chain) in message.namedFilterChains.sorted(by: { $0.key < $1.key }) {
            chains[key] = try Self.chain(chain, at: "\(context.path).named_filter_chains[\(key)]", context)
        }
        matching = try matcher.map { matcher throws(ConfigurationError) in
            try Self.matching(matcher, at: FieldCheck.join(context.path, field), chains: chains, context)
        }
        nested = (matching?.filters ?? []) + chains.values.flatMap { $0 }
        delegated = context.scope("composite").counter("filter_delegation_success")
    }

    /// - Parameter chains: The named chains; nil where filters are only skipped.
    private static func matching(
        _ matcher: Matcher, at path: String, chains: [String: [any HTTPFilterConfig]]?, _ context: FilterContext
    ) throws(ConfigurationError) -> Matching {
        var asksResponse = false
        var filters: [any HTTPFilterConfig] = []
        let tree = try Tree(
            compiling: matcher, at: path, takesExpressions: true,
            input: { any, place throws(ConfigurationError) in
                let input = try HTTPMatchInput(compiling: any, at: place, takesResponses: true)
                if input.isOfResponse { asksResponse = true }
                return input
            },
            action: { any, place throws(ConfigurationError) in
                if any.holds(SkipFilter.self) { return .skip }
                guard let chains, any.holds(ExecuteFilterAction.self) else {
                    let known = chains == nil ? SkipFilter.schema.name : ExecuteFilterAction.schema.name
                    throw ConfigurationError(at: place, "unknown action \(any.typeURL); supported: \(known)")
                }
                let action = try HTTPFilters.decode(any, as: ExecuteFilterAction.self, at: place)
                let execution = try execution(action, at: place, chains, context)
                filters += execution.filters
                return .execute(execution)
            })
        return Matching(tree: tree, asksResponse: asksResponse, filters: filters)
    }

    private static func execution(
        _ action: ExecuteFilterAction, at path: String, _ chains: [String: [any HTTPFilterConfig]],
        _ context: FilterContext
    ) throws(ConfigurationError) -> Execution {
        let ways = [
            action.typedConfig != nil, action.dynamicConfig != nil, action.filterChain != nil,
            !action.filterChainName.isEmpty,
        ]
        guard ways.filter({ $0 }).count == 1 else {
            throw ConfigurationError(
                at: path, "one of typed_config, dynamic_config, filter_chain, filter_chain_name is needed")
        }
        let share = try Fraction.optional(action.samplePercent, at: path + ".sample_percent")
        if let single = action.typedConfig {
            let filter = try filter(single, at: path + ".typed_config", context)
            return Execution(name: single.name, filters: [filter], share: share)
        }
        if let dynamic = action.dynamicConfig {
            let place = path + ".dynamic_config"
            guard !dynamic.name.isEmpty else { throw ConfigurationError(at: place + ".name", "a name is needed") }
            guard let source = dynamic.configDiscovery else {
                throw ConfigurationError(at: place + ".config_discovery", "is missing")
            }
            guard context.place == .connectionManager, !context.name.isEmpty else {
                throw ConfigurationError(
                    at: place, "filters of routes and of upstream requests are not discovered")
            }
            let inner = context.nested(at: place)
            let found = try DiscoveredFilterConfig(
                compiling: source, name: dynamic.name, isDisabled: false, at: place + ".config_discovery",
                context: context.compile, statPrefix: context.statPrefix
            ) { any, here throws(ConfigurationError) in
                guard let kind = HTTPFilters.kind(any.name) else {
                    throw ConfigurationError(at: here, "unknown HTTP filter \(any.typeURL)")
                }
                return try kind.compile(any, inner.nested(at: here))
            }
            return Execution(name: dynamic.name, filters: [found], share: share)
        }
        if let chain = action.filterChain {
            let filters = try Self.chain(chain, at: path + ".filter_chain", context)
            return Execution(name: "filter_chain", filters: filters, share: share)
        }
        // A chain that nobody names is none (Envoy).
        return Execution(
            name: action.filterChainName, filters: chains[action.filterChainName] ?? [], share: share)
    }

    private static func chain(
        _ chain: FilterChainConfiguration, at path: String, _ context: FilterContext
    ) throws(ConfigurationError) -> [any HTTPFilterConfig] {
        guard !chain.typedConfig.isEmpty else {
            throw ConfigurationError(at: path + ".typed_config", "at least one filter is needed")
        }
        var filters: [any HTTPFilterConfig] = []
        for (index, config) in chain.typedConfig.enumerated() {
            filters.append(try filter(config, at: "\(path).typed_config[\(index)]", context))
        }
        return filters
    }

    private static func filter(
        _ config: TypedExtensionConfig, at path: String, _ context: FilterContext
    ) throws(ConfigurationError) -> any HTTPFilterConfig {
        guard let any = config.typedConfig, let kind = HTTPFilters.kind(any.name) else {
            throw ConfigurationError(at: path, "unknown HTTP filter \(config.typedConfig?.typeURL ?? config.name)")
        }
        try checkPlace(any, path, context)
        return try kind.compile(any, context.nested(at: path + ".typed_config"))
    }

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? {
        let override = stream.routeConfig(for: name) as? Override
        let matching = override?.matching ?? matching
        guard let matching else {
            // A filter to be skipped by a tree that nobody gave is skipped (Envoy).
            return nil
        }
        return CompositeFilter(self, matching)
    }

    /// Counts and notes what a match has put in.
    func executed(_ execution: Execution, _ stream: HTTPStream) {
        delegated.add(row: stream.worker.index)
        guard !isOfTry else { return }
        var actions: [String: JSON] = [:]
        if let text = stream.info.filterState[Self.stateKey],
            case .object(let known)? = try? JSON.parse(Array(text.utf8))
        {
            actions = known
        }
        actions[name] = .string(execution.name)
        stream.info.filterState[Self.stateKey] = JSON.object(actions).text
    }

    /// The filter state object that tells what was chosen.
    static let stateKey = "envoy.extensions.filters.http.composite.matched_actions"
}

extension FilterContext {
    /// The context of a filter inside of this one.
    func nested(at path: String) -> FilterContext {
        FilterContext(
            name: name, path: path, statPrefix: statPrefix, isDisabled: false, place: place, compile: compile)
    }
}
