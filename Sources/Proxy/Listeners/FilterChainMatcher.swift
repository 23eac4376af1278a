internal import EnvoyAPI
internal import IO
internal import Upstream

/// Which filter chain a connection gets, by the criteria in Envoy's order of precedence.
///
/// Destination port, destination address, server name, transport protocol, application protocols, directly connected
/// source, source type, source address, source port: a tree with a level for each criterion that any chain uses. At each level the most
/// specific entry that matches is taken, and there is no way back from it. A look-up costs the same with one chain
/// and with ten thousand.
struct FilterChainMatcher: Sendable {
    /// What is known of a connection when its chain is chosen.
    struct Connection {
        var destination: IO.SocketAddress
        var source: IO.SocketAddress
        var directSource: IO.SocketAddress
        var serverName: String
        var transportProtocol: String
        var applicationProtocols: [String]

        init(
            destination: IO.SocketAddress, source: IO.SocketAddress, directSource: IO.SocketAddress,
            serverName: String = "", transportProtocol: String = "raw_buffer", applicationProtocols: [String] = []
        ) {
            self.destination = destination
            self.source = source
            self.directSource = directSource
            self.serverName = serverName
            self.transportProtocol = transportProtocol
            self.applicationProtocols = applicationProtocols
        }

        /// What addresses and listener filters say.
        init(_ info: ConnectionInfo) {
            self.init(
                destination: info.localAddress, source: info.remoteAddress, directSource: info.directRemoteAddress)
            guard info.hasFacts else { return }
            let facts = info.facts
            serverName = facts.serverName
            if !facts.transportProtocol.isEmpty { transportProtocol = facts.transportProtocol }
            applicationProtocols = facts.applicationProtocols
        }
    }

    private indirect enum Node: Sendable {
        case chain(Int)
        case destinationPort([UInt16: Node], any: Node?)
        case destination(PrefixTable<Node>, any: Node?)
        case serverName([String: Node], any: Node?)
        case transportProtocol([String: Node], any: Node?)
        case applicationProtocol([String: Node], any: Node?)
        case directSource(PrefixTable<Node>, any: Node?)
        case sourceType(local: Node?, external: Node?, any: Node?)
        case source(PrefixTable<Node>, any: Node?)
        case sourcePort([UInt16: Node], any: Node?)
    }

    private enum Level: Int, CaseIterable {
        case destinationPort, destination, serverName, transportProtocol, applicationProtocol, directSource, sourceType,
            source, sourcePort
    }

    private var root: Node?
    /// The matcher tree that stands in place of the chains' own criteria.
    private var tree: FilterChainTree?
    /// Whether any chain asks for an application protocol: only then is it worth looking for HTTP.
    private(set) var usesApplicationProtocol = false
    /// Whether any chain asks for a transport protocol, or for a server name, which only TLS has.
    private(set) var usesTransportProtocol = false
    private var asksForTLS = false
    private var asksForALPN = false

    init(_ matches: [FilterChainMatch?], at path: String) throws(ConfigurationError) {
        var criteria: [FilterChainCriteria] = []
        for (index, match) in matches.enumerated() {
            let here = "\(path).filter_chains[\(index)].filter_chain_match"
            let compiled = try FilterChainCriteria(compiling: match ?? FilterChainMatch(), at: here)
            criteria.append(compiled)
            note(compiled)
        }
        guard !criteria.isEmpty else { return }
        root = try Self.build(Array(criteria.indices), criteria, Level.allCases[...], path)
    }

    /// Chains chosen by `filter_chain_matcher`; they are known by name.
    init(_ tree: FilterChainTree) {
        self.tree = tree
        usesApplicationProtocol = tree.usesApplicationProtocol
        usesTransportProtocol = tree.usesTLS
        asksForTLS = tree.usesTLS
    }

    private mutating func note(_ criteria: FilterChainCriteria) {
        if !criteria.applicationProtocols.isEmpty {
            usesApplicationProtocol = true
            if criteria.transportProtocol.isEmpty { asksForALPN = true }
        }
        if criteria.transportProtocol == "tls" || criteria.transportProtocol.isEmpty && !criteria.serverNames.isEmpty {
            asksForTLS = true
            usesTransportProtocol = true
        }
        if !criteria.transportProtocol.isEmpty { usesTransportProtocol = true }
    }

    /// Whether tls_inspector must run though nobody configured it.
    func needsTLSInspector(besidesHTTPInspector hasHTTPInspector: Bool) -> Bool {
        asksForTLS || asksForALPN && !hasHTTPInspector
    }

    // MARK: Building

    private static func build(
        _ chains: [Int], _ criteria: [FilterChainCriteria], _ levels: ArraySlice<Level>, _ path: String
    ) throws(ConfigurationError) -> Node {
        guard let level = levels.first else {
            if chains.count > 1 {
                throw ConfigurationError(
                    at: "\(path).filter_chains[\(chains[1])].filter_chain_match",
                    "the same matching rules as filter_chains[\(chains[0])]")
            }
            return .chain(chains[0])
        }
        let next = levels.dropFirst()
        func build(_ chains: [Int]) throws(ConfigurationError) -> Node {
            try Self.build(chains, criteria, next, path)
        }
        /// Groups by the keys of one level; chains without a key are the rest.
        func group<Key: Hashable>(
            _ keys: (FilterChainCriteria) -> [Key]
        ) throws(ConfigurationError) -> (map: [Key: Node], any: Node?) {
            var groups: [Key: [Int]] = [:]
            var rest: [Int] = []
            for chain in chains {
                let keys = Set(keys(criteria[chain]))
                for key in keys { groups[key, default: []].append(chain) }
                if keys.isEmpty { rest.append(chain) }
            }
            var map: [Key: Node] = [:]
            for (key, members) in groups { map[key] = try build(members) }
            return (map, rest.isEmpty ? nil : try build(rest))
        }
        func table(_ keys: (FilterChainCriteria) -> [Prefix]) throws(ConfigurationError) -> (PrefixTable<Node>, Node?) {
            let (map, any) = try group(keys)
            var table = PrefixTable<Node>()
            for (prefix, node) in map { table[prefix] = node }
            return (table, any)
        }
        switch level {
        case .destinationPort:
            let (map, any) = try group { $0.destinationPort.map { [$0] } ?? [] }
            if map.isEmpty, let any { return any }
            return .destinationPort(map, any: any)
        case .destination:
            let (map, any) = try table(\.destinations)
            if map.isEmpty, let any { return any }
            return .destination(map, any: any)
        case .serverName:
            let (map, any) = try group(\.serverNames)
            if map.isEmpty, let any { return any }
            return .serverName(map, any: any)
        case .transportProtocol:
            let (map, any) = try group { $0.transportProtocol.isEmpty ? [] : [$0.transportProtocol] }
            if map.isEmpty, let any { return any }
            return .transportProtocol(map, any: any)
        case .applicationProtocol:
            let (map, any) = try group(\.applicationProtocols)
            if map.isEmpty, let any { return any }
            return .applicationProtocol(map, any: any)
        case .directSource:
            let (map, any) = try table(\.directSources)
            if map.isEmpty, let any { return any }
            return .directSource(map, any: any)
        case .sourceType:
            let (map, any) = try group { $0.sourceType == .any ? [] : [$0.sourceType] }
            if map.isEmpty, let any { return any }
            return .sourceType(local: map[.sameIpOrLoopback], external: map[.external], any: any)
        case .source:
            let (map, any) = try table(\.sources)
            if map.isEmpty, let any { return any }
            return .source(map, any: any)
        case .sourcePort:
            let (map, any) = try group(\.sourcePorts)
            if map.isEmpty, let any { return any }
            return .sourcePort(map, any: any)
        }
    }

    // MARK: Finding

    /// The index of the chain; nil when none matches (the default chain's turn).
    func find(_ connection: Connection) -> Int? {
        if let tree { return tree.find(connection) }
        var node = root
        while let here = node {
            if case .chain(let index) = here { return index }
            node = Self.step(here, connection)
        }
        return nil
    }

    private static func step(_ node: Node, _ connection: Connection) -> Node? {
        switch node {
        case .chain: nil
        case .destinationPort(let map, let any): connection.destination.port.flatMap { map[$0] } ?? any
        case .destination(let table, let any): find(table, connection.destination) ?? any
        case .serverName(let map, let any): find(map, connection.serverName) ?? any
        case .transportProtocol(let map, let any): map[connection.transportProtocol] ?? any
        case .applicationProtocol(let map, let any):
            connection.applicationProtocols.lazy.compactMap { map[$0] }.first ?? any
        case .directSource(let table, let any): find(table, connection.directSource) ?? any
        case .sourceType(let local, let external, let any): (isLocal(connection) ? local : external) ?? any
        case .source(let table, let any): find(table, connection.source) ?? any
        case .sourcePort(let map, let any): connection.source.port.flatMap { map[$0] } ?? any
        }
    }

    private static func find(_ table: PrefixTable<Node>, _ address: IO.SocketAddress) -> Node? {
        address.address.flatMap { table.find($0) }
    }

    /// The exact name, or the longest wildcard: `www.example.com`, `.example.com`, `.com`.
    private static func find(_ map: [String: Node], _ name: String) -> Node? {
        if let exact = map[name] { return exact }
        var rest = name.dropFirst()
        while let dot = rest.firstIndex(of: ".") {
            rest = rest[dot...]
            if rest.utf8.count > 1, let found = map[String(rest)] { return found }
            rest = rest.dropFirst()
        }
        return nil
    }

    // MARK: Explaining

    /// What one level of the tree made of a connection.
    struct Trial {
        /// The field of `filter_chain_match`.
        var criterion: String
        /// What the connection has.
        var value: String
        /// The chains that are out with this level.
        var lost: [Int]
    }

    /// The levels that `find` walks through for a connection; empty where a matcher tree chooses.
    func trials(_ connection: Connection) -> [Trial] {
        var trials: [Trial] = []
        var node = root
        while let here = node {
            if case .chain = here { break }
            node = Self.step(here, connection)
            let left = node.map(Self.chains) ?? []
            let (criterion, value) = Self.question(here, connection)
            let lost = Self.chains(here).subtracting(left).sorted()
            trials.append(Trial(criterion: criterion, value: value, lost: lost))
        }
        return trials
    }

    private static func chains(_ node: Node) -> Set<Int> {
        func union(_ nodes: some Sequence<Node>, _ any: Node?) -> Set<Int> {
            nodes.reduce(any.map(chains) ?? []) { $0.union(chains($1)) }
        }
        return switch node {
        case .chain(let index): [index]
        case .destinationPort(let map, let any), .sourcePort(let map, let any): union(map.values, any)
        case .serverName(let map, let any), .transportProtocol(let map, let any),
            .applicationProtocol(let map, let any):
            union(map.values, any)
        case .destination(let table, let any), .directSource(let table, let any), .source(let table, let any):
            union(table.all, any)
        case .sourceType(let local, let external, let any): union([local, external].compactMap { $0 }, any)
        }
    }

    private static func question(_ node: Node, _ connection: Connection) -> (criterion: String, value: String) {
        func port(_ address: IO.SocketAddress) -> String { address.port.map { "\($0)" } ?? "none" }
        func ip(_ address: IO.SocketAddress) -> String { address.address.map { "\($0)" } ?? "none" }
        return switch node {
        case .chain: ("", "")
        case .destinationPort: ("destination_port", port(connection.destination))
        case .destination: ("prefix_ranges", ip(connection.destination))
        case .serverName: ("server_names", "\"\(connection.serverName)\"")
        case .transportProtocol: ("transport_protocol", "\"\(connection.transportProtocol)\"")
        case .applicationProtocol:
            ("application_protocols", "\"\(connection.applicationProtocols.joined(separator: ","))\"")
        case .directSource: ("direct_source_prefix_ranges", ip(connection.directSource))
        case .sourceType: ("source_type", isLocal(connection) ? "SAME_IP_OR_LOOPBACK" : "EXTERNAL")
        case .source: ("source_prefix_ranges", ip(connection.source))
        case .sourcePort: ("source_ports", port(connection.source))
        }
    }

    /// Whether the client is on this host, as far as addresses tell.
    static func isLocal(_ connection: Connection) -> Bool {
        let source = connection.source.address
        return source == connection.destination.address || source?.isLoopback == true || source == nil
    }
}
