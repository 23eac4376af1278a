internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Synchronization
internal import TLS
internal import Telemetry
internal import Upstream

/// Secrets by name, and the TLS contexts that are made of them.
///
/// `@unchecked Sendable`: lives on the control loop alone; compile contexts carry it.
final class SecretStore: @unchecked Sendable {
    private static let log = Logger("secrets")

    /// One secret in force.
    struct Entry {
        var secret: Secret
        var version: String
        var isStatic: Bool
        var updated: (seconds: Int64, nanoseconds: Int32)
    }

    private struct Watched {
        weak var context: TransportContext?
    }

    private(set) var secrets: [String: Entry] = [:]
    /// `--defaults envoy`: what a TLS context leaves out is as Envoy has it.
    var usesEnvoyDefaults = false
    private var contexts: [Watched] = []

    private struct WatchedSecret {
        weak var secret: FilterSecret?
    }

    private var filterSecrets: [WatchedSecret] = []
    /// Files that generic secrets were read from, by the secret's name.
    private var genericFiles: [String: Set<String>] = [:]
    /// Where secrets that are not static come from.
    private(set) var sources: [String: ConfigSource] = [:]
    private var stamps: [String: File.Stamp?] = [:]
    private var timer: LoopTimer?
    private var loop: EventLoop?
    /// Asked when secrets are wanted that were not before, or when contexts became complete.
    var onChange: () -> Void = {}
    /// Told of contexts that trust less than before: connections under them must not live on.
    var onTrustLost: (Set<ObjectIdentifier>) -> Void = { _ in }

    // MARK: Secrets

    /// Takes the bootstrap's secrets.
    func setStatic(_ messages: [Secret], at path: String) throws(ConfigurationError) {
        for (index, secret) in messages.enumerated() {
            let here = "\(path)[\(index)]"
            guard !secret.name.isEmpty else { throw ConfigurationError(at: here + ".name", "a name is needed") }
            guard secrets[secret.name] == nil else {
                throw ConfigurationError(at: here + ".name", "\"\(secret.name)\" is there twice")
            }
            try check(secret, at: here)
            secrets[secret.name] = Entry(secret: secret, version: "", isStatic: true, updated: WallClock.now)
        }
    }

    private func check(_ secret: Secret, at path: String) throws(ConfigurationError) {
        switch secret.type {
        case .tlsCertificate(let certificate):
            var kitchen = TLSCompiler(secrets: self, path: path)
            _ = try kitchen.identity(certificate, at: path + ".tls_certificate")
        case .validationContext(let context):
            var kitchen = TLSCompiler(secrets: self, path: path)
            var configuration = TLSConfiguration()
            try kitchen.take(context, &configuration, at: path + ".validation_context")
        case .sessionTicketKeys(let keys):
            var kitchen = TLSCompiler(secrets: self, path: path)
            _ = try kitchen.ticketKeys(keys, at: path + ".session_ticket_keys")
        case .genericSecret: break
        case nil: throw ConfigurationError(at: path, "a secret is needed, for instance tls_certificate")
        }
    }

    /// Takes a delivered secret: contexts that use it are made anew; when that fails nothing changes.
    func set(_ secret: Secret, name: String, version: String, at path: String) throws(ConfigurationError) {
        guard secrets[name]?.isStatic != true else {
            throw ConfigurationError(at: path + ".name", "a secret of this name is in the bootstrap")
        }
        try check(secret, at: path)
        let old = secrets[name]
        secrets[name] = Entry(secret: secret, version: version, isStatic: false, updated: WallClock.now)
        do throws(ConfigurationError) {
            try remake { $0.ingredients.secrets.contains(name) }
            try refresh([name])
        } catch {
            secrets[name] = old
            throw error
        }
        watchFiles()
        onChange()
    }

    /// A secret is gone: contexts go on with what they have, new ones wait.
    func remove(_ name: String) {
        if secrets[name]?.isStatic == false { secrets[name] = nil }
    }

    /// The secret that a configuration names; nil while it has not arrived.
    func secret(_ config: SdsSecretConfig, at path: String) throws(ConfigurationError) -> Secret? {
        guard let source = config.sdsConfig else {
            guard let found = secrets[config.name] else {
                throw ConfigurationError(
                    at: path + ".name",
                    "there is no secret \"\(config.name)\" in static_resources.secrets; for others write sds_config")
            }
            return found.secret
        }
        switch source.configSourceSpecifier {
        case .path(let file): try readFile(file, config.name, at: path + ".sds_config.path")
        case .pathConfigSource(let file):
            try readFile(file.path, config.name, at: path + ".sds_config.path_config_source.path")
        case .ads, .apiConfigSource:
            if sources[config.name] == nil { sources[config.name] = source }
        case .self, nil:
            throw ConfigurationError(
                at: path + ".sds_config", "one of path_config_source, ads, api_config_source is needed")
        }
        return secrets[config.name]?.secret
    }

    /// A value of a generic secret; for filters (credentials, keys of cookies).
    func generic(_ config: SdsSecretConfig, at path: String) throws(ConfigurationError) -> [UInt8]? {
        guard let found = try secret(config, at: path) else { return nil }
        guard case .genericSecret(let generic) = found.type else {
            throw ConfigurationError(at: path, "secret \"\(config.name)\" is no generic_secret")
        }
        var kitchen = TLSCompiler(secrets: self, path: path)
        let bytes = try kitchen.bytes(generic.secret, at: path)
        genericFiles[config.name] = kitchen.ingredients.files
        watchFiles()
        return bytes
    }

    /// Keeps a filter's secret up to date for as long as the filter is there.
    func watch(_ secret: FilterSecret) {
        filterSecrets.removeAll { $0.secret == nil }
        filterSecrets.append(WatchedSecret(secret: secret))
    }

    /// Reads filters' secrets of those names again.
    private func refresh(_ names: Set<String>) throws(ConfigurationError) {
        for watched in filterSecrets {
            guard let secret = watched.secret, names.contains(secret.name) else { continue }
            try secret.refresh(from: self)
        }
    }

    // MARK: Files

    /// Reads a file in the form of a discovery response (JSON or YAML), whose resources are secrets.
    private func readFile(_ file: String, _ name: String, at path: String) throws(ConfigurationError) {
        let stamp = File.stamp(file)
        if let known = stamps[file], known == stamp, secrets[name] != nil { return }
        fileSources[file, default: []].insert(name)
        let text: String
        do throws(SystemError) {
            text = try File.text(file)
        } catch {
            // It may come later: the files are looked at again.
            stamps[file] = .some(nil)
            return
        }
        stamps[file] = stamp
        for secret in try SecretFile.read(text, file: file, at: path) where secrets[secret.name]?.isStatic != true {
            try check(secret, at: path)
            secrets[secret.name] = Entry(secret: secret, version: "", isStatic: false, updated: WallClock.now)
        }
    }
    /// Secrets that come from files.
    private var fileSources: [String: Set<String>] = [:]

    /// Looks at files from now on.
    func start(on loop: EventLoop) {
        self.loop = loop
        watchFiles()
    }

    private func watchFiles() {
        guard let loop, timer == nil, !files.isEmpty else { return }
        for file in files where stamps[file] == nil { stamps[file] = File.stamp(file) }
        timer = loop.schedule(after: Limits.fileCheckInterval) { [weak self] in
            guard let self else { return }
            self.timer = nil
            self.lookAtFiles()
            self.watchFiles()
        }
    }

    private var files: Set<String> {
        let generic = genericFiles.values.reduce(into: Set(fileSources.keys)) { $0.formUnion($1) }
        return contexts.reduce(into: generic) { files, watched in
            files.formUnion(watched.context?.ingredients.files ?? [])
        }
    }

    /// Makes anew what was made of files that are different now.
    func lookAtFiles() {
        var changed: Set<String> = []
        for file in files {
            let stamp = File.stamp(file)
            guard let known = stamps[file] else {
                stamps[file] = stamp
                continue
            }
            if known != stamp { changed.insert(file) }
        }
        guard !changed.isEmpty else { return }
        var names: Set<String> = []
        for file in changed {
            if let secrets = fileSources[file] {
                names.formUnion(secrets)
            } else {
                stamps[file] = File.stamp(file)
            }
            for (name, files) in genericFiles where files.contains(file) { names.insert(name) }
        }
        do throws(ConfigurationError) {
            for (file, _) in fileSources where changed.contains(file) {
                for name in fileSources[file] ?? [] { try readFile(file, name, at: file) }
            }
            try remake { context in
                let made = context.ingredients
                return !made.files.isDisjoint(with: changed) || !made.secrets.isDisjoint(with: names)
            }
            try refresh(names)
        } catch {
            // Half of a pair may be written: the other half is a change too, and tried then.
            Self.log.warning("changed files are not taken: \(error)")
        }
        onChange()
    }

    // MARK: Contexts

    func watch(_ context: TransportContext) {
        contexts.removeAll { $0.context == nil }
        contexts.append(Watched(context: context))
        watchFiles()
    }

    /// Makes contexts anew; all are tried, and the first that fails is told.
    private func remake(_ isConcerned: (TransportContext) -> Bool) throws(ConfigurationError) {
        var failure: ConfigurationError?
        var lost: Set<ObjectIdentifier> = []
        for watched in contexts {
            guard let context = watched.context, isConcerned(context) else { continue }
            do throws(ConfigurationError) {
                if try context.remake(with: self) { lost.insert(ObjectIdentifier(context)) }
            } catch {
                failure = failure ?? error
            }
        }
        if !lost.isEmpty { onTrustLost(lost) }
        if let failure { throw failure }
    }

    /// Secrets that filters in use name, with their sources; those of TLS contexts are found in clusters and listeners.
    var wantedByFilters: [(name: String, source: ConfigSource)] {
        filterSecrets.compactMap { watched in
            guard let name = watched.secret?.name, let source = sources[name] else { return nil }
            return (name, source)
        }
    }

    /// Whether all contexts and filters have their secrets.
    var isWarm: Bool {
        contexts.allSatisfy { $0.context.map { $0.current != nil } ?? true }
            && filterSecrets.allSatisfy { $0.secret.map { $0.value != nil } ?? true }
    }

    /// What `/certs` tells.
    var certificates: [(certificates: [CertificateFact], authorities: [CertificateFact])] {
        contexts.compactMap { $0.context.map { ($0.ingredients.certificates, $0.ingredients.authorities) } }
    }
}

/// Files of secrets.
enum SecretFile {
    static func read(_ text: String, file: String, at path: String) throws(ConfigurationError) -> [Secret] {
        let json: JSON
        if file.hasSuffix(".json") {
            do throws(JSONError) {
                json = try JSON.parse(text)
            } catch {
                throw ConfigurationError(at: path, "\(file): \(error)")
            }
        } else {
            do throws(YAMLError) {
                json =
                    try YAML.parse(text, file: file, keepingLines: false, fractionsAreText: true).first?.json
                    ?? .object([:])
            } catch {
                throw ConfigurationError(at: path, "\(error)")
            }
        }
        do throws(MessageError) {
            let response = try DiscoveryResponse(json: json)
            var secrets: [Secret] = []
            for any in response.resources { secrets.append(try any.unpack(as: Secret.self)) }
            return secrets
        } catch {
            throw ConfigurationError(at: FieldCheck.join(path, error.path), "\(file): \(error.problem)")
        }
    }
}
