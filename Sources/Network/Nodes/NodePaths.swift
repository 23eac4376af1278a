internal import IO

/// The ways from this node to the pods of all others, as the kernel has them or should have them.
///
/// Pure. Nothing is flooded and nobody is asked: for each block of another node there is a route over an address that
/// nobody has (the first of the block), a neighbour entry that says which hardware address that is, and a forwarding
/// entry that says which node has the hardware address.
struct NodePaths: Equatable {
    /// How a block is reached.
    enum Way: Hashable {
        /// Through the VXLAN device, to the neighbour of that address.
        case overlay(via: IPAddress)
        /// Over that node's own address.
        case direct(IPAddress)
        /// Through the WireGuard link, which knows whose it is.
        case encrypted
    }

    /// One change of the kernel's state.
    enum Step: Hashable {
        case setForwarding([UInt8], to: IPAddress)
        case setNeighbour(IPAddress, [UInt8])
        case setRoute(Prefix, Way)
        case removeRoute(Prefix)
        case removeNeighbour(IPAddress)
        case removeForwarding([UInt8], to: IPAddress)
        case setPeer(WireGuardKey, WireGuardPeer)
        case removePeer(WireGuardKey)
    }

    var routes: [Prefix: Way] = [:]
    /// Of the VXLAN device: whose hardware address.
    var neighbours: [IPAddress: [UInt8]] = [:]
    /// Of the VXLAN device: which node has a hardware address.
    var forwarding: [[UInt8]: IPAddress] = [:]
    /// Of the WireGuard link.
    var peers: [WireGuardKey: WireGuardPeer] = [:]

    /// Whether a VXLAN device is needed.
    var needsOverlay: Bool { !forwarding.isEmpty }
    /// The nodes that may send us VXLAN packets.
    var tunnelEnds: Set<IPAddress> { Set(forwarding.values) }

    /// Nothing.
    init() {}

    /// What a node needs for the others, and what cannot be, in words.
    ///
    /// When two claim a block, the one whose name comes first has it; our own is nobody else's.
    init(from own: NodeNetworking, blocks ownBlocks: [Prefix], to others: [PeerNode]) {
        self.init()
        var problems: [String] = []
        var taken = ownBlocks.map { ($0, own.name) }
        for node in others.sorted(by: { $0.name < $1.name }) where node.name != own.name {
            if let shared = node.addresses.first(where: own.addresses.contains) {
                problems.append("node \(node.name) has the address \(shared), which is ours")
                continue
            }
            if let problem = mismatch(node, own) {
                problems.append(problem)
                continue
            }
            for block in node.blocks {
                if let other = taken.first(where: { $0.0.overlaps(block) }) {
                    problems.append("node \(node.name) has \(block), which overlaps \(other.0) of node \(other.1)")
                    continue
                }
                taken.append((block, node.name))
                if let problem = add(block, of: node, own) { problems.append(problem) }
            }
        }
        self.problems = problems
    }

    /// What of the nodes cannot be served.
    private(set) var problems: [String] = []
    /// Whose keys are whose.
    private(set) var names: [WireGuardKey: String] = [:]

    /// Why nothing goes to a node: what is encrypted on one side would go in the clear on the other.
    private func mismatch(_ node: PeerNode, _ own: NodeNetworking) -> String? {
        guard let encryption = own.encryption else {
            guard node.encryption != nil else { return nil }
            return
                "node \(node.name) encrypts with WireGuard and this one does not: nothing goes between them until both "
                + "have --encrypt wireguard"
        }
        guard let theirs = node.encryption else {
            return "node \(node.name) has published no WireGuard key: nothing goes to it unencrypted; start it with "
                + "--encrypt wireguard"
        }
        guard let key = theirs.key, theirs.port > 0 else {
            return "node \(node.name) has published a WireGuard key or port that is none: nothing goes to it"
        }
        guard key != encryption.publicKey, peers[key] == nil else {
            return
                "node \(node.name) has published the WireGuard key of another node: nothing goes to it; remove its key "
                + "file and start it again"
        }
        return nil
    }

    /// The node's address over which packets go to it wrapped.
    private static func end(of node: PeerNode, _ own: NodeNetworking) -> IPAddress? {
        guard let mine = own.addresses.first else { return nil }
        return node.addresses.first { $0.isV6 == mine.isV6 }
    }

    private mutating func add(_ block: Prefix, of node: PeerNode, _ own: NodeNetworking) -> String? {
        if own.encryption != nil {
            guard let theirs = node.encryption, let key = theirs.key, let end = NodePaths.end(of: node, own) else {
                return "node \(node.name) has no address of the family of ours, over which WireGuard could go"
            }
            routes[block] = .encrypted
            names[key] = node.name
            peers[key, default: WireGuardPeer(endpoint: end, port: theirs.port)].allowed.insert(block)
            return nil
        }
        switch NodeDriver.between(own.driver, node.driver) {
        case .hostGateway:
            guard let gateway = node.addresses.first(where: { $0.isV6 == block.address.isV6 }) else {
                return "node \(node.name) has no address of the family of \(block), which a route needs"
            }
            routes[block] = .direct(gateway)
        case .overlay:
            guard let end = NodePaths.end(of: node, own) else {
                return "node \(node.name) has no address of the family of ours, over which VXLAN could go"
            }
            let hardware = NodePaths.hardware(of: node.blocks)
            routes[block] = .overlay(via: block.address)
            neighbours[block.address] = hardware
            forwarding[hardware] = end
        }
        return nil
    }

    /// The hardware address of a node's VXLAN device: by its first block, as no two nodes have the same.
    ///
    /// So nobody needs to tell it.
    static func hardware(of blocks: [Prefix]) -> [UInt8] {
        guard let block = blocks.first(where: { !$0.address.isV6 }) ?? blocks.first else {
            return [2, 0x74, 0, 0, 0, 0]
        }
        guard block.address.isV6 else { return [0x02, 0x74] + block.address.bytes }
        let sum = fnv1a(block.description)
        return [0x02, 0x75] + (0..<4).map { UInt8(truncatingIfNeeded: sum >> (8 * UInt64($0))) }
    }

    /// What makes `desired` of `present`, in an order in which no route leads to a neighbour that is not there.
    static func steps(from present: NodePaths, to desired: NodePaths) -> [Step] {
        var steps: [Step] = []
        for (hardware, end) in desired.forwarding where present.forwarding[hardware] != end {
            steps.append(.setForwarding(hardware, to: end))
        }
        for (address, hardware) in desired.neighbours where present.neighbours[address] != hardware {
            steps.append(.setNeighbour(address, hardware))
        }
        for (key, peer) in desired.peers where present.peers[key] != peer { steps.append(.setPeer(key, peer)) }
        for (block, way) in desired.routes where present.routes[block] != way {
            steps.append(.setRoute(block, way))
        }
        for block in present.routes.keys where desired.routes[block] == nil { steps.append(.removeRoute(block)) }
        for address in present.neighbours.keys where desired.neighbours[address] == nil {
            steps.append(.removeNeighbour(address))
        }
        for (hardware, end) in present.forwarding where desired.forwarding[hardware] == nil {
            steps.append(.removeForwarding(hardware, to: end))
        }
        for key in present.peers.keys where desired.peers[key] == nil { steps.append(.removePeer(key)) }
        return steps.sorted { ($0.rank, "\($0)") < ($1.rank, "\($1)") }
    }
}

extension NodePaths.Step {
    fileprivate var rank: Int {
        switch self {
        case .setForwarding: 0
        case .setNeighbour: 1
        case .setRoute: 2
        case .removeRoute: 3
        case .removeNeighbour: 4
        case .removeForwarding: 5
        case .setPeer: 0
        case .removePeer: 6
        }
    }
}
