internal import Glibc
internal import IO

/// Elements that one call has added.
struct AddedRules {
    var table: RuleTable
    var elements: [RuleElement]
}

extension Attachment {
    /// Whether ports are published by this call.
    var mapsPorts: Bool {
        configuration.capabilities.contains("portMappings") && !configuration.runtime.portMappings.isEmpty
    }

    /// What must hold from the first packet on: everything but published ports, which need the link.
    var tablesBeforeLink: [RuleTable] { tables.filter { $0.name != RuleTable.ports.name } }

    /// The tables that this configuration uses.
    var tables: [RuleTable] {
        var result: [RuleTable] = []
        if configuration.link.ipMasq { result.append(.masquerade) }
        if configuration.link.isolate { result.append(.isolation) }
        if configuration.capabilities.contains("portMappings") { result.append(.ports) }
        return result
    }

    /// The way out, isolation and published ports of a container.
    ///
    /// Returns what was added, for `undo`; when it fails, nothing is.
    ///
    /// - Parameter device: the host's device through which the container is reached, where it has one.
    func addRules(
        _ addresses: [CNIResult.Address], to tables: [RuleTable], device: String? = nil
    ) throws(CNIError) -> [AddedRules] {
        guard !tables.isEmpty else { return [] }
        var members: [RuleElement] = []
        var ports: [RuleElement] = []
        var hasLoopback = false
        let publishes = mapsPorts && tables.contains { $0.name == RuleTable.ports.name }
        for entry in addresses {
            let address = entry.address
            guard let network = range(of: address.address)?.subnet ?? address.network else { continue }
            members += ContainerElements.member(address, network: network, note: note)
            members += machinePairs(address.address)
            guard publishes else { continue }
            let own = ContainerElements.ports(
                configuration.runtime.portMappings, address, network: network, mapsSource: configuration.mapsSource,
                note: note)
            ports += own
            hasLoopback = hasLoopback || (!own.isEmpty && !address.address.isV6 && configuration.mapsSource)
        }
        if hasLoopback, let device {
            ports.append(RuleElement(set: "loopback", key: Attachment.key(device), note: "", isShared: true))
        }
        var added: [AddedRules] = []
        do throws(SystemError) {
            let socket = try RuleSocket()
            for table in tables {
                let elements = table.name == RuleTable.ports.name ? ports : members
                guard !elements.isEmpty else { continue }
                try socket.add(elements, to: table)
                added.append(AddedRules(table: table, elements: elements))
            }
            guard !ports.isEmpty else { return added }
            // The rules that guard the loopback are there: now it may be routed.
            if hasLoopback, let device { try KernelSetting.write("ipv4/conf/\(device)/route_localnet", "1") }
            try forgetDatagrams()
            return added
        } catch {
            undo(added)
            guard error.errno == EEXIST else { throw CNIError(.inputOutput, error.description) }
            let taken = configuration.runtime.portMappings.map { "\($0.hostPort)" }.joined(separator: ", ")
            throw CNIError(
                .tryAgainLater,
                publishes
                    ? "portMappings: one of the host's ports \(taken) leads to another container already"
                    : "the rules of this address belong to another container: \(error)")
        }
    }

    /// Takes back what `addRules` has added; an earlier call's rules stay.
    func undo(_ added: [AddedRules]) {
        guard !added.isEmpty, let socket = try? RuleSocket() else { return }
        for rules in added { try? socket.remove(rules.elements.filter { !$0.isShared }, from: rules.table) }
    }

    /// The name of a device as a key of 16 bytes.
    static func key(_ device: String) -> [UInt8] {
        let bytes = Array(device.utf8.prefix(15))
        return bytes + [UInt8](repeating: 0, count: 16 - bytes.count)
    }

    /// Clients whose datagrams went to the host itself are led anew (N-15).
    private func forgetDatagrams() throws(SystemError) {
        let ports = Set(configuration.runtime.portMappings.filter { $0.transport == 17 }.map(\.hostPort))
        try DatagramFlows.forget(to: ports)
    }

    /// Takes a container's rules away.
    func removeRules(_ addresses: Set<IPAddress>, device: String?) throws(CNIError) {
        guard !addresses.isEmpty, !tables.isEmpty else { return }
        try reporting { () throws(SystemError) in
            let socket = try RuleSocket()
            for table in tables {
                let removed = try socket.remove(addresses, from: table)
                guard table.name == RuleTable.ports.name, !removed.isEmpty else { continue }
                if let device {
                    try socket.remove(
                        [RuleElement(set: "loopback", key: Attachment.key(device), note: "")], from: table)
                }
                // Datagrams to a container that is gone (N-15).
                if removed.contains(where: { $0.key.first == 17 && ($0.set.hasPrefix("any") || $0.set.hasPrefix("at")) }
                ) {
                    try DatagramFlows.forget(answeredBy: addresses)
                }
            }
        }
    }
}
