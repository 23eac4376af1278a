import EnvoyAPI
import KubernetesAPI
import Serialization

/// The clusters of a service with their endpoints, for all callers to whom the same rules and places apply.
final class ServiceResources: Sendable {
    /// For whom they are.
    struct Key: Hashable, Sendable {
        var service: MeshService.ID
        /// The DestinationRules that count, oldest first.
        var rules: [NamespacedName]
        /// Sidecars keep the address that a caller of a headless service chose (S-8); gateways have no such address.
        var keepsHeadlessDestination: Bool
        /// Where the caller is; `nil` when it does not matter.
        var caller: CallerPlace?
        /// Whether BackendTLSPolicies count: they are for gateways.
        var heedsBackendTLS = false
        /// Whether it has ports that say nothing, and the caller is a gateway: those get HTTP/1.1 then.
        var isSniffedByGateway = false
        /// Those of them to which GRPCRoutes lead: they get HTTP/2, which is what calls are made of.
        var callPorts: Set<Int> = []
        /// Whose Secrets its rules name; `nil` where they name none, or none for this caller.
        var credentials: UpstreamCredentials.Holder?
    }

    let clusters: [MeshResource]
    let endpoints: [MeshResource]

    /// Makes them; none when there is no such service.
    ///
    /// The service is asked for here and not given, so that the model notes it.
    init(_ key: Key, model: MeshModel) {
        guard let service = model.service(key.service) else {
            clusters = []
            endpoints = []
            return
        }
        let wanted = Set(key.rules)
        let rules = model.policies(covering: service.host).filter { wanted.contains($0.key) }
        let policy = DestinationPolicy.merged(rules)
        var clusters: [MeshResource] = []
        var endpoints: [MeshResource] = []
        for var port in service.ports {
            if port.portProtocol == .sniffed, key.callPorts.contains(port.number) { port.portProtocol = .http2 }
            func add(_ subset: DestinationPolicy.NamedSubset?) {
                let written = policy.settings(port: port.number, subset: subset?.subset)
                let backend =
                    key.heedsBackendTLS ? model.gatewayAPI.backendTLS.policy(for: service.key, port: port) : nil
                // What cannot be verified is not spoken to.
                if backend?.refusal != nil { return }
                let tls = backend.map {
                    BackendTLSClusters(policy: $0, certificate: model.gatewayAPI.backendCertificate)
                }
                var settings = tls?.settings(written) ?? written
                if let holder = key.credentials, let name = settings.tls?.credentialName, !name.isEmpty {
                    settings.credentials = UpstreamCredentials(
                        name, rule: rules.first?.key.namespace ?? holder.namespace, holder: holder, model: model)
                }
                let name = Destinations.clusterName(
                    host: service.host, port: port.number, subset: subset?.subset.name ?? "")
                let caller = key.caller ?? CallerPlace()
                var cluster = Clusters.outbound(
                    name: name, service: service, port: port, settings: settings, model: model, subset: subset,
                    caller: caller,
                    usesOriginalDestination: service.isHeadless && key.keepsHeadlessDestination && subset == nil,
                    isForGateway: key.isSniffedByGateway)
                guard tls?.complete(&cluster, written: written) ?? true else { return }
                clusters.append(MeshResource(name: name, cluster))
                guard cluster.edsClusterConfig != nil else { return }
                let assignments = Assignments(
                    model: model, service: service, port: port, settings: settings, caller: caller)
                endpoints.append(
                    MeshResource(name: name, assignments.assignment(name: name, labels: subset?.subset.labels)))
            }
            add(nil)
            policy.subsets.forEach(add)
        }
        self.clusters = clusters
        self.endpoints = endpoints
    }

    /// For whom the resources of a service are made when that caller asks.
    static func key(
        _ service: MeshService, namespace: String, labels: [String: String], place: CallerPlace,
        keepsHeadlessDestination: Bool, model: MeshModel
    ) -> Key {
        let rules = DestinationPolicy.chosen(
            host: service.host, serviceNamespace: service.key.namespace, callerNamespace: namespace,
            callerLabels: labels, model: model)
        var key = Key(
            service: service.id, rules: rules.map(\.key),
            keepsHeadlessDestination: keepsHeadlessDestination && service.isHeadless, caller: nil)
        key.heedsBackendTLS =
            !keepsHeadlessDestination && model.gatewayAPI.backendTLS.concerns(service.key)
        key.isSniffedByGateway =
            !keepsHeadlessDestination && service.ports.contains { $0.portProtocol == .sniffed }
        if key.isSniffedByGateway { key.callPorts = model.gatewayAPI.callPorts[service.host] ?? [] }
        let dependsOnCaller =
            service.isNodeLocal || service.distribution != nil || rules.contains(where: \.dependsOnCaller)
            || !(model.meshLocality?.distribute ?? []).isEmpty
        if dependsOnCaller { key.caller = place }
        if (!keepsHeadlessDestination || rules.contains { !$0.rule.workloadSelector.isEmpty }),
            rules.contains(where: { !$0.rule.credentialNames.isEmpty })
        {
            key.credentials = UpstreamCredentials.Holder(namespace: namespace, isGateway: !keepsHeadlessDestination)
        }
        return key
    }
}
