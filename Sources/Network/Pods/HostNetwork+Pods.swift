public import IO

extension HostNetwork {
    /// Makes a pod's network: namespace, link, addresses, routes, capture.
    ///
    /// Fails with EEXIST when it is there already.
    ///
    /// Capture is in place before the link is, so that it holds from the first packet. When something fails, nothing
    /// of it stays.
    public func attach(_ pod: PodAttachment) throws(NetworkError) -> NetworkNamespace {
        try check(pod)
        let name = Ownership.linkName(uid: pod.uid)
        let namespace = try system { () throws(SystemError) in
            try named(pod.uid, of: pod.foreignNamespace)
        }
        do throws(NetworkError) {
            let inside = try furnish(namespace, pod, isForeign: pod.foreignNamespace != nil)
            try connect(pod, name, namespace, inside)
            return namespace
        } catch {
            try? detach(uid: pod.uid)
            throw error
        }
    }

    /// Makes a namespace with nothing but its loopback, for a pod whose links others make; one that is there is well.
    ///
    /// Removed by `detach`.
    ///
    /// - Parameter foreign: the path of a namespace that somebody else has made for the pod.
    public func makeNamespace(uid: String, of foreign: String? = nil) throws(NetworkError) {
        guard try !attachedPods().contains(uid) else { return }
        let namespace = try system { () throws(SystemError) in
            try named(uid, of: foreign)
        }
        do throws(NetworkError) { _ = try furnish(namespace, nil, isForeign: foreign != nil) } catch {
            try? detach(uid: uid)
            throw error
        }
    }

    private func named(_ uid: String, of foreign: String?) throws(SystemError) -> NetworkNamespace {
        guard let foreign else {
            return try NetworkNamespace.create(named: uid, in: configuration.namespaceDirectory)
        }
        return try NetworkNamespace.adopt(foreign, named: uid, in: configuration.namespaceDirectory)
    }

    /// Removes a pod's network.
    ///
    /// What is not there is removed already.
    public func detach(uid: String) throws(NetworkError) {
        // Deleting the host's end deletes the pod's, the routes and the neighbour entries.
        try routes.deleteLink(Ownership.linkName(uid: uid))
        try routes.deleteLink(Ownership.waitingLink(uid: uid))
        try system { () throws(SystemError) in
            try NetworkNamespace.remove(named: uid, in: configuration.namespaceDirectory)
        }
    }

    /// The namespace of a pod that is attached.
    public func namespace(uid: String) throws(NetworkError) -> NetworkNamespace {
        try system { () throws(SystemError) in
            try NetworkNamespace.open(named: uid, in: configuration.namespaceDirectory)
        }
    }

    /// The uids of the pods that are attached, whole or in part.
    public func attachedPods() throws(NetworkError) -> [String] {
        try system { () throws(SystemError) in try NetworkNamespace.list(in: configuration.namespaceDirectory) }
    }

    /// What is missing of a pod's network, in words; empty when it is whole.
    public func check(attached pod: PodAttachment) throws(NetworkError) -> [String] {
        var missing: [String] = []
        let name = Ownership.linkName(uid: pod.uid)
        if let link = try routes.link(name) {
            if !link.isUp { missing.append("link \(name) is down") }
            for address in [pod.address, pod.address6].compactMap(\.self) {
                let isRouted = try routes.routes().contains {
                    $0.device == link.index && $0.destination == Prefix(address, length: address.bitCount)
                }
                if !isRouted { missing.append("the route to \(address) is gone") }
            }
            if (try? KernelSettings.read("ipv4/conf/\(name)/forwarding")) != "1" {
                missing.append("forwarding is off for \(name)")
            }
        } else {
            missing.append("link \(name) is gone")
        }
        if pod.bandwidth.egress > 0, try routes.link(Ownership.waitingLink(uid: pod.uid)) == nil {
            missing.append("what the pod sends is not limited")
        }
        guard let namespace = try? namespace(uid: pod.uid) else { return missing + ["the namespace is gone"] }
        let inside = try HostNetwork.inside(namespace) { () throws(NetworkError) in
            let routes = try RouteSocket()
            let held = try routes.addresses().map(\.address)
            return (held, try NFTables.tables().map(\.name))
        }
        for address in [pod.address, pod.address6].compactMap(\.self) where !inside.0.contains(address) {
            missing.append("the pod has lost its address \(address)")
        }
        if pod.capture != nil, !inside.1.contains(CaptureRules.table) { missing.append("the capture rules are gone") }
        return missing
    }

    /// Puts a pod's capture rules in place of its older ones, in one step.
    public func setCapture(_ options: CaptureOptions, uid: String, name: String) throws(NetworkError) {
        let text = CaptureRules.compile(options, owner: name)
        try HostNetwork.inside(try namespace(uid: uid)) { () throws(NetworkError) in try NFTables.run(text) }
    }

    private func check(_ pod: PodAttachment) throws(NetworkError) {
        guard configuration.v4.nodeBlock.contains(pod.address), pod.address != configuration.v4.gateway else {
            throw .invalid("pod \(pod.name): address \(pod.address) is not in \(configuration.v4.nodeBlock)")
        }
        guard let address = pod.address6 else { return }
        guard let v6 = configuration.v6, v6.nodeBlock.contains(address), address != v6.gateway else {
            throw .invalid("pod \(pod.name): address \(address) is not in the node's IPv6 block")
        }
    }

    /// Settings, loopback and capture, from within.
    private func furnish(
        _ namespace: NetworkNamespace, _ pod: PodAttachment?, isForeign: Bool
    ) throws(NetworkError) -> RouteSocket {
        let rules = pod.flatMap { pod in pod.capture.map { CaptureRules.compile($0, owner: "pod \(pod.name)") } }
        return try HostNetwork.inside(namespace) { () throws(NetworkError) in
            var settings = [
                ("ipv4/ip_unprivileged_port_start", "0"), ("ipv4/ping_group_range", "0 2147483647"),
            ]
            if isForeign, File.exists("/proc/sys/net/ipv6") {
                // An engine that gives no such addresses has switched it off.
                for group in ["all", "default", "lo"] { settings.append(("ipv6/conf/\(group)/disable_ipv6", "0")) }
            }
            if File.exists("/proc/sys/net/ipv6") {
                // Addresses come from our pool: no advertisements, and no second lost on looking for duplicates.
                for group in ["all", "default"] {
                    settings += [("ipv6/conf/\(group)/accept_ra", "0"), ("ipv6/conf/\(group)/accept_dad", "0")]
                }
            }
            for (path, value) in settings { try KernelSettings.write(path, value) }
            let routes = try RouteSocket()
            try routes.setUp(1)  // lo is number 1 in every namespace.
            guard let rules else { return routes }
            // The sidecar's source towards its application; 127.0.0.6 is loopback anyway, ::6 must be made so.
            if File.exists("/proc/sys/net/ipv6") { try routes.addAddress(.v6(high: 0, low: 6), length: 128, to: 1) }
            try NFTables.run(rules)
            return routes
        }
    }

    /// The link and the ways over it.
    private func connect(
        _ pod: PodAttachment, _ name: String, _ namespace: NetworkNamespace, _ inside: RouteSocket
    ) throws(NetworkError) {
        let hardware = Ownership.hardware(of: pod.address)
        try routes.addVirtualPair(
            name, hardware: Ownership.hostHardware, group: Ownership.podGroup, mtu: mtu, peer: Ownership.podLink,
            peerHardware: hardware, peerNamespace: namespace.fd)
        guard let host = try routes.link(name), let own = try inside.link(Ownership.podLink) else {
            throw .invalid("link \(name) has gone")
        }
        // Before the pod can send anything.
        try limit(pod, host)
        try inside.setUp(own.index)
        try routes.setAlias(host.index, "skein pod \(pod.name)")
        try KernelSettings.write("ipv4/conf/\(name)/forwarding", "1")
        if pod.address6 != nil {
            try KernelSettings.write("ipv6/conf/\(name)/accept_ra", "0")
            if File.exists("/proc/sys/net/ipv6/conf/\(name)/force_forwarding") {
                try KernelSettings.write("ipv6/conf/\(name)/force_forwarding", "1")
            }
        }
        for (address, family) in [(pod.address, configuration.v4 as HostNetworkConfiguration.Family?)]
            + (pod.address6.map { [($0, configuration.v6)] } ?? [])
        {
            guard let family, let only = Prefix(address, length: address.bitCount) else { continue }
            try inside.addAddress(address, length: address.bitCount, to: own.index)
            try inside.addNeighbour(family.gateway, hardware: Ownership.hostHardware, device: own.index)
            try inside.addRoute(to: nil, via: family.gateway, source: address, device: own.index)
            try routes.addNeighbour(address, hardware: hardware, device: host.index)
            try routes.addRoute(to: only, source: family.gateway, device: host.index)
        }
    }

    /// Runs network work inside a namespace.
    static func inside<Value: Sendable>(
        _ namespace: NetworkNamespace, _ body: @escaping @Sendable () throws(NetworkError) -> Value
    ) throws(NetworkError) -> Value {
        try system { () throws(SystemError) in try namespace.run(catching: body) }.get()
    }
}
