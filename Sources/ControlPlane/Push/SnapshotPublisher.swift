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
/// responses it returns. Changes of one pass go together; endpoints are never held back (X-6), the rest for as long as
/// `flushDelay` says.
public struct SnapshotPublisher {
    /// Responses for one stream, in order.
    public typealias Output = [(stream: Int, responses: [DiscoveryMessage])]

    /// A request of either protocol.
    public enum Request: Sendable, CustomStringConvertible {
        /// `DeltaDiscoveryRequest`.
        case delta(DeltaDiscoveryRequest)
        /// `DiscoveryRequest`.
        case stateOfTheWorld(DiscoveryRequest)

        var typeURL: String {
            switch self {
            case .delta(let request): request.typeUrl
            case .stateOfTheWorld(let request): request.typeUrl
            }
        }

        /// The sender, in the first request of a stream.
        var node: EnvoyAPI.Node? {
            switch self {
            case .delta(let request): request.node
            case .stateOfTheWorld(let request): request.node
            }
        }

        /// Type, nonce and names in short, for the log.
        public var description: String {
            let kind = typeURL.split(separator: ".").last.map(String.init) ?? typeURL
            switch self {
            case .delta(let request):
                return "\(kind) nonce=\(request.responseNonce) +\(request.resourceNamesSubscribe.prefix(4))"
                    + " -\(request.resourceNamesUnsubscribe.prefix(4)) \(request.errorDetail?.message ?? "")"
            case .stateOfTheWorld(let request):
                return "\(kind) nonce=\(request.responseNonce) \(request.resourceNames.prefix(4))"
                    + " \(request.errorDetail?.message ?? "")"
            }
        }

        var error: Status? {
            switch self {
            case .delta(let request): request.errorDetail
            case .stateOfTheWorld(let request): request.errorDetail
            }
        }
    }

    /// Something to tell about a proxy that refused configuration.
    public struct Rejection: Sendable, Hashable {
        /// The pod of the proxy.
        public var pod: NamespacedName
        /// The type of the resources that were refused.
        public var typeURL: String
        /// The names of the resources, as far as they are known.
        public var resources: [String]
        /// What the proxy said.
        public var message: String
    }

    /// How long changes other than of endpoints are collected when nothing comes after them.
    public static let quietTime = Duration.milliseconds(10)
    /// How long they are collected at most.
    public static let batchTime = Duration.milliseconds(50)

    private var objects = MeshObjects()
    var translator = MeshTranslator(MeshModel(MeshObjects()))
    var streams: [Int: ProxyStream] = [:]
    private var lastStream = 0
    private var isStale = true
    private var tables = SnapshotTables()
    private var changes = SnapshotChanges()
    private var maker = ResponseMaker()
    var drains = DrainTracker()
    /// The hosts of the services that a draining pod was an endpoint of.
    var drainNames: [NamespacedName: Set<String>] = [:]
    /// How often the mesh was translated.
    public private(set) var generation = 0
    /// How many proxies held up a stopping pod until the time was up.
    public internal(set) var laggardCount = 0
    /// The first and the last change that waits for a flush, and whether it may wait.
    private var waiting: (first: MonotonicTime, last: MonotonicTime, isUrgent: Bool)?
    /// Up to which revision of the store each of the last generations was made.
    var revisions = GenerationRevisions()
    /// What went over streams that are closed.
    private var closedTraffic = StreamTraffic()
    let log = Logger("xds")

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
    /// What went over all streams since the start.
    public var traffic: StreamTraffic {
        var sum = closedTraffic
        for stream in streams.values { sum.add(stream.traffic) }
        return sum
    }

    /// What went over streams because of changes, without what new streams got at their beginning.
    public private(set) var changeTraffic = StreamTraffic()
    /// Answers to responses that were not under way (any more), on the streams that are open.
    public var staleAnswers: Int { streams.values.reduce(0) { $0 + $1.server.staleAnswers } }
    /// Up to which revision of the store the present translation was made.
    public var latestRevision: Int64 { revisions.latest }

    // MARK: Objects

    /// Kinds whose changes are changes of endpoints.
    private static let urgentKinds: Set<String> = ["EndpointSlice", "Pod", "WorkloadEntry", "Secret"]

    /// An object is new or has changed.
    public mutating func set(_ object: KubernetesObject, now: MonotonicTime) {
        guard MeshObjects.kind(of: object) != nil else { return }
        let projection = object.meshProjection
        if objects.set(projection) != nil { changed(object.kind, now) }
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
    public mutating func remove(_ object: KubernetesObject, now: MonotonicTime) {
        if objects.remove(object) != nil { changed(object.kind, now) }
        if object.kind == "Pod" {
            let key = NamespacedName(namespace: object.namespace, name: object.name)
            drains.end(key)
            drainNames[key] = nil
        }
    }

    private mutating func changed(_ kind: String, _ now: MonotonicTime) {
        isStale = true
        let isUrgent = Self.urgentKinds.contains(kind)
        waiting = (waiting?.first ?? now, now, isUrgent || waiting?.isUrgent ?? false)
    }

    /// How long what has changed may wait for more; nil when nothing has changed.
    public func flushDelay(now: MonotonicTime) -> Duration? {
        guard let waiting else { return isStale ? .zero : nil }
        if waiting.isUrgent { return .zero }
        let due = min(waiting.last + Self.quietTime, waiting.first + Self.batchTime)
        return due <= now ? .zero : due - now
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
    public mutating func open(_ proxy: ProxyIdentity, _ form: ResponseMaker.Form = .delta) -> Int {
        lastStream += 1
        streams[lastStream] = ProxyStream(lastStream, proxy, form)
        return lastStream
    }

    /// How many streams a proxy has.
    public func streamCount(of pod: NamespacedName) -> Int { streams.values.count { $0.proxy.pod == pod } }

    /// A stream has ended.
    public mutating func close(_ number: Int) {
        if let stream = streams.removeValue(forKey: number) { closedTraffic.add(stream.traffic) }
    }

    /// A request of a proxy, which took so many bytes; returns what is to be sent on its stream.
    public mutating func received(
        _ request: Request, bytes: Int = 0, on number: Int
    ) throws(ProtocolViolation) -> [DiscoveryMessage] {
        guard let stream = streams[number] else { return [] }
        stream.traffic.requests += 1
        stream.traffic.requestBytes += bytes
        let before = stream.server.refused(typeURL: request.typeURL)
        var messages: [DiscoveryMessage]
        switch request {
        case .delta(let request): messages = try stream.server.received(request, &maker)
        case .stateOfTheWorld(let request): messages = try stream.server.received(request, &maker)
        }
        if stream.base == nil {
            refresh()
            messages += publish(to: stream)
        }
        if let error = request.error { note(error, request.typeURL, stream, before) }
        stream.traffic.sent(messages)
        return messages
    }

    private mutating func note(
        _ error: Status, _ typeURL: String, _ stream: ProxyStream, _ before: [String: RefusedResource]
    ) {
        let refused = stream.server.refused(typeURL: typeURL)
        let new = refused.filter { before[$0.key]?.version != $0.value.version }.keys.sorted()
        log.error(
            "a proxy refused configuration",
            [
                "pod": "\(stream.proxy.pod)", "type": typeURL, "resources": new.joined(separator: " "),
                "error": error.message,
            ])
        let rejection = Rejection(
            pod: stream.proxy.pod, typeURL: typeURL, resources: new,
            message: error.message.isEmpty ? "code \(error.code)" : error.message)
        if rejections.last != rejection { rejections.append(rejection) }
    }

    /// Takes the rejections since the last call.
    public mutating func takeRejections() -> [Rejection] {
        defer { rejections = [] }
        return rejections
    }

    // MARK: Publishing

    /// Translates what has changed, for every connected proxy; returns what is to be sent.
    ///
    /// `revision` is the store's, up to which the objects are known.
    public mutating func flush(revision: Int64 = 0) -> Output {
        var output: Output = []
        // The services that name a draining pod now are those whose endpoints must be acknowledged without it.
        for pod in drains.pods where drainNames[pod] == nil { drainNames[pod] = hosts(of: pod) }
        let wasStale = isStale
        refresh()
        revisions.reached(revision, at: generation)
        guard wasStale else { return output }
        for number in streams.keys.sorted() {
            guard let stream = streams[number], stream.base != nil else { continue }
            let messages = publish(to: stream)
            stream.traffic.sent(messages)
            changeTraffic.sent(messages)
            if !messages.isEmpty { output.append((number, messages)) }
        }
        tables.sweep(generation: generation)
        return output
    }

    private mutating func publish(to stream: ProxyStream) -> [DiscoveryMessage] {
        let made = translator.snapshot(for: stream.proxy)
        let base = tables.snapshot(made, generation: generation, previous: stream.base)
        let snapshot = Self.adapted(base, to: stream)
        stream.base = base
        return stream.server.publish(snapshot, generation: generation, &changes, &maker)
    }

    /// What a proxy gets of a translation: some clients want it in another form.
    private static func adapted(_ base: Snapshot, to stream: ProxyStream) -> Snapshot {
        guard stream.client == .grpc else { return base }
        if let old = stream.base, let last = stream.server.snapshot, ProxylessResources.isSame(old, base) {
            var same = last
            same.version = base.version
            return same
        }
        return ProxylessResources.snapshot(base)
    }

    private mutating func refresh() {
        guard isStale else { return }
        isStale = false
        waiting = nil
        generation += 1
        changes.reset()
        maker.reset()
        translator = MeshTranslator(MeshModel(objects))
    }
}
