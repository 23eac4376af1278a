import APIServer
import EnvoyAPI
import HTTP
import IO
import KubernetesAPI
import Mesh
import Serialization
import Telemetry
import XDS

/// The discovery service: a socket per pod, a stream per proxy, and the publisher behind them.
///
/// A stream that comes in on a pod's socket is that pod (decision 9). `@unchecked Sendable`: belongs to one loop.
final class ProxyStreams: @unchecked Sendable {
    static let method = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
    static let kinds: [ResourceKind] = MeshObjects.Kind.allCases.compactMap { kind in
        ResourceKind.standard.first { $0.group == kind.group && $0.kind == kind.name }
    }

    /// The socket of one pod.
    private struct PodSocket {
        var listener: SocketListener
        var server: GRPCServer
        var task: Task<Void, Never>
    }

    private let loop: EventLoop
    private let registry: ObjectRegistry
    private let events: EventRecorder
    private let now: () -> Timestamp
    private let log = Logger("xds")
    private(set) var publisher = SnapshotPublisher()
    private var cache: ObjectCache?
    private var sockets: [String: PodSocket] = [:]
    private var outboxes: [Int: Outbox] = [:]
    private var drainTimer: LoopTimer?
    /// Called with the services and slices when they have changed.
    var namesChanged: ([KubernetesObject], [KubernetesObject]) -> Void = { _, _ in }

    init(_ registry: ObjectRegistry, on loop: EventLoop, now: @escaping () -> Timestamp) {
        self.registry = registry
        self.loop = loop
        self.now = now
        events = EventRecorder(registry, component: "skein-mesh", now: now)
    }

    /// Begins to follow the objects; `wake` has `objectsChanged` called soon.
    func start(wake: @escaping () -> Void) throws(StatusError) {
        let cache = try ObjectCache(registry, kinds: Self.kinds, wake: wake)
        self.cache = cache
        for kind in Self.kinds {
            for object in cache.objects(kind) { publisher.set(object, now: loop.now) }
        }
        publish(namesAlso: true)
    }

    /// Takes the changes of objects and sends what follows from them.
    func objectsChanged() {
        guard let cache else { return }
        let changes = cache.drain()
        guard !changes.isEmpty else { return }
        for change in changes {
            if change.isDeleted {
                publisher.remove(change.object)
            } else {
                publisher.set(change.object, now: loop.now)
            }
        }
        publish(namesAlso: changes.contains { [.service, .endpointSlice, .serviceEntry].contains($0.kind) })
    }

    private func publish(namesAlso: Bool) {
        for (stream, responses) in publisher.flush() { outboxes[stream]?.send(responses) }
        if namesAlso, let cache { namesChanged(cache.objects(.service), cache.objects(.endpointSlice)) }
        tellDrained()
    }

    // MARK: Pods' sockets

    /// The agent has made the socket of a pod.
    func add(_ socket: Socket, uid: String, pod: NamespacedName) {
        remove(uid: uid)
        do throws(SystemError) {
            let listener = try SocketListener(socket, on: loop)
            let server = GRPCServer(
                on: loop,
                methods: [
                    Self.method: { call throws(GRPCStatus) in try await self.serve(call, uid: uid, pod: pod) }
                ])
            let task = Task(executorPreference: loop) { await self.accept(listener, server) }
            sockets[uid] = PodSocket(listener: listener, server: server, task: task)
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

    private func serve(_ call: GRPCStream, uid: String, pod: NamespacedName) async throws(GRPCStatus) {
        objectsChanged()
        guard let object = cache?.object(.pod, pod), object.metadata.uid == uid else {
            throw GRPCStatus(.unavailable, "there is no pod \(pod) with uid \(uid)")
        }
        let isGateway =
            object.metadata.annotations["skein.dev/gateway"] == "true" && pod.namespace == GatewayObjects.namespace
        let proxy = ProxyIdentity(pod: pod, role: isGateway ? .gateway : .sidecar)
        let number = publisher.open(proxy)
        outboxes[number] = Outbox(call, loop)
        log.info("a proxy has connected", ["pod": "\(pod)", "role": "\(proxy.role)"])
        defer {
            publisher.close(number)
            outboxes[number] = nil
            log.info("a proxy has disconnected", ["pod": "\(pod)"])
            tellDrained()
        }
        while let bytes = try await call.next() {
            let request = try Self.decoded(bytes)
            if let node = request.node { try Self.check(node, proxy) }
            do throws(ProtocolViolation) {
                outboxes[number]?.send(try publisher.received(request, on: number))
            } catch {
                log.warning("a proxy broke the protocol", ["pod": "\(pod)", "error": error.description])
                throw GRPCStatus(.invalidArgument, error.description)
            }
            for rejection in publisher.takeRejections() { report(rejection) }
            tellDrained()
        }
    }

    private static func decoded(_ bytes: [UInt8]) throws(GRPCStatus) -> DeltaDiscoveryRequest {
        do throws(MessageError) {
            return try DeltaDiscoveryRequest(serialized: bytes)
        } catch {
            throw GRPCStatus(.invalidArgument, "\(error)")
        }
    }

    /// Decision 9: whoever calls itself something else than the pod whose socket it uses is refused.
    private static func check(_ node: EnvoyAPI.Node, _ proxy: ProxyIdentity) throws(GRPCStatus) {
        let parts = node.id.split(separator: "~", omittingEmptySubsequences: false)
        let role = proxy.role == .gateway ? "router" : "sidecar"
        guard parts.count == 4, parts[0] == role, parts[2] == "\(proxy.pod.name).\(proxy.pod.namespace)" else {
            throw GRPCStatus(
                .permissionDenied,
                "node \(node.id) is not the proxy of pod \(proxy.pod), whose socket this is "
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

/// Responses on their way to one proxy, in order.
private final class Outbox: @unchecked Sendable {
    private let call: GRPCStream
    private let loop: EventLoop
    private var waiting: [[UInt8]] = []
    private var isSending = false

    init(_ call: GRPCStream, _ loop: EventLoop) {
        self.call = call
        self.loop = loop
    }

    // Bounded by the protocol: one response per type is under way, the next waits for its acknowledgement.
    func send(_ responses: [DeltaDiscoveryResponse]) {
        waiting += responses.map { $0.serialized() }
        guard !waiting.isEmpty, !isSending else { return }
        isSending = true
        Task(executorPreference: loop) { await self.drain() }
    }

    private func drain() async {
        while !waiting.isEmpty {
            let bytes = waiting.removeFirst()
            do throws(GRPCStatus) {
                try await call.send(bytes)
            } catch {
                waiting = []  // The stream has ended; its reader says so.
            }
        }
        isSending = false
    }
}
