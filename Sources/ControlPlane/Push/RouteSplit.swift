import EnvoyAPI
import Serialization
import XDS

/// One route configuration taken apart into what is left of it and its virtual hosts.
///
/// The bytes are cut, not decoded: of a thousand virtual hosts only those whose bytes changed are looked at.
struct RouteSplit {
    /// A virtual host with the name under which it is asked for.
    private struct Host {
        var bytes: ArraySlice<UInt8>
        var resource: EncodedResource
        var domains: [String]
    }

    /// The route configuration without virtual hosts.
    let configuration: EncodedResource
    /// The virtual hosts with domains of their own, by name.
    private(set) var hosts: [String: EncodedResource] = [:]
    /// `CONFIGURATION/domain` to name.
    private(set) var aliases: [String: String] = [:]
    /// Answers authorities that no domain equals.
    private(set) var resolver: ResourceResolver
    private var known: [UInt64: Host] = [:]
    private var patterns: Patterns

    /// Domains that match more than one authority.
    private struct Patterns: Sendable, Equatable {
        /// `*.example.com` without the star, the longest first.
        var suffixes: [Pattern] = []
        /// `www.*` without the star, the longest first.
        var prefixes: [Pattern] = []
        /// The bytes of the virtual host for `*`.
        var rest: [UInt8]?

        struct Pattern: Sendable, Equatable {
            var text: String
            var bytes: [UInt8]
        }
    }

    /// Cuts a route configuration; `last` is what was made of an earlier version of it.
    init(_ resource: EncodedResource, like last: RouteSplit?) {
        let name = resource.name
        let cut = Self.cut(resource.message.value)
        var patterns = Patterns()
        for bytes in cut.hosts {
            let hash = Self.hash(bytes)
            let host: Host
            if let before = last?.known[hash] ?? known[hash], before.bytes == bytes {
                host = before
            } else {
                host = Self.host(bytes, of: name)
            }
            known[hash] = host
            for domain in host.domains where domain.contains("*") {
                let text = domain.replacing("*", with: "")
                if domain == "*" {
                    patterns.rest = patterns.rest ?? Array(bytes)
                } else if domain.hasPrefix("*") {
                    patterns.suffixes.append(Patterns.Pattern(text: text, bytes: Array(bytes)))
                } else {
                    patterns.prefixes.append(Patterns.Pattern(text: text, bytes: Array(bytes)))
                }
            }
            let own = host.domains.filter { !$0.contains("*") }
            guard !own.isEmpty else { continue }
            hosts[host.resource.name] = host.resource
            for domain in own {
                let alias = "\(name)/\(domain)"
                if alias != host.resource.name { aliases[alias] = host.resource.name }
            }
        }
        patterns.suffixes.sort { $0.text.utf8.count > $1.text.utf8.count }
        patterns.prefixes.sort { $0.text.utf8.count > $1.text.utf8.count }
        self.patterns = patterns
        if let last, last.patterns == patterns {
            resolver = last.resolver
        } else {
            resolver = ResourceResolver { [patterns] asked in Self.answer(asked, of: name, patterns) }
        }
        if let last, last.rest == cut.rest {
            configuration = last.configuration
        } else {
            var rest = (try? RouteConfiguration(serialized: cut.rest)) ?? RouteConfiguration()
            rest.name = name
            var vhds = Vhds()
            vhds.configSource = OnDemandResources.source
            rest.vhds = vhds
            configuration = EncodedResource(name: name, message: AnyMessage(packing: rest))
        }
        rest = cut.rest
    }

    private var rest: [UInt8]

    /// Cuts the fields `virtual_hosts` (number 2) out of the bytes of a route configuration.
    private static func cut(_ bytes: [UInt8]) -> (hosts: [ArraySlice<UInt8>], rest: [UInt8]) {
        var (hosts, rest): ([ArraySlice<UInt8>], [UInt8]) = ([], [])
        var index = 0
        func varint() -> Int? {
            var (value, shift) = (0, 0)
            while index < bytes.count, shift < 63 {
                let byte = bytes[index]
                index += 1
                value |= Int(byte & 0x7F) << shift
                if byte < 0x80 { return value }
                shift += 7
            }
            return nil
        }
        while index < bytes.count {
            let start = index
            guard let tag = varint() else { break }
            switch tag & 7 {
            case 0: if varint() == nil { index = bytes.count }
            case 1: index = min(index + 8, bytes.count)
            case 2:
                guard let length = varint(), length >= 0, length <= bytes.count - index else {
                    index = bytes.count
                    break
                }
                if tag >> 3 == 2 {
                    hosts.append(bytes[index..<(index + length)])
                    index += length
                    continue
                }
                index += length
            case 5: index = min(index + 4, bytes.count)
            default: index = bytes.count
            }
            rest += bytes[start..<index]
        }
        return (hosts, rest)
    }

    private static func hash(_ bytes: ArraySlice<UInt8>) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return hash
    }

    private static func host(_ bytes: ArraySlice<UInt8>, of name: String) -> Host {
        let message = AnyMessage(typeURL: VirtualHost.typeURL, value: Array(bytes))
        // What the mesh itself has encoded can be decoded.
        let host = (try? VirtualHost(serialized: Array(bytes))) ?? VirtualHost()
        let own = host.domains.filter { !$0.contains("*") }
        let resource = EncodedResource(
            name: "\(name)/\(own.first ?? host.name)", message: message, aliases: own.map { "\(name)/\($0)" })
        return Host(bytes: bytes, resource: resource, domains: host.domains)
    }

    /// The virtual host for an authority that no domain equals: that of a pattern, or for everything else; for that authority alone, so
    /// that no two that a proxy has claim the same domain.
    private static func answer(_ asked: String, of name: String, _ patterns: Patterns) -> EncodedResource? {
        guard asked.hasPrefix(name + "/") else { return nil }
        let authority = String(asked.dropFirst(name.count + 1)).lowercased()
        guard !authority.isEmpty, !authority.contains("*") else { return nil }
        let length = authority.utf8.count
        let pattern =
            patterns.suffixes.first { authority.hasSuffix($0.text) && length > $0.text.utf8.count }
            ?? patterns.prefixes.first { authority.hasPrefix($0.text) && length > $0.text.utf8.count }
        guard let bytes = pattern?.bytes ?? patterns.rest, var host = try? VirtualHost(serialized: bytes) else {
            return nil
        }
        host.name = "\(host.name)/\(authority)"
        host.domains = [authority]
        return EncodedResource(name: asked, message: AnyMessage(packing: host), aliases: [asked])
    }
}
