package import IO

/// A link on its way into a container: what an engine does with what a driver has made.
extension EngineNetwork {
    /// How a container is on a network.
    package struct Interface: Hashable, Sendable {
        /// Its name in the container.
        package var name: String
        /// Its addresses, with the lengths of their networks.
        package var addresses: [InterfaceAddress]

        /// An interface of that name with those addresses.
        package init(name: String, addresses: [InterfaceAddress]) {
            self.name = name
            self.addresses = addresses
        }
    }

    /// Takes a link into a container and gives it name and addresses; it is up when this returns.
    ///
    /// EEXIST when the container has an interface of that name.
    package func enter(_ link: String, _ namespace: NetworkNamespace, as interface: Interface) throws(SystemError) {
        guard let found = try links.link(link) else { throw SystemError(19, "find link \(link)") }
        try links.move(found.index, to: namespace.fd, name: interface.name)
        try namespace.run { () throws(SystemError) in
            let inside = try LinkSocket()
            guard let own = try inside.link(interface.name) else {
                throw SystemError(19, "find link \(interface.name)")
            }
            if interface.addresses.contains(where: \.address.isV6) {
                try KernelSetting.write("ipv6/conf/\(interface.name)/disable_ipv6", "0")
                try KernelSetting.write("ipv6/conf/\(interface.name)/accept_ra", "0")
            }
            // Neighbours that remember somebody else at this address are told when the interface comes up.
            try KernelSetting.write("ipv4/conf/\(interface.name)/arp_notify", "1")
            for address in interface.addresses { try inside.addAddress(address, to: own.index) }
            try inside.setUp(own.index)
        }
    }

    /// Takes an interface out of a container; one that is gone is well.
    package func leave(_ interface: String, _ namespace: NetworkNamespace) throws(SystemError) {
        try namespace.run { () throws(SystemError) in
            let inside = try LinkSocket()
            guard let own = try inside.link(interface) else { return }
            try inside.delete(own.index)
        }
    }

    /// Whether a container has an interface of that name.
    package func has(_ interface: String, in namespace: NetworkNamespace) throws(SystemError) -> Bool {
        try namespace.run { () throws(SystemError) in try LinkSocket().link(interface) != nil }
    }

    /// Leads everything that is in none of a container's networks to a gateway, in place of an earlier one.
    package func lead(
        _ namespace: NetworkNamespace, over interface: String, to gateways: [IPAddress]
    ) throws(SystemError) {
        try namespace.run { () throws(SystemError) in
            let inside = try LinkSocket()
            guard let own = try inside.link(interface) else { throw SystemError(19, "find link \(interface)") }
            for gateway in gateways {
                guard let everywhere = Prefix.everywhere(isV6: gateway.isV6) else { continue }
                try inside.add(LinkSocket.Route(destination: everywhere, gateway: gateway, device: own.index))
            }
        }
    }
}
