import EnvoyAPI
import Serialization
import XDS

/// One route configuration taken apart into what is left of it and its virtual hosts.
///
/// The bytes are cut, not decoded: of a thousand virtual hosts only those whose bytes changed are looked at.
struct RouteSplit {
    /// A virtual host with the name under which it is asked for.
    ///
    /// The same object stands for the same bytes.
    private final class Host: Sendable {
        let bytes: [UInt8]
        let resource: EncodedResource
        /// Its domains without an asterisk, and those with one.
        let own: [String]
        let patterns: [String]

        init(_ bytes: ArraySlice<UInt8>, of name: String) {
            self.bytes = Array(bytes)
            // What the mesh itself has encoded can be decoded.
            let host = (try? VirtualHost(serialized: self.bytes)) ?? VirtualHost()
            own = host.domains.filter { !$0.contains("*") }
            patterns = host.domains.filter { $0.contains("*") }
            resource = EncodedResource(
                name: "\(name)/\(own.first ?? host.name)",
                message: AnyMessage(typeURL: VirtualHost.typeURL, value: self.bytes),
                aliases: own.map { "\(name)/\($0)" })
        }
    }

    /// The route configuration without virtual hosts.
    let configuration: EncodedResource
    /// The virtual hosts with domains of their own, by name.
    private(set) var hosts: [String: EncodedResource] = [:]
    /// `CONFIGURATION/domain` to name.
    private(set) var aliases = ResourceAliases([:])
    /// Answers authorities that no domain equals.
    private(set) var resolver: ResourceResolver
    /// All virtual hosts in their order.
    private var list: [Host] = []
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

        init(_ hosts: [Host]) {
            for host in hosts {
                for domain in host.patterns {
                    let pattern = Pattern(text: domain.replacing("*", with: ""), bytes: host.bytes)
                    if domain == "*" {
                        rest = rest ?? host.bytes
                    } else if domain.hasPrefix("*") {
                        suffixes.append(pattern)
                    } else {
                        prefixes.append(pattern)
                    }
                }
            }
            suffixes.sort { $0.text.utf8.count > $1.text.utf8.count }
            prefixes.sort { $0.text.utf8.count > $1.text.utf8.count }
        }
    }

    /// Cuts a route configuration; `last` is what was made of an earlier version of it.
    init(_ resource: EncodedResource, like last: RouteSplit?) {
        let name = resource.name
        let cut = Self.cut(resource.message.value)
        list = Self.list(cut.hosts, of: name, like: last)
        if let last, let changed = Self.replaced(last.list, list) {
            // Most edits are of one virtual host that keeps its names.
            hosts = last.hosts
            for host in changed { hosts[host.resource.name] = host.resource }
            aliases = last.aliases
            patterns = last.patterns
            resolver = last.resolver
        } else {
            (hosts, aliases) = Self.names(list, of: name)
            patterns = Patterns(list)
            if let last, last.patterns == patterns {
                resolver = last.resolver
            } else {
                resolver = ResourceResolver { [patterns] asked in Self.answer(asked, of: name, patterns) }
            }
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

    /// The virtual hosts of those bytes; those that `last` has too are the same objects.
    private static func list(_ cut: [ArraySlice<UInt8>], of name: String, like last: RouteSplit?) -> [Host] {
        guard let last else { return cut.map { Host($0, of: name) } }
        // Nearly always they stand where they stood, or all after one that came or went stand one place further.
        var shift = 0
        var others: [ArraySlice<UInt8>: Host]?
        return cut.enumerated().map { index, bytes in
            for place in [index + shift, index + shift + 1, index + shift - 1] where last.list.indices.contains(place) {
                if isSame(last.list[place].bytes, bytes) {
                    shift = place - index
                    return last.list[place]
                }
            }
            let known: [ArraySlice<UInt8>: Host]
            if cut.count == last.list.count {
                known = [:]
            } else {
                known = others ?? Dictionary(last.list.map { ($0.bytes[...], $0) }, uniquingKeysWith: { $1 })
                others = known
            }
            return known[bytes] ?? Host(bytes, of: name)
        }
    }

    /// Nearly all virtual hosts are compared with what they were at each change: as memory, not byte by byte.
    private static func isSame(_ left: [UInt8], _ right: ArraySlice<UInt8>) -> Bool {
        guard left.count == right.count else { return false }
        return left.withUnsafeBytes { left in
            right.withUnsafeBytes { right in
                var index = 0
                while index + 8 <= left.count {
                    if left.loadUnaligned(fromByteOffset: index, as: UInt64.self)
                        != right.loadUnaligned(fromByteOffset: index, as: UInt64.self)
                    {
                        return false
                    }
                    index += 8
                }
                return left[index...].elementsEqual(right[index...])
            }
        }
    }

    /// The virtual hosts that stand in the place of others with the same names; `nil` when names differ.
    private static func replaced(_ before: [Host], _ now: [Host]) -> [Host]? {
        guard before.count == now.count else { return nil }
        var changed: [Host] = []
        for (old, new) in zip(before, now) where old !== new {
            guard old.own == new.own, old.patterns.isEmpty, new.patterns.isEmpty, !new.own.isEmpty else { return nil }
            changed.append(new)
        }
        return changed
    }

    private static func names(_ list: [Host], of name: String) -> ([String: EncodedResource], ResourceAliases) {
        var hosts: [String: EncodedResource] = [:]
        var aliases: [String: String] = [:]
        for host in list where !host.own.isEmpty {
            hosts[host.resource.name] = host.resource
            for domain in host.own {
                let alias = "\(name)/\(domain)"
                if alias != host.resource.name { aliases[alias] = host.resource.name }
            }
        }
        return (hosts, ResourceAliases(aliases))
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
