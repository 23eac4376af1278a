internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Upstream

/// What a network filter says of a new connection.
enum NetworkStep {
    /// The next filter's turn, or the terminal one's.
    case next
    /// The filter thinks about it and calls `resume` or `close` of the connection later.
    case stop
    /// The connection ends.
    case close
}

/// A network filter as configured.
protocol NetworkFilterConfig: Sendable {
    /// The filter at work for one chain on one loop.
    func make(_ worker: Worker) -> any NetworkFilter
}

/// A network filter of one filter chain on one loop.
///
/// It decides about connections before the terminal filter gets them, after the TLS handshake, and never sees a byte: a chain
/// without such filters costs nothing, and one with them costs nothing per byte.
protocol NetworkFilter: AnyObject {
    func newConnection(_ connection: NetworkConnection) -> NetworkStep

    /// A connection has ended for which the filter asked to be told (`connection.tellEnd`).
    func connectionClosed()
}

extension NetworkFilter {
    func connectionClosed() {}
}

/// A connection on its way through the network filters of its chain.
final class NetworkConnection {
    var info: ConnectionInfo
    private let socket: Socket
    private let input: ByteBuffer?
    private let tls: TLSTransport?
    private let filters: [any NetworkFilter]
    private let chain: FilterChainRuntime
    private var position = 0
    private var isHeld = false
    private(set) var isOver = false

    init(
        _ socket: Socket, info: ConnectionInfo, input: ByteBuffer?, tls: TLSTransport?,
        filters: [any NetworkFilter], chain: FilterChainRuntime
    ) {
        self.socket = socket
        self.info = info
        self.input = input
        self.tls = tls
        self.filters = filters
        self.chain = chain
    }

    /// Asks the filters, from where it stands.
    func run() {
        while position < filters.count {
            let filter = filters[position]
            position += 1
            switch filter.newConnection(self) {
            case .next: continue
            case .stop:
                guard !isOver, !isHeld else { return }
                isHeld = true
                return chain.hold(self)
            case .close: return close()
            }
        }
        letGo()
        guard !isOver else { return }
        isOver = true
        chain.serveTerminal(socket, info, input: input, tls: tls)
    }

    /// Goes on with the next filter.
    func resume() {
        guard !isOver else { return }
        letGo()
        run()
    }

    /// `details`: Envoy's `%CONNECTION_TERMINATION_DETAILS%`; with a flag its `%RESPONSE_CODE_DETAILS%`.
    func close(details: String? = nil, flag: ResponseFlags = []) {
        guard !isOver else { return }
        isOver = true
        letGo()
        if let details { chain.refused(info, details: details, flag: flag) }
        socket.close()
    }

    private func letGo() {
        guard isHeld else { return }
        isHeld = false
        chain.release(self)
    }

    /// The filter is told when the connection ends.
    func tellEnd(_ filter: any NetworkFilter) { (socket.observer as? ConnectionLife)?.tell(filter) }
}

/// Every network filter that is not terminal, by type URL.
enum NetworkFilters {
    static func compile(
        _ any: AnyMessage, at path: String, context: CompileContext
    ) throws(ConfigurationError) -> any NetworkFilterConfig {
        let here = path + ".typed_config"
        switch any.name {
        case SniCluster.schema.name: return SNIClusterConfig()
        case SniDynamicForwardProxyConfig.schema.name:
            return try SNIDynamicForwardProxyConfig(
                compiling: HTTPFilters.unpack(any, as: SniDynamicForwardProxyConfig.self, at: path), at: here)
        case ConnectionLimit.schema.name:
            return try ConnectionLimitConfig(
                compiling: HTTPFilters.unpack(any, as: ConnectionLimit.self, at: path), at: here, context: context)
        case NetworkLocalRateLimit.schema.name:
            return try NetworkLocalRateLimitConfig(
                compiling: HTTPFilters.unpack(any, as: NetworkLocalRateLimit.self, at: path), at: here,
                context: context)
        case NetworkRBACFilter.schema.name:
            return try NetworkRBACConfig(
                compiling: HTTPFilters.unpack(any, as: NetworkRBACFilter.self, at: path), at: here, context: context)
        case NetworkExtAuthz.schema.name:
            return try NetworkExtAuthzConfig(
                compiling: HTTPFilters.unpack(any, as: NetworkExtAuthz.self, at: path), at: here, context: context)
        case NetworkSetFilterState.schema.name:
            return try NetworkSetFilterStateConfig(
                compiling: HTTPFilters.unpack(any, as: NetworkSetFilterState.self, at: path), at: here)
        default:
            throw ConfigurationError(
                at: path,
                "unknown network filter \(any.typeURL); supported: rbac, ext_authz, local_ratelimit, connection_limit, "
                    + "sni_cluster, sni_dynamic_forward_proxy, set_filter_state, http_connection_manager, tcp_proxy, echo, direct_response"
            )
        }
    }
}
