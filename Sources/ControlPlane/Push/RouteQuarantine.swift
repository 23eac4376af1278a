import EnvoyAPI
import Mesh
import Serialization
import XDS

/// Virtual hosts that one proxy refuses, kept apart so that the others of their route configuration go on (ATK-36).
///
/// A route configuration holds the virtual hosts of a whole port, made of many objects: when a proxy refuses it, the hosts that it refuses stay at what the proxy
/// had of them, and the rest is sent. Whom the proxy's words do not name are found by halves. A host that changes is tried again.
///
/// Pure. Proxies that ask for virtual hosts one by one (VHDS) need none of this: there each is a resource.
struct RouteQuarantine {
    /// A virtual host that is not sent.
    struct Held {
        /// What was refused, encoded.
        var refused: [UInt8]
        /// What the proxy has instead; nil when it has none.
        var good: VirtualHost?
        /// The version of the route configuration in which it was refused.
        var version: String
        /// What the proxy said.
        var message: String
        /// The objects behind it.
        var sources: [Provenance]
        /// Whether it is known that this one is refused, or only that one of several is.
        var isCertain: Bool
    }

    /// By route configuration and virtual host.
    private(set) var held: [String: [String: Held]] = [:]
    /// Hosts that are to be tried again, batch by batch, by route configuration.
    private var batches: [String: [[String]]] = [:]

    var isEmpty: Bool { held.isEmpty }

    /// What the proxy is known to refuse, by route configuration.
    var refusals: [(routes: String, host: Held)] {
        held.sorted { $0.key < $1.key }.flatMap { name, hosts in
            hosts.sorted { $0.key < $1.key }.filter(\.value.isCertain).map { (name, $0.value) }
        }
    }

    /// The objects behind what is held of a route configuration.
    func sources(_ routes: String) -> [Provenance] {
        var found: [Provenance] = []
        for host in (held[routes] ?? [:]).sorted(by: { $0.key < $1.key }) {
            for source in host.value.sources where !found.contains(source) { found.append(source) }
        }
        return found
    }

    // MARK: Answers

    /// The proxy has refused a route configuration and keeps `good`; whether there is something else to be sent now.
    mutating func refused(_ resource: EncodedResource, keeping good: EncodedResource?, message: String) -> Bool {
        guard let wanted = try? resource.message.unpack(as: RouteConfiguration.self) else { return false }
        let before = good.flatMap { try? $0.message.unpack(as: RouteConfiguration.self) }
        let old = Dictionary(
            (before?.virtualHosts ?? []).map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        let changed = wanted.virtualHosts.enumerated().filter { _, host in
            old[host.name]?.serialized() != host.serialized()
        }
        // It is something else about it that the proxy does not like: the last good one stays as a whole.
        guard !changed.isEmpty else { return false }
        var guilty = changed.filter { Self.isNamed($0.element, at: $0.offset, in: message) }.map(\.element)
        if guilty.isEmpty, changed.count == 1 { guilty = changed.map(\.element) }
        let isCertain = !guilty.isEmpty
        if !isCertain { guilty = changed.map(\.element) }
        for host in guilty {
            held[resource.name, default: [:]][host.name] = Held(
                refused: host.serialized(), good: old[host.name], version: resource.version, message: message,
                sources: ResourceSources.of(AnyMessage(packing: host), refused: message), isCertain: isCertain)
        }
        if !isCertain {
            let names = guilty.map(\.name)
            let half = names.count / 2
            batches[resource.name, default: []].insert(
                contentsOf: [Array(names[..<half]), Array(names[half...])], at: 0)
        }
        guard let rest = adapted(resource) else { return false }
        return rest.message.value != good?.message.value
    }

    /// The proxy has taken what it was sent: the next hosts that may be innocent are tried; whether there are some.
    mutating func accepted() -> Bool {
        for (name, waiting) in batches.sorted(by: { $0.key < $1.key }) {
            var waiting = waiting
            while !waiting.isEmpty {
                // Some may have been found guilty, or have changed, meanwhile.
                let batch = waiting.removeFirst().filter { held[name]?[$0]?.isCertain == false }
                batches[name] = waiting.isEmpty ? nil : waiting
                guard !batch.isEmpty else { continue }
                for host in batch { release(name, host) }
                return true
            }
        }
        return false
    }

    private mutating func release(_ name: String, _ host: String) {
        held[name]?[host] = nil
        if held[name]?.isEmpty == true { held[name] = nil }
    }

    /// Whether the proxy's words are about that host: by its name or a route's, or by its place.
    private static func isNamed(_ host: VirtualHost, at index: Int, in message: String) -> Bool {
        message.contains("virtual_hosts[\(index)]") || message.contains("VirtualHosts[\(index)]")
            || MessageNames.contains(message, host.name)
            || host.routes.contains { MessageNames.contains(message, $0.name) }
    }

    // MARK: Snapshots

    /// The snapshot without what is held; hosts that are other than what was refused are let go.
    mutating func applied(to base: Snapshot) -> Snapshot {
        guard !held.isEmpty else { return base }
        var snapshot = base
        let typeURL = RouteConfiguration.typeURL
        for name in held.keys.sorted() {
            guard let resource = base.resource(typeURL, name) else {
                held[name] = nil
                batches[name] = nil
                continue
            }
            letGo(resource)
            guard held[name] != nil, let other = adapted(resource) else { continue }
            for (index, part) in snapshot.parts.enumerated() {
                guard let tables = part.tables[typeURL], tables.contains(where: { $0.resources[name] != nil }) else {
                    continue
                }
                var all = part.tables
                all[typeURL] = tables.map { table in
                    guard table.resources[name] != nil else { return table }
                    var resources = table.resources
                    resources[name] = other
                    return ResourceTable(resources, aliases: table.names, resolver: table.resolver)
                }
                snapshot.parts[index] = SnapshotPart(all)
            }
        }
        return snapshot
    }

    private mutating func letGo(_ resource: EncodedResource) {
        guard let routes = try? resource.message.unpack(as: RouteConfiguration.self) else { return }
        var present: [String: [UInt8]] = [:]
        for host in routes.virtualHosts { present[host.name] = host.serialized() }
        for (name, host) in held[resource.name] ?? [:] where present[name] != host.refused {
            release(resource.name, name)
        }
    }

    /// The route configuration with what the proxy has of the hosts that are held.
    private func adapted(_ resource: EncodedResource) -> EncodedResource? {
        guard let hosts = held[resource.name], !hosts.isEmpty,
            var routes = try? resource.message.unpack(as: RouteConfiguration.self)
        else { return nil }
        routes.virtualHosts = routes.virtualHosts.compactMap { host in
            guard let known = hosts[host.name] else { return host }
            return known.good
        }
        return EncodedResource(name: resource.name, message: AnyMessage(packing: routes))
    }
}
