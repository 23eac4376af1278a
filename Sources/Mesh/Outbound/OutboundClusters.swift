import EnvoyAPI
import KubernetesAPI

/// The clusters of services and subsets that a proxy may route to, with their endpoints.
struct OutboundClusters {
    let model: MeshModel
    let namespace: String
    let labels: [String: String]
    /// Sidecars keep the address that a caller of a headless service chose (S-8); gateways have no such address.
    let keepsHeadlessDestination: Bool
    /// Where the caller is.
    let caller: CallerPlace
    /// Whether BackendTLSPolicies count: they are for gateways.
    var heedsBackendTLS = false

    func make() -> (clusters: [Cluster], assignments: [ClusterLoadAssignment]) {
        var clusters: [Cluster] = []
        var assignments: [ClusterLoadAssignment] = []
        for service in model.services(visibleTo: namespace) where service.externalName == nil {
            let policy = DestinationPolicy.find(
                host: service.host, serviceNamespace: service.key.namespace, callerNamespace: namespace,
                callerLabels: labels, model: model)
            for port in service.ports {
                func add(_ subset: DestinationPolicy.NamedSubset?) {
                    let written = policy.settings(port: port.number, subset: subset?.subset)
                    let backend =
                        heedsBackendTLS ? model.gatewayAPI.backendTLS.policy(for: service.key, port: port) : nil
                    // What cannot be verified is not spoken to.
                    if backend?.refusal != nil { return }
                    let tls = backend.map(BackendTLSClusters.init)
                    let settings = tls?.settings(written) ?? written
                    // Fail closed: plain text where TLS is demanded would be worse than no cluster.
                    if settings.needsMeshTLS { return }
                    let name = Destinations.clusterName(
                        host: service.host, port: port.number, subset: subset?.subset.name ?? "")
                    var cluster = Clusters.outbound(
                        name: name, service: service, port: port, settings: settings, model: model, subset: subset,
                        caller: caller,
                        usesOriginalDestination: service.isHeadless && keepsHeadlessDestination && subset == nil)
                    guard tls?.complete(&cluster, written: written) ?? true else { return }
                    clusters.append(cluster)
                    guard cluster.edsClusterConfig != nil else { return }
                    assignments.append(
                        Assignments(model: model, service: service, port: port, settings: settings, caller: caller)
                            .assignment(name: name, labels: subset?.subset.labels))
                }
                add(nil)
                policy.subsets.forEach(add)
            }
        }
        return (clusters, assignments)
    }
}
