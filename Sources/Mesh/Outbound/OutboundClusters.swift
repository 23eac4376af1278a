import EnvoyAPI
import KubernetesAPI

/// The clusters of services and subsets that a proxy may route to, with their endpoints.
struct OutboundClusters {
    let model: MeshModel
    let namespace: String
    let labels: [String: String]
    /// Sidecars keep the address that a caller of a headless service chose (S-8); gateways have no such address.
    let keepsHeadlessDestination: Bool

    func make() -> (clusters: [Cluster], assignments: [ClusterLoadAssignment]) {
        var clusters: [Cluster] = []
        var assignments: [ClusterLoadAssignment] = []
        for service in model.sortedServices
        where service.externalName == nil
            && HostName.isVisible(exportTo: service.exportTo, owner: service.key.namespace, to: namespace)
        {
            let policy = DestinationPolicy.find(
                host: service.host, serviceNamespace: service.key.namespace, callerNamespace: namespace,
                callerLabels: labels, model: model)
            for port in service.ports {
                func add(_ subset: DestinationPolicy.NamedSubset?) {
                    let settings = policy.settings(port: port.number, subset: subset?.subset)
                    let name = Destinations.clusterName(
                        host: service.host, port: port.number, subset: subset?.subset.name ?? "")
                    var cluster = Clusters.outbound(
                        name: name, settings: settings, config: model.config,
                        place: subset?.place ?? .service(service.key, "spec.ports"),
                        usesOriginalDestination: service.isHeadless && keepsHeadlessDestination && subset == nil)
                    // Fail closed: plain text where TLS is demanded would be worse than no cluster.
                    guard
                        UpstreamSecurity.apply(
                            settings.tls, to: &cluster, service: service, port: port,
                            subset: subset?.subset.name ?? "", model: model)
                    else { return }
                    clusters.append(cluster)
                    guard cluster.edsClusterConfig != nil else { return }
                    assignments.append(
                        Assignments.assignment(
                            name: name, service: service, port: port, labels: subset?.subset.labels, model: model))
                }
                add(nil)
                policy.subsets.forEach(add)
            }
        }
        return (clusters, assignments)
    }
}
