import EnvoyAPI
import KubernetesAPI
import Serialization

/// Everything that policies say about who may call one workload, as filters in their order: tokens, the services
/// that decide (CUSTOM), AUDIT, DENY, ALLOW.
struct WorkloadPolicies {
    private let model: MeshModel
    private let policies: [AuthorizationPolicy]
    private let tokens: TokenRules

    /// Whether some of them are for the Gateway and not for the pod.
    let isAttached: Bool

    /// - Parameter gateway: The Gateway of the Gateway API by which requests enter, for policies that are attached to it.
    init(model: MeshModel, namespace: String, labels: [String: String], at gateway: PolicyTarget.Place? = nil) {
        self.model = model
        func applies(
            _ key: NamespacedName, _ selector: [String: String]?, _ targets: [PolicyTarget],
            _ gateway: PolicyTarget.Place?
        ) -> Bool {
            policyApplies(
                key, selector: selector, targets: targets, namespace: namespace, labels: labels, gateway: gateway)
        }
        policies = model.security.authorizations.filter { applies($0.key, $0.selector, $0.targets, gateway) }
        let rules = model.security.tokens.filter { applies($0.key, $0.selector, $0.targets, gateway) }
        tokens = TokenRules(model: model, policies: rules)
        isAttached =
            policies.contains { !applies($0.key, $0.selector, $0.targets, nil) }
            || rules.contains { !applies($0.key, $0.selector, $0.targets, nil) }
    }

    /// The clusters that the filters need and nobody else has.
    func clusters() -> [Cluster] { tokens.clusters() }

    // MARK: Requests

    /// The filters of an HTTP connection manager, before all others.
    func httpFilters() -> [HttpFilter] {
        var filters: [HttpFilter] = []
        if let tokens = tokens.filter() { filters.append(tokens) }
        for group in custom(isTCP: false) {
            filters.append(http(FilterNames.rbac, group.rbac(HTTPRBACFilter.self)))
            if let provider = group.provider, let check = ExternalCheck(provider, model: model) {
                filters.append(http(FilterNames.externalAuthorization, check.http(enabledBy: group.prefix)))
            }
        }
        for action in [AuthorizationPolicy.Action.audit, .deny, .allow] {
            guard let set = rules(action, isTCP: false) else { continue }
            var filter = HTTPRBACFilter()
            filter.rules = set.enforced
            filter.shadowRules = set.dry
            filter.shadowRulesStatPrefix = set.dry == nil ? "" : "istio_dry_run_\(action.rawValue.lowercased())_"
            filters.append(http(FilterNames.rbac, AnyMessage(packing: filter)))
        }
        return filters
    }

    private func http(_ name: String, _ config: AnyMessage) -> HttpFilter {
        var filter = HttpFilter()
        filter.name = name
        filter.configType = .typedConfig(config)
        return filter
    }

    // MARK: Connections

    /// The filters of a chain that carries bytes, before its proxy.
    func networkFilters(statPrefix: String) -> [Filter] {
        var filters: [Filter] = []
        for group in custom(isTCP: true) {
            filters.append(network(FilterNames.networkRBAC, group.rbac(NetworkRBACFilter.self, statPrefix)))
            if let provider = group.provider, let check = ExternalCheck(provider, model: model),
                let config = check.network(enabledBy: group.prefix, statPrefix: statPrefix)
            {
                filters.append(network(FilterNames.networkExternalAuthorization, config))
            }
        }
        for action in [AuthorizationPolicy.Action.audit, .deny, .allow] {
            guard let set = rules(action, isTCP: true) else { continue }
            var filter = NetworkRBACFilter()
            filter.rules = set.enforced
            filter.shadowRules = set.dry
            filter.shadowRulesStatPrefix = set.dry == nil ? "" : "istio_dry_run_\(action.rawValue.lowercased())_"
            filter.statPrefix = statPrefix
            filters.append(network(FilterNames.networkRBAC, AnyMessage(packing: filter)))
        }
        return filters
    }

    private func network(_ name: String, _ config: AnyMessage) -> Filter {
        var filter = Filter()
        filter.name = name
        filter.configType = .typedConfig(config)
        return filter
    }

    // MARK: Rules

    private struct RuleSet {
        var enforced: RBAC?
        var dry: RBAC?
    }

    /// The rules of all policies of an action; nil when there is no such policy.
    ///
    /// ALLOW without any rule lets nobody pass, which is what it says.
    private func rules(_ action: AuthorizationPolicy.Action, isTCP: Bool) -> RuleSet? {
        let chosen = policies.filter { $0.action == action }
        guard !chosen.isEmpty else { return nil }
        var set = RuleSet()
        for isDry in [false, true] {
            let some = chosen.filter { $0.isDryRun == isDry }
            // DENY and AUDIT without a rule have no effect, ALLOW has one.
            guard !some.isEmpty else { continue }
            var rbac = RBAC()
            rbac.action = action == .allow ? .allow : action == .audit ? .log : .deny
            for policy in some { add(policy, to: &rbac, isTCP: isTCP) }
            if isDry { set.dry = rbac } else { set.enforced = rbac }
        }
        return set
    }

    private func add(_ policy: AuthorizationPolicy, to rbac: inout RBAC, prefix: String = "", isTCP: Bool) {
        let maker = PolicyRules(config: model.config.security, isTCP: isTCP)
        for (index, rule) in policy.rules.enumerated() {
            // RBAC policies have no metadata: where they came from is their name (decision 4).
            let name = "\(prefix)ns[\(policy.key.namespace)]-policy[\(policy.key.name)]-rule[\(index)]"
            rbac.policies[name] = maker.policy(rule, of: policy)
        }
    }

    // MARK: CUSTOM

    /// The policies of one provider.
    private struct CustomGroup {
        /// nil when nobody may decide: whatever matches is refused.
        var provider: SecurityConfig.Provider?
        var name: String
        var rules: RBAC
        var prefix: String { "istio-ext-authz-\(name)-" }

        func rbac(_ type: HTTPRBACFilter.Type) -> AnyMessage {
            var filter = HTTPRBACFilter()
            if provider == nil {
                filter.rules = rules
            } else {
                filter.shadowRules = rules
                filter.shadowRulesStatPrefix = prefix
            }
            return AnyMessage(packing: filter)
        }

        func rbac(_ type: NetworkRBACFilter.Type, _ statPrefix: String) -> AnyMessage {
            var filter = NetworkRBACFilter()
            filter.statPrefix = statPrefix
            if provider == nil {
                filter.rules = rules
            } else {
                filter.shadowRules = rules
                filter.shadowRulesStatPrefix = prefix
            }
            return AnyMessage(packing: filter)
        }
    }

    private func custom(isTCP: Bool) -> [CustomGroup] {
        let chosen = policies.filter { $0.action == .custom && !$0.isDryRun }
        let names = Set(chosen.map(\.provider)).sorted()
        return names.map { name in
            var rules = RBAC()
            rules.action = .deny
            for policy in chosen where policy.provider == name {
                add(policy, to: &rules, prefix: "istio-ext-authz-", isTCP: isTCP)
            }
            // As in Istio one provider decides for a workload; with several, or one that cannot, nobody passes.
            let provider = names.count == 1 ? model.config.security.providers[name] : nil
            let isUsable = provider.map { !isTCP || $0.isGRPC } ?? false
            return CustomGroup(provider: isUsable ? provider : nil, name: name, rules: rules)
        }
    }
}
