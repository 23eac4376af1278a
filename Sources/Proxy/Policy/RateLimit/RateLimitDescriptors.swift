internal import EnvoyAPI
internal import HTTP
internal import Serialization
internal import Upstream

/// One descriptor of a request: the entries by which a limit is found.
struct RequestDescriptor: Sendable {
    /// One entry.
    struct Entry: Sendable, Hashable {
        var key: String
        var value: String
    }

    var entries: [Entry]
    /// How many tokens the request takes.
    var hits: UInt64 = 1
    /// What the policy says about `x-ratelimit-*`; nil leaves it to the filter.
    var showsLimit: Bool?
    /// Whether the request is counted when it ends, and not limited.
    var countsAtEnd = false
    /// A limit that dynamic metadata names in place of the service's own.
    var limit: (requests: UInt32, unit: String)?
}

/// One `rate_limits` entry of a route, virtual host or filter, compiled.
struct RateLimitPolicy: Sendable {
    let stage: UInt32
    let disableKey: String
    private let actions: [RateLimitAction]
    private let hits: HitsAddend?
    private let showsLimit: Bool?
    private let countsAtEnd: Bool
    private let limit: MetadataPath?

    private enum HitsAddend: Sendable {
        case number(UInt64)
        case format(HeaderTemplate)
    }

    init(compiling message: RateLimit, at path: String, serviceCluster: String) throws(ConfigurationError) {
        stage = message.stage ?? 0
        guard stage <= 10 else { throw ConfigurationError(at: path + ".stage", "\(stage) is not in 0 to 10") }
        disableKey = message.disableKey
        guard !message.actions.isEmpty else { throw ConfigurationError(at: path + ".actions", "is empty") }
        var actions: [RateLimitAction] = []
        for (index, action) in message.actions.enumerated() {
            actions.append(
                try RateLimitAction(compiling: action, at: "\(path).actions[\(index)]", serviceCluster: serviceCluster))
        }
        self.actions = actions
        if let addend = message.hitsAddend {
            if !addend.format.isEmpty {
                guard addend.number == nil else {
                    throw ConfigurationError(at: path + ".hits_addend", "set number or format, not both")
                }
                hits = .format(try RateLimitAction.template(addend.format, at: path + ".hits_addend.format"))
            } else {
                hits = .number(addend.number ?? 1)
            }
        } else {
            hits = nil
        }
        countsAtEnd = message.applyOnStreamDone
        switch message.xRatelimitOption {
        case .off: showsLimit = false
        case .draftVersion03: showsLimit = true
        default: showsLimit = nil
        }
        if case .dynamicMetadata(let override)? = message.limit?.overrideSpecifier {
            limit = MetadataPath(override.metadataKey)
        } else {
            limit = nil
        }
    }

    /// The descriptor of a request; nil when an action finds nothing: then the policy does not apply.
    func descriptor(for stream: HTTPStream) -> RequestDescriptor? {
        var result = RequestDescriptor(entries: [])
        for action in actions {
            switch action.entry(for: stream) {
            case .entry(let entry): result.entries.append(entry)
            case .skip: continue
            case .none: return nil
            }
        }
        guard !result.entries.isEmpty else { return nil }
        switch hits {
        case .number(let number)?: result.hits = number
        case .format(let template)?:
            let text = String(decoding: HeaderRewriter(stream: stream).render(template), as: UTF8.self)
            result.hits = UInt64(text) ?? 1
        case nil: break
        }
        result.showsLimit = showsLimit
        result.countsAtEnd = countsAtEnd
        if let limit, let found = limit.value(in: stream.info.metadata), let requests = found["requests_per_unit"]?.int,
            let unit = found["unit"]?.string
        {
            result.limit = (UInt32(clamping: requests), unit)
        }
        return result
    }
}

/// The `rate_limits` of a route or of a virtual host.
struct RouteRateLimits: Sendable {
    let policies: [RateLimitPolicy]
    let isVirtualHost: Bool
    /// Whether the virtual host's apply too, though the route has its own.
    let includesVirtualHost: Bool

    init(compiling message: RouteAction, _ context: RouteFilterContext) throws(ConfigurationError) {
        policies = try Self.policies(
            message.rateLimits, at: context.path + ".rate_limits", serviceCluster: context.compile.serviceCluster)
        isVirtualHost = false
        includesVirtualHost = message.includeVhRateLimits ?? false
    }

    init(compiling message: EnvoyAPI.VirtualHost, _ context: RouteFilterContext) throws(ConfigurationError) {
        policies = try Self.policies(
            message.rateLimits, at: context.path + ".rate_limits", serviceCluster: context.compile.serviceCluster)
        isVirtualHost = true
        includesVirtualHost = false
    }

    static func policies(_ messages: [RateLimit], at path: String, serviceCluster: String) throws(ConfigurationError)
        -> [RateLimitPolicy]
    {
        var result: [RateLimitPolicy] = []
        for (index, message) in messages.enumerated() {
            result.append(
                try RateLimitPolicy(compiling: message, at: "\(path)[\(index)]", serviceCluster: serviceCluster))
        }
        return result
    }

    /// What filters do with a virtual host's limits beside those of a route.
    enum VirtualHostOption: Sendable { case override, include, ignore }

    /// The policies of a request's route, in the order in which they count.
    static func policies(of stream: HTTPStream, stage: UInt32, option: VirtualHostOption) -> [RateLimitPolicy] {
        var own: [RateLimitPolicy] = []
        var host: [RateLimitPolicy] = []
        var option = option
        for case let limits as RouteRateLimits in stream.routeConfigs(for: "rate_limits") {
            if limits.isVirtualHost { host = limits.policies } else { own = limits.policies }
            if limits.includesVirtualHost { option = .include }
        }
        switch option {
        case .include: own += host
        case .override: if own.isEmpty { own = host }
        case .ignore: break
        }
        return own.filter { $0.stage == stage }
    }
}
