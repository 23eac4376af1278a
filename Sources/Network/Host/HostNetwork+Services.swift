internal import IO
internal import Synchronization

extension HostNetwork {
    /// Makes the kernel serve exactly these service ports, in one transaction that holds only what changed.
    ///
    /// Returns what could not be served as asked: addresses that two services claim.
    @discardableResult
    public func apply(services ports: [ServicePort]) throws(NetworkError) -> [String] {
        let all = Dictionary(grouping: ports, by: \.service)
        return try serve { known in
            var all = all
            for service in known?.services ?? [] where all[service] == nil { all[service] = [] }
            return all
        }
    }

    /// Puts services in the place of what they were; one without ports goes.
    ///
    /// Only after the kernel was told all services once. The cost is that of these.
    @discardableResult
    public func apply(changedServices services: [String: [ServicePort]]) throws(NetworkError) -> [String] {
        try serve { known throws(NetworkError) in
            guard known != nil else { throw .invalid("services have changed before they were told") }
            return services
        }
    }

    /// A refused transaction leaves everything as it was.
    private func serve(
        _ services: (CompiledServices?) throws(NetworkError) -> [String: [ServicePort]]
    ) throws(NetworkError) -> [String] {
        let outcome = state.withLock {
            (state) -> Result<(gone: Set<ServicePort.Endpoint>, conflicts: [String]), NetworkError> in
            do throws(NetworkError) {
                let changed = try services(state.services)
                guard state.services != nil else {
                    // After a restart the table still serves; take over what is in it.
                    let compiled = CompiledServices(Array(changed.values.joined()))
                    let names = try NFTables.contents(of: CompiledServices.table)
                    try NFTables.run(
                        compiled.transaction(
                            existingChains: names.filter { name in
                                ["svc", "to", "ext", "fw"].contains { name.hasPrefix($0) }
                            },
                            existingSets: names.filter { $0.hasPrefix("clients") }))
                    state.services = compiled
                    return .success(([], compiled.conflicts))
                }
                // No second reference to what is changed: it would be copied.
                var before: [String: [ServicePort]] = [:]
                for service in changed.keys { before[service] = state.services?.ports(of: service) }
                let changes = state.services?.update(changed) ?? CompiledServices.Changes()
                do throws(NetworkError) {
                    let text = CompiledServices.transaction(changes)
                    if !text.isEmpty { try NFTables.run(text) }
                } catch {
                    _ = state.services?.update(before)
                    throw error
                }
                return .success((changes.datagramEndpointsGone, state.services?.conflicts ?? []))
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
