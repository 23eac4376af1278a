internal import IO
internal import Serialization
internal import TLS
internal import Upstream

/// One condition of a policy, about what is asked for (permission) or who asks (principal).
indirect enum RBACCondition: Sendable {
    case all([RBACCondition])
    case any([RBACCondition])
    case not(RBACCondition)
    case always(Bool)
    case header(HeaderCondition)
    case path(TextMatcher)
    case pathTemplate(RegularExpression)
    case destination(Prefix)
    case destinationPort(start: Int, end: Int)
    case serverName(TextMatcher)
    case metadata(MetadataCondition, ofRoute: Bool)
    /// Nil asks for any certificate.
    case authenticated(TextMatcher?)
    /// The peer of the connection, after PROXY protocol.
    case source(Prefix)
    /// The peer of the socket.
    case directRemote(Prefix)
    /// The client behind trusted proxies.
    case remote(Prefix)
    case filterState(String, TextMatcher)
    case filterStateAddress(String, [Prefix], isInverted: Bool)

    /// - Parameter needsAll: a header with several values must pass with each of them.
    ///   What it is for is ATK-24: where a match lets in, all must match; where it keeps out, one is enough. `not` turns
    ///   it round.
    func matches(_ view: some RBACView, needsAll: Bool) -> Bool {
        switch self {
        case .all(let conditions): conditions.allSatisfy { $0.matches(view, needsAll: needsAll) }
        case .any(let conditions): conditions.contains { $0.matches(view, needsAll: needsAll) }
        case .not(let condition): !condition.matches(view, needsAll: !needsAll)
        case .always(let value): value
        case .header(let condition): condition.matches(view.headerValues(condition.name), needsAll: needsAll)
        case .path(let matcher): view.path.map { matcher.matches($0) } ?? false
        case .pathTemplate(let expression): view.path.map { Self.matches(expression, $0) } ?? false
        case .destination(let prefix): Self.contains(prefix, view.connection.localAddress)
        case .destinationPort(let start, let end):
            view.connection.localAddress.port.map { Int($0) >= start && Int($0) < end } ?? false
        case .serverName(let matcher): matcher.matches(Self.serverName(view.connection))
        case .metadata(let condition, let ofRoute):
            condition.matches(ofRoute ? view.routeMetadata(condition.namespace) : view.metadata(condition.namespace))
        case .authenticated(let matcher): Self.isAuthenticated(view.connection, as: matcher)
        case .source(let prefix): Self.contains(prefix, view.connection.remoteAddress)
        case .directRemote(let prefix): Self.contains(prefix, view.connection.directRemoteAddress)
        case .remote(let prefix): Self.contains(prefix, view.remoteAddress)
        case .filterState(let key, let matcher): view.filterState(key).map { matcher.matches($0) } ?? false
        case .filterStateAddress(let key, let prefixes, let isInverted):
            view.filterState(key).flatMap { text in
                IPAddress(text) ?? SocketAddress(text)?.address
            }.map { address in prefixes.contains { $0.contains(address) } != isInverted } ?? false
        }
    }

    /// Fields of requests that it looks at.
    var headerNames: [String] {
        switch self {
        case .all(let conditions), .any(let conditions): conditions.flatMap(\.headerNames)
        case .not(let condition): condition.headerNames
        case .header(let condition): [condition.name.description]
        default: []
        }
    }

    private static func contains(_ prefix: Prefix, _ address: SocketAddress) -> Bool {
        address.address.map { prefix.contains($0.canonical) } ?? false
    }

    private static func matches(_ expression: RegularExpression, _ text: String) -> Bool {
        let bytes = Array(text.utf8)
        return expression.matches(bytes.span)
    }

    private static func serverName(_ connection: ConnectionInfo) -> String {
        let sniffed = connection.facts.serverName
        return sniffed.isEmpty ? connection.tls?.serverName?.lowercased() ?? "" : sniffed
    }

    /// URI names, then DNS names, then the subject, as Envoy looks for them (A-9: without TLS there is nobody).
    private static func isAuthenticated(_ connection: ConnectionInfo, as matcher: TextMatcher?) -> Bool {
        guard let peer = connection.tls?.peer else { return false }
        guard let matcher else { return true }
        if peer.uris.contains(where: { matcher.matches($0) }) { return true }
        if peer.dnsNames.contains(where: { matcher.matches($0) }) { return true }
        return matcher.matches(peer.subject)
    }
}
