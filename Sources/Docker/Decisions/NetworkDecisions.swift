internal import CNI
internal import IO
internal import Serialization

extension PluginState {
    /// CreateNetwork.
    func create(_ wish: NetworkWish, _ outside: Outside) throws(Refusal) -> Decision {
        let network = DockerNetwork(wish)
        if let known = networks[wish.id] {
            guard known == network else {
                throw Refusal("network \(wish.id.prefix(12)): it is there with other options")
            }
            return Decision(changes: bringUp(network))
        }
        guard networks.count < Limits.networks else {
            throw Refusal("there are \(networks.count) networks already, which is the limit", status: 500)
        }
        if wish.driver == .bridge {
            try check(network, outside)
        } else if let parent = wish.parent, try outside.view().links[parent] == nil {
            throw Refusal("the network option parent: there is no device \(parent)")
        }
        return Decision(changes: bringUp(network), records: [.network(network)] + reservations(wish))
    }

    /// AllocateNetwork: a cluster manager wants to know whether the options would do.
    func allocate(_ wish: NetworkWish) throws(Refusal) -> Decision { Decision(answer: ["Options": [:]]) }

    /// DeleteNetwork; one that is gone is well.
    func delete(network id: String) -> Decision {
        guard let network = networks[id] else { return Decision() }
        var decision = Decision(isRemoval: true)
        // The engine has taken its containers off; what it has forgotten goes with the network.
        for endpoint in endpoints(of: id).sorted(by: { $0.id < $1.id }) {
            decision.changes += takeDown(endpoint, network)
            decision.records.append(.noEndpoint(endpoint.id))
        }
        if network.wish.driver == .bridge { decision.changes.append(.noBridge(network)) }
        decision.records.append(.noNetwork(id))
        return decision
    }

    /// What a network is in the kernel, before any container is there; also after the machine's start.
    func bringUp(_ network: DockerNetwork) -> [KernelChange] {
        guard network.wish.driver == .bridge else { return [] }
        var changes: [KernelChange] = []
        if !network.wish.isInternal {
            for isV6 in [false, true] where network.wish.subnets.contains(where: { $0.prefix.address.isV6 == isV6 }) {
                changes.append(.forward(isV6: isV6))
            }
        }
        return changes + [.bridge(network)]
    }

    private func check(_ network: DockerNetwork, _ outside: Outside) throws(Refusal) {
        let wish = network.wish
        if let other = networks.values.first(where: { $0.device == network.device }) {
            throw Refusal(
                "the network option com.docker.network.bridge.name: '\(network.device)' is the bridge of network \(other.id.prefix(12))"
            )
        }
        let view = try outside.view()
        if let alias = view.links[network.device], alias != network.alias {
            throw Refusal(
                "the network option com.docker.network.bridge.name: a device '\(network.device)' is there already")
        }
        for (index, subnet) in wish.subnets.enumerated() {
            if wish.subnets[..<index].contains(where: { $0.prefix.overlaps(subnet.prefix) }) {
                throw Refusal("--subnet \(subnet.prefix): it overlaps another subnet of the same network")
            }
            for other in networks.values.sorted(by: { $0.id < $1.id }) where other.wish.driver == .bridge {
                if let taken = other.wish.subnets.first(where: { $0.prefix.overlaps(subnet.prefix) }) {
                    throw Refusal(
                        "--subnet \(subnet.prefix): it overlaps \(taken.prefix) of network \(other.id.prefix(12))")
                }
            }
            if let taken = view.connected.first(where: {
                $0.device != network.device && $0.prefix.length > 0 && $0.prefix.overlaps(subnet.prefix)
            }) {
                throw Refusal(
                    "--subnet \(subnet.prefix): it overlaps \(taken.prefix), which is on this machine's \(taken.device)"
                )
            }
        }
    }

    /// Addresses that are held before any container is there: the gateway and `--aux-address`.
    private func reservations(_ wish: NetworkWish) -> [Record] {
        var records: [Record] = []
        for (id, pool) in pools.sorted(by: { $0.key < $1.key })
        where wish.subnets.contains(where: { $0.prefix == pool.prefix }) {
            records += pool.taken.sorted().map { .reserve(pool: id, pool.address($0)) }
        }
        return records
    }
}
