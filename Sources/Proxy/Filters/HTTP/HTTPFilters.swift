internal import EnvoyAPI
internal import Serialization
internal import Synchronization
internal import Telemetry
internal import Upstream

/// What compiling a filter may look at.
struct FilterContext {
    /// The filter's name in its chain: under it routes configure it.
    let name: String
    /// Where the filter's `typed_config` stands.
    let path: String
    /// The connection manager's `stat_prefix`.
    let statPrefix: String
    /// Whether it is configured but acts only where a route switches it on.
    let isDisabled: Bool
    /// Where it stands.
    var place = Place.connectionManager
    let compile: CompileContext

    /// Where HTTP filters may stand.
    enum Place: Sendable { case connectionManager, router, cluster }

    /// The metrics of a filter: `http.PREFIX.NAME.*`, or `cluster.NAME.NAME.*` for one of a cluster.
    func scope(_ name: String) -> MetricScope {
        compile.metrics.scope(place == .cluster ? "cluster" : "http", statPrefix, name)
    }
}

/// What compiling a route's part of a filter may look at.
struct RouteFilterContext {
    /// Where the message stands.
    let path: String
    let compile: CompileContext
}

/// One kind of HTTP filter: how its messages become configurations.
struct HTTPFilterKind: Sendable {
    /// Compiles the filter's own message.
    let compile: @Sendable (AnyMessage, FilterContext) throws(ConfigurationError) -> any HTTPFilterConfig
    /// Names of the messages that routes may hold for it.
    let routeMessages: Set<String>
    /// Compiles one of those.
    let compileRoute: @Sendable (AnyMessage, RouteFilterContext) throws(ConfigurationError) -> any Sendable

    init<M: Message>(
        _ type: M.Type,
        compile: @escaping @Sendable (M, FilterContext) throws(ConfigurationError) -> any HTTPFilterConfig
    ) {
        self.compile = { any, context throws(ConfigurationError) in
            try compile(try HTTPFilters.decode(any, as: type, at: context.path), context)
        }
        routeMessages = []
        compileRoute = { any, context throws(ConfigurationError) in
            throw ConfigurationError(at: context.path, "\(any.typeURL) is not taken per route")
        }
    }

    init<M: Message, R: Message>(
        _ type: M.Type, perRoute: R.Type,
        compile: @escaping @Sendable (M, FilterContext) throws(ConfigurationError) -> any HTTPFilterConfig,
        compileRoute: @escaping @Sendable (R, RouteFilterContext) throws(ConfigurationError) -> any Sendable
    ) {
        self.compile = { any, context throws(ConfigurationError) in
            try compile(try HTTPFilters.decode(any, as: type, at: context.path), context)
        }
        routeMessages = [perRoute.schema.name]
        self.compileRoute = { any, context throws(ConfigurationError) in
            try compileRoute(try HTTPFilters.decode(any, as: perRoute, at: context.path), context)
        }
    }
}

/// Every HTTP filter there is, by the name of its message.
enum HTTPFilters {
    static let router = "envoy.extensions.filters.http.router.v3.Router"

    /// A new filter is a line here.
    static let kinds: [String: HTTPFilterKind] = [
        HTTPFault.schema.name: FaultFilterConfig.kind,
        Cors.schema.name: CORSFilterConfig.kind,
        BufferFilterConfig.schema.name: BufferHTTPFilterConfig.kind,
        EnvoyAPI.HeaderMutationFilter.schema.name: HeaderMutationFilterConfig.kind,
        CsrfPolicy.schema.name: CSRFFilterConfig.kind,
        HTTPLocalRateLimit.schema.name: LocalRateLimitFilterConfig.kind,
        HTTPRBACFilter.schema.name: RBACFilterConfig.kind,
        HeaderToMetadata.schema.name: HeaderToMetadataFilterConfig.kind,
        HTTPSetFilterState.schema.name: SetFilterStateFilterConfig.kind,
        SetMetadata.schema.name: SetMetadataFilterConfig.kind,
        HTTPExtAuthz.schema.name: ExtAuthzFilterConfig.kind,
        HTTPRateLimit.schema.name: RateLimitFilterConfig.kind,
        ExternalProcessor.schema.name: ExtProcFilterConfig.kind,
        EnvoyAPI.HealthCheckFilter.schema.name: HealthCheckFilterConfig.kind,
        HTTPOriginalSrc.schema.name: OriginalSourceFilterConfig.kind,
        EnvoyAPI.DynamicForwardProxyFilter.schema.name: DynamicForwardProxyFilterConfig.kind,
        JwtAuthentication.schema.name: JWTAuthnFilterConfig.kind,
        StatefulSession.schema.name: StatefulSessionFilterConfig.kind,
        BandwidthLimit.schema.name: BandwidthLimitFilterConfig.kind,
        AdmissionControl.schema.name: AdmissionControlFilterConfig.kind,
        AdaptiveConcurrency.schema.name: AdaptiveConcurrencyFilterConfig.kind,
        CustomResponse.schema.name: CustomResponseFilterConfig.kind,
        EnvoyAPI.GrpcStatsFilterConfig.schema.name: GRPCStatsFilterConfig.kind,
        GrpcWeb.schema.name: GRPCWebFilterConfig.kind,
        GrpcHttp1Bridge.schema.name: GRPCHTTP1BridgeFilterConfig.kind,
        Compressor.schema.name: CompressorFilterConfig.kind,
        EnvoyAPI.OnDemandFilter.schema.name: OnDemandFilterConfig.kind,
        EnvoyAPI.LuaFilterConfig.schema.name: LuaHTTPFilterConfig.kind,
        Decompressor.schema.name: DecompressorFilterConfig.kind,
        BasicAuth.schema.name: BasicAuthFilterConfig.kind,
        ApiKeyAuth.schema.name: APIKeyAuthFilterConfig.kind,
        CredentialInjector.schema.name: CredentialInjectorFilterConfig.kind,
        IstioStatsConfig.schema.name: IstioStatsFilterConfig.kind,
        EnvoyAPI.OAuth2Filter.schema.name: OAuth2FilterConfig.kind,
        Composite.schema.name: CompositeFilterConfig.kind,
        ExtensionWithMatcher.schema.name: CompositeFilterConfig.delegateKind,
    ]

    /// Kinds that tests add, by the name of their message.
    static let testing = Mutex<[String: HTTPFilterKind]>([:])

    /// The kind of filter that a message configures; nil where there is none.
    static func kind(_ name: String) -> HTTPFilterKind? { kinds[name] ?? testing.withLock { $0[name] } }

    /// The chain before the router, and the router.
    static func compile(
        _ filters: [HttpFilter], at path: String, statPrefix: String, context: CompileContext
    ) throws(ConfigurationError) -> (filters: [any HTTPFilterConfig], router: RouterConfig) {
        var chain: [any HTTPFilterConfig] = []
        for (index, filter) in filters.enumerated() {
            let here = "\(path)[\(index)]"
            if case .configDiscovery(let discovery) = filter.configType {
                chain.append(try discovered(discovery, filter, at: here, statPrefix: statPrefix, context: context))
                continue
            }
            guard case .typedConfig(let any) = filter.configType else {
                throw ConfigurationError(at: here, "typed_config is needed")
            }
            let isLast = index == filters.count - 1
            if any.name == router {
                guard isLast else { throw ConfigurationError(at: here, "the router must be the last HTTP filter") }
                let message = try unpack(any, as: EnvoyAPI.Router.self, at: here)
                let router = try RouterConfig(
                    compiling: message, at: here + ".typed_config", statPrefix: statPrefix, context: context)
                return (chain, router)
            }
            if let kind = kind(any.name) {
                chain.append(
                    try kind.compile(
                        any,
                        FilterContext(
                            name: filter.name, path: here + ".typed_config", statPrefix: statPrefix,
                            isDisabled: filter.disabled, compile: context)))
            } else if IgnoredProxyFields.filters[any.name] == nil && !filter.isOptional {
                throw ConfigurationError(
                    at: here,
                    "unknown HTTP filter \(any.typeURL.isEmpty ? filter.name : any.typeURL); supported: "
                        + (kinds.keys.sorted() + [router]).joined(separator: ", "))
            }
        }
        throw ConfigurationError(at: path, "the last HTTP filter must be the router (\(router))")
    }

    private static func discovered(
        _ discovery: ExtensionConfigSource, _ filter: HttpFilter, at path: String, statPrefix: String,
        context: CompileContext
    ) throws(ConfigurationError) -> DiscoveredFilterConfig {
        guard !filter.name.isEmpty else { throw ConfigurationError(at: path + ".name", "it is asked for by its name") }
        let (name, isDisabled) = (filter.name, filter.disabled)
        return try DiscoveredFilterConfig(
            compiling: discovery, name: name, isDisabled: isDisabled, at: path + ".config_discovery",
            context: context, statPrefix: statPrefix
        ) { any, place throws(ConfigurationError) in
            guard let kind = kind(any.name) else {
                throw ConfigurationError(at: place, "unknown HTTP filter \(any.typeURL)")
            }
            return try kind.compile(
                any,
                FilterContext(
                    name: name, path: place, statPrefix: statPrefix, isDisabled: isDisabled, compile: context))
        }
    }

    /// What routes hold for filters; for `RouteTable`.
    static func routeCompiler(_ context: CompileContext) -> RouteFilterCompiler {
        { name, any, path throws(ConfigurationError) in
            let context = RouteFilterContext(path: path, compile: context)
            if let compile = routeFields[name + any.name] { return try compile(any, context) }
            for kind in kinds.values where kind.routeMessages.contains(any.name) {
                return try kind.compileRoute(any, context)
            }
            return nil
        }
    }

    /// Fields of routes and virtual hosts themselves that filters read, by name and message.
    private static let routeFields:
        [String: @Sendable (AnyMessage, RouteFilterContext) throws(ConfigurationError) -> any Sendable] = [
            "cors" + CorsPolicy.schema.name: { any, context throws(ConfigurationError) in
                try CORSPolicy(compiling: try decode(any, as: CorsPolicy.self, at: context.path), at: context.path)
            },
            Upstream.DirectResponse.formatName + SubstitutionFormatString.schema.name: {
                any, context throws(ConfigurationError) in
                try SubstitutionFormat(
                    compiling: try decode(any, as: SubstitutionFormatString.self, at: context.path), at: context.path)
            },
        ]

    /// Whether the router wants a span of its own for each try.
    static func startsChildSpan(_ filters: [HttpFilter]) -> Bool {
        guard case .typedConfig(let any)? = filters.last?.configType, any.holds(EnvoyAPI.Router.self) else {
            return false
        }
        return (try? any.unpack(as: EnvoyAPI.Router.self))?.startChildSpan ?? false
    }

    /// Decodes the `typed_config` of the object at a path.
    static func unpack<M: Message>(_ any: AnyMessage, as type: M.Type, at path: String) throws(ConfigurationError) -> M
    {
        try decode(any, as: type, at: path + ".typed_config")
    }

    /// Decodes the message that stands at a path.
    static func decode<M: Message>(_ any: AnyMessage, as type: M.Type, at path: String) throws(ConfigurationError) -> M
    {
        do throws(MessageError) {
            return try any.unpack(as: type)
        } catch {
            throw ConfigurationError(at: FieldCheck.join(path, error.path), error.problem)
        }
    }
}
