internal import CNI
internal import IO
internal import Serialization

/// What is to be done for a request, and what is answered when it is done.
struct Decision: Hashable, Sendable {
    var answer: JSON = [:]
    /// What changes in the kernel.
    var changes: [KernelChange] = []
    /// What changes in the state, after the kernel.
    var records: [PluginState.Record] = []
    /// Whether it takes something away: then as much as goes is done, and it has happened.
    var isRemoval = false
    /// Said in the log.
    var note: String?
}

/// What decisions look at beside the state; asked only by those that need it.
struct Outside {
    /// The machine's devices and networks.
    var view: () throws(Refusal) -> HostView
    /// Whether no program of this machine listens on a port.
    var isFree: (PublishedPort) -> Bool
    /// Out of what networks without `--subnet` are cut.
    var pools: PoolSource
}

/// Where networks come from when nobody says which.
struct PoolSource: Hashable, Sendable {
    var v4: Prefix
    var v4Length: Int
    var v6: Prefix
    var v6Length: Int

    init?(v4: Prefix?, v4Length: Int, v6: Prefix?, v6Length: Int) {
        guard let v4, let v6, !v4.address.isV6, v6.address.isV6, v4.length <= v4Length, v6.length <= v6Length,
            v4Length <= 30, v6Length <= 126
        else { return nil }
        self.v4 = v4
        self.v4Length = v4Length
        self.v6 = v6
        self.v6Length = v6Length
    }
}

extension PluginState {
    /// Decides a request.
    ///
    /// Nothing is done here: the same state, request and outside give the same decision.
    func decide(_ request: PluginRequest, _ outside: Outside) throws(Refusal) -> Decision {
        switch request {
        case .activate: Decision(answer: ["Implements": ["NetworkDriver", "IpamDriver"]])
        case .networkCapabilities: Decision(answer: ["Scope": "local", "ConnectivityScope": "local"])
        case .createNetwork(let wish): try create(wish, outside)
        case .allocateNetwork(let wish): try allocate(wish)
        case .freeNetwork, .discovery: Decision()
        case .deleteNetwork(let id): delete(network: id)
        case .createEndpoint(let wish): try create(wish)
        case .endpointInfo(_, let id): try info(id)
        case .deleteEndpoint(_, let id): delete(endpoint: id)
        case .join(_, let id): try join(id)
        case .leave(_, let id): leave(id)
        case .publish(_, let id, let ports): try publish(id, ports, outside)
        case .withdraw(_, let id): withdraw(id)
        case .addressCapabilities: Decision(answer: ["RequiresMACAddress": false, "RequiresRequestReplay": false])
        case .addressSpaces:
            Decision(answer: [
                "LocalDefaultAddressSpace": .string(AddressSpace.local),
                "GlobalDefaultAddressSpace": .string(AddressSpace.global),
            ])
        case .requestPool(let wish): try givePool(wish, outside)
        case .releasePool(let id): Decision(records: pools[id] == nil ? [] : [.noPool(id)])
        case .requestAddress(let wish): try giveAddress(wish)
        case .releaseAddress(let pool, let address):
            Decision(records: pools[pool]?.holds(address) == true ? [.release(pool: pool, address)] : [])
        }
    }
}
