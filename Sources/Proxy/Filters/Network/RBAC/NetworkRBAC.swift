internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Telemetry
internal import Upstream

/// The network filter rbac as configured.
final class NetworkRBACConfig: NetworkFilterConfig {
    /// Rules, or a matcher whose actions are verdicts.
    enum Rules: Sendable {
        case engine(RBACEngine)
        case tree(MatchTree<ConnectionMatchInput, (name: String, action: RBACEngine.Action)>)

        func decide(_ view: ConnectionRBACView) -> RBACEngine.Verdict {
            switch self {
            case .engine(let engine): return engine.decide(view)
            case .tree(let tree):
                // No match is no permission.
                guard let found = tree.find(facts: { $0.fact(view) }) else {
                    return RBACEngine.Verdict(isAllowed: false)
                }
                switch found.action {
                case .allow: return RBACEngine.Verdict(isAllowed: true, policy: found.name)
                case .deny: return RBACEngine.Verdict(isAllowed: false, policy: found.name)
                case .log: return RBACEngine.Verdict(isAllowed: true, policy: found.name, logHint: true)
                }
            }
        }
    }

    static let namespace = "envoy.filters.network.rbac"

    let rules: Rules?
    let shadowRules: Rules?
    let shadowPrefix: String
    let delay: Duration?
    let allowed: MetricCounter
    let denied: MetricCounter
    let shadowAllowed: MetricCounter
    let shadowDenied: MetricCounter

    init(compiling message: NetworkRBACFilter, at path: String, context: CompileContext) throws(ConfigurationError) {
        try FieldCheck.check(
            message,
            reads: [
                "rules", "matcher", "shadow_rules", "shadow_matcher", "stat_prefix", "shadow_rules_stat_prefix",
                "delay_deny",
            ], at: path)
        guard !message.statPrefix.isEmpty else { throw ConfigurationError(at: path + ".stat_prefix", "is missing") }
        rules = try Self.compile(message.rules, message.matcher, path, "rules", "matcher")
        shadowRules = try Self.compile(
            message.shadowRules, message.shadowMatcher, path, "shadow_rules", "shadow_matcher")
        shadowPrefix = message.shadowRulesStatPrefix
        if let delay = message.delayDeny, delay > .zero { self.delay = delay } else { delay = nil }
        // Envoy joins the prefix and the word without a dot of its own.
        let prefix = message.statPrefix
        let scope = context.metrics.scope(prefix.hasSuffix(".") ? String(prefix.dropLast()) : prefix, "rbac")
        allowed = scope.counter("allowed")
        denied = scope.counter("denied")
        shadowAllowed = scope.counter(shadowPrefix + "shadow_allowed")
        shadowDenied = scope.counter(shadowPrefix + "shadow_denied")
    }

    private static func compile(
        _ rules: RBAC?, _ matcher: Matcher?, _ path: String, _ rulesName: String, _ matcherName: String
    ) throws(ConfigurationError) -> Rules? {
        if let matcher {
            guard rules == nil else {
                throw ConfigurationError(at: "\(path).\(matcherName)", "either \(rulesName) or \(matcherName)")
            }
            return .tree(try tree(matcher, "\(path).\(matcherName)"))
        }
        guard let rules else { return nil }
        return .engine(try RBACEngine(compiling: rules, at: "\(path).\(rulesName)"))
    }

    private static func tree(
        _ matcher: Matcher, _ path: String
    ) throws(ConfigurationError) -> MatchTree<ConnectionMatchInput, (name: String, action: RBACEngine.Action)> {
        try MatchTree(compiling: matcher, at: path) { (any, path) throws(ConfigurationError) in
            guard let input = try ConnectionMatchInput(compiling: any, at: path) else {
                throw ConfigurationError(
                    at: path, "unknown input \(any.typeURL); supported: \(ConnectionMatchInput.names)")
            }
            return input
        } action: { (any, path) throws(ConfigurationError) in
            guard any.name == RBACMatchAction.schema.name else {
                throw ConfigurationError(at: path, "unknown action \(any.typeURL)")
            }
            let action: RBACMatchAction
            do throws(MessageError) {
                action = try any.unpack(as: RBACMatchAction.self)
            } catch {
                throw ConfigurationError(at: FieldCheck.join(path, error.path), error.problem)
            }
            return (action.name, try RBACEngine.action(action.action, path + ".action"))
        }
    }

    func make(_ worker: Worker) -> any NetworkFilter { NetworkRBAC(self, worker: worker) }
}

/// Refuses connections that the rules do not allow.
///
/// It decides before the terminal filter begins, so that a server that speaks first says nothing to a client that is not
/// allowed; Envoy waits for the client's first byte.
final class NetworkRBAC: NetworkFilter {
    private let config: NetworkRBACConfig
    private unowned let worker: Worker

    init(_ config: NetworkRBACConfig, worker: Worker) {
        self.config = config
        self.worker = worker
    }

    func newConnection(_ connection: NetworkConnection) -> NetworkStep {
        let view = ConnectionRBACView(connection: connection.info)
        if let verdict = config.shadowRules?.decide(view) {
            (verdict.isAllowed ? config.shadowAllowed : config.shadowDenied).add(row: worker.index)
            var metadata: JSON = .object([:])
            metadata[config.shadowPrefix + "shadow_engine_result"] = .string(verdict.text)
            if let policy = verdict.policy {
                metadata[config.shadowPrefix + "shadow_effective_policy_id"] = .string(policy)
            }
            connection.info.facts.metadata[NetworkRBACConfig.namespace] = metadata
        }
        guard let verdict = config.rules?.decide(view) else { return .next }
        if let hint = verdict.logHint {
            connection.info.facts.metadata["envoy.common", default: .object([:])]["access_log_hint"] = .bool(hint)
        }
        if verdict.isAllowed {
            config.allowed.add(row: worker.index)
            return .next
        }
        config.denied.add(row: worker.index)
        let details = verdict.deniedDetails
        guard let delay = config.delay else {
            connection.close(details: details)
            return .stop
        }
        _ = worker.schedule(after: delay) { [weak connection] in connection?.close(details: details) }
        return .stop
    }
}
