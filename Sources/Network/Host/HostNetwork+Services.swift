internal import IO
internal import Synchronization

extension HostNetwork {
    /// Makes the kernel serve exactly these service ports, in one transaction that holds only what changed.
    ///
    /// Returns what could not be served as asked: addresses that two services claim.
    @discardableResult
    public func apply(services ports: [ServicePort]) throws(NetworkError) -> [String] {
        let outcome = state.withLock {
            (state) -> Result<(gone: Set<ServicePort.Endpoint>, conflicts: [String]), NetworkError> in
            do throws(NetworkError) {
                let compiled = CompiledServices(ports, from: state.services)
                let text: String
                if let old = state.services {
                    text = compiled.transaction(from: old)
                } else {
                    // After a restart the table still serves; take over what is in it.
                    let names = try NFTables.contents(of: CompiledServices.table)
                    text = compiled.transaction(
                        from: nil,
                        existingChains: names.filter { name in
                            ["svc", "to", "ext", "fw"].contains { name.hasPrefix($0) }
                        },
                        existingSets: names.filter { $0.hasPrefix("clients") })
                }
                if !text.isEmpty { try NFTables.run(text) }
                let gone = state.services.map { compiled.datagramEndpoints(goneSince: $0) } ?? []
                state.services = compiled
                return .success((gone, compiled.conflicts))
            } catch {
                return .failure(error)
            }
        }
        let (gone, conflicts) = try outcome.get()
        if !gone.isEmpty { try ConnectionTracking.forgetDatagrams(to: gone) }
        return conflicts
    }

    /// Makes exactly these ports of the host lead to pods.
    public func apply(hostPorts ports: [HostPort]) throws(NetworkError) {
        for port in ports { try port.check() }
        let text = HostRules.compile(ports: ports, configuration)
        let outcome = state.withLock { (state) -> Result<Void, NetworkError> in
            guard state.ports != ports else { return .success(()) }
            do throws(NetworkError) {
                for port in ports { try letLoopbackReach(port) }
                try NFTables.run(text)
                state.ports = ports
                return .success(())
            } catch {
                return .failure(error)
            }
        }
        try outcome.get()
    }

    /// Replies to connections from 127.0.0.1 come back over the pod's link, which must not take that for forged.
    private func letLoopbackReach(_ port: HostPort) throws(NetworkError) {
        guard !port.target.isV6, port.address.map(\.isLoopback) ?? true else { return }
        let route = try routes.routes().first { $0.destination == Prefix(port.target, length: 32) }
        guard let link = try routes.links().first(where: { $0.index == route?.device }) else {
            throw .invalid("\(port.provenance): no pod has the address \(port.target)")
        }
        try KernelSettings.write("ipv4/conf/\(link.name)/route_localnet", "1")
    }
}
