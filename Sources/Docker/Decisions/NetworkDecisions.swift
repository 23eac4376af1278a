internal import CNI
internal import IO
internal import Serialization

extension PluginState {
    /// CreateNetwork.
    func create(_ wish: NetworkWish, _ outside: Outside) throws(Refusal) -> Decision {
        var network = DockerNetwork(wish)
        if let known = networks[wish.id] {
            // What we have chosen ourselves is no difference.
            if wish.driver == .overlay, wish.mtu == nil { network.wish.mtu = known.wish.mtu }
            guard known == network else {
                throw Refusal("network \(wish.id.prefix(12)): it is there with other options")
            }
            return Decision(changes: bringUp(network))
        }
        guard networks.count < Limits.networks else {
            throw Refusal("there are \(networks.count) networks already, which is the limit", status: 500)
        }
        if wish.driver.hasBridge {
            try check(network, outside)
            if let tunnel = wish.tunnel { network.wish.mtu = try size(tunnel, network, outside) }
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
        decision.changes += takeDown(network)
        decision.records.append(.noNetwork(id))
        return decision
    }

    /// What a network is in the kernel, before any container is there; also after the machine's start.
    func bringUp(_ network: DockerNetwork) -> [KernelChange] {
        guard network.wish.driver.hasBridge else { return [] }
        var changes: [KernelChange] = []
        if !network.wish.isInternal {
            for isV6 in [false, true] where network.wish.subnets.contains(where: { $0.prefix.address.isV6 == isV6 }) {
                changes.append(.forward(isV6: isV6))
            }
        }
        changes.append(.bridge(network))
        if let tunnel = network.wish.tunnel { changes.append(.tunnel(network, tunnel)) }
        return changes
    }

    /// What takes a network out of the kernel, when no container is on it.
    func takeDown(_ network: DockerNetwork) -> [KernelChange] {
        let tunnel = network.wish.tunnel.map { [KernelChange.noTunnel(network, $0)] } ?? []
        return tunnel + (network.wish.driver.hasBridge ? [.noBridge(network)] : [])
    }

    /// Bytes of the largest packet of a network over several machines: what its tunnel leaves of theirs (N-14).
    private func size(
        _ tunnel: EngineNetwork.Tunnel, _ network: DockerNetwork, _ outside: Outside
    ) throws(Refusal) -> Int {
        if let other = networks.values.first(where: {
            $0.wish.tunnel?.identifier == tunnel.identifier && $0.wish.tunnel?.port == tunnel.port
        }) {
            throw Refusal(
                "the network option skein.vni: \(tunnel.identifier) is that of network \(other.id.prefix(12))")
        }
        let view = try outside.view()
        if let own = tunnel.own, !view.connected.contains(where: { $0.prefix.contains(own) }) {
            throw Refusal("the network option skein.address: \(own) is in no network of this machine")
        }
        let ways = view.connected.filter { $0.prefix.address.isV6 == tunnel.isV6 && !$0.prefix.address.isLoopback }
        var devices: Set<String> = []
        for peer in tunnel.peers {
            let direct = ways.filter { $0.prefix.contains(peer) }.map(\.device)
            // Behind a router: any of the devices might lead there.
            devices.formUnion(direct.isEmpty ? ways.map(\.device) : direct)
        }
        guard let packet = devices.compactMap({ view.sizes[$0] }).min() else {
            throw Refusal(
                "the network option skein.peers: this machine has no \(tunnel.isV6 ? "IPv6" : "IPv4") address for others"
            )
        }
        let room = packet - tunnel.overhead
        guard room >= 68 else {
            throw Refusal("the network option skein.peers: packets of \(packet) bytes have no room for a tunnel")
        }
        guard let wished = network.wish.mtu else { return room }
        guard wished <= room else {
            throw Refusal(
                "the network option com.docker.network.driver.mtu: \(wished) is more than the \(room) bytes that the tunnel leaves of the machines' \(packet)"
            )
        }
        return wished
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
            for other in networks.values.sorted(by: { $0.id < $1.id }) where other.wish.driver.hasBridge {
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
