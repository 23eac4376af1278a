internal import IO

extension Attachment {
    /// ADD: the container on the network, or an error and nothing left behind.
    func add() throws(CNIError) -> CNIResult {
        switch configuration.driver {
        case .host: return configuration.previous ?? CNIResult()
        case .none: return try addNothing()
        case .chained: return try addToChain()
        case .routed, .hostGateway, .bridge, .overlay, .ptp, .macvlan, .ipvlan, .vlan: return try addLink()
        }
    }

    private func addNothing() throws(CNIError) -> CNIResult {
        let container = try ContainerNamespace(path: request.namespace)
        try reporting { () throws(SystemError) in try container.links.setUp(1) }  // lo is number 1 everywhere.
        return configuration.previous ?? CNIResult()
    }

    /// A later plugin of a chain: ports and bandwidth of what earlier ones have made.
    private func addToChain() throws(CNIError) -> CNIResult {
        guard let previous = configuration.previous else {
            throw CNIError(
                .invalidConfiguration, "prevResult is missing: this configuration only adds to an earlier plugin's work"
            )
        }
        let hostEnd = previous.interfaces.last { $0.sandbox.isEmpty }
        var added: [AddedRules] = []
        do throws(CNIError) {
            // A host's address of the bridge is where loopback ports go through; else the link's own end.
            let device = try reporting { () throws(SystemError) in try self.loopbackDevice(previous) }
            added = try addRules(ownAddresses(previous), to: tables, device: device)
            if !configuration.bandwidth.isEmpty {
                guard let hostEnd else {
                    throw CNIError(.invalidConfiguration, "bandwidth: prevResult names no interface of the host")
                }
                try limit(hostEnd.name)
            }
            return previous
        } catch {
            undo(added)
            if !added.isEmpty, !configuration.bandwidth.isEmpty { try? removeLimits() }
            throw error
        }
    }

    /// The addresses inside of the container.
    private func ownAddresses(_ result: CNIResult) -> [CNIResult.Address] {
        result.addresses.filter { entry in
            guard let index = entry.interface else { return true }
            return result.interfaces.indices.contains(index) && !result.interfaces[index].sandbox.isEmpty
        }
    }

    private func loopbackDevice(_ result: CNIResult) throws(SystemError) -> String? {
        for interface in result.interfaces where interface.sandbox.isEmpty {
            if let link = try host.link(interface.name) { return link.name }
        }
        return nil
    }

    private func addLink() throws(CNIError) -> CNIResult {
        let container = try ContainerNamespace(path: request.namespace)
        guard !container.isOurs() else {
            throw CNIError(.invalidEnvironment, "CNI_NETNS: \(request.namespace) is the host's own network namespace")
        }
        // Before anything is given: what fails below is taken back, and must not be an earlier ADD's (N-9).
        let isThere = try reporting { () throws(SystemError) in
            let inside = try container.links.link(request.interface)
            if inside != nil { return true }
            return try host.link(owner.hostLink) != nil
        }
        guard !isThere else {
            throw CNIError(
                .invalidEnvironment,
                "the container \(request.containerID.prefix(64)) has an interface \(request.interface) already; call DEL first"
            )
        }
        var given = try allocate()
        var added: [AddedRules] = []
        var newBridge: LinkSocket.Link?
        do throws(CNIError) {
            added = try addRules(given.addresses, to: tablesBeforeLink)
            let made = try makeLinks(container, given.addresses.map(\.address))
            if made.bridgeIsNew { newBridge = made.bridge }
            let index = made.host.count
            for place in given.addresses.indices { given.addresses[place].interface = index }
            var result = try address(made, container, given)
            if mapsPorts {
                added += try addRules(given.addresses, to: [.ports], device: made.bridge?.name ?? made.hostEnd?.name)
            }
            if !configuration.bandwidth.isEmpty {
                guard let end = made.hostEnd else {
                    throw CNIError(
                        .unsupportedField,
                        "bandwidth: driver \(configuration.driver.rawValue) has no link on the host to limit")
                }
                try limit(end.name)
            }
            result.interfaces =
                made.host + [
                    .init(
                        name: request.interface, mac: HardwareAddress.text(made.container.hardware),
                        mtu: made.container.mtu, sandbox: request.namespace)
                ]
            return merged(result)
        } catch {
            undo(added)
            takeBack(container)
            if let newBridge { removeEmpty(newBridge) }
            throw error
        }
    }

    /// After an ADD that failed: nothing of it stays.
    private func takeBack(_ container: ContainerNamespace) {
        if let link = try? host.link(owner.hostLink) { _ = try? host.delete(link.index) }
        if let link = try? container.links.link(request.interface), link.index != 1 {
            _ = try? container.links.delete(link.index)
        }
        if !configuration.bandwidth.isEmpty { try? removeLimits() }
        release()
    }

    /// An earlier plugin's result stays, in front of ours.
    private func merged(_ own: CNIResult) -> CNIResult {
        var result = own
        if let dns = configuration.runtime.dns, !dns.isEmpty { result.dns = dns }
        if result.dns.isEmpty { result.dns = configuration.dns }
        guard let previous = configuration.previous else { return result }
        let offset = previous.interfaces.count
        for place in result.addresses.indices {
            if let index = result.addresses[place].interface { result.addresses[place].interface = index + offset }
        }
        result.interfaces = previous.interfaces + result.interfaces
        result.addresses = previous.addresses + result.addresses
        result.routes = previous.routes + result.routes
        if result.dns.isEmpty { result.dns = previous.dns }
        return result
    }

    // MARK: Addresses

    /// Addresses, routes and DNS out of the IPAM; nothing without one.
    private func allocate() throws(CNIError) -> CNIResult {
        guard let ipam = configuration.ipam else {
            guard !configuration.driver.isRouted, configuration.driver != .ptp else {
                throw CNIError(
                    .invalidConfiguration, "ipam: it is missing, and driver \(configuration.driver.rawValue) needs one")
            }
            return CNIResult()
        }
        if case .delegated(let type) = ipam.kind {
            guard var result = try DelegatedIPAM(type: type, request: request, configuration: configuration).run(.add)
            else {
                return CNIResult()
            }
            if configuration.driver.isRouted { result.addresses = result.addresses.map(routedAddress) }
            return result
        }
        let wanted = try wantedAddresses()
        let foreign = try reporting { () throws(SystemError) in try Set(host.addresses().map(\.address.address)) }
        let store = try AddressStore(ipam, network: configuration.name)
        let given = try store.allocate(
            AddressStore.Request(
                owner: owner, exclusions: ipam.exclusions, foreign: foreign, reuseDelay: ipam.reuseDelay),
            sets: ipam.ranges, wanted: wanted)
        var result = CNIResult(routes: ipam.routes)
        result.addresses = given.map { range, address in
            routedAddress(
                .init(address: InterfaceAddress(address, length: range.subnet.length), gateway: range.gateway))
        }
        if let path = ipam.resolvConf, let text = try? File.text(path) { result.dns = ResolvConf.parse(text) }
        return result
    }

    /// The driver `routed` makes networks of one address.
    private func routedAddress(_ entry: CNIResult.Address) -> CNIResult.Address {
        guard configuration.driver.isRouted else { return entry }
        let address = entry.address.address
        return .init(
            address: InterfaceAddress(address, length: address.bitCount),
            gateway: address.isV6 ? Attachment.routedGateway.v6 : Attachment.routedGateway.v4)
    }

    private func wantedAddresses() throws(CNIError) -> [IPAddress] {
        var result: [IPAddress] = []
        for text in configuration.runtime.addresses + request.arguments.addresses {
            guard let address = InterfaceAddress(text)?.address else {
                throw CNIError(
                    .invalidConfiguration, "the address '\(text.prefix(60))' that was asked for cannot be read")
            }
            if !result.contains(address) { result.append(address) }
        }
        return result
    }

    /// Gives addresses back, whatever happens.
    private func release() {
        guard let ipam = configuration.ipam else { return }
        switch ipam.kind {
        case .local:
            if let store = try? AddressStore(ipam, network: configuration.name) { _ = try? store.release(owner) }
        case .delegated(let type):
            _ = try? DelegatedIPAM(type: type, request: request, configuration: configuration).run(.delete)
        }
    }
}

/// `resolv.conf`, as far as a result says it.
enum ResolvConf {
    static func parse(_ text: String) -> CNIResult.DNS {
        var dns = CNIResult.DNS()
        for line in text.split(separator: "\n") {
            let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" }).map(String.init)
            switch words.first {
            case "nameserver": dns.nameservers += words.dropFirst().prefix(1)
            case "domain": dns.domain = words.dropFirst().first ?? ""
            case "search": dns.search += words.dropFirst()
            case "options": dns.options += words.dropFirst()
            default: break
            }
        }
        return dns
    }
}
