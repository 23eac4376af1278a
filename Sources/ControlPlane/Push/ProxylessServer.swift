import EnvoyAPI
import Mesh
import Serialization
import XDS

/// The listeners of gRPC servers without a proxy (A36 and A41 of gRPC's proposals): a port of the pod's inbound listener in gRPC's form.
///
/// - The port must be one of a Service with an HTTP or gRPC port name, as with a sidecar.
/// - STRICT is mutual TLS with the program's certificate provider; else plain text, since gRPC cannot look at what comes first.
/// - AuthorizationPolicy becomes RBAC filters. Where something else decides about callers (RequestAuthentication, CUSTOM), or STRICT has no
///   certificates, there is no listener: the server does not serve (decision 10).
enum ProxylessServer {
    /// What servers ask for, before the address: gRPC's usual template, and Istio's.
    private static let prefixes = ["grpc/server?xds.resource.listening_address=", "xds.istio.io/grpc/lds/inbound/"]
    /// Filters that decide about callers and that gRPC does not have.
    private static let deciders: Set<String> = [JwtAuthentication.typeURL, HTTPExtAuthz.typeURL]

    /// The listener of that name; nil when it is no server's or may not serve.
    static func listener(_ name: String, _ base: Snapshot, _ tls: ProxylessTLS) -> Listener? {
        guard let prefix = prefixes.first(where: name.hasPrefix),
            let (host, port) = address(String(name.dropFirst(prefix.count))),
            let inbound = base.resource(Listener.typeURL, "virtualInbound"),
            let full = try? inbound.message.unpack(as: Listener.self)
        else { return nil }
        let chains = full.filterChains.filter { $0.filterChainMatch?.destinationPort == UInt32(port) }
        let managers = chains.compactMap { chain in manager(chain).map { (chain, $0) } }
        // A port that takes plain text too takes nothing else here.
        guard let (chain, manager) = managers.first(where: { $0.0.transportSocket == nil }) ?? managers.first,
            let served = served(manager, port: port)
        else { return nil }
        var filter = Filter()
        filter.name = "envoy.filters.network.http_connection_manager"
        filter.configType = .typedConfig(AnyMessage(packing: served))
        var own = FilterChain()
        own.name = "inbound|\(port)"
        own.filters = [filter]
        if chain.transportSocket != nil {
            guard let socket = tls.server() else { return nil }
            own.transportSocket = socket
        }
        var socket = SocketAddress()
        socket.address = host
        socket.portSpecifier = .portValue(UInt32(port))
        var address = Address()
        address.address = .socketAddress(socket)
        var listener = Listener()
        listener.name = name
        listener.address = address
        listener.trafficDirection = .inbound
        listener.filterChains = [own]
        listener.metadata = chain.metadata
        return listener
    }

    /// `ADDRESS:PORT` or `[ADDRESS]:PORT`.
    private static func address(_ text: String) -> (host: String, port: UInt16)? {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]), port > 0 else {
            return nil
        }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        return host.isEmpty ? nil : (String(host), port)
    }

    private static func manager(_ chain: FilterChain) -> HttpConnectionManager? {
        for filter in chain.filters {
            if case .typedConfig(let config)? = filter.configType,
                let manager = try? config.unpack(as: HttpConnectionManager.self)
            {
                return manager
            }
        }
        return nil
    }

    private static func served(_ full: HttpConnectionManager, port: UInt16) -> HttpConnectionManager? {
        var filters: [HttpFilter] = []
        for filter in full.httpFilters {
            guard case .typedConfig(let config)? = filter.configType else { continue }
            if deciders.contains(config.typeURL) { return nil }
            if config.typeURL == HTTPRBACFilter.typeURL { filters.append(filter) }
        }
        var router = HttpFilter()
        router.name = "envoy.filters.http.router"
        router.configType = .typedConfig(AnyMessage(packing: Router()))
        var route = Route()
        route.match = RouteMatch()
        route.match?.pathSpecifier = .prefix("")
        route.action = .nonForwardingAction(NonForwardingAction())
        var host = VirtualHost()
        host.name = "inbound|\(port)"
        host.domains = ["*"]
        host.routes = [route]
        var routes = RouteConfiguration()
        routes.name = "inbound|\(port)"
        routes.virtualHosts = [host]
        var manager = HttpConnectionManager()
        manager.statPrefix = "grpc"
        manager.routeSpecifier = .routeConfig(routes)
        manager.httpFilters = filters + [router]
        return manager
    }
}
