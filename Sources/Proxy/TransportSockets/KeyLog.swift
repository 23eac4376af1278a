internal import EnvoyAPI
internal import IO
internal import Synchronization
internal import Upstream

/// A file in the NSS key log format, for looking into captured traffic while testing.
final class KeyLog: Sendable {
    private let path: String
    private let local: [Prefix]
    private let remote: [Prefix]
    private let lock = Mutex(())

    init(compiling message: TlsKeyLog, at path: String) throws(ConfigurationError) {
        guard !message.path.isEmpty else { throw ConfigurationError(at: path + ".path", "a path is needed") }
        self.path = message.path
        local = try Self.prefixes(message.localAddressRange, path + ".local_address_range")
        remote = try Self.prefixes(message.remoteAddressRange, path + ".remote_address_range")
    }

    private static func prefixes(_ ranges: [CidrRange], _ path: String) throws(ConfigurationError) -> [Prefix] {
        var prefixes: [Prefix] = []
        for (index, range) in ranges.enumerated() {
            guard let address = IPAddress(range.addressPrefix),
                let prefix = Prefix(address, length: Int(range.prefixLen ?? 0))
            else { throw ConfigurationError(at: "\(path)[\(index)]", "it is no address range such as 10.0.0.0/8") }
            prefixes.append(prefix)
        }
        return prefixes
    }

    /// Whether connections between two addresses are logged.
    func includes(local ours: IO.SocketAddress?, remote theirs: IO.SocketAddress?) -> Bool {
        Self.matches(local, ours) && Self.matches(remote, theirs)
    }

    private static func matches(_ prefixes: [Prefix], _ address: IO.SocketAddress?) -> Bool {
        guard !prefixes.isEmpty else { return true }
        guard let ip = address?.address else { return false }
        return prefixes.contains { $0.contains(ip) }
    }

    /// Appends a line; handshakes of a test wait for each other.
    @Sendable func write(_ line: String) {
        lock.withLock { _ in try? File.append(path, Array((line + "\n").utf8), mode: 0o600) }
    }
}
