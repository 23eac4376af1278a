internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Telemetry
internal import Upstream

/// The counters of one filter.
struct JWTCounters: Sendable {
    let allowed: MetricCounter
    let denied: MetricCounter
    let preflights: MetricCounter
    let fetched: MetricCounter
    let fetchesFailed: MetricCounter
    let cacheHits: MetricCounter
    let cacheMisses: MetricCounter

    init(_ scope: MetricScope) {
        allowed = scope.counter("allowed")
        denied = scope.counter("denied")
        preflights = scope.counter("cors_preflight_bypassed")
        fetched = scope.counter("jwks_fetch_success")
        fetchesFailed = scope.counter("jwks_fetch_failed")
        cacheHits = scope.counter("jwt_cache_hit")
        cacheMisses = scope.counter("jwt_cache_miss")
    }
}

/// `envoy.filters.http.jwt_authn`: lets requests pass whose JSON Web Tokens are good.
final class JWTAuthnFilterConfig: HTTPFilterConfig {
    static let namespace = "envoy.filters.http.jwt_authn"

    /// What a route says.
    enum RouteRule: Sendable {
        case disabled
        case requirement(String)
    }

    private struct Rule: Sendable {
        let condition: RequestCondition
        let requirement: JWTRequirement
    }

    let name: String
    let isDisabled: Bool
    let counters: JWTCounters
    let bypassesPreflights: Bool
    let stripsFailures: Bool
    let issuers: [String: JWTProvider]
    private let rules: [Rule]
    private let named: [String: JWTRequirement]
    private let stateName: String
    private let stateRules: [String: JWTRequirement]

    static let kind = HTTPFilterKind(
        JwtAuthentication.self, perRoute: JwtPerRouteConfig.self,
        compile: { message, context throws(ConfigurationError) in try JWTAuthnFilterConfig(message, context) },
        compileRoute: { message, context throws(ConfigurationError) in
            switch message.requirementSpecifier {
            case .disabled(let isDisabled):
                guard isDisabled else { throw ConfigurationError(at: context.path + ".disabled", "must be true") }
                return RouteRule.disabled
            case .requirementName(let name):
                guard !name.isEmpty else {
                    throw ConfigurationError(at: context.path + ".requirement_name", "is empty")
                }
                return RouteRule.requirement(name)
            case nil: throw ConfigurationError(at: context.path, "set disabled or requirement_name")
            }
        })

    init(_ message: JwtAuthentication, _ context: FilterContext) throws(ConfigurationError) {
        let path = context.path
        name = context.name
        isDisabled = context.isDisabled
        counters = JWTCounters(
            message.statPrefix.isEmpty
                ? context.compile.metrics.scope("http", context.statPrefix, "jwt_authn")
                : context.compile.metrics.scope("http", context.statPrefix, "jwt_authn", message.statPrefix))
        bypassesPreflights = message.bypassCorsPreflight
        stripsFailures = message.stripFailureResponse
        var providers: [String: JWTProvider] = [:]
        var issuers: [String: JWTProvider] = [:]
        for (name, provider) in message.providers.sorted(by: { $0.key < $1.key }) {
            let compiled = try JWTProvider(
                compiling: provider, name: name, at: "\(path).providers[\(name)]", context.compile, counters: counters)
            providers[name] = compiled
            if issuers[provider.issuer] == nil { issuers[provider.issuer] = compiled }
        }
        self.issuers = issuers
        let names = JWTRequirement.Names(providers: providers, messages: message.providers)
        var named: [String: JWTRequirement] = [:]
        for (name, requirement) in message.requirementMap.sorted(by: { $0.key < $1.key }) {
            named[name] = try JWTRequirement(compiling: requirement, at: "\(path).requirement_map[\(name)]", names)
        }
        self.named = named
        var rules: [Rule] = []
        for (index, rule) in message.rules.enumerated() {
            let place = "\(path).rules[\(index)]"
            guard let match = rule.match else { throw ConfigurationError(at: place + ".match", "is missing") }
            let condition = try RequestCondition(compiling: match, at: place + ".match")
            let requirement: JWTRequirement
            switch rule.requirementType {
            case .requires(let inner):
                requirement = try JWTRequirement(compiling: inner, at: place + ".requires", names)
            case .requirementName(let name):
                guard let known = named[name] else {
                    throw ConfigurationError(
                        at: place + ".requirement_name", "there is no requirement \"\(name)\" in requirement_map")
                }
                requirement = known
            case nil: requirement = .nothing
            }
            rules.append(Rule(condition: condition, requirement: requirement))
        }
        self.rules = rules
        stateName = message.filterStateRules?.name ?? ""
        var stateRules: [String: JWTRequirement] = [:]
        for (value, requirement) in (message.filterStateRules?.requires ?? [:]).sorted(by: { $0.key < $1.key }) {
            stateRules[value] = try JWTRequirement(
                compiling: requirement, at: "\(path).filter_state_rules.requires[\(value)]", names)
        }
        self.stateRules = stateRules
    }

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? { JWTAuthnFilter(self) }

    /// What a request must show; a text where a route names a requirement that is not there.
    func requirement(for stream: HTTPStream) -> (requirement: JWTRequirement?, problem: String?) {
        switch stream.routeConfig(for: name) as? RouteRule {
        case .disabled: return (nil, nil)
        case .requirement(let name):
            if let requirement = named[name] { return (requirement, nil) }
            let known = named.keys.sorted().joined(separator: ",")
            return (nil, "Wrong requirement_name: \(name). It should be one of [\(known)]")
        case nil: break
        }
        if !rules.isEmpty {
            let random = stream.worker.random.next()
            for rule in rules
            where stream.readRequest({ rule.condition.matches($0, random: random, facts: stream) }) {
                return (rule.requirement, nil)
            }
        }
        if !stateRules.isEmpty,
            let value = stream.info.filterState[stateName] ?? stream.connectionInfo.facts.filterState[stateName]
        {
            return (stateRules[value], nil)
        }
        return (nil, nil)
    }
}

/// The decision about one request.
final class JWTAuthnFilter: HTTPFilter {
    private let config: JWTAuthnFilterConfig
    private var requirement: JWTRequirement?
    /// Providers whose keys could not be had for this request.
    private var failed: Set<String> = []
    private var isOver = false
    private var waitsForKeys = false
    /// The decision was begun before: it counts once.
    private var wasAsked = false

    init(_ config: JWTAuthnFilterConfig) { self.config = config }

    let interest = FilterInterest.requestHead

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        let row = stream.worker.index
        if config.bypassesPreflights, Self.isPreflight(stream.request) {
            config.counters.preflights.add(row: row)
            config.counters.allowed.add(row: row)
            return .next
        }
        let (requirement, problem) = config.requirement(for: stream)
        if let problem {
            config.counters.denied.add(row: row)
            stream.localReply(
                status: 403, body: config.stripsFailures ? "" : "Failed JWT authentication: \(problem)",
                details: Self.details(problem))
            return .stop
        }
        guard let requirement else {
            config.counters.allowed.add(row: row)
            return .next
        }
        self.requirement = requirement
        return decide(stream, requirement) ? .next : .stopAll
    }

    func streamEnded(_ stream: HTTPStream) { isOver = true }

    /// True when the request passes; false when it was answered, or waits for keys.
    private func decide(_ stream: HTTPStream, _ requirement: JWTRequirement) -> Bool {
        let worker = stream.worker
        let counters = config.counters
        var request = JWTRequest(headers: stream.request.headers, path: stream.request.pathBytes)
        let scene = JWTRequirement.Scene(
            issuers: config.issuers,
            keys: { [failed] provider in
                switch provider.keys {
                case .local(let keys): return .ready(keys)
                case .remote(let remote):
                    if let keys = remote.current(at: worker.loop.now) { return .ready(keys) }
                    return failed.contains(provider.name) ? .failed : .awaited
                }
            }, now: WallClock.now, row: worker.index,
            cacheAsked: { [wasAsked] hit in
                if !wasAsked { (hit ? counters.cacheHits : counters.cacheMisses).add(row: worker.index) }
            })
        wasAsked = true
        switch requirement.evaluate(&request, scene) {
        case .waits(let provider):
            wait(for: provider, stream)
            return false
        case .passed:
            counters.allowed.add(row: worker.index)
            stream.request.headers = request.headers
            if request.path != stream.request.pathBytes { try? stream.request.setPath(request.path.span.bytes) }
            keep(request.metadata, stream)
            if request.clearsRoute { stream.clearRoute() }
            return true
        case .failed(let status):
            counters.denied.add(row: worker.index)
            keep(request.metadata, stream)
            refuse(stream, status)
            return false
        }
    }

    private func keep(_ metadata: [(key: String, value: JSON)], _ stream: HTTPStream) {
        guard !metadata.isEmpty else { return }
        var space = stream.info.metadata[JWTAuthnFilterConfig.namespace] ?? .object([:])
        for (key, value) in metadata { space[key] = value }
        stream.info.metadata[JWTAuthnFilterConfig.namespace] = space
    }

    private func wait(for provider: JWTProvider, _ stream: HTTPStream) {
        guard case .remote(let remote) = provider.keys, !waitsForKeys else { return }
        waitsForKeys = true
        let waiting = WaitingRequest(self, stream, provider.name)
        if !remote.wait(waiting, on: stream.worker) { keysCame(stream, provider: provider.name, isThere: false) }
    }

    /// On the stream's loop: the keys that this request waited for are there, or cannot be had.
    func keysCame(_ stream: HTTPStream, provider: String, isThere: Bool) {
        guard !isOver, waitsForKeys, let requirement else { return }
        waitsForKeys = false
        if !isThere { failed.insert(provider) }
        if decide(stream, requirement) { stream.resumeRequest(self) }
    }

    private func refuse(_ stream: HTTPStream, _ status: JWTStatus) {
        guard !config.stripsFailures else {
            return stream.localReply(status: status.httpStatus, details: Self.details(status.text))
        }
        var challenge = "Bearer realm=\"\(Self.uri(stream))\""
        if status != .missing { challenge += ", error=\"invalid_token\"" }
        stream.localReply(
            status: status.httpStatus, body: status.text, details: Self.details(status.text),
            headers: [("www-authenticate", challenge)])
    }

    /// The request's address as the client knows it, its path cut at 256 bytes.
    private static func uri(_ stream: HTTPStream) -> String {
        let path = (stream.originalPath ?? stream.request.pathBytes).prefix(uriPathMax)
        let scheme = stream.connectionInfo.tls == nil ? "http" : "https"
        let forwarded = stream.request.headers["x-forwarded-proto"] ?? scheme
        return "\(forwarded)://\(stream.request.authorityText)\(String(decoding: path, as: UTF8.self))"
    }

    private static let uriPathMax = 256

    private static func isPreflight(_ request: borrowing RequestHead) -> Bool {
        guard request.method == .options, let origin = request.headers[.origin], !origin.isEmpty else { return false }
        return !(request.headers[.accessControlRequestMethod] ?? "").isEmpty
    }

    private static func details(_ reason: String) -> String {
        ResponseDetails.jwtDenied(String(reason.map { $0.isWhitespace ? "_" : $0 }))
    }
}
