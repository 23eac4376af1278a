internal import CNI
internal import IO
internal import Serialization

extension PluginState {
    /// ProgramExternalConnectivity: published ports.
    func publish(_ id: String, _ wishes: [PortWish], _ outside: Outside) throws(Refusal) -> Decision {
        guard var endpoint = endpoints[id], let network = networks[endpoint.network] else {
            throw Refusal("endpoint \(id.prefix(12)): there is none", status: 404)
        }
        guard !wishes.isEmpty else { return Decision() }
        guard network.wish.driver.hasBridge else {
            throw Refusal(
                "-p: a container of the driver \(network.wish.driver.rawValue) is reached at its own address; leave out -p, or take the driver bridge"
            )
        }
        let members = endpoint.members(network)
        guard !members.isEmpty else {
            throw Refusal("-p: the container has no address on network \(network.id.prefix(12))")
        }
        // A second call says the whole again.
        let taken = endpoints.values.filter { $0.id != id }.flatMap(\.ports)
        var chosen: [PublishedPort] = []
        for wish in wishes {
            chosen.append(try choose(wish, network, taken: taken + chosen, outside))
        }
        var changes = withdrawals(endpoint, network)
        changes += members.compactMap { member in
            let own = chosen.filter { $0.hostAddress.map { $0.isV6 == member.address.isV6 } ?? true }
            return own.isEmpty ? nil : .publish(own, member, device: network.device, note: endpoint.note)
        }
        endpoint.ports = chosen
        let open = zip(wishes, chosen).filter { $0.0.hostPorts == nil }.map {
            "\($0.1.hostPort) to \($0.1.containerPort)"
        }
        return Decision(
            changes: changes, records: [.endpoint(endpoint)],
            note: open.isEmpty
                ? nil : "endpoint \(id.prefix(12)): published ports chosen here: \(open.joined(separator: ", "))")
    }

    /// RevokeExternalConnectivity.
    func withdraw(_ id: String) -> Decision {
        guard var endpoint = endpoints[id], let network = networks[endpoint.network], !endpoint.ports.isEmpty else {
            return Decision()
        }
        let changes = withdrawals(endpoint, network)
        endpoint.ports = []
        return Decision(changes: changes, records: [.endpoint(endpoint)], isRemoval: true)
    }

    func withdrawals(_ endpoint: DockerEndpoint, _ network: DockerNetwork) -> [KernelChange] {
        guard !endpoint.ports.isEmpty else { return [] }
        return endpoint.members(network).compactMap { member in
            let own = endpoint.ports.filter { $0.hostAddress.map { $0.isV6 == member.address.isV6 } ?? true }
            return own.isEmpty ? nil : .withdraw(own, member, device: network.device, note: endpoint.note)
        }
    }

    /// The ports that the kernel does not give to connections by itself, and that services rarely have.
    static let openPorts: ClosedRange<UInt16> = 49_152...60_999

    private func choose(
        _ wish: PortWish, _ network: DockerNetwork, taken: [PublishedPort], _ outside: Outside
    ) throws(Refusal) -> PublishedPort {
        let address = wish.hostAddress ?? network.wish.hostBinding
        let range = wish.hostPorts ?? PluginState.openPorts
        for number in range {
            let port = PublishedPort(
                hostPort: number, containerPort: wish.port, transport: wish.transport, hostAddress: address)
            if !taken.contains(where: port.collides), outside.isFree(port) { return port }
        }
        let name = [6: "tcp", 17: "udp", 132: "sctp"][wish.transport] ?? ""
        let ports = range.count == 1 ? "port \(range.lowerBound)" : "a port of \(range.lowerBound)-\(range.upperBound)"
        throw Refusal(
            "-p: \(ports)/\(name)\(address.map { " of \($0)" } ?? "") is already allocated: a container or a program of this machine has it",
            status: 500)
    }
}
