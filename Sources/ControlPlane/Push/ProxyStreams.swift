import APIServer
import EnvoyAPI
import HTTP
import IO
import Identity
import KubernetesAPI
import Mesh
import Serialization
import Store
import Telemetry
import XDS

/// The discovery service: a socket per pod, a stream per proxy, and the publisher behind them.
///
/// A stream that comes in on a pod's socket is that pod (decision 9); one over TCP is who its certificate or token says.
/// `@unchecked Sendable`: belongs to one loop.
final class ProxyStreams: @unchecked Sendable {
    static let method = DiscoveryMethod.aggregated(isDelta: true)
    static let kinds: [ResourceKind] = MeshObjects.Kind.allCases.compactMap { kind in
        ResourceKind.standard.first { $0.group == kind.group && $0.kind == kind.name }
    }

    /// The socket of one pod.
    private struct PodSocket {
        var listener: SocketListener
        var task: Task<Void, Never>
    }

    let loop: EventLoop
    let limits: DiscoveryLimits
    private let source: any ObjectSource
    private let events: EventRecorder
    private let now: () -> Timestamp
    private let log = Logger("xds")
    var publisher: SnapshotPublisher
    /// Takes the spans of proxies; nil where no traces are kept.
    let traces: TraceService?
    /// Takes the access logs of proxies that are not ours; nil where nothing is kept.
    let accessLogs: AccessLogService?
    private(set) var counts = DiscoveryCounts()

    private(set) var cache: ObjectCache?
    private var sockets: [String: PodSocket] = [:]
    private var outboxes: [Int: Outbox] = [:]
    /// Streams that no socket of a pod holds: they end when their pod does.
    private var remotes: [Int: (pod: NamespacedName, uid: String, call: GRPCStream)] = [:]
    private var openings: TokenBucket
    /// Of the connections of all servers here.
    private let memory = HTTP2Memory()
    private var drainTimer: LoopTimer?
    private var trimTimer: LoopTimer?
    /// Streams opened since free memory was given back last, and how many are worth that it is.
    private var openedSince = 0
    private static let openingsWorthTrimming = 50
    /// Limits of the whole mesh, which proxies ask for; nil in tests that have none.
    var rateLimits: RateLimitService?
    /// Further gRPC methods that subscribers may call.
    var otherMethods: [String: GRPCServer.Method] = [:]
    /// Certifies keys of callers without an agent; nil until there is an authority.
    private(set) var certificates: CertificateService?
    /// Keys and certificates for proxies without an agent; nil until there is an authority.
    private(set) var identities: StreamIdentities?
    /// Called with the ConfigMaps when some have changed.
    var configMapsChanged: ([KubernetesObject]) -> Void = { _ in }
    private var flushTimer: LoopTimer?
    private var namesAreStale = false
    private var namesTimer: LoopTimer?
    private var namesDue = MonotonicTime(nanoseconds: 0)
    private var statuses: StatusTeller?
    private var gateways: GatewayServiceKeeper?
    /// Workloads outside of the cluster that register themselves.
    let registrations: WorkloadRegistrations
    /// Called with the services and slices when they have changed.
    var namesChanged: ([KubernetesObject], [KubernetesObject]) -> Void = { _, _ in }

    init(
        _ source: any ObjectSource, on loop: EventLoop, limits: DiscoveryLimits = DiscoveryLimits(),
        traces: TraceService? = nil, isDualStack: Bool = false, now: @escaping () -> Timestamp
    ) {
        self.traces = traces
        accessLogs = traces == nil ? nil : AccessLogService(on: loop)
        publisher = SnapshotPublisher(hasTraceStore: traces != nil, isDualStack: isDualStack)
        self.source = source
        self.loop = loop
        self.limits = limits
        self.now = now
        openings = TokenBucket(burst: limits.openingBurst, rate: limits.openingRate)
        events = EventRecorder(source, component: "skein-mesh", now: now)
        registrations = WorkloadRegistrations(source, on: loop, now: now)
    }

    /// Begins to follow the objects; `wake` has `objectsChanged` called soon.
    func start(wake: @escaping () -> Void) throws(StatusError) {
        let cache = try ObjectCache(source, kinds: Self.kinds, wake: wake)
        self.cache = cache
        let gateways = GatewayServiceKeeper(source, on: loop, cache: cache) { [unowned self] in publisher.model }
        self.gateways = gateways
        let statuses = StatusTeller(source, on: loop, cache: cache, now: now) { [unowned self] in
            StatusTeller.View(
                model: publisher.model, addresses: { [unowned self] in gateways.addresses(publisher.model) },
                proxies: publisher.proxies(in: GatewayObjects.namespace)
                    + others.flatMap { $0.gateways(since: publisher.changedRevision) })
        }
        self.statuses = statuses
        statuses.soon()
        for kind in Self.kinds {
            for object in cache.objects(kind) { publisher.set(object, now: loop.now) }
        }
        configMapsChanged(cache.objects(.configMap))
        namesAreStale = true
        registrations.start()
        publish()
    }

    /// Takes the changes of objects, and sends what follows from them when it may not wait.
    func objectsChanged() {
        takeChanges()
        schedulePublish()
    }

    /// What other control planes of the same store say of their proxies.
    var others: [ServerReport] = [] {
        didSet {
            // The status of a Gateway may wait for a proxy of another's.
            if others.map(\.gateways) != oldValue.map(\.gateways) || others.contains(where: { !$0.gateways.isEmpty }) {
                statuses?.answered(NamespacedName(namespace: GatewayObjects.namespace, name: GatewayObjects.name))
            }
        }
    }

    /// How far the source is known, translated or not.
    var sourceRevision: Int64 { source.revision }

    /// Gives the publisher every change that the source has.
    private func takeChanges() {
        guard let cache else { return }
        let changes = cache.drain()
        guard !changes.isEmpty else { return }
        for change in changes {
            if change.isDeleted {
                publisher.remove(change.object, now: loop.now)
            } else {
                publisher.set(change.object, now: loop.now)
            }
        }
        if !remotes.isEmpty { endStreams(ofPodsIn: changes, cache) }
        if !namesAreStale, changes.contains(where: { $0.mayName(cache) }) { namesAreStale = true }
        if changes.contains(where: { $0.kind == .configMap }) { configMapsChanged(cache.objects(.configMap)) }
        gateways?.changed(changes)
        statuses?.changed(changes)
    }

    /// Whoever was a pod that is gone is nobody any more; who comes again is asked anew who he is.
    private func endStreams(ofPodsIn changes: [ObjectEvent], _ cache: ObjectCache) {
        let pods = Set(
            changes.lazy.filter { $0.kind == .pod || $0.kind == .workloadEntry && $0.isDeleted }.map {
                NamespacedName(namespace: $0.object.namespace, name: $0.object.name)
            })
        guard !pods.isEmpty else { return }
        for (number, remote) in remotes where pods.contains(remote.pod) {
            if boundEntry(uid: remote.uid, remote.pod) != nil { continue }
            let present = cache.object(.pod, remote.pod)
            let hasEnded = ["Succeeded", "Failed"].contains(present?.status["phase"]?.string ?? "")
            guard hasEnded || present?.metadata.uid != remote.uid else { continue }
            log.info("the stream of a pod that is gone is ended", ["pod": "\(remote.pod)", "stream": "\(number)"])
            counts.endedWithPod += 1
            remote.call.cancel()
        }
    }

    private func schedulePublish() {
        flushTimer?.cancel()
        flushTimer = nil
        // Without changes that concern the mesh there is still the revision to be noted.
        guard let delay = publisher.flushDelay(now: loop.now), delay > .zero else { return publish() }
        if drainTimer == nil { tellDrained() }
        flushTimer = loop.schedule(after: delay) { [weak self] in self?.publish() }
    }

    private func publish() {
        flushTimer?.cancel()
        flushTimer = nil
        takeChanges()  // What was written since the last ones is in the source's revision, its wake-up still to come.
        for (stream, messages) in publisher.flush(revision: source.revision) {
            send(messages, on: stream)
        }
        gateways?.look()
        tellNames()
        tellDrained()
    }

    /// All names are made anew when some have changed: at once, unless that has just taken long.
    ///
    /// Then it takes a twentieth of the time at most.
    private func tellNames() {
        guard namesAreStale, namesTimer == nil, let cache else { return }
        let begin = MonotonicTime.now
        guard begin >= namesDue else {
            namesTimer = loop.schedule(after: namesDue - begin) { [weak self] in
                self?.namesTimer = nil
                self?.tellNames()
            }
            return
        }
        namesAreStale = false
        namesChanged(cache.objects(.service), cache.objects(.endpointSlice))
        let end = MonotonicTime.now
        namesDue = end + (end - begin) * 19
    }

    // MARK: Pods' sockets

    /// A gRPC server of both protocols for subscribers that are known to be somebody.
    func server(_ subscriber: @escaping @Sendable (GRPCStream) throws(GRPCStatus) -> Subscriber) -> GRPCServer {
        func method(_ form: ResponseMaker.Form, isForSecrets: Bool = false) -> GRPCServer.Method {
            { call throws(GRPCStatus) in try await self.serve(call, form, isForSecrets: isForSecrets, subscriber) }
        }
        func other() -> GRPCServer.Method {
            { call throws(GRPCStatus) in try await self.serve(call, subscriber) }
        }
        var http2 = HTTP2Limits()
        http2.concurrentStreams = UInt32(clamping: limits.streamsPerPod)
        // Nobody is answered anything before it is known who asks.
        var methods: [String: GRPCServer.Method] = [:]
        for path in Array(otherMethods.keys) + (certificates == nil ? [] : CertificateService.methods) {
            methods[path] = other()
        }
        if traces != nil { methods[TraceService.method] = other() }
        if accessLogs != nil { methods[AccessLogService.method] = other() }
        methods[DiscoveryMethod.aggregated(isDelta: true)] = method(.delta)
        methods[DiscoveryMethod.aggregated(isDelta: false)] = method(.stateOfTheWorld)
        for isDelta in [true, false] {
            guard let path = DiscoveryMethod.single(Secret.typeURL, isDelta: isDelta) else { continue }
            methods[path] = method(isDelta ? .delta : .stateOfTheWorld, isForSecrets: true)
        }
        return GRPCServer(
            on: loop, methods: methods, limits: http2, messageBytesMax: limits.requestBytes, memory: memory)
    }

    /// Anything but discovery.
    private func serve(
        _ call: GRPCStream, _ subscriber: @Sendable (GRPCStream) throws(GRPCStatus) -> Subscriber
    ) async throws(GRPCStatus) {
        let who = try subscriber(call)
        if let method = otherMethods[call.path] { return try await method(call) }
        if call.path == TraceService.method, let traces { return try await traces.serve(call, who) }
        if call.path == AccessLogService.method, let accessLogs {
            return try await accessLogs.serve(call) { (node) throws(GRPCStatus) in try self.identify(who, node).0.pod }
        }
        try await certificates?.serve(call, who)
    }

    /// The agent has made the socket of a pod.
    func add(_ socket: Socket, uid: String, pod: NamespacedName) {
        remove(uid: uid)
        do throws(SystemError) {
            let listener = try SocketListener(socket, on: loop)
            let server = server { _ in .pod(pod, uid: uid) }
            let task = Task(executorPreference: loop) { await self.accept(listener, server) }
            sockets[uid] = PodSocket(listener: listener, task: task)
        } catch {
            log.error("the socket of a pod cannot be served", ["pod": "\(pod)", "error": error.description])
        }
    }

    /// The pod is gone.
    ///
    /// Its stream ends by itself with the proxy.
    func remove(uid: String) {
        guard let known = sockets.removeValue(forKey: uid) else { return }
        known.task.cancel()
        known.listener.close()
    }

    private func accept(_ listener: SocketListener, _ server: GRPCServer) async {
        while !Task.isCancelled {
            do throws(SystemError) {
                let socket = try await listener.accept()
                let stream = try SocketStream(socket, on: loop)
                // Lives until the proxy ends the connection, also when the agent replaces the socket.
                server.take(stream)
            } catch {
                if Task.isCancelled { return }
                log.warning("accepting a proxy failed", ["error": error.description])
                await loop.sleep(for: .milliseconds(100))
            }
        }
    }

    /// The pod of that uid as the API has it now.
    func boundPod(uid: String, name: NamespacedName?) -> BoundPod? {
        objectsChanged()
        if let entry = boundEntry(uid: uid, name) { return entry }
        let found =
            if let name { cache?.object(.pod, name) } else { cache?.objects(.pod).first { $0.metadata.uid == uid } }
        guard let object = found, object.metadata.uid == uid else { return nil }
        let account = object.spec["serviceAccountName"]?.string ?? ""
        return BoundPod(
            uid: uid, namespace: object.namespace, name: object.name,
            serviceAccount: account.isEmpty ? "default" : account, node: object.spec["nodeName"]?.string ?? "",
            hasEnded: ["Succeeded", "Failed"].contains(object.status["phase"]?.string ?? ""))
    }

    // MARK: Secrets

    /// From now on the authority certifies the keys of proxies that ask us for their certificates.
    func certify(by authority: MeshAuthority, now: @escaping () -> Int64) {
        let identities = StreamIdentities(authority, on: loop, now: now)
        identities.publish = { [unowned self] number, secrets in
            send(publisher.setSecrets(secrets, on: number), on: number)
        }
        identities.acknowledgedRoots = { [unowned self] in publisher.acknowledgedRoots(on: $0) }
        authority.onTrust.append { [weak identities] in identities?.trustChanged() }
        authority.otherReports = { [weak identities] in identities?.reports ?? [] }
        self.identities = identities
        certificates = CertificateService(authority, on: loop)
    }

    /// Whoever asks for the secrets of his workload by name gets those of the pod that he was verified to be, and no others.
    ///
    /// A token is for the first contact: whoever has no more than that gets a certificate for a key of his own (`CertificateService`), once.
    private func provide(
        _ request: SnapshotPublisher.Request, _ number: Int, _ who: Subscriber, _ pod: NamespacedName, uid: String
    ) throws(GRPCStatus) {
        guard request.typeURL == Secret.typeURL, request.names.contains(where: WorkloadSecrets.names.contains) else {
            return
        }
        if case .token = who {
            counts.refusedIdentities += 1
            throw GRPCStatus(
                .permissionDenied, "secrets are not given for a token; ask CreateCertificate, and come with that")
        }
        identities?.open(number, uid: uid, pod: pod)
    }

    // MARK: Streams

    private func serve(
        _ call: GRPCStream, _ form: ResponseMaker.Form, isForSecrets: Bool,
        _ subscriber: @Sendable (GRPCStream) throws(GRPCStatus) -> Subscriber
    ) async throws(GRPCStatus) {
        guard outboxes.count < limits.streams, openings.take(now: loop.now) else {
            counts.refusedStreams += 1
            throw GRPCStatus(.unavailable, "too many proxies have come at once; try again later")
        }
        // Let go of when it has been taken: it may name thousands of resources, and the stream lives for days.
        var first: Asked?
        let who: Subscriber
        do throws(GRPCStatus) {
            who = try subscriber(call)
            call.forgetMetadata()
            let timer = loop.schedule(after: limits.firstRequestTime) { call.cancel() }
            defer { timer.cancel() }
            guard let bytes = try await call.next() else { return }
            first = Asked(try Self.decoded(bytes, form), bytes.count)
        } catch {
            counts.refusedIdentities += error.code == .unauthenticated ? 1 : 0
            counts.violations += [.resourceExhausted, .invalidArgument].contains(error.code) ? 1 : 0
            throw error
        }
        objectsChanged()
        let proxy: ProxyIdentity
        let uid: String
        let own: WorkloadRegistration?
        do throws(GRPCStatus) {
            own = try await register(who, first)
            (proxy, uid) = try identify(who, first)
        } catch {
            counts.refusedIdentities += 1
            log.warning("a proxy was refused", ["reason": error.message])
            throw error
        }
        guard publisher.streamCount(of: proxy.pod) < limits.streamsPerPod else {
            counts.refusedStreams += 1
            throw GRPCStatus(.resourceExhausted, "more than \(limits.streamsPerPod) streams of pod \(proxy.pod)")
        }
        let number = publisher.open(proxy, form, isForSecrets: isForSecrets)
        if own != nil { registrations.opened(proxy.pod, number) }
        let outbox = Outbox(call, loop, unreadTime: limits.unreadTime)
        outboxes[number] = outbox
        if case .pod = who {} else { remotes[number] = (proxy.pod, uid, call) }
        log.info("a proxy has connected", ["pod": "\(proxy.pod)", "role": "\(proxy.role)"])
        opened()
        let asking = Asking(
            number: number, form: form, isForSecrets: isForSecrets, who: who, proxy: proxy, uid: uid, own: own?.node,
            bucket: TokenBucket(burst: limits.requestBurst, rate: limits.requestRate))
        do throws(GRPCStatus) {
            try enter(asking)
            if let opening = first { try take(opening, asking) }
        } catch {
            closed(asking)
            throw error
        }
        // The stream lives for days, and a task with all that it ever needed would with it.
        call.goOn { (bytes) throws(GRPCStatus) in
            try self.received(bytes, asking)
        } ended: { _ in
            self.closed(asking)
        }
    }

    private func closed(_ asking: Asking) {
        let (number, pod) = (asking.number, asking.proxy.pod)
        if outboxes[number]?.isStuck == true {
            counts.unread += 1
            log.warning("a proxy does not read what it asked for", ["pod": "\(pod)"])
        }
        publisher.close(number)
        if asking.own != nil { registrations.closed(pod, number) }
        identities?.close(number)
        outboxes[number] = nil
        remotes[number] = nil
        log.info("a proxy has disconnected", ["pod": "\(pod)"])
        tellDrained()
    }

    private func enter(_ asking: Asking) throws(GRPCStatus) {
        guard asking.bucket.take(now: loop.now) else {
            counts.floods += 1
            throw GRPCStatus(.resourceExhausted, "more than \(Int(limits.requestRate)) requests a second")
        }
    }

    /// Takes the bytes of a request.
    @inline(never)
    private func received(_ bytes: UnsafeRawBufferPointer, _ asking: Asking) throws(GRPCStatus) {
        try enter(asking)
        if let messages = publisher.acknowledged(bytes, on: asking.number) {
            send(messages, on: asking.number)
            return answered(asking.proxy.pod)
        }
        let request = try Self.decoded([UInt8](bytes), asking.form)
        if let node = request.node {
            if let own = asking.own {
                guard node.id == own else {
                    throw GRPCStatus(.permissionDenied, "node \(node.id) is not \(own), whose stream this is")
                }
            } else {
                try NodeID.check(node, asking.proxy)
            }
        }
        try take(Asked(request, bytes.count), asking)
    }

    @inline(never)
    private func take(_ asked: Asked, _ asking: Asking) throws(GRPCStatus) {
        let request = asked.request
        guard !asking.isForSecrets || request.typeURL == Secret.typeURL else {
            counts.violations += 1
            throw GRPCStatus(.invalidArgument, "\(request.typeURL) is asked for on a stream for secrets")
        }
        if let health = WorkloadHealth(request) {
            guard asking.own != nil else {
                counts.violations += 1
                throw GRPCStatus(.invalidArgument, "health is told by workloads that register themselves")
            }
            return registrations.report(health, of: asking.proxy.pod)
        }
        try provide(request, asking.number, asking.who, asking.proxy.pod, uid: asking.uid)
        try take(request, asked.bytes, asking.number, asking.proxy.pod)
    }

    @inline(never)
    private func identify(
        _ who: Subscriber, _ asked: Asked?
    ) throws(GRPCStatus) -> (proxy: ProxyIdentity, uid: String) {
        try identify(who, asked?.request.node)
    }

    /// What many first requests and responses took is given back when no more streams come for a while.
    private func opened() {
        openedSince += 1
        guard openedSince >= Self.openingsWorthTrimming else { return }
        trimTimer?.cancel()
        trimTimer = loop.schedule(after: .seconds(1)) { [weak self] in
            self?.openedSince = 0
            self?.trimTimer = nil
            Environment.returnFreeMemory()
        }
    }

    /// A request of a proxy has been taken.
    private func answered(_ pod: NamespacedName) {
        if publisher.isDraining { tellDrained() }
        statuses?.answered(pod)
    }

    private func take(
        _ request: SnapshotPublisher.Request, _ bytes: Int, _ number: Int, _ pod: NamespacedName
    ) throws(GRPCStatus) {
        if log.isWritten(.debug) { log.debug("request", ["pod": "\(pod)", "what": request.description]) }
        do throws(ProtocolViolation) {
            send(try publisher.received(request, bytes: bytes, on: number), on: number)
        } catch {
            counts.violations += 1
            log.warning("a proxy broke the protocol", ["pod": "\(pod)", "error": error.description])
            throw GRPCStatus(.invalidArgument, error.description)
        }
        for rejection in publisher.takeRejections() { report(rejection) }
        answered(pod)
    }

    private func send(_ messages: [DiscoveryMessage], on number: Int) {
        guard !messages.isEmpty else { return }
        if log.isWritten(.debug) {
            for message in messages { log.debug("response", ["stream": "\(number)", "what": message.description]) }
        }
        outboxes[number]?.send(messages)
    }

    private static func decoded(
        _ bytes: [UInt8], _ form: ResponseMaker.Form
    ) throws(GRPCStatus) -> SnapshotPublisher.Request {
        do throws(MessageError) {
            switch form {
            case .delta: return .delta(try DeltaDiscoveryRequest(serialized: bytes))
            case .stateOfTheWorld: return .stateOfTheWorld(try DiscoveryRequest(serialized: bytes))
            }
        } catch {
            throw GRPCStatus(.invalidArgument, "\(error)")
        }
    }

    /// A refusal is told where people look: in the log, and as an event of the pod.
    private func report(_ rejection: SnapshotPublisher.Rejection) {
        guard let object = cache?.object(.pod, rejection.pod) ?? cache?.object(.workloadEntry, rejection.pod) else {
            return
        }
        let type = rejection.typeURL.split(separator: ".").last.map(String.init) ?? rejection.typeURL
        events.record(
            EventNote(
                object, "ConfigurationRefused", "The proxy refused its \(type) configuration: \(rejection.message)",
                isWarning: true))
        for source in publisher.sources(of: rejection) {
            guard let kind = Self.kinds.first(where: { $0.kind == source.kind }),
                let about = cache?.object(kind, source.object)
            else { continue }
            log.error(
                "refused configuration comes from",
                ["object": "\(source.kind) \(source.object)", "field": source.field])
            events.record(
                EventNote(
                    about, "ConfigurationRefused",
                    "\(source.field): refused by the proxy of pod \(rejection.pod): \(rejection.message)",
                    isWarning: true))
        }
    }

    // MARK: Draining

    /// Whether other servers over the same store may have proxies that use our pods.
    var hasOtherServers: Bool {
        get { publisher.hasOtherServers }
        set { publisher.hasOtherServers = newValue }
    }

    private func tellDrained() {
        for outcome in publisher.drained(now: loop.now) {
            let time: JSON = .string(now().description)
            source.modify(
                .pod, outcome.pod, subresource: "",
                { json in
                    guard json["metadata"]?["uid"]?.string == outcome.uid else { return json }
                    var json = json
                    var metadata = json["metadata"] ?? .object([:])
                    var annotations = metadata["annotations"] ?? .object([:])
                    annotations[SnapshotPublisher.drainedAnnotation] = time
                    metadata["annotations"] = annotations
                    json["metadata"] = metadata
                    return json
                },
                { [log] error in
                    // 404: gone meanwhile.
                    guard let error, error.code != 404 else { return }
                    log.warning("a pod cannot be marked as drained", ["pod": "\(outcome.pod)", "error": error.message])
                })
        }
        drainTimer?.cancel()
        drainTimer = publisher.nextDrainDeadline.map { deadline in
            loop.schedule(after: deadline <= loop.now ? .milliseconds(1) : deadline - loop.now) { [weak self] in
                self?.tellDrained()
            }
        }
    }
}
