internal import EnvoyAPI
internal import IO
internal import Upstream

/// Which filter chain a connection gets, by the criteria in Envoy's order of precedence.
///
/// Destination port, destination address, server name, transport protocol, application protocols, directly connected
/// source, source type, source address, source port: each step keeps the chains whose criterion is the most specific
/// that matches, and a chain that matched at one step never yields to one that was dropped there.
struct FilterChainMatcher: Sendable {
    /// What is known of a connection when its chain is chosen.
    struct Connection {
        var destination: IO.SocketAddress
        var source: IO.SocketAddress
        var directSource: IO.SocketAddress
        var serverName = ""
        var transportProtocol = "raw_buffer"
        var applicationProtocols: [String] = []
    }

    private struct Criteria: Sendable {
        var destinationPort: UInt16?
        var destinations: [Prefix] = []
        var serverNames: [String] = []
        var transportProtocol = ""
        var applicationProtocols: [String] = []
        var directSources: [Prefix] = []
        var sourceType = FilterChainMatch.ConnectionSourceType.any
        var sources: [Prefix] = []
        var sourcePorts: [UInt16] = []
    }

    private var criteria: [Criteria] = []
    /// Chains by destination port, so that a listener with a thousand services does not look at each.
    private var byPort: [UInt16: [Int]] = [:]
    private var anyPort: [Int] = []

    /// Whether any chain asks for the application protocol: only then is it worth sniffing.
    private(set) var usesApplicationProtocol = false

    init(_ matches: [FilterChainMatch?], at path: String) throws(ConfigurationError) {
        for (index, match) in matches.enumerated() {
            let here = "\(path).filter_chains[\(index)].filter_chain_match"
            let compiled = try Self.compile(match ?? FilterChainMatch(), at: here)
            criteria.append(compiled)
            if !compiled.applicationProtocols.isEmpty { usesApplicationProtocol = true }
            if let port = compiled.destinationPort {
                byPort[port, default: []].append(index)
            } else {
                anyPort.append(index)
            }
        }
    }

    private static func compile(_ match: FilterChainMatch, at path: String) throws(ConfigurationError) -> Criteria {
        try FieldCheck.check(
            match,
            reads: [
                "destination_port", "prefix_ranges", "server_names", "transport_protocol", "application_protocols",
                "direct_source_prefix_ranges", "source_type", "source_prefix_ranges", "source_ports",
            ], at: path)
        var criteria = Criteria()
        if let port = match.destinationPort {
            guard let port = UInt16(exactly: port), port > 0 else {
                throw ConfigurationError(at: path + ".destination_port", "\(port) is no port (1 to 65535)")
            }
            criteria.destinationPort = port
        }
        criteria.destinations = try prefixes(match.prefixRanges, path + ".prefix_ranges")
        criteria.directSources = try prefixes(match.directSourcePrefixRanges, path + ".direct_source_prefix_ranges")
        criteria.sources = try prefixes(match.sourcePrefixRanges, path + ".source_prefix_ranges")
        criteria.serverNames = match.serverNames.map { $0.lowercased() }
        criteria.transportProtocol = match.transportProtocol
        criteria.applicationProtocols = match.applicationProtocols
        criteria.sourceType = match.sourceType
        for (index, port) in match.sourcePorts.enumerated() {
            guard let port = UInt16(exactly: port) else {
                throw ConfigurationError(at: "\(path).source_ports[\(index)]", "\(port) is no port")
            }
            criteria.sourcePorts.append(port)
        }
        return criteria
    }

    private static func prefixes(_ ranges: [CidrRange], _ path: String) throws(ConfigurationError) -> [Prefix] {
        var prefixes: [Prefix] = []
        for (index, range) in ranges.enumerated() {
            guard let address = IPAddress(range.addressPrefix),
                let prefix = Prefix(address, length: Int(range.prefixLen ?? 0))
            else {
                throw ConfigurationError(
                    at: "\(path)[\(index)]",
                    "\(range.addressPrefix)/\(range.prefixLen ?? 0) is no address range such as 10.0.0.0/8")
            }
            prefixes.append(prefix)
        }
        return prefixes
    }

    /// The index of the chain; nil when none matches (the default chain's turn).
    func find(_ connection: Connection) -> Int? {
        if let port = connection.destination.port, let candidates = byPort[port],
            let found = choose(candidates, connection)
        {
            return found
        }
        // Envoy does not come back from a port that matched; but a chain without a port is only looked at when no chain
        // names this port.
        if let port = connection.destination.port, byPort[port] != nil { return nil }
        return choose(anyPort, connection)
    }

    private func choose(_ candidates: [Int], _ connection: Connection) -> Int? {
        var left = candidates
        left = best(left) { prefixRank($0.destinations, connection.destination.address) }
        left = best(left) { serverNameRank($0.serverNames, connection.serverName) }
        left = best(left) {
            $0.transportProtocol.isEmpty ? 0 : $0.transportProtocol == connection.transportProtocol ? 1 : nil
        }
        left = best(left) { criteria in
            if criteria.applicationProtocols.isEmpty { return 0 }
            return criteria.applicationProtocols.contains { connection.applicationProtocols.contains($0) } ? 1 : nil
        }
        left = best(left) { prefixRank($0.directSources, connection.directSource.address) }
        left = best(left) { sourceTypeRank($0.sourceType, connection) }
        left = best(left) { prefixRank($0.sources, connection.source.address) }
        left = best(left) { criteria in
            if criteria.sourcePorts.isEmpty { return 0 }
            return criteria.sourcePorts.contains { $0 == connection.source.port } ? 1 : nil
        }
        return left.first
    }

    /// Those of the highest rank; nil is no match.
    private func best(_ candidates: [Int], _ rank: (Criteria) -> Int?) -> [Int] {
        var highest = -1
        var result: [Int] = []
        for index in candidates {
            guard let rank = rank(criteria[index]), rank >= highest else { continue }
            if rank > highest {
                highest = rank
                result = []
            }
            result.append(index)
        }
        return result
    }

    private func prefixRank(_ prefixes: [Prefix], _ address: IPAddress?) -> Int? {
        if prefixes.isEmpty { return 0 }
        guard let address else { return nil }
        return prefixes.filter { $0.contains(address) }.map { $0.length + 1 }.max()
    }

    private func serverNameRank(_ names: [String], _ name: String) -> Int? {
        if names.isEmpty { return 0 }
        var best: Int?
        for candidate in names {
            if candidate == name {
                best = Int.max
            } else if candidate.hasPrefix("*."), name.hasSuffix(candidate.dropFirst()) {
                best = max(best ?? 0, candidate.utf8.count)
            }
        }
        return best
    }

    private func sourceTypeRank(_ type: FilterChainMatch.ConnectionSourceType, _ connection: Connection) -> Int? {
        let source = connection.source.address
        let isLocal = source == connection.destination.address || source?.isLoopback == true || source == nil
        switch type {
        case .sameIpOrLoopback: return isLocal ? 1 : nil
        case .external: return isLocal ? nil : 1
        case .any, .unrecognized: return 0
        }
    }
}
