internal import EnvoyAPI
internal import Serialization
internal import TLS
internal import Upstream

/// What a matcher tree of role-based access control can ask of a connection, with or without a request on it.
enum ConnectionMatchInput: Sendable {
    case network(NetworkMatchInput)
    /// Names in the client's certificate, joined by commas.
    case uriNames
    case dnsNames
    case subject
    case metadata(MetadataPlace)
    case filterState(String)

    /// What they are, for messages.
    static let names = "dynamic metadata, filter state, the connection's addresses, names and certificate"

    /// Nil for an input of another kind.
    init?(compiling any: AnyMessage, at path: String) throws(ConfigurationError) {
        if let input = NetworkMatchInput(typeName: any.name) {
            self = .network(input)
        } else if any.holds(UriSanInput.self) {
            self = .uriNames
        } else if any.holds(DnsSanInput.self) {
            self = .dnsNames
        } else if any.holds(SubjectInput.self) {
            self = .subject
        } else if any.holds(DynamicMetadataInput.self) {
            self = .metadata(try MetadataPlace(compiling: any, at: path))
        } else if any.holds(FilterStateInput.self) {
            let input = try HTTPFilters.decode(any, as: FilterStateInput.self, at: path)
            guard !input.key.isEmpty else { throw ConfigurationError(at: path + ".key", "is empty") }
            guard input.field.isEmpty else {
                throw ConfigurationError(at: path + ".field", "objects of filter state are text here, without fields")
            }
            self = .filterState(input.key)
        } else {
            return nil
        }
    }

    /// What it says; nil where there is nothing.
    func fact(_ view: some RBACView) -> MatchFact? {
        switch self {
        case .network(let input):
            let info = view.connection
            let facts = info.facts
            return input.value(
                of: FilterChainMatcher.Connection(
                    destination: info.localAddress, source: info.remoteAddress,
                    directSource: info.directRemoteAddress, serverName: facts.serverName,
                    transportProtocol: facts.transportProtocol, applicationProtocols: facts.applicationProtocols)
            ).map { .text($0) }
        case .uriNames: return Self.joined(view.connection.tls?.peer?.uris)
        case .dnsNames: return Self.joined(view.connection.tls?.peer?.dnsNames)
        case .subject: return (view.connection.tls?.peer?.subject).flatMap { $0.isEmpty ? nil : .text($0) }
        case .metadata(let place): return place.fact(in: view.metadata(place.namespace))
        case .filterState(let key): return view.filterState(key).map { .text($0) }
        }
    }

    private static func joined(_ names: [String]?) -> MatchFact? {
        guard let names, !names.isEmpty else { return nil }
        return .text(names.joined(separator: ","))
    }
}
