public import EnvoyAPI
public import IO
public import KubernetesAPI
public import Mesh
import Serialization
import Telemetry
public import XDS

/// From objects to what each connected proxy is sent.
///
/// Pure but for its log: the shell feeds it object changes, requests of proxies and the time, and writes out the
/// responses it returns. Changes of one pass go together; nothing is held back longer.
public struct SnapshotPublisher {
    /// One connected proxy.
    private struct Stream {
        var proxy: ProxyIdentity
        var server = DeltaServer()
        var rejections: [String: String] = [:]
        /// The versions of the endpoints that it is to have, by name; `nil` until it asked for anything.
        var endpoints: [String: String]?

        mutating func publish(_ made: ProxySnapshot, generation: Int) -> [DeltaDiscoveryResponse] {
            endpoints = made.endpoints.mapValues(\.version)
            return server.publish(SnapshotPublisher.snapshot(made, generation: generation))
        }
    }

    /// Responses for one stream, in order.
    public typealias Output = [(stream: Int, responses: [DeltaDiscoveryResponse])]

    /// Something to tell about a proxy that refused configuration.
    public struct Rejection: Sendable, Hashable {
        /// The pod of the proxy.
        public var pod: NamespacedName
        /// The type of the resources that were refused.
        public var typeURL: String
        /// What the proxy said.
        public var message: String
    }

    private var objects = MeshObjects()
    private var translator = MeshTranslator(MeshModel(MeshObjects()))
    private var streams: [Int: Stream] = [:]
    private var lastStream = 0
    private var isStale = true
    private var drains = DrainTracker()
    /// The hosts of the services that a draining pod was an endpoint of.
    private var drainNames: [NamespacedName: Set<String>] = [:]
    /// How often the mesh was translated.
    public private(set) var generation = 0
    /// How many proxies held up a stopping pod until the time was up.
    public private(set) var laggardCount = 0
    private let log = Logger("xds")

    /// What came up and has not been fetched.
    public private(set) var rejections: [Rejection] = []

    /// Without objects.
    public init() {}

    /// The model of the last flush, for analysis and names.
    public var model: MeshModel { translator.model }
    /// The number of connected proxies.
    public var streamCount: Int { streams.count }
    /// The pods of connected proxies with their state, for the overview.
    public var proxies: [(pod: NamespacedName, isSettled: Bool, rejected: [String: String])] {
        streams.values.map { ($0.proxy.pod, $0.server.isSettled, $0.rejections) }.sorted { $0.pod < $1.pod }
    }

    // MARK: Objects

    /// An object is new or has changed.
    public mutating func set(_ object: KubernetesObject, now: MonotonicTime) {
        guard MeshObjects.kind(of: object) != nil else { return }
        let projection = object.meshProjection
        if objects.set(projection) != nil { isStale = true }
        guard object.kind == "Pod" else { return }
        let key = NamespacedName(namespace: object.namespace, name: object.name)
        if object.metadata.deletionTimestamp != nil, object.metadata.annotations[Self.drainedAnnotation] == nil {
            let grace =
                object.json["metadata"]?["deletionGracePeriodSeconds"]?.int
                ?? object.spec["terminationGracePeriodSeconds"]?.int ?? 30
            drains.begin(key, uid: object.metadata.uid, gracePeriodSeconds: grace, now: now)
        } else {
            drains.end(key)
        }
    }

    /// An object is gone.
    public mutating func remove(_ object: KubernetesObject) {
        if objects.remove(object) != nil { isStale = true }
        if object.kind == "Pod" {
            let key = NamespacedName(namespace: object.namespace, name: object.name)
            drains.end(key)
            drainNames[key] = nil
        }
    }

    /// The annotation by which the node agent learns that a pod may stop.
    public static let drainedAnnotation = "skein.dev/drained"

    /// What the mesh has to say about an object that is about to be written, for the `Warning` headers of its author.
    public func warnings(for object: KubernetesObject) -> [String] {
        guard let kind = MeshObjects.kind(of: object),
            ![.pod, .endpointSlice, .namespace, .node, .secret].contains(kind)
        else {
            return []
        }
        var objects = objects
        objects.set(object.meshProjection)
        return MeshModel(objects).analyze(object).map(\.description)
    }

    // MARK: Streams

    /// A proxy has opened a stream; the number stands for it from now on.
    public mutating func open(_ proxy: ProxyIdentity) -> Int {
        lastStream += 1
        streams[lastStream] = Stream(proxy: proxy)
        return lastStream
    }

    /// A stream has ended.
    public mutating func close(_ stream: Int) { streams[stream] = nil }

    /// A request of a proxy; a differing node is refused (decision 9).
    public mutating func received(
        _ request: DeltaDiscoveryRequest, on number: Int
    ) throws(ProtocolViolation) -> [DeltaDiscoveryResponse] {
        guard var stream = streams[number] else { return [] }
        defer { streams[number] = stream }
        var responses = try stream.server.received(request)
        if stream.endpoints == nil {
            refresh()
            responses += stream.publish(translator.snapshot(for: stream.proxy), generation: generation)
        }
        if let error = request.errorDetail {
            if stream.rejections[request.typeUrl] != error.message {
                log.error(
                    "a proxy refused configuration",
                    ["pod": "\(stream.proxy.pod)", "type": request.typeUrl, "error": error.message])
                rejections.append(
                    Rejection(pod: stream.proxy.pod, typeURL: request.typeUrl, message: error.message))
            }
            stream.rejections[request.typeUrl] = error.message
        } else if !request.responseNonce.isEmpty, stream.server.rejection(typeURL: request.typeUrl) == nil {
            stream.rejections[request.typeUrl] = nil
        }
        return responses
    }

    /// Takes the rejections since the last call.
    public mutating func takeRejections() -> [Rejection] {
        defer { rejections = [] }
        return rejections
    }

    /// Where the resources that a rejection names came from.
    public func sources(of rejection: Rejection) -> [Provenance] {
        guard let stream = streams.values.first(where: { $0.proxy.pod == rejection.pod }) else { return [] }
        var translator = translator
        let made = translator.snapshot(for: stream.proxy)
        var found: [Provenance] = []
        func note(_ name: String, _ metadata: Metadata?) {
            guard rejection.message.contains(name), let place = metadata.flatMap(Provenance.init(metadata:)),
                !found.contains(place)
            else { return }
            found.append(place)
        }
        switch rejection.typeURL {
        case Cluster.typeURL:
            for resource in made.clusters.values where rejection.message.contains(resource.name) {
                note(resource.name, (try? resource.message.unpack(as: Cluster.self))?.metadata)
            }
        case RouteConfiguration.typeURL:
            for resource in made.routes.values {
                for host in (try? resource.message.unpack(as: RouteConfiguration.self))?.virtualHosts ?? [] {
                    note(host.name, host.metadata)
                }
            }
        case Listener.typeURL:
            for resource in made.listeners.values {
                for chain in (try? resource.message.unpack(as: Listener.self))?.filterChains ?? [] {
                    note(chain.name, chain.metadata)
                }
            }
        default: break
        }
        return found
    }

    // MARK: Publishing

    /// Translates what has changed, for every connected proxy; returns what is to be sent.
    public mutating func flush() -> Output {
        var output: Output = []
        // The services that name a draining pod now are those whose endpoints must be acknowledged without it.
        for pod in drains.pods where drainNames[pod] == nil { drainNames[pod] = hosts(of: pod) }
        if isStale {
            refresh()
            for number in streams.keys.sorted() {
                guard var stream = streams[number], stream.endpoints != nil else { continue }
                let responses = stream.publish(translator.snapshot(for: stream.proxy), generation: generation)
                streams[number] = stream
                if !responses.isEmpty { output.append((number, responses)) }
            }
        }
        return output
    }

    private mutating func refresh() {
        guard isStale else { return }
        isStale = false
        generation += 1
        translator = MeshTranslator(MeshModel(objects))
    }

    private static func snapshot(_ made: ProxySnapshot, generation: Int) -> Snapshot {
        func list(_ resources: [String: MeshResource]) -> [String: SnapshotResource] {
            resources.mapValues { SnapshotResource(version: $0.version, message: $0.message) }
        }
        var snapshot = Snapshot(version: String(generation))
        snapshot[Cluster.typeURL] = list(made.clusters)
        snapshot[ClusterLoadAssignment.typeURL] = list(made.endpoints)
        snapshot[Listener.typeURL] = list(made.listeners)
        snapshot[RouteConfiguration.typeURL] = list(made.routes)
        return snapshot
    }

    // MARK: Draining

    /// The hosts of the services whose slices name the pod.
    private func hosts(of pod: NamespacedName) -> Set<String> {
        var hosts: Set<String> = []
        for (service, endpoints) in translator.model.endpoints
        where service.namespace == pod.namespace && endpoints.contains(where: { $0.pod == pod }) {
            if let known = translator.model.services[service] { hosts.insert(known.host) }
        }
        return hosts
    }

    /// The pods that may stop now; the shell writes the annotation.
    ///
    /// Ask after every flush, every request and at `nextDrainDeadline`.
    public mutating func drained(now: MonotonicTime) -> [DrainTracker.Outcome] {
        guard !drains.pods.isEmpty else { return [] }
        for pod in drains.pods {
            guard let hosts = drainNames[pod], isOutOfService(pod) else { continue }
            drains.published(pod, waitingFor: Set(streams.keys.filter { !hasHeard($0, hosts) }))
        }
        let outcomes = drains.finished(now: now)
        for outcome in outcomes {
            drainNames[outcome.pod] = nil
            guard !outcome.laggards.isEmpty else { continue }
            laggardCount += outcome.laggards.count
            let names = outcome.laggards.compactMap { streams[$0].map { "\($0.proxy.pod)" } }
            log.warning(
                "proxies did not acknowledge in time that a pod stops",
                ["pod": "\(outcome.pod)", "laggards": names.joined(separator: " ")])
        }
        return outcomes
    }

    /// When `drained` has something to say although nothing happens.
    public var nextDrainDeadline: MonotonicTime? { drains.nextDeadline }

    /// Whether the endpoint controller has taken the pod out already.
    private func isOutOfService(_ pod: NamespacedName) -> Bool {
        translator.model.endpoints.allSatisfy { service, endpoints in
            service.namespace != pod.namespace
                || (translator.model.services[service]?.publishesNotReady ?? false)
                || endpoints.allSatisfy { $0.pod != pod || !$0.isReady }
        }
    }

    /// Whether a proxy has acknowledged the present endpoints of those hosts, or does not use them.
    private func hasHeard(_ number: Int, _ hosts: Set<String>) -> Bool {
        guard let stream = streams[number], let endpoints = stream.endpoints else { return true }
        let type = ClusterLoadAssignment.typeURL
        if stream.server.rejection(typeURL: type) != nil { return true }
        return endpoints.allSatisfy { name, version in
            !hosts.contains { name.hasSuffix("|\($0)") } || !stream.server.isSubscribed(typeURL: type, name: name)
                || stream.server.acknowledged(typeURL: type, name: name) == version
        }
    }
}
