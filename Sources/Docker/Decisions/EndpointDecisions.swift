internal import CNI
internal import IO
internal import Serialization

extension PluginState {
    /// CreateEndpoint: the place is kept; the link comes with Join.
    func create(_ wish: EndpointWish) throws(Refusal) -> Decision {
        let network = try known(wish.network)
        let hardware = wish.hardware ?? PluginState.hardware(wish)
        let endpoint = DockerEndpoint(wish, hardware: hardware)
        // Only what was not given may be answered.
        let answer: JSON =
            wish.hardware == nil ? ["Interface": ["MacAddress": .string(EngineNetwork.text(hardware: hardware))]] : [:]
        if let old = endpoints[wish.endpoint] {
            guard old.network == endpoint.network, old.addresses == endpoint.addresses else {
                throw Refusal("endpoint \(wish.endpoint.prefix(12)): it is there with other addresses")
            }
            return Decision(answer: answer)
        }
        guard endpoints.count < Limits.endpoints else {
            throw Refusal(
                "there are \(endpoints.count) containers on networks already, which is the limit", status: 500)
        }
        for address in endpoint.addresses {
            guard let subnet = network.subnet(of: address.address) else {
                throw Refusal("the address \(address) is in no subnet of network \(network.id.prefix(12))")
            }
            if subnet.gateway?.address == address.address {
                throw Refusal("the address \(address.address) is the gateway of network \(network.id.prefix(12))")
            }
        }
        let mine = Set(endpoint.addresses.map(\.address))
        if let other = endpoints(of: network.id).first(where: { $0.addresses.contains { mine.contains($0.address) } }) {
            throw Refusal(
                "the address \(other.addresses.map { "\($0.address)" }.joined(separator: ", ")) is in use by endpoint \(other.id.prefix(12))"
            )
        }
        var records: [Record] = [.endpoint(endpoint)]
        // An address that the engine was given in an earlier life of ours.
        for (id, pool) in pools where network.wish.subnets.contains(where: { $0.prefix == pool.prefix }) {
            for address in mine where pool.place(of: address) != nil && !pool.holds(address) {
                records.append(.take(pool: id, address))
            }
        }
        return Decision(answer: answer, records: records)
    }

    /// EndpointOperInfo: what `inspect` shows of us.
    func info(_ id: String) throws(Refusal) -> Decision {
        guard let endpoint = endpoints[id] else {
            throw Refusal("endpoint \(id.prefix(12)): there is none", status: 404)
        }
        let ports: [JSON] = endpoint.ports.map { port in
            [
                "Proto": .integer(Int64(port.transport)), "Port": .integer(Int64(port.containerPort)),
                "HostIP": .string(port.hostAddress?.description ?? "0.0.0.0"),
                "HostPort": .integer(Int64(port.hostPort)),
            ]
        }
        var value: JSON = [
            "com.docker.network.endpoint.macaddress": .string(EngineNetwork.text(hardware: endpoint.hardware))
        ]
        if !ports.isEmpty { value["com.docker.network.portmap"] = .array(ports) }
        return Decision(answer: ["Value": value])
    }

    /// Join: the container is on the network as soon as the engine has taken the link.
    func join(_ id: String) throws(Refusal) -> Decision {
        guard var endpoint = endpoints[id] else {
            throw Refusal("endpoint \(id.prefix(12)): there is none", status: 404)
        }
        let network = try known(endpoint.network)
        var changes: [KernelChange] = []
        switch network.wish.driver {
        case .bridge, .overlay:
            // The rules stand before the link: nothing gets through that they would stop (ATK-42).
            for member in endpoint.members(network) {
                changes += network.purposes.map { .rules(member, $0, note: endpoint.note) }
            }
            changes.append(.pair(endpoint, network))
        case .macvlan: changes.append(.macvlan(endpoint, network))
        }
        endpoint.isJoined = true
        var answer: JSON = [
            "InterfaceName": [
                "SrcName": .string(endpoint.containerLink), "DstPrefix": .string(network.wish.interfacePrefix),
            ],
            // The engine would give the container a second network as its way out.
            "DisableGatewayService": true,
        ]
        if !network.wish.isInternal {
            for (address, name) in [(endpoint.v4, "Gateway"), (endpoint.v6, "GatewayIPv6")] {
                guard let subnet = address.flatMap({ network.subnet(of: $0.address) }) else { continue }
                if let gateway = subnet.wayOut ?? subnet.gateway?.address {
                    answer[name] = .string(gateway.description)
                }
            }
        }
        return Decision(answer: answer, changes: changes, records: [.endpoint(endpoint)])
    }

    /// Leave: nobody reaches the container by its ports any more.
    func leave(_ id: String) -> Decision {
        guard var endpoint = endpoints[id] else { return Decision() }
        var decision = withdraw(id)
        endpoint.isJoined = false
        endpoint.ports = []
        decision.records = [.endpoint(endpoint)]
        return decision
    }

    /// DeleteEndpoint; one that is gone is well.
    func delete(endpoint id: String) -> Decision {
        guard let endpoint = endpoints[id] else { return Decision() }
        return Decision(
            changes: networks[endpoint.network].map { takeDown(endpoint, $0) } ?? [.noLink(endpoint)],
            records: [.noEndpoint(id)], isRemoval: true)
    }

    /// What takes a container off its network: first the link, then the rules that held it.
    func takeDown(_ endpoint: DockerEndpoint, _ network: DockerNetwork) -> [KernelChange] {
        var changes = withdrawals(endpoint, network)
        changes.append(.noLink(endpoint))
        for member in endpoint.members(network) {
            changes += network.purposes.map { .noRules(member, $0, note: endpoint.note) }
        }
        return changes
    }

    private func known(_ id: String) throws(Refusal) -> DockerNetwork {
        guard let network = networks[id] else {
            throw Refusal(
                "network \(id.prefix(12)): this plugin does not know it; remove the network and make it again",
                status: 404)
        }
        return network
    }

    /// A hardware address that follows from the IP address, so that one that is given again is not behind a stranger's in its
    /// neighbours' memory.
    static func hardware(_ wish: EndpointWish) -> [UInt8] {
        if let v4 = wish.v4 { return [0x02, 0x73] + v4.address.bytes }
        let hash = wish.endpoint.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        return [0x02, 0x73] + (0..<4).map { UInt8(truncatingIfNeeded: hash >> UInt64(8 * $0)) }
    }
}
