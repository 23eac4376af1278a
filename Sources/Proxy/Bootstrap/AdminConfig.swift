internal import EnvoyAPI
internal import IO
internal import Upstream

/// The admin server of a bootstrap.
struct AdminConfig: Sendable {
    let address: IO.SocketAddress
    /// Paths that are answered; all when empty.
    let allowedPaths: [Upstream.StringMatcher]

    /// Whether somebody from another machine can reach it.
    var isExposed: Bool {
        guard let ip = address.address else { return false }
        return !ip.isLoopback
    }

    /// Nil without an address: then there is no admin server.
    init?(compiling message: Admin, at path: String) throws(ConfigurationError) {
        try FieldCheck.check(message, reads: ["address", "allow_paths"], at: path)
        guard let address = message.address else { return nil }
        self.address = try IO.SocketAddress(compiling: address, at: path + ".address")
        var allowed: [Upstream.StringMatcher] = []
        for (index, matcher) in message.allowPaths.enumerated() {
            allowed.append(try Upstream.StringMatcher(compiling: matcher, at: "\(path).allow_paths[\(index)]"))
        }
        allowedPaths = allowed
    }
}
