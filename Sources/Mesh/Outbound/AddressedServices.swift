import EnvoyAPI
import Serialization

/// Services with routes of the Gateway API, which count by the address that was called (MeshClusterIPMatching, I-15).
///
/// - Connections to the addresses of such a service have a filter chain of their own, whose routes ask for no host: what goes to the
///   service has its routes, whatever the request says.
/// - All other connections of the port say where they went (`destinationKey`), so that a request to another address with the
///   service's host goes to that address. Connections without that word are from before, and of them only the host is known.
///
/// It costs what such services cost, whatever others the port has.
enum AddressedServices {
    /// The filter state of a connection that tells the address it went to.
    static let destinationKey = "skein.destination"

    /// How the route configuration for a service's own addresses is called.
    static func routesName(host: String, port: Int) -> String { "\(port)|\(host)" }

    /// The network filter that notes where a connection went.
    static var noting: Filter {
        var source = DataSource()
        source.specifier = .inlineString("%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%")
        var format = SubstitutionFormatString()
        format.format = .textFormatSource(source)
        var value = FilterStateValue()
        value.key = .objectKey(destinationKey)
        value.factoryKey = "envoy.string"
        value.value = .formatString(format)
        var message = NetworkSetFilterState()
        message.onNewConnection = [value]
        var filter = Filter()
        filter.name = FilterNames.networkFilterState
        filter.configType = .typedConfig(AnyMessage(packing: message))
        return filter
    }

    /// A service's routes where its host is asked for on a chain that many services share.
    ///
    /// Requests to its addresses are those of connections that are older than the chain of its own.
    ///
    /// - Parameter elsewhere: What becomes of a request to another address.
    static func routes(_ routes: [Route], addresses: [String], elsewhere: Route) -> [Route] {
        var elsewhere = elsewhere
        var anything = RegexMatcher()
        anything.regex = ".+"
        elsewhere.match?.filterState = [condition(.safeRegex(anything))]
        return addresses.flatMap { address in
            routes.map { route in
                var route = route
                route.match?.filterState.append(condition(.exact(address)))
                return route
            }
        } + [elsewhere] + routes
    }

    private static func condition(_ pattern: StringMatcher.MatchPattern) -> FilterStateMatcher {
        var text = StringMatcher()
        text.matchPattern = pattern
        var matcher = FilterStateMatcher()
        matcher.key = destinationKey
        matcher.matcher = .stringMatch(text)
        return matcher
    }
}

extension Outbound {
    /// Whether a service has addresses of its own and, on that port, routes of the Gateway API that count for the caller.
    func isAddressed(_ member: Member) -> Bool {
        member.service.registry == .kubernetes && !member.service.isHeadless && !member.service.addresses.isEmpty
            && member.port.portProtocol.mayBeHTTP
            && ServiceRoutes(model: model, caller: namespace).hasHTTP(member.service.key, port: member.port.number)
    }

    /// The services of a port of which that is true.
    func addressed(_ port: Int) -> [Member] {
        model.gatewayAPI.meshRoutes.isEmpty ? [] : (ports[port] ?? []).filter(isAddressed)
    }
}
