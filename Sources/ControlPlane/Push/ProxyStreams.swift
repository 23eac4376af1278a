import APIServer
import EnvoyAPI
import HTTP
import IO
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

    /// Who may be on a stream.
    enum Subscriber: Sendable {
        /// The pod whose socket it is.
        case pod(NamespacedName, uid: String)
        /// Any pod of that service account.
        case serviceAccount(NamespacedName)
    }

    let loop: EventLoop
    let limits: DiscoveryLimits
    private let registry: ObjectRegistry
    private let events: EventRecorder
    private let now: () -> Timestamp
    private let log = Logger("xds")
    private(set) var publisher = SnapshotPublisher()
    private(set) var counts = DiscoveryCounts()
    private var cache: ObjectCache?
    private var sockets: [String: PodSocket] = [:]
    private var outboxes: [Int: Outbox] = [:]
    private var openings: TokenBucket
    private var drainTimer: LoopTimer?
    private var flushTimer: LoopTimer?
    private var namesAreStale = false
    /// Called with the services and slices when they have changed.
    var namesChanged: ([KubernetesObject], [KubernetesObject]) -> Void = { _, _ in }

    init(
        _ registry: ObjectRegistry, on loop: EventLoop, limits: DiscoveryLimits = DiscoveryLimits(),
        now: @escaping () -> Timestamp
    ) {
        self.registry = registry
        self.loop = loop
        self.limits = limits
        self.now = now
        openings = TokenBucket(burst: limits.openingBurst, rate: limits.openingRate)
        events = EventRecorder(registry, component: "skein-mesh", now: now)
    }

    /// Begins to follow the objects; `wake` has `objectsChanged` called soon.
    func start(wake: @escaping () -> Void) throws(StatusError) {
        let cache = try ObjectCache(registry, kinds: Self.kinds, wake: wake)
        self.cache = cache
        for kind in Self.kinds {
            for object in cache.objects(kind) { publisher.set(object, now: loop.now) }
        }
        namesAreStale = true
        publish()
    }

    /// Takes the changes of objects, and sends what follows from them when it may not wait.
    func objectsChanged() {
        guard let cache else { return }
        let changes = cache.drain()
        for change in changes {
            if change.isDeleted {
                publisher.remove(change.object, now: loop.now)
            } else {
                publisher.set(change.object, now: loop.now)
            }
        }
        if changes.contains(where: { [.service, .endpointSlice, .serviceEntry].contains($0.kind) }) {
            namesAreStale = true
        }
        schedulePublish()
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
        for (stream, messages) in publisher.flush(revision: registry.store.revision) {
            send(messages, on: stream)
        }
        if namesAreStale, let cache {
            namesAreStale = false
            namesChanged(cache.objects(.service), cache.objects(.endpointSlice))
        }
        tellDrained()
    }

    // MARK: Pods' sockets

    /// A gRPC server of both protocols for subscribers that are known to be somebody.
    func server(_ subscriber: @escaping @Sendable (GRPCStream) throws(GRPCStatus) -> Subscriber) -> GRPCServer {
        func method(_ form: ResponseMaker.Form) -> GRPCServer.Method {
            { call throws(GRPCStatus) in try await self.serve(call, form, subscriber) }
        }
        var http2 = HTTP2Limits()
        http2.concurrentStreams = UInt32(clamping: limits.streamsPerPod)
        return GRPCServer(
            on: loop,
            methods: [
                DiscoveryMethod.aggregated(isDelta: true): method(.delta),
                DiscoveryMethod.aggregated(isDelta: false): method(.stateOfTheWorld),
            ], limits: http2, messageBytesMax: limits.requestBytes)
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
                Task(executorPreference: loop) { await server.serve(stream) }
            } catch {
                if Task.isCancelled { return }
                log.warning("accepting a proxy failed", ["error": error.description])
                await loop.sleep(for: .milliseconds(100))
            }
        }
    }

    // MARK: Streams

    private func serve(
        _ call: GRPCStream, _ form: ResponseMaker.Form,
        _ subscriber: @Sendable (GRPCStream) throws(GRPCStatus) -> Subscriber
    ) async throws(GRPCStatus) {
        guard outboxes.count < limits.streams, openings.take(now: loop.now) else {
            counts.refusedStreams += 1
            throw GRPCStatus(.unavailable, "too many proxies have come at once; try again later")
        }
        let first: SnapshotPublisher.Request
        let firstBytes: Int
        let who: Subscriber
        do throws(GRPCStatus) {
            who = try subscriber(call)
            let timer = loop.schedule(after: limits.firstRequestTime) { call.cancel() }
            defer { timer.cancel() }
            guard let bytes = try await call.next() else { return }
            firstBytes = bytes.count
            first = try Self.decoded(bytes, form)
        } catch {
            counts.refusedIdentities += error.code == .unauthenticated ? 1 : 0
            throw error
        }
        objectsChanged()
        let proxy: ProxyIdentity
        do throws(GRPCStatus) {
            proxy = try identify(who, first.node)
        } catch {
            counts.refusedIdentities += 1
            log.warning("a proxy was refused", ["reason": error.message])
            throw error
        }
        guard publisher.streamCount(of: proxy.pod) < limits.streamsPerPod else {
            counts.refusedStreams += 1
            throw GRPCStatus(.resourceExhausted, "more than \(limits.streamsPerPod) streams of pod \(proxy.pod)")
        }
        let number = publisher.open(proxy, form)
        let outbox = Outbox(call, loop, unreadTime: limits.unreadTime)
        outboxes[number] = outbox
        log.info("a proxy has connected", ["pod": "\(proxy.pod)", "role": "\(proxy.role)"])
        defer {
            if outbox.isStuck {
                counts.unread += 1
                log.warning("a proxy does not read what it asked for", ["pod": "\(proxy.pod)"])
            }
            publisher.close(number)
            outboxes[number] = nil
            log.info("a proxy has disconnected", ["pod": "\(proxy.pod)"])
            tellDrained()
        }
        var bucket = TokenBucket(burst: limits.requestBurst, rate: limits.requestRate)
        var (request, bytes) = (first, firstBytes)
        while true {
            guard bucket.take(now: loop.now) else {
                counts.floods += 1
                throw GRPCStatus(.resourceExhausted, "more than \(Int(limits.requestRate)) requests a second")
            }
            try take(request, bytes, number, proxy.pod)
            guard let next = try await call.next() else { return }
            request = try Self.decoded(next, form)
            bytes = next.count
            if let node = request.node { try Self.check(node, proxy) }
        }
    }

    private func take(
        _ request: SnapshotPublisher.Request, _ bytes: Int, _ number: Int, _ pod: NamespacedName
    ) throws(GRPCStatus) {
        log.debug("request", ["pod": "\(pod)", "what": request.description])
        do throws(ProtocolViolation) {
            send(try publisher.received(request, bytes: bytes, on: number), on: number)
        } catch {
            counts.violations += 1
            log.warning("a proxy broke the protocol", ["pod": "\(pod)", "error": error.description])
            throw GRPCStatus(.invalidArgument, error.description)
        }
        for rejection in publisher.takeRejections() { report(rejection) }
        tellDrained()
    }

    private func send(_ messages: [DiscoveryMessage], on number: Int) {
        for message in messages { log.debug("response", ["stream": "\(number)", "what": message.description]) }
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

    // MARK: Identity

    /// Decision 9: whoever calls itself something else than it is known to be is refused.
    private func identify(_ who: Subscriber, _ node: EnvoyAPI.Node?) throws(GRPCStatus) -> ProxyIdentity {
        guard let node else { throw GRPCStatus(.invalidArgument, "the first request says no node") }
        let key: NamespacedName
        switch who {
        case .pod(let pod, let uid):
            key = pod
            guard let object = cache?.object(.pod, pod), object.metadata.uid == uid else {
                throw GRPCStatus(.unavailable, "there is no pod \(pod) with uid \(uid)")
            }
        case .serviceAccount(let account):
            guard let id = NodeID(node.id) else {
                throw GRPCStatus(.permissionDenied, "node \(node.id) is not of the form \(NodeID.form)")
            }
            key = id.pod
            guard let object = cache?.object(.pod, key), object.metadata.deletionTimestamp == nil || isRunning(object)
            else { throw GRPCStatus(.unavailable, "there is no pod \(key)") }
            let own = object.spec["serviceAccountName"]?.string ?? "default"
            guard account == NamespacedName(namespace: key.namespace, name: own) else {
                throw GRPCStatus(
                    .permissionDenied, "pod \(key) runs as service account \(own), not as \(account)")
            }
        }
        guard let object = cache?.object(.pod, key) else { throw GRPCStatus(.unavailable, "there is no pod \(key)") }
        let isGateway =
            object.metadata.annotations["skein.dev/gateway"] == "true" && key.namespace == GatewayObjects.namespace
        let proxy = ProxyIdentity(pod: key, role: isGateway ? .gateway : .sidecar)
        try Self.check(node, proxy)
        return proxy
    }

    private func isRunning(_ pod: KubernetesObject) -> Bool { pod.status["phase"]?.string == "Running" }

    private static func check(_ node: EnvoyAPI.Node, _ proxy: ProxyIdentity) throws(GRPCStatus) {
        let role = proxy.role == .gateway ? "router" : "sidecar"
        guard let id = NodeID(node.id), id.role == role, id.pod == proxy.pod else {
            throw GRPCStatus(
                .permissionDenied,
                "node \(node.id) is not the proxy of pod \(proxy.pod), whose stream this is "
                    + "(\(role)~IP~\(proxy.pod.name).\(proxy.pod.namespace)~DOMAIN)")
        }
    }

    /// A refusal is told where people look: in the log, and as an event of the pod.
    private func report(_ rejection: SnapshotPublisher.Rejection) {
        guard let object = cache?.object(.pod, rejection.pod) else { return }
        let type = rejection.typeURL.split(separator: ".").last.map(String.init) ?? rejection.typeURL
        events.record(
            EventNote(
                object, "ConfigurationRefused", "The proxy refused its \(type) configuration: \(rejection.message)",
                isWarning: true))
        for source in publisher.sources(of: rejection) {
            guard let kind = registry.kinds.all.first(where: { $0.kind == source.kind }),
                let about = try? registry.get(kind, source.object.namespace, source.object.name)
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

    private func tellDrained() {
        for outcome in publisher.drained(now: loop.now) {
            let time: JSON = .string(now().description)
            do throws(StatusError) {
                _ = try registry.modify(.pod, outcome.pod.namespace, outcome.pod.name) { (json) throws(StatusError) in
                    guard json["metadata"]?["uid"]?.string == outcome.uid else { return json }
                    var json = json
                    var metadata = json["metadata"] ?? .object([:])
                    var annotations = metadata["annotations"] ?? .object([:])
                    annotations[SnapshotPublisher.drainedAnnotation] = time
                    metadata["annotations"] = annotations
                    json["metadata"] = metadata
                    return json
                }
            } catch  where error.code == 404 {
                // Gone meanwhile.
            } catch {
                log.warning("a pod cannot be marked as drained", ["pod": "\(outcome.pod)", "error": error.message])
            }
        }
        drainTimer?.cancel()
        drainTimer = publisher.nextDrainDeadline.map { deadline in
            loop.schedule(after: deadline <= loop.now ? .milliseconds(1) : deadline - loop.now) { [weak self] in
                self?.tellDrained()
            }
        }
    }
}

/// What proxies call themselves, in Istio's form: `sidecar~IP~POD.NAMESPACE~DOMAIN`.
struct NodeID: Sendable, Hashable {
    static let form = "sidecar~IP~POD.NAMESPACE~DOMAIN"

    /// `sidecar` or `router`.
    var role: String
    var address: String
    var pod: NamespacedName
    var domain: String

    /// Reads a node's id; nil when it is not of that form.
    init?(_ text: String) {
        let parts = text.split(separator: "~", omittingEmptySubsequences: false).map(String.init)
        // Names of pods may hold dots, those of namespaces not.
        guard parts.count == 4, ["sidecar", "router"].contains(parts[0]), let dot = parts[2].lastIndex(of: ".") else {
            return nil
        }
        let (name, namespace) = (parts[2][..<dot], parts[2][parts[2].index(after: dot)...])
        guard !name.isEmpty, !namespace.isEmpty else { return nil }
        role = parts[0]
        address = parts[1]
        pod = NamespacedName(namespace: String(namespace), name: String(name))
        domain = parts[3]
    }
}
