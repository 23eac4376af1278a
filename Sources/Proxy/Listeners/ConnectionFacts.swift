internal import Serialization

/// What is known of a connection beyond its addresses: what listener filters and network filters found out.
struct ConnectionFacts: Sendable {
    /// The name of TLS's `server_name` extension, in lower case.
    var serverName = ""
    /// `tls` or `raw_buffer`; empty while no listener filter has looked.
    var transportProtocol = ""
    /// ALPN of a ClientHello in the client's order, or what the first bytes showed: `http/1.1`, `h2c`.
    var applicationProtocols: [String] = []
    /// Dynamic metadata by namespace.
    var metadata: [String: JSON] = [:]
    /// Filter state objects by key, as text.
    var filterState: [String: String] = [:]
    /// What a PROXY protocol header carried, for upstream connections that pass it on.
    var proxyProtocol: ProxyHeader?
    /// Where upstream connections for this client come from (original_src).
    var upstreamSource: UpstreamSource?
    /// Chain that serves the connection.
    var filterChainName = ""

    static let none = ConnectionFacts()
}

/// Where the facts of the few connections that have some lie: the usual connection costs one nil.
final class ConnectionFactsBox: Sendable {
    let facts: ConnectionFacts

    init(_ facts: ConnectionFacts) { self.facts = facts }
}
