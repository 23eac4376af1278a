/// The network filter sni_cluster: tcp_proxy's cluster is named by the server name of the ClientHello.
final class SNIClusterConfig: NetworkFilterConfig {
    func make(_ worker: Worker) -> any NetworkFilter { SNICluster() }
}

/// Puts the server name where tcp_proxy looks for its cluster.
final class SNICluster: NetworkFilter {
    func newConnection(_ connection: NetworkConnection) -> NetworkStep {
        let facts = connection.info.facts
        if !facts.serverName.isEmpty {
            connection.info.facts.filterState[TCPProxyConfig.clusterKey] = facts.serverName
        }
        return .next
    }
}
