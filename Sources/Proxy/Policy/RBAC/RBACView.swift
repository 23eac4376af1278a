internal import CEL
internal import IO
internal import Serialization
internal import Upstream

/// What role-based access control asks: a connection, and of HTTP its request.
protocol RBACView {
    /// Addresses, TLS, and what filters found out about the connection.
    var connection: ConnectionInfo { get }
    /// The client behind trusted proxies (`remote_ip`): for HTTP, after x-forwarded-for.
    var remoteAddress: SocketAddress { get }
    /// `:path` without query and fragment, as it will be routed; nil where there is no request.
    var path: String? { get }
    /// Every value of a header, pseudo headers included; empty when it is absent or there is no request.
    func headerValues(_ name: HeaderName) -> [[UInt8]]
    /// Dynamic metadata of a namespace.
    func metadata(_ namespace: String) -> JSON?
    /// A filter state object as text.
    func filterState(_ key: String) -> String?
    /// Metadata of the route; nil without one.
    func routeMetadata(_ namespace: String) -> JSON?
    /// The value of a CEL expression about the request or connection.
    func evaluate(_ condition: CELCondition) -> Result<CELValue, CELError>
    /// The same, told in words.
    func explain(_ condition: CELCondition) -> String
}

extension RBACView {
    var remoteAddress: SocketAddress { connection.remoteAddress }
    var path: String? { nil }
    func headerValues(_ name: HeaderName) -> [[UInt8]] { [] }
    func metadata(_ namespace: String) -> JSON? { connection.facts.metadata[namespace] }
    func filterState(_ key: String) -> String? { connection.facts.filterState[key] }
    func routeMetadata(_ namespace: String) -> JSON? { nil }
    func evaluate(_ condition: CELCondition) -> Result<CELValue, CELError> {
        condition.evaluate(RequestAttributes(context: attributes, now: .now))
    }
    func explain(_ condition: CELCondition) -> String {
        condition.explain(RequestAttributes(context: attributes, now: .now))
    }

    /// A connection alone, with what filters left on it.
    private var attributes: ListenerLogContext {
        var info = StreamInfo(started: .now)
        info.metadata = connection.facts.metadata
        return ListenerLogContext(info: info, connectionInfo: connection)
    }

    /// Whether an expression is true: what has no value is not.
    func holds(_ condition: CELCondition) -> Bool {
        if case .success(.bool(true)) = evaluate(condition) { true } else { false }
    }
}

/// A connection without a request, for the network filter.
struct ConnectionRBACView: RBACView {
    let connection: ConnectionInfo
}
