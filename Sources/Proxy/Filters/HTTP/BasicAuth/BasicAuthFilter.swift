internal import EnvoyAPI
internal import HTTP
internal import Serialization
internal import TLS
internal import Telemetry
internal import Upstream

/// `envoy.filters.http.basic_auth`: requests must carry the name and password of a user (RFC 7617).
struct BasicAuthFilterConfig: HTTPFilterConfig {
    let name: String
    let isDisabled: Bool
    let users: BasicAuthUsers
    /// Gets the user's name, for the upstream.
    let forwardedName: String
    /// Where the credentials are; empty is `authorization`.
    let fieldName: String
    let allowed: MetricCounter
    let denied: MetricCounter

    static let kind = HTTPFilterKind(
        BasicAuth.self, perRoute: BasicAuthPerRoute.self,
        compile: { message, context throws(ConfigurationError) in
            let scope = context.compile.metrics.scope("http", context.statPrefix, "basic_auth")
            return BasicAuthFilterConfig(
                name: context.name, isDisabled: context.isDisabled,
                users: try BasicAuthUsers(compiling: message.users, at: context.path + ".users"),
                forwardedName: try fieldName(message.forwardUsernameHeader, context.path + ".forward_username_header"),
                fieldName: try fieldName(message.authenticationHeader, context.path + ".authentication_header"),
                allowed: scope.counter("allowed"), denied: scope.counter("denied"))
        },
        compileRoute: { message, context throws(ConfigurationError) in
            try BasicAuthUsers(compiling: message.users, at: context.path + ".users")
        })

    private static func fieldName(_ name: String, _ path: String) throws(ConfigurationError) -> String {
        guard name.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: ":") }) else {
            throw ConfigurationError(at: path, "\"\(name)\" is no name of a header field")
        }
        return name.lowercased()
    }

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? { BasicAuthHTTPFilter(self) }
}

/// Users and what their passwords hash to: a file of `htpasswd -s`.
struct BasicAuthUsers: Sendable {
    private let hashes: [String: [UInt8]]

    init(compiling source: DataSource?, at path: String) throws(ConfigurationError) {
        guard let source else { throw ConfigurationError(at: path, "is missing") }
        var hashes: [String: [UInt8]] = [:]
        let text = String(decoding: try DataSourceText.bytes(source, at: path), as: UTF8.self)
        for (index, raw) in text.split(whereSeparator: \.isNewline).enumerated() {
            // What stands in a line is a secret: errors name its number alone.
            let line = String(raw).trimmedBlanks
            if line.isEmpty || line.hasPrefix("#") { continue }
            let place = "\(path) (entry \(index + 1))"
            let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, !parts[0].isEmpty else {
                throw ConfigurationError(at: place, "is not name:{SHA}hash, as htpasswd -s writes it")
            }
            guard parts[1].hasPrefix("{SHA}"), let hash = Base64.decode(String(parts[1].dropFirst(5))), hash.count == 20
            else {
                throw ConfigurationError(at: place, "has no {SHA} hash: make it with htpasswd -s")
            }
            guard hashes.updateValue(hash, forKey: String(parts[0])) == nil else {
                throw ConfigurationError(at: place, "names a user for the second time")
            }
        }
        self.hashes = hashes
    }

    /// Whether that is a user with that password; how long this takes does not tell how much of it is right.
    func contains(_ user: String, password: Substring.UTF8View) -> Bool {
        let hash = SHA1.hash(Array(password))
        guard let known = hashes[user], known.count == hash.count else { return false }
        var difference: UInt8 = 0
        for (one, other) in zip(known, hash) { difference |= one ^ other }
        return difference == 0
    }
}

/// The credentials of one request.
final class BasicAuthHTTPFilter: HTTPFilter {
    private let config: BasicAuthFilterConfig

    init(_ config: BasicAuthFilterConfig) { self.config = config }

    let interest: FilterInterest = .requestHead

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        let field = config.fieldName.isEmpty ? "authorization" : config.fieldName
        guard let value = stream.request.headers[field] else {
            return refuse(
                stream, "User authentication failed. Missing username and password.", "no_credential_for_basic_auth")
        }
        guard value.count > 6, value.prefix(6).lowercased() == "basic " else {
            return refuse(
                stream, "User authentication failed. Expected 'Basic' authentication scheme.",
                "invalid_scheme_for_basic_auth")
        }
        let bytes = Base64.decode(String(String(value.dropFirst(6)).trimmedBlanks)) ?? []
        let text = String(decoding: bytes, as: UTF8.self)
        guard let colon = text.firstIndex(of: ":") else {
            return refuse(
                stream, "User authentication failed. Invalid basic credential format.",
                "invalid_format_for_basic_auth")
        }
        let user = String(text[..<colon])
        let users = stream.routeConfig(for: config.name) as? BasicAuthUsers ?? config.users
        guard users.contains(user, password: text[text.index(after: colon)...].utf8) else {
            return refuse(
                stream, "User authentication failed. Invalid username/password combination.",
                "invalid_credential_for_basic_auth")
        }
        if !config.forwardedName.isEmpty { try? stream.request.headers.set(config.forwardedName, user) }
        config.allowed.add(row: stream.worker.index)
        return .next
    }

    private func refuse(_ stream: HTTPStream, _ body: String, _ details: String) -> FilterStep {
        config.denied.add(row: stream.worker.index)
        let scheme = stream.connectionInfo.tls == nil ? "http" : "https"
        let path = String(decoding: stream.originalPath ?? stream.request.pathBytes, as: UTF8.self)
        // Nothing of the client's ends the quoted text.
        let realm = "\(scheme)://\(stream.request.authorityText)\(path)".filter { $0 != "\"" && $0 != "\\" }
        stream.localReply(
            status: 401, body: body, details: details, headers: [("www-authenticate", "Basic realm=\"\(realm)\"")])
        return .stop
    }
}
