internal import IO
internal import Serialization
internal import Upstream

// Connections from a cluster to a listener of the same process, on the same loop (`envoy_internal_address`).
extension Worker {
    /// ECONNREFUSED.
    private static let refused: Int32 = 111

    /// A connection to an internal listener: one end of a pair of sockets, of which the listener gets the other.
    ///
    /// - Parameter metadata: Dynamic metadata that the connection begins with there.
    func connect(
        toListener name: String, metadata: [String: JSON]
    ) throws(SystemError) -> Socket {
        guard let listener = listener(named: name), listener.config.isInternal else {
            throw SystemError(Self.refused, "connect to internal listener \(name)")
        }
        let (ours, theirs) = try Socket.pair()
        // Not now: who connects is in the middle of something.
        loop.atEndOfPass { [weak self] in
            guard let self, let listener = self.listener(named: name) else { return theirs.close() }
            listener.admitInternal(theirs, metadata: metadata)
            self.endTurn()
        }
        return ours
    }
}

extension UpstreamTransport {
    /// One namespace of metadata that connections to internal listeners bring along.
    struct Passed: Sendable {
        /// Of the endpoint; otherwise of the cluster.
        let isOfHost: Bool
        let name: String
    }

    /// What connections to a host bring along.
    func passedMetadata(of host: Host, in config: ClusterConfig) -> [String: JSON] {
        var metadata: [String: JSON] = [:]
        for passed in socket(for: host).passed {
            let source = passed.isOfHost ? host.endpoint.metadata : config.metadata
            if let value = source?[passed.name], value != .null { metadata[passed.name] = value }
        }
        return metadata
    }
}
