internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Upstream

/// HTTP filters that each try of a request passes on its way to a host: those of a cluster
/// (`HttpProtocolOptions.http_filters`), or the router's (`upstream_http_filters`) where the cluster has none.
final class UpstreamFilterChain: ClusterFilters {
    let filters: [any HTTPFilterConfig]

    /// Kinds that may stand here; the others answer for a client, or change what the router has decided by.
    static let kinds: Set<String> = [
        EnvoyAPI.HeaderMutationFilter.schema.name, CredentialInjector.schema.name, BufferFilterConfig.schema.name,
        HTTPRBACFilter.schema.name, AdmissionControl.schema.name, Composite.schema.name,
        ExtensionWithMatcher.schema.name,
    ]

    /// Compiles a chain whose last filter is the upstream codec; nil where there is none.
    ///
    /// - Parameter statPrefix: The cluster's name, or the connection manager's prefix; `isOfCluster` tells which.
    init?(
        compiling filters: [HttpFilter], at path: String, statPrefix: String, isOfCluster: Bool,
        context: CompileContext
    ) throws(ConfigurationError) {
        guard !filters.isEmpty else { return nil }
        var chain: [any HTTPFilterConfig] = []
        for (index, filter) in filters.enumerated() {
            let here = "\(path)[\(index)]"
            guard case .typedConfig(let any) = filter.configType else {
                throw ConfigurationError(at: here, "typed_config is needed; upstream filters are not discovered")
            }
            let isLast = index == filters.count - 1
            if any.name == UpstreamCodec.schema.name {
                guard isLast else {
                    throw ConfigurationError(at: here, "upstream_codec must be the last upstream HTTP filter")
                }
                break
            }
            guard !isLast else {
                throw ConfigurationError(
                    at: here, "the last upstream HTTP filter must be \(UpstreamCodec.schema.name)")
            }
            guard Self.kinds.contains(any.name), let kind = HTTPFilters.kind(any.name) else {
                if filter.isOptional { continue }
                throw ConfigurationError(
                    at: here,
                    "\(any.typeURL.isEmpty ? filter.name : any.typeURL) is no filter of upstream requests; supported: "
                        + (Self.kinds.sorted() + [UpstreamCodec.schema.name]).joined(separator: ", "))
            }
            chain.append(
                try kind.compile(
                    any,
                    FilterContext(
                        name: filter.name, path: here + ".typed_config", statPrefix: statPrefix,
                        isDisabled: filter.disabled, place: isOfCluster ? .cluster : .router, compile: context)))
        }
        self.filters = chain
    }
}

/// The filters of one try.
final class UpstreamFilterRun {
    private let filters: [any HTTPFilter]
    /// Those that joined for the response alone.
    var extra: [any HTTPFilter] = []
    var request = FilterDirection(.upstreamRequest)
    var response = FilterDirection(.upstreamResponse)

    /// Makes those that have something to do with a stream; nil where none has.
    init?(_ chain: UpstreamFilterChain, _ stream: HTTPStream) {
        let route = stream.currentRoute
        var filters: [any HTTPFilter] = []
        for factory in chain.filters {
            let isOff = route.map { $0.isDisabled(factory.name, otherwise: factory.isDisabled) } ?? factory.isDisabled
            if !isOff, let filter = factory.make(stream) { filters.append(filter) }
        }
        guard !filters.isEmpty else { return nil }
        self.filters = filters
        for filter in filters { request.append(filter, position: 0) }
        response.replace(with: filters.reversed())
        let held = stream.manager.config.buffers.held(stream.version)
        request.heldBytesMax = held
        response.heldBytesMax = held
    }
}

// Where the filters of a stream are found, in front of the router and behind it.
extension HTTPStream {
    /// Asks or changes the filters of one way.
    ///
    /// By a closure, since an accessor that yields in several places is a coroutine whose frame
    /// is allocated at each use: ten of them in a call.
    @inline(__always)
    func direction<Answer: ~Copyable>(
        _ flow: FilterDirection.Flow, _ body: (inout FilterDirection) -> Answer
    ) -> Answer {
        switch flow {
        case .request: return body(&requestFilters)
        case .response: return body(&responseFilters)
        case .upstreamRequest: if let upstreamFilters { return body(&upstreamFilters.request) }
        case .upstreamResponse: if let upstreamFilters { return body(&upstreamFilters.response) }
        }
        // The try is over: what is said to its filters is said to nobody.
        var nobody = FilterDirection(flow)
        return body(&nobody)
    }

    /// Where a filter of the stream stands: in front of the router, or behind it.
    func flow(_ flow: FilterDirection.Flow, of filter: any HTTPFilter) -> FilterDirection.Flow {
        guard let upstreamFilters, upstreamFilters.request.has(filter) else { return flow }
        return flow.upstream
    }

    /// Begins the filters of a try; false when there is nothing to do.
    func beginUpstreamFilters(_ chain: UpstreamFilterChain?) -> Bool {
        endUpstreamFilters()
        guard let chain, let run = UpstreamFilterRun(chain, self) else { return false }
        upstreamFilters = run
        return true
    }

    /// The try is over.
    @inline(__always)
    func endUpstreamFilters() {
        // Nearly no request has any.
        if upstreamFilters != nil { endThem() }
    }

    private func endThem() {
        guard let run = upstreamFilters else { return }
        upstreamFilters = nil
        for filter in run.request.all + run.extra { filter.streamEnded(self) }
    }
}
