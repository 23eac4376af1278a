internal import IO
internal import Upstream

// What is complete, and what listeners listen on.
extension ConfigurationStore {
    func isComplete(_ config: ListenerConfig) -> Bool {
        config.allChains.allSatisfy { chain in
            chain.rdsNames.allSatisfy { routes[$0] != nil }
                && (chain.scopesSource == nil || (hasScopes && scopeRoutes.allSatisfy { routes[$0] != nil }))
                && chain.discoveredFilters.allSatisfy(\.isReady)
        }
    }

    /// Whether everything that is configured is complete.
    var isWarm: Bool { clustersAreWarm && listeners.values.allSatisfy(\.isWarm) }

    var clustersAreWarm: Bool { clusters.values.allSatisfy(\.isWarm) }

    /// The socket of a listener, made in its network namespace: it stays there, whichever thread uses it.
    static func listen(
        _ config: ListenerConfig, on address: IO.SocketAddress
    ) throws(SystemError) -> Socket {
        guard let path = config.namespacePath else { return try config.openSocket(on: address) }
        let fd = try NetworkNamespace.open(path: path).run { () throws(SystemError) in
            try config.openSocket(on: address).release()
        }
        return Socket(adopting: fd)
    }
}
