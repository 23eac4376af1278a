import KubernetesAPI

/// The DestinationRules that count for one service and one caller, merged (section D).
struct DestinationPolicy {
    /// A subset and where it is written.
    struct NamedSubset {
        var subset: DestinationRule.Subset
        var place: Provenance
    }

    /// The policy of the whole service.
    var policy: DestinationRule.TrafficPolicy?
    /// Where it is written.
    var place: Provenance?
    /// The subsets; the first definition of a name wins (D-2).
    var subsets: [NamedSubset] = []

    /// Looks up the rules for `host`: the caller's namespace, then the service's, then the root namespace (D-1).
    ///
    /// For callers in the root namespace, such as gateways, the first place has only what is not exported: rules for the
    /// whole mesh must not come before those of the service.
    static func find(
        host: String, serviceNamespace: String, callerNamespace: String, callerLabels: [String: String],
        model: MeshModel
    ) -> DestinationPolicy {
        merged(
            chosen(
                host: host, serviceNamespace: serviceNamespace, callerNamespace: callerNamespace,
                callerLabels: callerLabels, model: model))
    }

    /// The rules that count, oldest first.
    static func chosen(
        host: String, serviceNamespace: String, callerNamespace: String, callerLabels: [String: String],
        model: MeshModel
    ) -> [MeshModel.Policy] {
        let covering = model.policies(covering: host)
        guard !covering.isEmpty else { return [] }
        let isRoot = callerNamespace == Mesh.rootNamespace
        let places = [(callerNamespace, isRoot), (serviceNamespace, false), (Mesh.rootNamespace, false)]
        for (namespace, onlyLocal) in places {
            let visible = covering.filter { candidate in
                candidate.key.namespace == namespace && (!onlyLocal || candidate.rule.exportTo == ["."])
                    && HostName.isVisible(exportTo: candidate.rule.exportTo, owner: namespace, to: callerNamespace)
                    && Labels.match(candidate.rule.workloadSelector, callerLabels)
                    // A selector does not reach into other namespaces.
                    && (candidate.rule.workloadSelector.isEmpty || namespace == callerNamespace)
            }
            // D-3: only the most specific host's rules; the longest wildcard is the most specific one.
            guard
                let best = visible.map(\.host).max(by: {
                    (HostName.isWildcard($0) ? 0 : 1, $0.count) < (HostName.isWildcard($1) ? 0 : 1, $1.count)
                })
            else { continue }
            let chosen = visible.filter { $0.host == best }
            // D-7: rules with a selector and rules without are kept apart; those with one are meant for this caller.
            let selected = chosen.filter { !$0.rule.workloadSelector.isEmpty }
            return selected.isEmpty ? chosen : selected
        }
        return []
    }

    /// D-2: subsets are concatenated, the oldest policy wins whole.
    static func merged(_ rules: [MeshModel.Policy]) -> DestinationPolicy {
        var result = DestinationPolicy()
        var names: Set<String> = []
        for rule in rules {
            if result.policy == nil, let policy = rule.rule.trafficPolicy {
                result.policy = policy
                result.place = Provenance(kind: "DestinationRule", object: rule.key, field: "spec.trafficPolicy")
            }
            for (index, subset) in rule.subsets.enumerated() where names.insert(subset.name).inserted {
                let place = Provenance(kind: "DestinationRule", object: rule.key, field: "spec.subsets[\(index)]")
                result.subsets.append(NamedSubset(subset: subset, place: place))
            }
        }
        return result
    }

    /// The settings for a port, and for a subset if one is named (D-4).
    func settings(port: Int, subset: DestinationRule.Subset? = nil) -> ClusterSettings {
        var settings = ClusterSettings(policy, port: port)
        settings.place = place
        if let own = subset?.trafficPolicy { settings.override(with: own, port: port) }
        return settings
    }
}

/// What of a traffic policy counts for one cluster.
struct ClusterSettings {
    var loadBalancer: DestinationRule.LoadBalancer?
    var connectionPool: DestinationRule.ConnectionPool?
    var outlierDetection: DestinationRule.OutlierDetection?
    var tls: DestinationRule.ClientTLS?
    /// What the Secret means that `tls` names; nil where it means nothing to the caller.
    var credentials: UpstreamCredentials?
    var proxyProtocol = ""
    var tunnel: DestinationRule.Tunnel?
    var retryBudget: DestinationRule.RetryBudget?
    /// Where the policy is written, if there is one.
    var place: Provenance?

    /// D-4: settings of the port replace all four blocks; a block left out there is not inherited.
    init(_ policy: DestinationRule.TrafficPolicy?, port: Int) {
        take(Self.level(policy, port: port) ?? policy)
        proxyProtocol = policy?.proxyProtocol ?? ""
        tunnel = policy?.tunnel
        retryBudget = policy?.retryBudget
    }

    private static func level(
        _ policy: DestinationRule.TrafficPolicy?, port: Int
    ) -> DestinationRule.TrafficPolicy? {
        policy?.portLevelSettings.first { $0.port == port }?.policy
    }

    private mutating func take(_ level: DestinationRule.TrafficPolicy?) {
        loadBalancer = level?.loadBalancer
        connectionPool = level?.connectionPool
        outlierDetection = level?.outlierDetection
        tls = level?.tls
    }

    /// D-4: a subset's blocks override the service's, block by block; its settings for the port replace all four.
    mutating func override(with own: DestinationRule.TrafficPolicy, port: Int) {
        if let level = Self.level(own, port: port) {
            take(level)
        } else {
            loadBalancer = own.loadBalancer ?? loadBalancer
            connectionPool = own.connectionPool ?? connectionPool
            outlierDetection = own.outlierDetection ?? outlierDetection
            tls = own.tls ?? tls
        }
        if !own.proxyProtocol.isEmpty { proxyProtocol = own.proxyProtocol }
        tunnel = own.tunnel ?? tunnel
        retryBudget = own.retryBudget ?? retryBudget
    }

    /// `tls.mode`; empty when nobody says anything about TLS (D-5).
    var tlsMode: String { tls?.mode ?? "" }
}
