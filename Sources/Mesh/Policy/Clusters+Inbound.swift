import EnvoyAPI
import KubernetesAPI

extension Clusters {
    /// Makes the cluster of an inbound port lead to one place (`defaultEndpoint` of a Sidecar) instead of where the
    /// connection was going.
    static func lead(_ cluster: inout Cluster, to address: Address) {
        var endpoint = EnvoyAPI.Endpoint()
        endpoint.address = address
        var host = LbEndpoint()
        host.hostIdentifier = .endpoint(endpoint)
        var locality = LocalityLbEndpoints()
        locality.lbEndpoints = [host]
        var assignment = ClusterLoadAssignment()
        assignment.clusterName = cluster.name
        assignment.endpoints = [locality]
        cluster.clusterDiscoveryType = .type(.static)
        cluster.lbPolicy = .roundRobin
        cluster.loadAssignment = assignment
        cluster.upstreamBindConfig = nil
    }

    /// Limits the connections from the proxy to the application (`inboundConnectionPool`).
    static func limit(
        _ cluster: inout Cluster, _ pool: DestinationRule.ConnectionPool, _ port: MeshService.Port,
        _ service: MeshService, _ config: MeshConfig
    ) {
        var settings = ClusterSettings(nil, port: port.number)
        settings.connectionPool = pool
        cluster.circuitBreakers = limits(settings, config)
        cluster.connectTimeout = positive(pool.connectTimeout) ?? cluster.connectTimeout
        cluster.upstreamConnectionOptions = keepalive(pool, config)
        protocolOptions(settings, port, service, followsCaller: true, &cluster)
    }
}
