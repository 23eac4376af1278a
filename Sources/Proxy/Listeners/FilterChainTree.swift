internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Upstream

/// A compiled `filter_chain_matcher`: a tree of conditions whose actions name filter chains.
struct FilterChainTree: Sendable {
    private let tree: MatchTree<NetworkMatchInput, Int>
    /// The listener's network namespace, as its address says it; empty where it is the process' own.
    private let namespace: String
    let usesApplicationProtocol: Bool
    let usesTLS: Bool

    init(
        compiling message: Matcher, chains: [String], namespace: String, at path: String
    ) throws(ConfigurationError) {
        self.namespace = namespace
        var inputs: Set<NetworkMatchInput> = []
        tree = try MatchTree(compiling: message, at: path) { (any, path) throws(ConfigurationError) in
            guard let input = NetworkMatchInput(typeName: any.name, knowsNamespace: true) else {
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
        tree.find { $0.value(of: connection, namespace: namespace) }
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
    case networkNamespace = "NetworkNamespaceInput"

    static let package = "envoy.extensions.matching.common_inputs.network.v3."

    /// - Parameter knowsNamespace: Whoever asks can say in which network namespace a connection came.
    init?(typeName: String, knowsNamespace: Bool = false) {
        guard typeName.hasPrefix(Self.package) else { return nil }
        self.init(rawValue: String(typeName.dropFirst(Self.package.utf8.count)))
        if self == .networkNamespace, !knowsNamespace { return nil }
    }

    /// The value; nil where the connection has none.
    func value(of connection: FilterChainMatcher.Connection, namespace: String = "") -> String? {
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
        case .networkNamespace: namespace.isEmpty ? nil : namespace
        }
    }
}
