internal import EnvoyAPI
internal import HTTP
internal import TLS
internal import Telemetry
internal import Upstream

/// `envoy.filters.http.api_key_auth`: requests must carry a key that belongs to a client.
struct APIKeyAuthFilterConfig: HTTPFilterConfig {
    let name: String
    let isDisabled: Bool
    let settings: APIKeySettings
    let allowed: MetricCounter
    let unauthorized: MetricCounter
    let forbidden: MetricCounter

    static let kind = HTTPFilterKind(
        ApiKeyAuth.self, perRoute: ApiKeyAuthPerRoute.self,
        compile: { message, context throws(ConfigurationError) in
            let scope = context.compile.metrics.scope("http", context.statPrefix, "api_key_auth")
            return APIKeyAuthFilterConfig(
                name: context.name, isDisabled: context.isDisabled,
                settings: try APIKeySettings(
                    message.credentials, message.keySources, message.forwarding, at: context.path),
                allowed: scope.counter("allowed"), unauthorized: scope.counter("unauthorized"),
                forbidden: scope.counter("forbidden"))
        },
        compileRoute: { message, context throws(ConfigurationError) in
            var settings = try APIKeySettings(
                message.credentials, message.keySources, message.forwarding, at: context.path)
            settings.allowedClients = Set(message.allowedClients)
            return settings
        })

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? { APIKeyAuthFilter(self) }
}

/// What the filter or a route says; nil leaves keys and places to the filter.
struct APIKeySettings: Sendable {
    /// Where a key is looked for.
    enum Source: Sendable {
        case header(HeaderName)
        case query([UInt8])
        case cookie([UInt8])
    }

    /// Clients by the SHA-256 of their key: how long a look-up takes says nothing about a key.
    private(set) var clients: [[UInt8]: String]?
    private(set) var sources: [Source]?
    private(set) var forwarding: Forwarding?
    /// Clients that may pass; empty is all.
    var allowedClients: Set<String> = []

    /// What goes to the upstream.
    struct Forwarding: Sendable {
        /// Gets the client's name; nil is nowhere.
        let header: String?
        let hidesCredentials: Bool
    }

    /// Most keys of one message.
    static let keysMax = 10_000

    init(
        _ credentials: [ApiKeyCredential], _ sources: [ApiKeySource], _ forwarding: ApiKeyForwarding?, at path: String
    ) throws(ConfigurationError) {
        if !credentials.isEmpty { clients = try Self.clients(credentials, at: path + ".credentials") }
        if !sources.isEmpty {
            var list: [Source] = []
            for (index, source) in sources.enumerated() {
                list.append(try Self.source(source, at: "\(path).key_sources[\(index)]"))
            }
            self.sources = list
        }
        if let forwarding {
            let name = try Self.name(forwarding.header, at: path + ".forwarding.header")
            self.forwarding = Forwarding(
                header: name.isEmpty ? nil : name.lowercased(), hidesCredentials: forwarding.hideCredentials)
        }
    }

    private static func clients(
        _ credentials: [ApiKeyCredential], at path: String
    ) throws(ConfigurationError) -> [[UInt8]: String] {
        guard credentials.count <= keysMax else { throw ConfigurationError(at: path, "has more than \(keysMax) keys") }
        var clients: [[UInt8]: String] = [:]
        for (index, credential) in credentials.enumerated() {
            // A key is a secret: errors name its place alone.
            let place = "\(path)[\(index)]"
            guard !credential.key.isEmpty else { throw ConfigurationError(at: place + ".key", "is empty") }
            guard !credential.client.isEmpty else { throw ConfigurationError(at: place + ".client", "is empty") }
            guard clients.updateValue(credential.client, forKey: hash(Array(credential.key.utf8))) == nil else {
                throw ConfigurationError(at: place + ".key", "is there for the second time")
            }
        }
        return clients
    }

    private static func source(_ source: ApiKeySource, at path: String) throws(ConfigurationError) -> Source {
        // As Envoy: of several the first counts.
        if !source.header.isEmpty { return .header(HeaderName(try name(source.header, at: path + ".header"))) }
        if !source.query.isEmpty { return .query(Array(source.query.utf8)) }
        if !source.cookie.isEmpty { return .cookie(Array(try name(source.cookie, at: path + ".cookie").utf8)) }
        throw ConfigurationError(at: path, "One of 'header'/'query'/'cookie' must be set.")
    }

    private static func name(_ name: String, at path: String) throws(ConfigurationError) -> String {
        guard !name.isEmpty else { return name }
        var probe = HeaderTable()
        do throws(HTTPFieldError) {
            try probe.append(name, "x")
        } catch {
            throw ConfigurationError(at: path, "\"\(name)\" is no name of a header field")
        }
        return name
    }

    private static func hash(_ key: [UInt8]) -> [UInt8] { SHA256.hash(key) }

    /// The client that a key belongs to.
    func client(of key: [UInt8]) -> String? { clients?[Self.hash(key)] }

    /// These settings, where a route's own are put in place of them.
    func overridden(by route: APIKeySettings?) -> APIKeySettings {
        guard let route else { return self }
        var result = self
        if let clients = route.clients { result.clients = clients }
        if let sources = route.sources { result.sources = sources }
        // As Envoy: what a route leaves out is not forwarded, whatever the filter says.
        result.forwarding = route.forwarding
        result.allowedClients = route.allowedClients
        return result
    }
}

extension APIKeySettings.Source {
    private static let scheme = Array("Bearer ".utf8)

    /// The key of a request; nil where there is none, or an empty one.
    func key(_ headers: borrowing HeaderTable, path: [UInt8]) -> [UInt8]? {
        let key: [UInt8]?
        switch self {
        case .header(let name):
            key = headers.index(named: name.bytes.span.bytes, from: 0).map { index in
                let value = [UInt8](copying: headers.value(at: index))
                return value.starts(with: Self.scheme) ? Array(value.dropFirst(Self.scheme.count)) : value
            }
        case .query(let name): key = RequestQuery(path).first(name)
        case .cookie(let name): key = Cookies.value(name, in: headers)
        }
        return key.flatMap { $0.isEmpty ? nil : $0 }
    }

    /// Takes every key of this place away.
    func remove(from request: inout RequestHead) {
        switch self {
        case .header(let name): request.headers.remove(named: name.bytes.span.bytes)
        case .query(let name): try? request.setPath(RequestQuery(request.pathBytes).removing(name).span.bytes)
        case .cookie(let name): Cookies.remove(name, from: &request.headers)
        }
    }
}

/// The key of one request.
final class APIKeyAuthFilter: HTTPFilter {
    private let config: APIKeyAuthFilterConfig

    init(_ config: APIKeyAuthFilterConfig) { self.config = config }

    let interest: FilterInterest = .requestHead

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        let settings = config.settings.overridden(by: stream.routeConfig(for: config.name) as? APIKeySettings)
        guard let sources = settings.sources else { return refuse(stream, "missing_key_sources") }
        guard settings.clients != nil else { return refuse(stream, "missing_credentials") }
        let path = stream.request.pathBytes
        var key: [UInt8]?
        for source in sources {
            key = source.key(stream.request.headers, path: path)
            if key != nil { break }
        }
        guard let key else { return refuse(stream, "missing_api_key") }
        guard let client = settings.client(of: key) else { return refuse(stream, "unknown_api_key") }
        guard settings.allowedClients.isEmpty || settings.allowedClients.contains(client) else {
            config.forbidden.add(row: stream.worker.index)
            stream.localReply(status: 403, body: "Client is forbidden.", details: "client_not_allowed")
            return .stop
        }
        if let forwarding = settings.forwarding {
            if let header = forwarding.header { try? stream.request.headers.set(header, client) }
            if forwarding.hidesCredentials {
                for source in sources { source.remove(from: &stream.request) }
            }
        }
        config.allowed.add(row: stream.worker.index)
        return .next
    }

    private func refuse(_ stream: HTTPStream, _ details: String) -> FilterStep {
        config.unauthorized.add(row: stream.worker.index)
        stream.localReply(status: 401, body: "Client authentication failed.", details: details)
        return .stop
    }
}
