internal import EnvoyAPI
internal import Synchronization
internal import Upstream

/// A generic secret that a filter uses, as it is now.
///
/// The control loop puts new values in; workers read them for each request.
final class FilterSecret: Sendable {
    private let config: SdsSecretConfig
    private let path: String
    private let state = Mutex<[UInt8]?>(nil)

    /// Reads what is there; an error in it refuses the configuration.
    init(_ config: SdsSecretConfig?, at path: String, secrets: SecretStore) throws(ConfigurationError) {
        guard let config else { throw ConfigurationError(at: path, "is missing") }
        guard !config.name.isEmpty else { throw ConfigurationError(at: path + ".name", "a name is needed") }
        self.config = config
        self.path = path
        try refresh(from: secrets)
        secrets.watch(self)
    }

    /// Under which name it is known.
    var name: String { config.name }

    /// The value; nil while it has not arrived.
    var value: [UInt8]? { state.withLock { $0 } }

    /// Reads it again; what cannot be read leaves the value that was.
    func refresh(from secrets: SecretStore) throws(ConfigurationError) {
        guard let value = try secrets.generic(config, at: path) else { return }
        state.withLock { $0 = value }
    }
}
