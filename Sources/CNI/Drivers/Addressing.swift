internal import IO

extension Attachment {
    /// Settings, addresses and routes of the container's interface, which comes up by it; and the host's way to it.
    ///
    /// Returns what the result says of addresses and routes.
    func address(
        _ made: MadeLinks, _ container: ContainerNamespace, _ given: CNIResult
    ) throws(CNIError) -> CNIResult {
        var result = given
        let options = configuration.link
        let index = made.container.index
        let name = request.interface
        var settings: [(String, String)] = []
        if given.addresses.contains(where: { $0.address.address.isV6 }) {
            settings += [("ipv6/conf/\(name)/disable_ipv6", "0"), ("ipv6/conf/\(name)/accept_ra", "0")]
            if !options.enablesDuplicateDetection { settings.append(("ipv6/conf/\(name)/accept_dad", "0")) }
        }
        if given.addresses.contains(where: { !$0.address.address.isV6 }), !configuration.driver.isRouted {
            // Neighbours that remember somebody else at this address are told when the interface comes up.
            settings.append(("ipv4/conf/\(name)/arp_notify", "1"))
        }
        let written = settings
        try reporting { () throws(SystemError) in try container.set(written) }
        if configuration.driver.hasBridge, options.isDefaultGateway {
            for address in given.addresses {
                guard let gateway = address.gateway, let everywhere = Prefix.everywhere(isV6: gateway.isV6),
                    !result.routes.contains(where: { $0.destination == everywhere })
                else { continue }
                result.routes.append(.init(destination: everywhere, gateway: gateway))
            }
        }
        try reporting { () throws(SystemError) in
            for address in given.addresses {
                try container.links.addAddress(
                    address.address, to: index, hasRoute: configuration.driver != .ptp,
                    looksForDuplicate: options.enablesDuplicateDetection)
            }
            guard !options.isDisabled else { return }
            try container.links.setUp(index)
        }
        switch configuration.driver {
        case .routed, .hostGateway: try routeOwn(made, container, &result)
        case .ptp: try routePointToPoint(made, container, result)
        default: break
        }
        if configuration.driver.hasBridge, options.isGateway { try giveGateways(made, given) }
        for route in result.routes { try add(route, of: given, container.links, index) }
        return result
    }

    /// A configured route: by its gateway, or that of the address of its family.
    private func add(
        _ route: CNIResult.Route, of given: CNIResult, _ links: LinkSocket, _ device: Int32
    ) throws(CNIError) {
        let isV6 = route.destination.address.isV6
        let gateway = route.gateway ?? given.addresses.first { $0.address.address.isV6 == isV6 }?.gateway
        try reporting { () throws(SystemError) in
            try links.add(
                LinkSocket.Route(
                    destination: route.destination, gateway: route.scope == 253 ? nil : gateway, device: device,
                    isOnLink: configuration.driver.isRouted, mtu: route.mtu, advertisedMSS: route.advertisedMSS,
                    priority: route.priority, table: route.table, scope: route.scope))
        }
    }

    // MARK: routed

    /// A fixed neighbour on both sides, a host route, and everything else by the host.
    private func routeOwn(
        _ made: MadeLinks, _ container: ContainerNamespace, _ result: inout CNIResult
    ) throws(CNIError) {
        guard let end = made.hostEnd else { return }
        let isSilent = result.routes.isEmpty
        for address in result.addresses {
            guard let gateway = address.gateway, let only = address.address.network else { continue }
            let isV6 = gateway.isV6
            try reporting { () throws(SystemError) in
                try host.addAddress(InterfaceAddress(gateway, length: isV6 ? 64 : 32), to: end.index, hasRoute: false)
                try host.add(LinkSocket.Route(destination: only, device: end.index))
                try host.addNeighbour(address.address.address, hardware: made.container.hardware, device: end.index)
                try container.links.addNeighbour(
                    gateway, hardware: Attachment.routedHardware, device: made.container.index)
            }
            if isSilent, let everywhere = Prefix.everywhere(isV6: isV6) {
                result.routes.append(.init(destination: everywhere, gateway: gateway))
            } else if let range = range(of: address.address.address) {
                // With routes of its own a network still has a way to its other containers.
                let others = configuration.machines.blocks.map(\.prefix).filter { $0.address.isV6 == isV6 }
                for network in [range.subnet] + others
                where !result.routes.contains(where: { $0.destination == network }) {
                    result.routes.append(.init(destination: network, gateway: gateway))
                }
            }
        }
        try leadToMachines()
        try forward(result)
    }

    /// The configured range that holds an address.
    func range(of address: IPAddress) -> AddressRange? {
        configuration.ipam?.ranges.lazy.flatMap(\.self).first { $0.subnet.contains(address) }
    }

    // MARK: ptp

    private func routePointToPoint(
        _ made: MadeLinks, _ container: ContainerNamespace, _ result: CNIResult
    ) throws(CNIError) {
        guard let end = made.hostEnd else { return }
        for address in result.addresses {
            guard let gateway = address.gateway,
                let toGateway = Prefix(gateway, length: gateway.bitCount), let network = address.address.network,
                let only = Prefix(address.address.address, length: gateway.bitCount)
            else {
                throw CNIError(.invalidConfiguration, "driver ptp: the address \(address.address) has no gateway")
            }
            try reporting { () throws(SystemError) in
                try host.addAddress(InterfaceAddress(gateway, length: gateway.bitCount), to: end.index)
                try host.add(LinkSocket.Route(destination: only, device: end.index))
                let index = made.container.index
                try container.links.add(
                    LinkSocket.Route(destination: toGateway, source: address.address.address, device: index))
                try container.links.add(
                    LinkSocket.Route(
                        destination: network, gateway: gateway, source: address.address.address, device: index))
            }
        }
        try forward(result)
    }

    // MARK: bridge

    /// The network's gateways as addresses of the bridge.
    private func giveGateways(_ made: MadeLinks, _ given: CNIResult) throws(CNIError) {
        guard let bridge = made.bridge else { return }
        let present = try reporting { () throws(SystemError) in
            try host.addresses().filter { $0.device == bridge.index }.map(\.address)
        }
        for address in given.addresses {
            guard let gateway = address.gateway else { continue }
            let wanted = InterfaceAddress(gateway, length: address.address.length)
            guard !present.contains(wanted) else { continue }
            let others = present.filter { other in
                guard other.address.isV6 == gateway.isV6, let mine = wanted.network, let its = other.network else {
                    return false
                }
                return !gateway.isV6 || mine.overlaps(its)
            }
            for other in others {
                guard configuration.link.forceAddress else {
                    throw CNIError(
                        .invalidConfiguration,
                        "bridge: \(bridge.name) has the address \(other) already and not \(wanted); "
                            + "give another bridge, or forceAddress: true")
                }
                try reporting { () throws(SystemError) in try host.deleteAddress(other, from: bridge.index) }
            }
            try reporting { () throws(SystemError) in
                try host.addAddress(
                    wanted, to: bridge.index, looksForDuplicate: configuration.link.enablesDuplicateDetection)
            }
        }
        try forward(given)
    }

    /// Lets the host forward packets of the families that are used.
    private func forward(_ result: CNIResult) throws(CNIError) {
        try reporting { () throws(SystemError) in
            if result.addresses.contains(where: { !$0.address.address.isV6 }) {
                try KernelSetting.write("ipv4/ip_forward", "1")
            }
            if result.addresses.contains(where: { $0.address.address.isV6 }) {
                try KernelSetting.write("ipv6/conf/all/forwarding", "1")
            }
        }
    }
}

extension Prefix {
    /// The default route's destination.
    static func everywhere(isV6: Bool) -> Prefix? { Prefix(isV6 ? .v6(high: 0, low: 0) : .v4(0), length: 0) }
}
