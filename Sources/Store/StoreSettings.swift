internal import Etcd
public import IO
internal import TLS

/// Where objects are kept: `sqlite`, `etcd://HOST:PORT[,…]` (without TLS) or `etcd=https://HOST:PORT[,…]`.
public enum StoreAddress: Sendable, Hashable, CustomStringConvertible {
    /// In a file of the data directory.
    case sqlite
    /// In an etcd cluster, by the URLs of its members.
    case etcd([String])

    /// Reads the value of `--store`; nil when it means nothing.
    public init?(_ text: String) {
        if text == "sqlite" {
            self = .sqlite
            return
        }
        guard let start = ["etcd://", "etcd="].first(where: text.hasPrefix) else { return nil }
        let parts = text.dropFirst(start.count).split(separator: ",", omittingEmptySubsequences: false)
        let endpoints = parts.compactMap { EtcdEndpoint($0) }
        guard endpoints.count == parts.count, !endpoints.isEmpty else { return nil }
        self = .etcd(endpoints.map(\.description))
    }

    /// As it is written in a flag.
    public var description: String {
        switch self {
        case .sqlite: "sqlite"
        case .etcd(let urls): "etcd=" + urls.joined(separator: ",")
        }
    }
}

/// Where objects are kept, and what is needed to get there.
public struct StoreSettings: Sendable, Hashable {
    /// The home.
    public var address = StoreAddress.sqlite
    /// PEM file with what signs etcd's certificates.
    public var authorityFile: String?
    /// PEM file with our certificate for etcd.
    public var certificateFile: String?
    /// PEM file with the key of it.
    public var keyFile: String?
    /// The user of etcd's authentication.
    public var user: String?
    /// File with the user's password; line ends at its end do not count.
    public var passwordFile: String?
    /// What all keys in etcd begin with.
    public var prefix = "/skein"
    /// File with the key that Secrets are encrypted with; nil: `secrets.key` in the control directory.
    public var secretKeyFile: String?

    /// SQLite in the data directory.
    public init() {}

    /// Opens the store whose files are in a control directory.
    ///
    /// - Parameter seconds: the time, from which revisions are kept from falling (`SQLiteStore.floor`).
    public func open(
        directory: String, on loop: EventLoop, seconds: Int64
    ) async throws(StoreError) -> ReplicaStore {
        let secretKey = secretKeyFile ?? directory + "/" + SQLiteBackup.keyName
        let floor = SQLiteStore.floor(seconds: seconds)
        guard case .etcd(let urls) = address else {
            var options = SQLiteStore.Options()
            options.loop = loop
            options.keyFile = secretKey
            options.revisionFloor = floor
            return try SQLiteStore(path: directory + "/" + SQLiteBackup.databaseName, options)
        }
        var options = EtcdStore.Options()
        options.prefix = prefix
        options.revisionFloor = floor
        options.keyFile = secretKey
        let client = EtcdClient(try configuration(urls), on: loop)
        do throws(StoreError) { return try await EtcdStore.open(client, options) } catch {
            client.close()
            throw error
        }
    }

    private func configuration(_ urls: [String]) throws(StoreError) -> EtcdConfiguration {
        var configuration = EtcdConfiguration(endpoints: urls.compactMap { EtcdEndpoint($0) })
        var file = ""
        do {
            if let authorityFile {
                file = authorityFile
                configuration.authority = try Certificate.all(pem: try File.read(file))
            }
            if let certificateFile {
                file = certificateFile
                configuration.certificateChain = try Certificate.all(pem: try File.read(file))
            }
            if let keyFile {
                file = keyFile
                configuration.privateKey = try PrivateKey(pem: try File.read(file))
            }
            if let passwordFile {
                file = passwordFile
                var password = try File.text(file)
                while password.last?.isNewline == true { password.removeLast() }
                configuration.password = password
            }
        } catch {
            throw .failed(path: file, detail: "\(error)")
        }
        configuration.user = user
        return configuration
    }
}
