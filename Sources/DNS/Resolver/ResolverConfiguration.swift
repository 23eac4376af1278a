public import IO

/// Which servers are asked, and how: what `/etc/resolv.conf` says.
public struct ResolverConfiguration: Hashable, Sendable {
    /// The servers, in the order in which they are tried.
    public var servers: [SocketAddress] = []
    /// The domains that are appended to short names.
    public var search: [String] = []
    /// Names with fewer dots than this are looked for in the search domains first.
    public var ndots = 1
    /// How long to wait for one answer.
    public var timeout = Duration.seconds(2)
    /// How often the list of servers is gone through.
    public var attempts = 2
    /// Questions go by TCP alone.
    public var usesStreams = false
    /// Each question begins with another server.
    public var rotates = false
    /// Addresses of a family in which this machine has none itself (but loopback) are left out.
    public var onlyRoutable = false
    /// How long an answer is kept at most, in seconds; nil is `CacheSettings`'.
    public var ttlMax: UInt32?
    /// The text that it was read from names a server; without one the server is assumed to be on this machine.
    public private(set) var namesServers = true

    /// These servers, and nothing else.
    public init(servers: [SocketAddress]) { self.servers = servers }

    /// What the text of a `resolv.conf` says; values out of range become the nearest sensible ones, as in the C library.
    public init(text: String) {
        for line in text.split(whereSeparator: \.isNewline) {
            let words = line.split { $0 == " " || $0 == "\t" }
            guard let keyword = words.first, !keyword.hasPrefix("#"), !keyword.hasPrefix(";") else { continue }
            switch keyword {
            case "nameserver":
                if words.count > 1, let address = IPAddress(words[1]), servers.count < 3 {
                    servers.append(.ip(address, port: 53))
                }
            case "search", "domain": search = words.dropFirst().prefix(32).map(String.init)
            case "options": for option in words.dropFirst() { read(option: option) }
            default: break
            }
        }
        namesServers = !servers.isEmpty
        if servers.isEmpty { servers = [.ip(.v4(0x7F00_0001), port: 53)] }
    }

    /// What this machine's `/etc/resolv.conf` says.
    public static func host() -> ResolverConfiguration {
        ResolverConfiguration(text: (try? File.text("/etc/resolv.conf")) ?? "")
    }

    private mutating func read(option: Substring) {
        let parts = option.split(separator: ":")
        guard parts.count == 2, let value = Int(parts[1]) else { return }
        switch parts[0] {
        case "ndots": ndots = min(max(value, 0), 15)
        case "timeout": timeout = .seconds(min(max(value, 1), 30))
        case "attempts": attempts = min(max(value, 1), 5)
        default: break
        }
    }

    /// The full names that a name may stand for, in the order in which they are tried.
    public func candidates(_ host: String) -> [Name] {
        guard let name = Name(host) else { return [] }
        if host.hasSuffix(".") { return [name] }
        let longer = search.compactMap { domain in Name(domain).flatMap { Name(host, under: $0) } }
        return name.labels.count > ndots ? [name] + longer : longer + [name]
    }
}

/// The names and addresses of a hosts file.
public struct HostsFile: Hashable, Sendable {
    private var addresses: [Name: [IPAddress]] = [:]

    /// What that text says; lines that make no sense are passed over.
    public init(text: String) {
        for line in text.split(whereSeparator: \.isNewline) {
            let words = line.prefix { $0 != "#" }.split { $0 == " " || $0 == "\t" }
            guard let first = words.first, let address = IPAddress(first) else { continue }
            for word in words.dropFirst() {
                if let name = Name(word) { addresses[name, default: []].append(address) }
            }
        }
    }

    /// What this machine's `/etc/hosts` says.
    public static func host() -> HostsFile { HostsFile(text: (try? File.text("/etc/hosts")) ?? "") }

    /// The addresses of that name; none when it is not in the file.
    public subscript(name: Name) -> [IPAddress] { addresses[name] ?? [] }
}
