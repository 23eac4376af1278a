internal import EnvoyAPI
internal import IO
internal import Upstream

/// What a filter chain asks of a connection: a compiled `FilterChainMatch`.
struct FilterChainCriteria: Sendable {
    var destinationPort: UInt16?
    var destinations: [Prefix] = []
    /// Lower case; `*.example.com` as `.example.com`.
    var serverNames: [String] = []
    var transportProtocol = ""
    var applicationProtocols: [String] = []
    var directSources: [Prefix] = []
    var sourceType = FilterChainMatch.ConnectionSourceType.any
    var sources: [Prefix] = []
    var sourcePorts: [UInt16] = []

    init(compiling match: FilterChainMatch, at path: String) throws(ConfigurationError) {
        try FieldCheck.check(
            match,
            reads: [
                "destination_port", "prefix_ranges", "server_names", "transport_protocol", "application_protocols",
                "direct_source_prefix_ranges", "source_type", "source_prefix_ranges", "source_ports",
            ], at: path)
        if let port = match.destinationPort {
            guard let port = UInt16(exactly: port), port > 0 else {
                throw ConfigurationError(at: path + ".destination_port", "\(port) is no port (1 to 65535)")
            }
            destinationPort = port
        }
        destinations = try Self.prefixes(match.prefixRanges, path + ".prefix_ranges")
        directSources = try Self.prefixes(match.directSourcePrefixRanges, path + ".direct_source_prefix_ranges")
        sources = try Self.prefixes(match.sourcePrefixRanges, path + ".source_prefix_ranges")
        for (index, name) in match.serverNames.enumerated() {
            serverNames.append(try Self.serverName(name.lowercased(), "\(path).server_names[\(index)]"))
        }
        transportProtocol = match.transportProtocol
        applicationProtocols = match.applicationProtocols
        sourceType = match.sourceType
        if case .unrecognized(let number) = sourceType {
            throw ConfigurationError(at: path + ".source_type", "\(number) is no source type")
        }
        for (index, port) in match.sourcePorts.enumerated() {
            guard let port = UInt16(exactly: port), port > 0 else {
                throw ConfigurationError(at: "\(path).source_ports[\(index)]", "\(port) is no port (1 to 65535)")
            }
            sourcePorts.append(port)
        }
    }

    static func prefixes(_ ranges: [CidrRange], _ path: String) throws(ConfigurationError) -> [Prefix] {
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

    /// An exact name, or the suffix behind the star of `*.example.com`.
    private static func serverName(_ name: String, _ path: String) throws(ConfigurationError) -> String {
        guard !name.isEmpty else { throw ConfigurationError(at: path, "an empty name matches nothing") }
        guard name.contains("*") else { return name }
        guard name.hasPrefix("*."), name.utf8.count > 2, !name.dropFirst().contains("*") else {
            throw ConfigurationError(
                at: path, "\"\(name)\": a star stands for whole leading labels, as in *.example.com")
        }
        return String(name.dropFirst())
    }
}
