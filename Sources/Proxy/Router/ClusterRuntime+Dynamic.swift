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
        guard let name, let ip = worker.dnsCache(settings).address(of: name) else { return nil }
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

    /// Nobody uses it any more: names come with requests, so hosts must not pile up.
    func forgetDynamic(_ host: Host) {
        guard case .ip(_, let port) = host.address else { return }
        let key = DNSCacheName(host: host.endpoint.hostname, port: port).text
        if dynamicHosts[key] === host { dynamicHosts[key] = nil }
        host.attachment = nil
    }
}
