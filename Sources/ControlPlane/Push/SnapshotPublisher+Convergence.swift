import EnvoyAPI
public import Mesh
public import Serialization
import XDS

/// Up to which revision of the store the last generations were made.
struct GenerationRevisions: Sendable {
    /// How many generations are remembered; a proxy that is further behind counts as having acknowledged nothing.
    static let kept = 1024

    private var entries: [(generation: Int, revision: Int64)] = []
    /// The revision at which the present generation was made.
    private(set) var changed: Int64 = 0

    /// Everything up to a revision is in that generation.
    mutating func reached(_ revision: Int64, at generation: Int) {
        if let last = entries.last, last.generation == generation {
            entries[entries.count - 1].revision = max(last.revision, revision)
        } else {
            changed = revision
            entries.append((generation, revision))
            if entries.count > Self.kept { entries.removeFirst(entries.count - Self.kept) }
        }
    }

    /// The revision of a generation; 0 when that is long ago.
    subscript(generation: Int) -> Int64 {
        entries.last { $0.generation <= generation }?.revision ?? 0
    }

    var latest: Int64 { entries.last?.revision ?? 0 }
}

extension SnapshotPublisher {
    /// A resource that a proxy refuses, with where it comes from.
    public struct Refusal: Sendable, Hashable {
        /// The proxy's pod.
        public var pod: NamespacedName
        /// The type of the resource.
        public var typeURL: String
        /// Its name.
        public var resource: String
        /// The version that is refused.
        public var version: String
        /// The version that the proxy uses instead; nil when it has none.
        public var lastGood: String?
        /// What the proxy said.
        public var message: String
        /// The fields of objects that made the resource.
        public var sources: [Provenance]
    }

    /// How far the proxies are with a revision of the store, or with one object.
    public struct Convergence: Sendable, Hashable {
        /// What was asked about.
        public var revision: Int64
        /// How many proxies are connected.
        public var proxies: Int
        /// The proxies that have not acknowledged it yet.
        public var waiting: [NamespacedName]
        /// What is refused of it.
        public var refusals: [Refusal]
        /// Whether the control plane itself has come to that revision.
        public var isTranslated: Bool

        /// Whether everybody has it.
        public var isComplete: Bool { isTranslated && waiting.isEmpty && refusals.isEmpty }
    }

    /// One connected proxy, as `skein proxy-status` shows it.
    public struct ProxyState: Sendable {
        /// Its pod.
        public var pod: NamespacedName
        /// Sidecar or gateway.
        public var role: ProxyIdentity.Role
        /// What it is.
        public var client: ClientKind
        /// `node.cluster`.
        public var cluster: String
        /// What it calls its version.
        public var version: String
        /// Which protocol it speaks.
        public var isDelta: Bool
        /// For each type that it subscribed to: `SYNCED`, `STALE` or `REJECTED`.
        public var types: [String: String]
        /// The newest revision of the store of which it has everything.
        public var acknowledgedRevision: Int64
        /// What it refuses.
        public var refusals: [Refusal]
        /// What went over its stream.
        public var traffic: StreamTraffic
    }

    /// How far all proxies are with a revision of the store.
    ///
    /// With an object: only what is refused because of it counts as refused.
    public func convergence(
        revision: Int64, of object: (kind: String, name: NamespacedName)? = nil
    ) -> Convergence {
        var waiting: [NamespacedName] = []
        for stream in configured where stream.base != nil {
            if revisions[stream.server.acknowledgedGeneration] < revision { waiting.append(stream.proxy.pod) }
        }
        var refusals = streams.values.flatMap { self.refusals(of: $0) }
        if let object {
            refusals = refusals.filter { refusal in
                refusal.sources.contains { $0.kind == object.kind && $0.object == object.name }
            }
        }
        return Convergence(
            revision: revision, proxies: streamCount, waiting: waiting.sorted(),
            refusals: refusals.sorted { ($0.pod, $0.resource) < ($1.pod, $1.resource) },
            isTranslated: revisions.latest >= revision)
    }

    /// The connected proxies, sorted.
    public var states: [ProxyState] {
        configured.map { state(of: $0) }.sorted { $0.pod < $1.pod }
    }

    /// A connected proxy.
    func state(of stream: ProxyStream) -> ProxyState {
        let node = stream.server.node
        var types: [String: String] = [:]
        for typeURL in stream.server.subscribedTypes {
            let isRefusing =
                stream.server.rejection(typeURL: typeURL) != nil
                || (typeURL == RouteConfiguration.typeURL && !stream.quarantine.refusals.isEmpty)
            types[typeURL] =
                isRefusing ? "REJECTED" : stream.server.isSettled(typeURL: typeURL) ? "SYNCED" : "STALE"
        }
        return ProxyState(
            pod: stream.proxy.pod, role: stream.proxy.role, client: stream.client, cluster: node?.cluster ?? "",
            version: Self.version(node), isDelta: stream.server.form == .delta, types: types,
            acknowledgedRevision: revisions[stream.server.acknowledgedGeneration],
            refusals: refusals(of: stream), traffic: stream.traffic)
    }

    private static func version(_ node: EnvoyAPI.Node?) -> String {
        switch node?.userAgentVersionType {
        case .userAgentVersion(let version): version
        case .userAgentBuildVersion(let build):
            build.version.map { "\($0.majorNumber).\($0.minorNumber).\($0.patch)" } ?? ""
        case nil: ""
        }
    }

    /// What a connected proxy is to know: its resources of a type, sorted by name.
    ///
    /// Nil when no proxy of that pod is connected.
    public func resources(of pod: NamespacedName, typeURL: String) -> [AnyMessage]? {
        guard let stream = configured.filter({ $0.proxy.pod == pod }).max(by: { $0.number < $1.number }) else {
            return nil
        }
        guard stream.asksOnDemand, stream.server.snapshot != nil else {
            return stream.base?.resources(typeURL).map(\.message) ?? []
        }
        // Of what there is, it has what it has asked for.
        let resources = stream.server.resources(typeURL: typeURL)
        guard typeURL == RouteConfiguration.typeURL else { return resources.map(\.message) }
        let hosts = stream.server.resources(typeURL: VirtualHost.typeURL)
        return resources.map { resource in
            guard var routes = try? resource.message.unpack(as: RouteConfiguration.self) else {
                return resource.message
            }
            routes.virtualHosts += hosts.filter { $0.name.hasPrefix(resource.name + "/") }.compactMap {
                try? $0.message.unpack(as: VirtualHost.self)
            }
            return AnyMessage(packing: routes)
        }
    }

    func refusals(of stream: ProxyStream) -> [Refusal] {
        let held = stream.quarantine.refusals.map { routes, host in
            Refusal(
                pod: stream.proxy.pod, typeURL: RouteConfiguration.typeURL, resource: routes, version: host.version,
                lastGood: host.good.map { _ in
                    stream.server.acknowledged(typeURL: RouteConfiguration.typeURL, name: routes) ?? ""
                }, message: host.message, sources: host.sources)
        }
        let heldRoutes = Set(held.map(\.resource))
        return held
            + whole(stream).filter {
                $0.typeURL != RouteConfiguration.typeURL || !heldRoutes.contains($0.resource)
            }
    }

    /// Resources that are refused as a whole.
    private func whole(_ stream: ProxyStream) -> [Refusal] {
        stream.server.subscribedTypes.flatMap { typeURL in
            stream.server.refused(typeURL: typeURL).map { name, refused in
                Refusal(
                    pod: stream.proxy.pod, typeURL: typeURL, resource: name, version: refused.version,
                    lastGood: refused.lastGoodVersion, message: refused.message,
                    sources: stream.server.snapshot?.resource(typeURL, name).map {
                        ResourceSources.of($0.message, refused: refused.message)
                    } ?? [])
            }
        }
    }

    /// Where the resources that a rejection names came from.
    public func sources(of rejection: Rejection) -> [Provenance] {
        var found: [Provenance] = []
        for stream in streams.values where stream.proxy.pod == rejection.pod {
            for name in rejection.resources {
                let held = rejection.typeURL == RouteConfiguration.typeURL ? stream.quarantine.sources(name) : []
                if !held.isEmpty {
                    for source in held where !found.contains(source) { found.append(source) }
                    continue
                }
                guard let resource = stream.server.snapshot?.resource(rejection.typeURL, name) else { continue }
                for source in ResourceSources.of(resource.message, refused: rejection.message)
                where !found.contains(source) {
                    found.append(source)
                }
            }
        }
        return found
    }
}

/// The objects behind a resource.
enum ResourceSources {
    /// Where a resource came from.
    ///
    /// Of one that EnvoyFilters have changed these: what we make ourselves proxies take. Of one that many objects made (routes of a port, a listener) those that `message` speaks of, by the name or the place of the part; all, if it speaks of none.
    static func of(_ resource: AnyMessage, refused message: String) -> [Provenance] {
        var parts: [(names: [String], place: Provenance?)] = []
        if let cluster = try? resource.unpack(as: Cluster.self) {
            let patches = Provenance.patches(in: cluster.metadata)
            guard patches.isEmpty else { return patches }
            parts = [([cluster.name], place(cluster.metadata))]
        } else if let routes = try? resource.unpack(as: RouteConfiguration.self) {
            for (index, host) in routes.virtualHosts.enumerated() {
                parts += hostParts(host, "virtual_hosts[\(index)]")
            }
        } else if let host = try? resource.unpack(as: VirtualHost.self) {
            parts = hostParts(host, "")
        } else if let listener = try? resource.unpack(as: Listener.self) {
            let patches = Provenance.patches(in: listener.metadata)
            guard patches.isEmpty else { return patches }
            parts = listener.filterChains.enumerated().map { index, chain in
                ([chain.name, "filter_chains[\(index)]"], place(chain.metadata))
            }
            parts.append(([listener.name], place(listener.metadata)))
        }
        let known = parts.filter { $0.place != nil }
        let spoken = known.filter { part in
            part.names.contains { name in
                name.hasSuffix("]") ? message.contains(name) : MessageNames.contains(message, name)
            }
        }
        var found: [Provenance] = []
        for case let place? in (spoken.isEmpty ? known : spoken).map(\.place) where !found.contains(place) {
            found.append(place)
        }
        return found
    }

    private static func hostParts(_ host: VirtualHost, _ path: String) -> [([String], Provenance?)] {
        let prefix = path.isEmpty ? "" : path + "."
        var parts = host.routes.enumerated().map { index, route in
            ([route.name, "\(prefix)routes[\(index)]"], place(route.metadata))
        }
        parts.append(([host.name, path].filter { !$0.isEmpty }, place(host.metadata)))
        return parts
    }

    private static func place(_ metadata: Metadata?) -> Provenance? { metadata.flatMap(Provenance.init(metadata:)) }
}
