public import EnvoyAPI
public import IO
public import KubernetesAPI
public import Mesh
import Serialization
import Store
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

        /// The names that are asked for.
        var names: [String] {
            switch self {
            case .delta(let request): request.resourceNamesSubscribe
            case .stateOfTheWorld(let request): request.resourceNames
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

    var translator: MeshTranslator
    private var parts = SharedParts()
    var streams: [Int: ProxyStream] = [:]
    private var lastStream = 0
    /// The streams in the order in which they were opened.
    var order: [ProxyStream] = []
    var isStale = true {
        didSet { if isStale { lastAnalysis = nil } }
    }
    private var lastAnalysis: (object: KubernetesObject, found: [Diagnostic])?
    var tables = SnapshotTables()
    var forms = ProxyForms()
    var changes = SnapshotChanges()
    var worlds = SharedWorlds()
    /// Up to which translation the open streams have been told.
    var publishedGeneration = 0
    var maker = ResponseMaker()
    var drains = DrainTracker()
    /// The hosts of the services that a draining pod was an endpoint of.
    var drainNames: [NamespacedName: Set<String>] = [:]
    /// How often the mesh was translated.
    public internal(set) var generation = 0
    /// How many proxies held up a stopping pod until the time was up.
    public internal(set) var laggardCount = 0
    /// The first and the last change that waits for a flush, and whether it may wait.
    var waiting: (first: MonotonicTime, last: MonotonicTime, isUrgent: Bool)?
    /// Up to which revision of the store each of the last generations was made.
    var revisions = GenerationRevisions()
    /// What went over streams that are closed.
    private var closedTraffic = StreamTraffic()
    let log = Logger("xds")

    /// What came up and has not been fetched.
    public private(set) var rejections: [Rejection] = []

    /// Without objects.
    ///
    /// - Parameters:
    ///   - hasTraceStore: The control plane keeps traces, so that requests are traced unless the mesh configuration says otherwise.
    ///   - isDualStack: Pods have addresses of both families.
    public init(hasTraceStore: Bool = false, isDualStack: Bool = false) {
        translator = MeshTranslator(
            MeshModel(MeshObjects(), hasTraceStore: hasTraceStore, isDualStack: isDualStack))
    }

    /// The model of the last flush, for analysis and names.
    public var model: MeshModel { translator.model }
    /// The number of connected proxies.
    public var streamCount: Int { configured.count }
    /// The streams that stand for proxies: what only asks for secrets is beside one of them.
    var configured: [ProxyStream] { streams.values.filter { !$0.isForSecrets } }
    /// The pods of connected proxies with their state, for the overview.
    public var proxies: [(pod: NamespacedName, isSettled: Bool, rejected: [String: String])] {
        configured.map { ($0.proxy.pod, $0.server.isSettled, $0.rejections) }.sorted { $0.pod < $1.pod }
    }
    /// Those of one namespace.
    func proxies(in namespace: String) -> [(pod: NamespacedName, isSettled: Bool, rejected: [String: String])] {
        configured.filter { $0.proxy.pod.namespace == namespace }
            .map { ($0.proxy.pod, $0.server.isSettled, $0.rejections) }.sorted { $0.pod < $1.pod }
    }
    /// What went over all streams since the start.
    public var traffic: StreamTraffic {
        var sum = closedTraffic
        for stream in streams.values { sum.add(stream.traffic) }
        return sum
    }

    /// What went over streams because of changes, without what new streams got at their beginning.
    public internal(set) var changeTraffic = StreamTraffic()
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
        // Of pods most of what the mesh looks at is alike.
        let projection = KubernetesObject(json: parts.share(object.meshProjection.json))
        if translator.set(projection) { changed(object.kind, now) }
        guard object.kind == "Pod" else { return }
        let key = NamespacedName(namespace: object.namespace, name: object.name)
        if object.metadata.deletionTimestamp != nil, object.metadata.annotations[Self.drainedAnnotation] == nil {
            let grace =
                object.metadata.member("deletionGracePeriodSeconds")?.int
                ?? object.spec["terminationGracePeriodSeconds"]?.int ?? 30
            // Before anything of this pass is translated: who names the pod now has to hear that it goes.
            if drainNames[key] == nil { drainNames[key] = model.hosts(ofEndpoint: key) }
            drains.begin(key, uid: object.metadata.uid, gracePeriodSeconds: grace, now: now)
        } else {
            drains.end(key)
            drainNames[key] = nil
        }
    }

    /// An object is gone.
    public mutating func remove(_ object: KubernetesObject, now: MonotonicTime) {
        if translator.remove(object) { changed(object.kind, now) }
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
        if waiting.isUrgent {
            // X-6: endpoints are not held back, unless the mesh is to be as Istio's: then as long as they keep changing,
            // ten times that at most.
            let hold = model.config.endpointDebounce
            let due = min(waiting.last + hold, waiting.first + hold * 10)
            return due <= now ? .zero : due - now
        }
        let due = min(waiting.last + Self.quietTime, waiting.first + Self.batchTime)
        return due <= now ? .zero : due - now
    }

    /// The annotation by which the node agent learns that a pod may stop.
    public static let drainedAnnotation = "skein.dev/drained"

    /// What the mesh has to say about an object that is about to be written, for the `Warning` headers of its author.
    public mutating func warnings(for object: KubernetesObject) -> [String] {
        diagnostics(object).filter { $0.severity == .warning }.map(\.description)
    }

    /// What makes the mesh refuse an object that is about to be written, in Kubernetes' words.
    public mutating func problems(of object: KubernetesObject) -> [FieldProblem] {
        diagnostics(object).filter { $0.severity == .error }.map { diagnostic in
            if diagnostic.message.hasPrefix("required") {
                let why = diagnostic.message.dropFirst("required".count).drop { ": ".contains($0) }
                return .required(diagnostic.field, (why.isEmpty ? "" : why + " ") + "[\(diagnostic.code.id)]")
            }
            let value = object.json.value(at: diagnostic.field)?.text ?? "null"
            return .invalid(
                diagnostic.field, value.count > 200 ? value.prefix(200) + "…" : value,
                "\(diagnostic.message) [\(diagnostic.code.id)]")
        }
    }

    /// Asked twice for each write, for refusals and for warnings, and computed once.
    private mutating func diagnostics(_ object: KubernetesObject) -> [Diagnostic] {
        if let known = lastAnalysis, known.object == object { return known.found }
        guard let kind = MeshObjects.kind(of: object),
            ![.pod, .endpointSlice, .namespace, .node, .secret].contains(kind)
        else {
            return []
        }
        // Of a Service nothing is said that depends on other objects.
        let found =
            kind == .service
            ? model.analyze(object)
            : translator.trial(with: object.meshProjection) { $0.analyze(object) }
        lastAnalysis = (object, found)
        return found
    }

    // MARK: Streams

    /// A proxy has opened a stream; the number stands for it from now on.
    ///
    /// - Parameter isForSecrets: only secrets are asked for on it.
    public mutating func open(
        _ proxy: ProxyIdentity, _ form: ResponseMaker.Form = .delta, isForSecrets: Bool = false
    ) -> Int {
        lastStream += 1
        let stream = ProxyStream(lastStream, proxy, form, isForSecrets: isForSecrets)
        order.append(stream)
        streams[lastStream] = stream
        return lastStream
    }

    /// How many streams a proxy has.
    public func streamCount(of pod: NamespacedName) -> Int { streams.values.count { $0.proxy.pod == pod } }

    /// A stream has ended.
    public mutating func close(_ number: Int) {
        guard let stream = streams.removeValue(forKey: number) else { return }
        closedTraffic.add(stream.traffic)
        stream.leave()
        order.removeAll { $0 === stream }
    }

    /// A request of a proxy, which took so many bytes; returns what is to be sent on its stream.
    public mutating func received(
        _ request: Request, bytes: Int = 0, on number: Int
    ) throws(ProtocolViolation) -> [DiscoveryMessage] {
        guard let stream = streams[number] else { return [] }
        stream.forgetInterest()
        stream.traffic.requests += 1
        stream.traffic.requestBytes += bytes
        let before = request.error == nil ? [:] : stream.server.refused(typeURL: request.typeURL)
        if case .stateOfTheWorld(let first) = request, first.typeUrl == RouteConfiguration.typeURL,
            first.responseNonce.isEmpty, !first.versionInfo.isEmpty
        {
            stream.broughtRoutes = true
        }
        // With a snapshot the names that are asked for are those of its tables, which all streams hold together.
        if stream.base == nil, let node = request.node {
            try stream.server.introduce(node)
            refresh()
            _ = publish(to: stream)
        }
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
        if request.typeURL == RouteConfiguration.typeURL {
            messages += keepApart(stream, request.error == nil ? nil : before)
        }
        stream.traffic.sent(messages)
        return messages
    }

    /// The bytes of a request, if it is nothing but an acknowledgement; nil when it has to be read as a whole.
    mutating func acknowledged(_ request: UnsafeRawBufferPointer, on number: Int) -> [DiscoveryMessage]? {
        guard let stream = streams[number], stream.base != nil, stream.quarantine.isEmpty,
            let messages = stream.server.acknowledged(request, &maker)
        else { return nil }
        stream.traffic.requests += 1
        stream.traffic.requestBytes += request.count
        stream.traffic.sent(messages)
        return messages
    }

    /// Of a route configuration that was refused, sends what is not (ATK-36); returns what is to be sent.
    ///
    /// - Parameter before: what was refused before a refusal; nil when something was acknowledged or asked for.
    private mutating func keepApart(
        _ stream: ProxyStream, _ before: [String: RefusedResource]?
    ) -> [DiscoveryMessage] {
        guard before != nil || !stream.quarantine.isEmpty else { return [] }
        let typeURL = RouteConfiguration.typeURL
        var isOther = false
        let refused = stream.server.refused(typeURL: typeURL)
        for (name, refusal) in before == nil ? [:] : refused where before?[name]?.version != refusal.version {
            // What it brought along from an earlier stream is not known here: that stays as a whole.
            guard refusal.lastGoodResource != nil || (refusal.lastGoodVersion == nil && !stream.broughtRoutes),
                let resource = stream.server.snapshot?.resource(typeURL, name), resource.version == refusal.version
            else { continue }
            // When nothing but what the proxy has is left, some of what may be innocent is tried at once.
            if stream.quarantine.refused(resource, keeping: refusal.lastGoodResource, message: refusal.message)
                || stream.quarantine.accepted()
            {
                isOther = true
            }
        }
        if !isOther, !stream.quarantine.isEmpty, refused.isEmpty, stream.server.isSettled(typeURL: typeURL) {
            isOther = stream.quarantine.accepted()
        }
        return isOther ? publish(to: stream) : []
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

    /// Gives a stream the secrets of its own workload; returns what is to be sent on it.
    public mutating func setSecrets(_ secrets: SnapshotPart, on number: Int) -> [DiscoveryMessage] {
        guard let stream = streams[number] else { return [] }
        let old = stream.secrets
        stream.secrets = secrets
        // Before its first request there is nothing to send: they come with that.
        guard stream.base != nil, var snapshot = stream.server.snapshot else { return [] }
        snapshot.parts.removeAll { $0 === old }
        snapshot.parts.append(secrets)
        let messages = stream.server.publish(snapshot, generation: generation, &changes, &maker)
        stream.traffic.sent(messages)
        return messages
    }

    /// The version of a workload's roots that a stream has acknowledged; nil when it does not want them.
    public func acknowledgedRoots(on number: Int) -> String? {
        guard let server = streams[number]?.server,
            server.isSubscribed(typeURL: Secret.typeURL, name: WorkloadSecrets.rootName)
        else { return nil }
        return server.acknowledged(typeURL: Secret.typeURL, name: WorkloadSecrets.rootName) ?? ""
    }
}
