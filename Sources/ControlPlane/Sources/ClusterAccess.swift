import Serialization

/// How a Kubernetes API is reached: what a kubeconfig says, read and checked.
public struct ClusterAccess: Sendable, Hashable {
    /// Where a PEM text or a token comes from.
    public enum Material: Sendable, Hashable {
        /// It stands in the kubeconfig.
        case inline([UInt8])
        /// In a file that is read again when it has changed.
        case file(String)
    }

    /// The server's host: a name or an address without brackets.
    public var host = ""
    /// The server's port.
    public var port: UInt16 = 443
    /// Whether TLS is spoken.
    public var isSecure = true
    /// What stands before every path, without a slash at its end.
    public var pathPrefix = ""
    /// The name that the server's certificate must have instead of `host`.
    public var serverName: String?
    /// The authorities of the server's certificate; nil: those of this machine.
    public var authorities: Material?
    /// Whether the server's certificate is not looked at.
    public var skipsVerification = false
    /// Our certificate and its key.
    public var certificate: Material?
    /// The key of our certificate.
    public var key: Material?
    /// Our token.
    public var token: Material?
    /// The context that was read, for the log.
    public var context = ""
}

/// Why a kubeconfig cannot be used: file, field and what to do.
public struct KubeconfigError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The whole line.
    public var description: String

    init(_ file: String, _ field: String, _ problem: String) { description = "\(file): \(field): \(problem)" }
}

extension ClusterAccess {
    /// Reads a kubeconfig; `directory` is what its relative paths are relative to.
    ///
    /// Source: Kubernetes' reference of the client configuration v1.
    public init(kubeconfig text: String, file: String, directory: String, context wanted: String? = nil)
        throws(KubeconfigError)
    {
        let documents: [JSON]
        do {
            documents = try YAML.parse(text, file: file).map(\.json)
        } catch {
            throw KubeconfigError(file, "kubeconfig", "cannot be read: \(error)")
        }
        guard let config = documents.first, config["clusters"] != nil else {
            throw KubeconfigError(file, "clusters", "is missing: this is no kubeconfig")
        }
        let name = wanted ?? config["current-context"]?.string ?? ""
        func entry(_ list: String, _ member: String, _ name: String) throws(KubeconfigError) -> (JSON, String) {
            let entries = config[list]?.array ?? []
            guard let position = entries.firstIndex(where: { $0["name"]?.string == name }) else {
                throw KubeconfigError(file, list, "has no entry named \"\(name)\"")
            }
            return (entries[position][member] ?? .object([:]), "\(list)[\(position)].\(member)")
        }
        let (context, contextPath) = try entry("contexts", "context", name)
        self.context = name
        let (cluster, clusterPath) = try entry("clusters", "cluster", context["cluster"]?.string ?? "")
        func material(_ json: JSON, _ path: String, _ data: String, _ fileName: String) throws(KubeconfigError)
            -> Material?
        {
            if let encoded = json[data]?.string, !encoded.isEmpty {
                guard let bytes = Base64.decode(encoded) else {
                    throw KubeconfigError(file, "\(path).\(data)", "is no base64")
                }
                return .inline(bytes)
            }
            guard let name = json[fileName]?.string, !name.isEmpty else { return nil }
            return .file(name.hasPrefix("/") ? name : directory + "/" + name)
        }
        try server(cluster["server"]?.string ?? "", file, clusterPath + ".server")
        if cluster["proxy-url"] != nil {
            throw KubeconfigError(
                file, clusterPath + ".proxy-url", "is not supported: let the server be reached without a proxy")
        }
        serverName = cluster["tls-server-name"]?.string
        skipsVerification = cluster["insecure-skip-tls-verify"]?.bool ?? false
        authorities = try material(cluster, clusterPath, "certificate-authority-data", "certificate-authority")
        if skipsVerification, authorities != nil {
            throw KubeconfigError(
                file, clusterPath, "has insecure-skip-tls-verify beside a certificate authority: remove one of them")
        }
        guard let userName = context["user"]?.string, !userName.isEmpty else {
            throw KubeconfigError(file, contextPath + ".user", "is missing: every request is authenticated")
        }
        let (user, userPath) = try entry("users", "user", userName)
        try refuseOthers(user, file, userPath)
        certificate = try material(user, userPath, "client-certificate-data", "client-certificate")
        key = try material(user, userPath, "client-key-data", "client-key")
        if let file = user["tokenFile"]?.string, !file.isEmpty {
            // Kubernetes' rule: the file goes before the text.
            token = .file(file.hasPrefix("/") ? file : directory + "/" + file)
        } else if let text = user["token"]?.string, !text.isEmpty {
            token = .inline(Array(text.utf8))
        }
        if (certificate == nil) != (key == nil) {
            throw KubeconfigError(file, userPath, "has only one of client-certificate and client-key")
        }
        if certificate == nil, token == nil {
            throw KubeconfigError(file, userPath, "has neither a client certificate nor a token")
        }
        if !isSecure {
            throw KubeconfigError(
                file, clusterPath + ".server", "is not https: a token or certificate would not be safe on it")
        }
    }

    /// What would need a program or a secret of another kind is refused by its name.
    private func refuseOthers(_ user: JSON, _ file: String, _ path: String) throws(KubeconfigError) {
        if let exec = user["exec"], !exec.isNull {
            throw KubeconfigError(
                file, path + ".exec",
                "credential plugins (\(exec["command"]?.string ?? "")) are not run by a server: let one write its token to a file and name "
                    + "that as tokenFile, which is read again when it changes, or use a client certificate")
        }
        if let provider = user["auth-provider"], !provider.isNull {
            throw KubeconfigError(
                file, path + ".auth-provider",
                "is not supported (Kubernetes removed it in 1.26): use tokenFile or a client certificate")
        }
        for name in ["username", "password"] where user[name] != nil {
            throw KubeconfigError(
                file, "\(path).\(name)",
                "is not supported (Kubernetes removed it in 1.19): use a token or a client certificate")
        }
        for name in ["as", "as-groups", "as-uid", "as-user-extra"] where user[name] != nil {
            throw KubeconfigError(file, "\(path).\(name)", "impersonation is not supported: use an account of its own")
        }
    }

    private mutating func server(_ text: String, _ file: String, _ path: String) throws(KubeconfigError) {
        func fail(_ why: String) -> KubeconfigError { KubeconfigError(file, path, "\"\(text)\" \(why)") }
        var rest = text[...]
        if rest.hasPrefix("https://") {
            rest = rest.dropFirst(8)
        } else if rest.hasPrefix("http://") {
            isSecure = false
            port = 80
            rest = rest.dropFirst(7)
        } else {
            throw fail("is no address such as https://HOST:PORT")
        }
        let authority = rest.prefix { $0 != "/" }
        pathPrefix = String(rest.dropFirst(authority.count))
        while pathPrefix.hasSuffix("/") { pathPrefix.removeLast() }
        guard !authority.contains("@"), !pathPrefix.contains("?"), !pathPrefix.contains("#") else {
            throw fail("has parts that are not allowed there")
        }
        var number: Substring?
        if authority.hasPrefix("["), let end = authority.firstIndex(of: "]") {
            host = String(authority[authority.index(after: authority.startIndex)..<end])
            let after = authority[authority.index(after: end)...]
            number = after.isEmpty ? nil : after.dropFirst()
        } else if let colon = authority.lastIndex(of: ":") {
            host = String(authority[..<colon])
            number = authority[authority.index(after: colon)...]
        } else {
            host = String(authority)
        }
        if let number {
            guard let value = UInt16(number), value > 0 else { throw fail("has no port from 1 to 65535") }
            port = value
        }
        guard !host.isEmpty else { throw fail("has no host") }
    }
}
