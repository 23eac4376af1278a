internal import EnvoyAPI
internal import IO
internal import Synchronization
internal import Upstream

/// A file in the NSS key log format, for looking into captured traffic while testing.
final class KeyLog: Sendable {
    private let path: String
    private let lock = Mutex(())

    init(compiling message: TlsKeyLog, at path: String) throws(ConfigurationError) {
        guard !message.path.isEmpty else { throw ConfigurationError(at: path + ".path", "a path is needed") }
        self.path = message.path
    }

    /// Appends a line; handshakes of a test wait for each other.
    @Sendable func write(_ line: String) {
        lock.withLock { _ in try? File.append(path, Array((line + "\n").utf8), mode: 0o600) }
    }
}
