internal import IO
internal import Telemetry
internal import Upstream

// Hosts that requests name themselves (dynamic_forward_proxy).
extension ClusterRuntime {
    /// The port where a request names none.
    var defaultPort: UInt16 { transport == nil ? 80 : 443 }

    /// The host of a name whose address is known; nil is 503 UH.
    func dynamicHost(_ settings: DNSCacheSettings, _ connection: ConnectionInfo?, _ named: String?) -> Host? {
        let name: DNSCacheName?
        if let named {
            name = DNSCacheName(authority: named, defaultPort: defaultPort)
        } else if let connection, connection.hasFacts {
            name = DNSCacheName(connection.facts, defaultPort: defaultPort)
        } else {
            name = nil
        }
        guard let name else { return nil }
        if let spreading = settings.spreading { return dynamicHost(of: name, settings, spreading) }
        guard let ip = worker.dnsCache(settings).address(of: name) else { return nil }
        let address = HostAddress.ip("\(ip)", port: name.port)
        if let known = dynamicHosts[name.text] {
            if known.address == address { return known }
            // The name has moved: what is under way finishes where it began.
            (known.attachment as? HostPool)?.drain()
        }
        var endpoint = EndpointTable.Endpoint(address: address)
        endpoint.hostname = name.host
        let host = Host(endpoint)
        dynamicHosts[name.text] = host
        count(.membership_change)
        return host
    }

    /// One of the hosts of a name, each address being one (`sub_clusters_config`).
    private func dynamicHost(
        of name: DNSCacheName, _ settings: DNSCacheSettings, _ spreading: DNSCacheSettings.Spreading
    ) -> Host? {
        let cache = worker.dnsCache(settings)
        let addresses = cache.addresses(of: name)
        guard !addresses.isEmpty else { return nil }
        func host(_ number: UInt64) -> Host {
            let address = HostAddress.ip("\(addresses[Int(number % UInt64(addresses.count))])", port: name.port)
            let key = Self.key(name.text, address)
            if let known = dynamicHosts[key] { return known }
            var endpoint = EndpointTable.Endpoint(address: address)
            endpoint.hostname = name.host
            let host = Host(endpoint)
            dynamicHosts[key] = host
            count(.membership_change)
            return host
        }
        switch spreading {
        case .roundRobin: return host(UInt64(truncatingIfNeeded: cache.nextTurn(of: name)))
        case .random: return host(worker.random.next())
        case .leastRequest:
            let (one, other) = (host(worker.random.next()), host(worker.random.next()))
            return other.activeRequests < one.activeRequests ? other : one
        }
    }

    private static func key(_ name: String, _ address: HostAddress) -> String { "\(name) \(address)" }

    /// Nobody uses it any more: names come with requests, so hosts must not pile up.
    func forgetDynamic(_ host: Host) {
        guard case .ip(_, let port) = host.address else { return }
        let key = DNSCacheName(host: host.endpoint.hostname, port: port).text
        for key in [key, Self.key(key, host.address)] where dynamicHosts[key] === host { dynamicHosts[key] = nil }
        host.attachment = nil
    }
}
