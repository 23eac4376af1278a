internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Upstream

/// A compiled `filter_chain_matcher`: a tree of conditions whose actions name filter chains.
struct FilterChainTree: Sendable {
    private let tree: MatchTree<NetworkMatchInput, Int>
    let usesApplicationProtocol: Bool
    let usesTLS: Bool

    init(
        compiling message: Matcher, chains: [String], at path: String
    ) throws(ConfigurationError) {
        var inputs: Set<NetworkMatchInput> = []
        tree = try MatchTree(compiling: message, at: path) { (any, path) throws(ConfigurationError) in
            guard let input = NetworkMatchInput(typeName: any.name) else {
                throw ConfigurationError(at: path, "unknown input \(any.typeURL)")
            }
            inputs.insert(input)
            return input
        } action: { (any, path) throws(ConfigurationError) in
            guard let name = MatchActions.stringValue(any) else {
                throw ConfigurationError(
                    at: path, "the action must be a google.protobuf.StringValue with the name of a filter chain")
            }
            guard let index = chains.firstIndex(of: name) else {
                throw ConfigurationError(at: path, "there is no filter chain \"\(name)\"")
            }
            return index
        }
        usesApplicationProtocol = inputs.contains(.applicationProtocol)
        usesTLS = inputs.contains(.serverName) || inputs.contains(.transportProtocol)
    }

    func find(_ connection: FilterChainMatcher.Connection) -> Int? {
        tree.find { $0.value(of: connection) }
    }
}

/// What a matcher tree can ask of a connection.
enum NetworkMatchInput: String, Sendable, Hashable {
    case destinationIP = "DestinationIPInput"
    case destinationPort = "DestinationPortInput"
    case sourceIP = "SourceIPInput"
    case sourcePort = "SourcePortInput"
    case directSourceIP = "DirectSourceIPInput"
    case sourceType = "SourceTypeInput"
    case serverName = "ServerNameInput"
    case transportProtocol = "TransportProtocolInput"
    case applicationProtocol = "ApplicationProtocolInput"

    static let package = "envoy.extensions.matching.common_inputs.network.v3."

    init?(typeName: String) {
        guard typeName.hasPrefix(Self.package) else { return nil }
        self.init(rawValue: String(typeName.dropFirst(Self.package.utf8.count)))
    }

    /// The value; nil where the connection has none.
    func value(of connection: FilterChainMatcher.Connection) -> String? {
        switch self {
        case .destinationIP: connection.destination.address?.description
        case .destinationPort: connection.destination.port.map { String($0) }
        case .sourceIP: connection.source.address?.description
        case .sourcePort: connection.source.port.map { String($0) }
        case .directSourceIP: connection.directSource.address?.description
        case .sourceType: FilterChainMatcher.isLocal(connection) ? "local" : nil
        case .serverName: connection.serverName.isEmpty ? nil : connection.serverName
        case .transportProtocol: connection.transportProtocol.isEmpty ? nil : connection.transportProtocol
        case .applicationProtocol:
            connection.applicationProtocols.isEmpty
                ? nil : connection.applicationProtocols.map { "'\($0)'" }.joined(separator: ",")
        }
    }
}
