internal import CEL
internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Telemetry
internal import Upstream

/// `envoy.filters.http.rbac`: who may make which requests.
final class RBACFilterConfig: HTTPFilterConfig {
    /// What is decided with: the filter's own rules, or a route's.
    struct Rules: Sendable {
        let enforced: HTTPRBACRules?
        let shadow: HTTPRBACRules?
        /// Put before the names of the shadow rules' counters and metadata.
        let shadowPrefix: String

        init(compiling message: HTTPRBACFilter, at path: String) throws(ConfigurationError) {
            try FieldCheck.check(
                message,
                reads: [
                    "rules", "shadow_rules", "matcher", "shadow_matcher", "rules_stat_prefix",
                    "shadow_rules_stat_prefix", "track_per_rule_stats",
                ],
                at: path)
            enforced = try HTTPRBACRules(
                message.rules, message.matcher, at: path, rulesField: "rules", matcherField: "matcher")
            shadow = try HTTPRBACRules(
                message.shadowRules, message.shadowMatcher, at: path, rulesField: "shadow_rules",
                matcherField: "shadow_matcher")
            shadowPrefix = message.shadowRulesStatPrefix
        }
    }

    /// Fields of requests that the filter's own policies look at.
    var headerNames: Set<String> {
        var names: Set<String> = []
        for either in [rules.enforced, rules.shadow] { names.formUnion(either?.headerNames ?? []) }
        return names
    }

    static let namespace = "envoy.filters.http.rbac"

    let name: String
    let isDisabled: Bool
    let rules: Rules
    let allowed: MetricCounter
    let denied: MetricCounter
    let shadowAllowed: MetricCounter
    let shadowDenied: MetricCounter
    /// A counter for each policy (`track_per_rule_stats`); names come from the configuration.
    let policies: MetricScope?
    private let scope: MetricScope

    static let kind = HTTPFilterKind(
        HTTPRBACFilter.self, perRoute: RBACPerRoute.self,
        compile: { message, context throws(ConfigurationError) in try RBACFilterConfig(message, context) },
        compileRoute: { message, context throws(ConfigurationError) in
            // Without rules the route is open to all, as in Envoy.
            try Rules(compiling: message.rbac ?? HTTPRBACFilter(), at: FieldCheck.join(context.path, "rbac"))
        })

    init(_ message: HTTPRBACFilter, _ context: FilterContext) throws(ConfigurationError) {
        name = context.name
        isDisabled = context.isDisabled
        rules = try Rules(compiling: message, at: context.path)
        scope = context.scope("rbac")
        /// A prefix is an element of the name, as in Envoy.
        func dotted(_ prefix: String) -> String { prefix.isEmpty || prefix.hasSuffix(".") ? prefix : prefix + "." }
        allowed = scope.counter(dotted(message.rulesStatPrefix) + "allowed")
        denied = scope.counter(dotted(message.rulesStatPrefix) + "denied")
        shadowAllowed = scope.counter(dotted(rules.shadowPrefix) + "shadow_allowed")
        shadowDenied = scope.counter(dotted(rules.shadowPrefix) + "shadow_denied")
        policies = message.trackPerRuleStats ? scope : nil
    }

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? { RBACFilter(self) }

    /// Counts what a policy decided.
    func count(policy: String?, _ suffix: String, row: Int) {
        guard let policies, let policy else { return }
        policies.counter("policy.\(policy).\(suffix)").add(row: row)
    }
}

/// The decision about one request.
final class RBACFilter: HTTPFilter {
    private let config: RBACFilterConfig

    init(_ config: RBACFilterConfig) { self.config = config }

    let interest = FilterInterest.requestHead

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        let rules = stream.routeConfig(for: config.name) as? RBACFilterConfig.Rules ?? config.rules
        let view = RequestRBACView(stream)
        let row = stream.worker.index
        if let verdict = rules.shadow?.decide(stream, view) {
            (verdict.isAllowed ? config.shadowAllowed : config.shadowDenied).add(row: row)
            config.count(policy: verdict.policy, "shadow_" + verdict.text, row: row)
            var metadata = stream.info.metadata[RBACFilterConfig.namespace] ?? .object([:])
            metadata[rules.shadowPrefix + "shadow_engine_result"] = .string(verdict.text)
            if let policy = verdict.policy {
                metadata[rules.shadowPrefix + "shadow_effective_policy_id"] = .string(policy)
            }
            stream.info.metadata[RBACFilterConfig.namespace] = metadata
        }
        guard let verdict = rules.enforced?.decide(stream, view) else { return .next }
        if let hint = verdict.logHint {
            stream.info.metadata["envoy.common", default: .object([:])]["access_log_hint"] = .bool(hint)
        }
        config.count(policy: verdict.policy, verdict.text, row: row)
        if verdict.isAllowed {
            config.allowed.add(row: row)
            return .next
        }
        config.denied.add(row: row)
        stream.localReply(status: 403, body: "RBAC: access denied", details: Self.details(verdict))
        return .stop
    }

    /// A policy's name is the configuration's, but the log line's parts are told apart by blanks.
    private static func details(_ verdict: RBACEngine.Verdict) -> String {
        String(verdict.deniedDetails.map { $0.isWhitespace ? "_" : $0 })
    }
}

/// A request as the rules see it.
struct RequestRBACView: RBACView {
    private let stream: HTTPStream

    init(_ stream: HTTPStream) { self.stream = stream }

    var connection: ConnectionInfo { stream.connectionInfo }

    var path: String? {
        let whole = stream.request.pathBytes
        let end = whole.firstIndex { $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#") } ?? whole.count
        return String(decoding: whole[..<end], as: UTF8.self)
    }

    func headerValues(_ name: HeaderName) -> [[UInt8]] {
        if let pseudo = pseudoValue(name) { return pseudo.isEmpty ? [] : [pseudo] }
        var values: [[UInt8]] = []
        var start = 0
        let wanted = name.bytes
        let headers = stream.request.headers
        while let index = headers.index(named: wanted.span.bytes, from: start) {
            values.append([UInt8](copying: headers.value(at: index)))
            start = index + 1
        }
        return values
    }

    /// The value of a pseudo header, or of `host`, which is none of the fields; nil when the name is an ordinary one.
    private func pseudoValue(_ name: HeaderName) -> [UInt8]? {
        switch name.description {
        case ":method": stream.request.methodBytes
        case ":path": stream.request.pathBytes
        case ":authority", "host": stream.request.authorityBytes
        case ":scheme": stream.request.schemeBytes
        default: nil
        }
    }

    func metadata(_ namespace: String) -> JSON? {
        stream.info.metadata[namespace] ?? stream.connectionInfo.facts.metadata[namespace]
    }

    func filterState(_ key: String) -> String? {
        stream.info.filterState[key] ?? stream.connectionInfo.facts.filterState[key]
    }

    func evaluate(_ condition: CELCondition) -> Result<CELValue, CELError> { stream.evaluate(condition) }

    func explain(_ condition: CELCondition) -> String {
        condition.explain(RequestAttributes(context: stream, now: stream.worker.loop.now))
    }

    func routeMetadata(_ namespace: String) -> JSON? {
        guard case .object(let namespaces)? = stream.currentRoute?.metadata else { return nil }
        return namespaces[namespace]
    }
}

extension RequestHead {
    /// The scheme.
    var schemeBytes: [UInt8] { [UInt8](copying: scheme) }
}
