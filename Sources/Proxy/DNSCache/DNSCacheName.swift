internal import IO
internal import Upstream

/// What a request calls the host it wants: a name or an address, and a port.
struct DNSCacheName: Hashable, Sendable {
    let host: String
    let port: UInt16

    private static let nameBytesMax = 255
    /// Where a filter puts a name for connections that carry no request.
    static let hostKey = "envoy.upstream.dynamic_host"
    static let portKey = "envoy.upstream.dynamic_port"

    init(host: String, port: UInt16) {
        self.host = host
        self.port = port
    }

    /// `host`, `host:port`, `1.2.3.4:80`, `[::1]:80`; nil for what can be no name.
    init?(authority: String, defaultPort: UInt16) {
        var host = authority[...]
        var port = defaultPort
        if host.first == "[" {
            guard let end = host.firstIndex(of: "]") else { return nil }
            let rest = host[host.index(after: end)...]
            host = host[host.index(after: host.startIndex)..<end]
            guard IPAddress(host) != nil else { return nil }
            if !rest.isEmpty {
                guard rest.first == ":", let number = Self.port(rest.dropFirst()) else { return nil }
                port = number
            }
        } else if let colon = host.lastIndex(of: ":") {
            guard let number = Self.port(host[host.index(after: colon)...]) else { return nil }
            port = number
            host = host[..<colon]
        }
        let bytes = host.utf8
        guard !bytes.isEmpty, bytes.count <= Self.nameBytesMax, port > 0,
            bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "/") })
        else { return nil }
        self.init(host: host.lowercased(), port: port)
    }

    /// What a network filter has put down for a connection.
    init?(_ facts: ConnectionFacts, defaultPort: UInt16) {
        guard let host = facts.filterState[Self.hostKey] else { return nil }
        self.init(host: host, port: facts.filterState[Self.portKey].flatMap { UInt16($0) } ?? defaultPort)
    }

    private static func port(_ text: Substring) -> UInt16? {
        guard !text.isEmpty, text.utf8.allSatisfy({ $0 &- 48 < 10 }) else { return nil }
        return UInt16(text)
    }

    var text: String { "\(host):\(port)" }
}
