internal import Store

/// Where objects are kept, as the command line says it.
enum StoreFlags {
    static let store = Flag(
        "store", value: "sqlite|etcd=URL[,URL…]", "where objects are kept (default sqlite, in the data directory)")
    static let authority = Flag("etcd-ca", value: "FILE", "what signs the certificates of etcd (PEM)")
    static let certificate = Flag("etcd-cert", value: "FILE", "the client certificate for etcd (PEM)")
    static let key = Flag("etcd-key", value: "FILE", "the key of the client certificate (PEM)")
    static let user = Flag("etcd-user", value: "NAME", "the user of etcd's own authentication")
    static let password = Flag("etcd-password-file", value: "FILE", "the file with the user's password")
    static let prefix = Flag("etcd-prefix", value: "PATH", "what all keys in etcd begin with (default /skein)")
    static let secretKey = Flag(
        "encryption-key", value: "FILE",
        "the key of Secrets at rest, mode 0600, the same on all servers of one etcd (default: made in the data directory)"
    )

    static let all = [store, authority, certificate, key, user, password, prefix, secretKey]

    static func settings(_ invocation: Invocation) throws(CommandError) -> StoreSettings {
        var settings = StoreSettings()
        if let text = invocation.value(store) {
            guard let address = StoreAddress(text) else {
                throw CommandError.usage(
                    "up", "--store \(text): sqlite, etcd://HOST:PORT,… or etcd=https://HOST:PORT,…")
            }
            settings.address = address
        }
        settings.authorityFile = invocation.value(authority)
        settings.certificateFile = invocation.value(certificate)
        settings.keyFile = invocation.value(key)
        settings.user = invocation.value(user)
        settings.passwordFile = invocation.value(password)
        settings.prefix = invocation.value(prefix) ?? settings.prefix
        settings.secretKeyFile = invocation.value(secretKey)
        if (settings.certificateFile == nil) != (settings.keyFile == nil) {
            throw CommandError.usage("up", "--etcd-cert and --etcd-key belong together")
        }
        if settings.address == .sqlite {
            for flag in [authority, certificate, user, password, prefix] where invocation.has(flag) {
                throw CommandError.usage("up", "--\(flag.name) means nothing with --store sqlite")
            }
        }
        return settings
    }

    /// The settings as flags of the control plane's own process.
    static func arguments(_ settings: StoreSettings) -> [String] {
        var words = ["--store", settings.address.description]
        let values = [
            (authority, settings.authorityFile), (certificate, settings.certificateFile), (key, settings.keyFile),
            (user, settings.user), (password, settings.passwordFile),
            (prefix, settings.address == .sqlite ? nil : settings.prefix), (secretKey, settings.secretKeyFile),
        ]
        for (flag, value) in values {
            if let value { words += ["--" + flag.name, value] }
        }
        return words
    }
}
