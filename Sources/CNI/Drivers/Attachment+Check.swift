internal import IO

extension Attachment {
    /// CHECK: whether everything is as ADD made it, against `prevResult` (N-11); of a tunnel, machines that its list no longer names
    /// are taken out.
    func check() throws(CNIError) {
        guard configuration.driver != .host, configuration.driver != .none else { return }
        guard let previous = configuration.previous else {
            throw CNIError(.invalidConfiguration, "prevResult is missing: CHECK compares with it")
        }
        let container = try ContainerNamespace(path: request.namespace)
        var missing: [String] = []
        if configuration.driver != .chained {
            missing += try checkLink(previous, container)
            missing += try checkAddresses(previous)
        }
        missing += try checkRules(previous)
        try forgetPeers()
        if try lacksLimit() { missing.append("the limit of what the container sends is gone") }
        guard missing.isEmpty else {
            throw CNIError(.checkFailed, missing.joined(separator: "; ") + ": call DEL and ADD")
        }
    }

    private func checkLink(_ previous: CNIResult, _ container: ContainerNamespace) throws(CNIError) -> [String] {
        var missing: [String] = []
        let own = previous.interfaces.firstIndex { !$0.sandbox.isEmpty && $0.name == request.interface }
        guard let own else { return ["prevResult has no interface \(request.interface)"] }
        let link = try reporting { () throws(SystemError) in try container.links.link(request.interface) }
        guard let link else { return ["the interface \(request.interface) is gone"] }
        if !link.isUp, !configuration.link.isDisabled { missing.append("the interface \(request.interface) is down") }
        let expected = previous.interfaces[own].mac
        if !expected.isEmpty, HardwareAddress.text(link.hardware) != expected.lowercased() {
            missing.append("the interface \(request.interface) has another hardware address than \(expected)")
        }
        for interface in previous.interfaces where interface.sandbox.isEmpty {
            guard let link = try reporting({ () throws(SystemError) in try host.link(interface.name) }) else {
                missing.append("the link \(interface.name) of the host is gone")
                continue
            }
            if !link.isUp { missing.append("the link \(interface.name) of the host is down") }
        }
        if configuration.driver.hasBridge,
            let end = try reporting({ () throws(SystemError) in try host.link(owner.hostLink) })
        {
            let bridge = try reporting { () throws(SystemError) in try host.link(configuration.link.bridge) }
            if end.master != bridge?.index { missing.append("\(end.name) is no port of \(configuration.link.bridge)") }
        }
        let held = try reporting { () throws(SystemError) in
            try container.links.addresses().filter { $0.device == link.index }.map(\.address)
        }
        for entry in previous.addresses where entry.interface == own && !held.contains(entry.address) {
            missing.append("the address \(entry.address) is gone")
        }
        let routes = try reporting { () throws(SystemError) in try container.links.routes() }
        for route in previous.routes where route.table == nil || route.table == 254 {
            let isThere = routes.contains {
                $0.destination == route.destination && (route.gateway == nil || $0.gateway == route.gateway)
            }
            if !isThere { missing.append("the route to \(route.destination) is gone") }
        }
        return missing
    }

    private func checkAddresses(_ previous: CNIResult) throws(CNIError) -> [String] {
        guard let ipam = configuration.ipam else { return [] }
        if case .delegated(let type) = ipam.kind {
            try DelegatedIPAM(type: type, request: request, configuration: configuration).run(.check)
            return []
        }
        let held = try AddressStore(ipam, network: configuration.name).held(by: owner)
        guard held.isEmpty else { return [] }
        return ["no address is held for the container"]
    }

    private func checkRules(_ previous: CNIResult) throws(CNIError) -> [String] {
        guard mapsPorts || configuration.link.ipMasq || configuration.link.isolate else { return [] }
        let addresses = previous.addresses.map(\.address.address)
        return try reporting { () throws(SystemError) in
            let socket = try RuleSocket()
            var missing: [String] = []
            for table in tables where table.name != RuleTable.ports.name {
                for address in addresses {
                    let held = try socket.elements(of: address.isV6 ? "pods6" : "pods4", in: table)
                    if !held.contains(where: { $0.key == address.bytes }) {
                        missing.append("\(address) is not in the table \(table.name)")
                    }
                }
            }
            guard mapsPorts else { return missing }
            for address in previous.addresses {
                guard let network = range(of: address.address.address)?.subnet ?? address.address.network else {
                    continue
                }
                let wanted = ContainerElements.ports(
                    configuration.runtime.portMappings, address.address, network: network,
                    mapsSource: configuration.mapsSource, note: note)
                for set in Set(wanted.map(\.set)).sorted() {
                    let held = Set(try socket.elements(of: set, in: .ports).map(\.key))
                    for element in wanted where element.set == set && !held.contains(element.key) {
                        missing.append("a published port is gone from \(set) of \(RuleTable.ports.name)")
                    }
                }
            }
            return missing
        }
    }
}
