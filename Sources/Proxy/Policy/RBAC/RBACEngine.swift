internal import CEL
internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Upstream

/// Compiled `envoy.config.rbac.v3.RBAC`: who may do what.
///
/// Pure and shared by the network and the HTTP filter.
struct RBACEngine: Sendable {
    /// What comes of a request or connection.
    struct Verdict: Sendable, Equatable {
        var isAllowed: Bool
        /// The policy that matched.
        var policy: String?
        /// The action was LOG: what `access_log_hint` says.
        var logHint: Bool?

        /// As Envoy writes it into `shadow_engine_result`.
        var text: String { isAllowed ? "allowed" : "denied" }
        /// Envoy's details: `rbac_access_denied_matched_policy[name]`.
        var deniedDetails: String { "rbac_access_denied_matched_policy[\(policy ?? "none")]" }
    }

    /// What a match means.
    enum Action: Sendable { case allow, deny, log }

    private struct Policy: Sendable {
        let name: String
        let permissions: [RBACCondition]
        let principals: [RBACCondition]
        /// Must be true besides.
        let condition: CELCondition?

        func matches(_ view: some RBACView, needsAll: Bool) -> Bool {
            permissions.contains { $0.matches(view, needsAll: needsAll) }
                && principals.contains { $0.matches(view, needsAll: needsAll) }
                && (condition.map { view.holds($0) } ?? true)
        }
    }

    let action: Action
    /// By name: the first that matches gives its name to the verdict, as in Envoy.
    private let policies: [Policy]

    init(compiling message: RBAC, at path: String) throws(ConfigurationError) {
        try FieldCheck.check(message, reads: ["action", "policies"], at: path)
        action = try Self.action(message.action, path + ".action")
        var policies: [Policy] = []
        for (name, policy) in message.policies.sorted(by: { Array($0.key.utf8).lexicographicallyPrecedes($1.key.utf8) })
        {
            policies.append(try Self.compile(policy, name, "\(path).policies[\(name)]"))
        }
        self.policies = policies
    }

    /// Fields of requests that its policies look at.
    var headerNames: Set<String> {
        var names = Set(policies.flatMap { ($0.permissions + $0.principals).flatMap(\.headerNames) })
        for policy in policies { names.formUnion(policy.condition?.program.headerNames ?? []) }
        return names
    }

    static func action(_ action: RBAC.Action, _ path: String) throws(ConfigurationError) -> Action {
        switch action {
        case .allow: return .allow
        case .deny: return .deny
        case .log: return .log
        case .unrecognized(let number): throw ConfigurationError(at: path, "\(number) is no action")
        }
    }

    private static func compile(
        _ message: RBACPolicy, _ name: String, _ path: String
    ) throws(ConfigurationError) -> Policy {
        // What is not read must not be passed over: the policy would be wider than it says.
        try FieldCheck.check(
            message, reads: ["permissions", "principals", "condition", "checked_condition"], at: path)
        guard !message.permissions.isEmpty else {
            throw ConfigurationError(at: path + ".permissions", "at least one is needed")
        }
        guard !message.principals.isEmpty else {
            throw ConfigurationError(at: path + ".principals", "at least one is needed")
        }
        var permissions: [RBACCondition] = []
        for (index, permission) in message.permissions.enumerated() {
            permissions.append(try RBACCondition(permission: permission, at: "\(path).permissions[\(index)]"))
        }
        var principals: [RBACCondition] = []
        for (index, principal) in message.principals.enumerated() {
            principals.append(try RBACCondition(principal: principal, at: "\(path).principals[\(index)]"))
        }
        var condition: CELCondition?
        if let checked = message.checkedCondition {
            guard message.condition == nil else {
                throw ConfigurationError(at: path + ".checked_condition", "either condition or checked_condition")
            }
            condition = try CELCondition(compiling: checked, at: path + ".checked_condition")
        } else if let parsed = message.condition {
            condition = try CELCondition(compiling: parsed, at: path + ".condition")
        }
        return Policy(name: name, permissions: permissions, principals: principals, condition: condition)
    }

    func decide(_ view: some RBACView) -> Verdict {
        // ATK-24: a policy that lets in must hold for every value of a header, one that keeps out for any.
        let needsAll = action == .allow
        let matched = policies.first { $0.matches(view, needsAll: needsAll) }?.name
        return Self.verdict(action, matched)
    }

    /// What each policy makes of it, up to the one that matches.
    func trials(_ view: some RBACView) -> [Trial] {
        let needsAll = action == .allow
        var trials: [Trial] = []
        for policy in policies {
            trials.append(
                Trial(
                    policy: policy.name,
                    permission: policy.permissions.firstIndex { $0.matches(view, needsAll: needsAll) },
                    principal: policy.principals.firstIndex { $0.matches(view, needsAll: needsAll) },
                    condition: policy.condition.map { (view.holds($0), view.explain($0)) }))
            if policy.matches(view, needsAll: needsAll) { break }
        }
        return trials
    }

    static func verdict(_ action: Action, _ matched: String?) -> Verdict {
        switch action {
        case .allow: Verdict(isAllowed: matched != nil, policy: matched)
        case .deny: Verdict(isAllowed: matched == nil, policy: matched)
        case .log: Verdict(isAllowed: true, policy: matched, logHint: matched != nil)
        }
    }
}
