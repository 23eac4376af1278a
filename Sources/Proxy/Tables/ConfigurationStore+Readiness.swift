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
    private static func listen(
        _ config: ListenerConfig, _ one: ListenerAddress, on address: IO.SocketAddress
    ) throws(SystemError) -> Socket {
        guard let path = one.namespacePath else { return try config.openSocket(one, on: address) }
        let fd = try NetworkNamespace.open(path: path).run { () throws(SystemError) in
            try config.openSocket(one, on: address).release()
        }
        return Socket(adopting: fd)
    }

    /// A worker's socket for one address; -1 where it has none.
    ///
    /// - Parameter address: Port 0: the kernel chooses for the first worker, the others follow.
    func open(
        _ config: ListenerConfig, _ one: ListenerAddress, _ address: inout IO.SocketAddress, for worker: Int
    ) throws(SystemError) -> Int32 {
        // A unix socket cannot be bound twice: the first loop takes them all.
        if case .unix = address, worker > 0 { return -1 }
        let socket: Socket
        if config.udp == nil, one.namespacePath == nil, let fd = inherited.take(one.address, worker: worker) {
            socket = Socket(adopting: fd)
            // The process before may have had others.
            try socket.apply(one.options(on: address))
        } else {
            socket = try Self.listen(config, one, on: address)
        }
        if let chosen = socket.localAddress { address = chosen }
        return socket.release()
    }
}
