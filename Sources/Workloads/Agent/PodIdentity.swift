internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Identity
internal import Serialization
internal import TLS
internal import Telemetry
internal import XDS

/// The key and certificate of one pod, and the socket on which its proxy asks for them (decision 9).
///
/// `@unchecked Sendable`: belongs to the agent and is touched on its loop alone (docs/threads.md).
final class PodIdentity: @unchecked Sendable {
    static let streamMethod = "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets"
    static let deltaMethod = "/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets"
    /// Streams of one pod at a time; a proxy has one or two.
    static let streamsMax = 32

    var credentials: WorkloadCredentials
    /// The number of the request that is under way.
    var request: Int?
    /// What the authority was told last.
    var reported: IdentityReport?
    private let file: String
    private let loop: EventLoop
    private let log = Logger("identity")
    private var listener: SocketListener?
    private var task: Task<Void, Never>?
    private var streams: [Int: SecretStream] = [:]
    private var lastStream = 0
    /// Called when a proxy has said something.
    var onAnswer: () -> Void = {}

    /// Takes up what is in the file, or begins without a certificate.
    ///
    /// - Parameter file: where key and certificate are kept, mode 0600.
    init(file: String, on loop: EventLoop) throws(IdentityError) {
        self.file = file
        self.loop = loop
        let kept = (try? File.read(file)).flatMap { try? JSON.parse($0) }
        // One that cannot be read is as good as none: a new key is made.
        if let kept, let credentials = try? WorkloadCredentials(secretJSON: kept) {
            self.credentials = credentials
        } else {
            credentials = try WorkloadCredentials()
        }
    }

    /// Writes key and certificate down, for the agent's next life.
    func keep() throws(SystemError) {
        try File.makeDirectory(File.parent(of: file), mode: 0o700)
        try File.replace(file, credentials.secretJSON.bytes, mode: 0o600)
    }

    // MARK: Secrets

    private var snapshot: Snapshot? {
        guard credentials.isComplete, let bundle = credentials.bundle else { return nil }
        return Snapshot(
            version: bundle.version,
            parts: [
                WorkloadSecrets.part([
                    WorkloadSecrets.certificate(
                        chain: credentials.chainPEM, key: credentials.key.pem,
                        version: credentials.chain.first.map(Authority.id) ?? ""),
                    WorkloadSecrets.roots(bundle.pem, version: bundle.version),
                ])
            ])
    }

    /// Sends what has changed to the proxy.
    func publish() {
        guard let snapshot else { return }  // A proxy that waits is a proxy that does not serve (decision 10).
        for stream in streams.values { stream.publish(snapshot) }
    }

    /// The version of the bundle that the pod's proxy has taken; empty while it has not.
    ///
    /// A proxy that never asked for the roots has no use for them, and holds up nobody.
    var takenBundle: String {
        let version = credentials.bundle?.version ?? ""
        let isLate = streams.values.contains { $0.wantsRoots && $0.acknowledgedRoots != version }
        return isLate ? "" : version
    }

    // MARK: The socket

    /// Serves the proxy on that socket from now on.
    func serve(_ socket: Socket) throws(SystemError) {
        let listener = try SocketListener(socket, on: loop)
        self.listener = listener
        let server = GRPCServer(
            on: loop,
            methods: [
                Self.streamMethod: { [weak self] call throws(GRPCStatus) in try await self?.serve(call, delta: false) },
                Self.deltaMethod: { [weak self] call throws(GRPCStatus) in try await self?.serve(call, delta: true) },
            ])
        task = Task(executorPreference: loop) { [loop, log] in
            while !Task.isCancelled {
                do throws(SystemError) {
                    let stream = try SocketStream(try await listener.accept(), on: loop)
                    Task(executorPreference: loop) { await server.serve(stream) }
                } catch {
                    if Task.isCancelled { return }
                    log.warning("accepting a proxy failed", ["error": error.description])
                    await loop.sleep(for: .milliseconds(100))
                }
            }
        }
    }

    /// Ends serving.
    func close() {
        task?.cancel()
        listener?.close()
        listener = nil
    }

    private func serve(_ call: GRPCStream, delta: Bool) async throws(GRPCStatus) {
        guard streams.count < Self.streamsMax else {
            throw GRPCStatus(.resourceExhausted, "more than \(Self.streamsMax) streams of one pod")
        }
        lastStream += 1
        let number = lastStream
        let stream = SecretStream(call, loop, delta: delta)
        streams[number] = stream
        if let snapshot { stream.publish(snapshot) }
        defer {
            streams[number] = nil
            onAnswer()
        }
        while let bytes = try await call.next() {
            try stream.received(bytes)
            onAnswer()
        }
    }
}

/// One stream of secrets, of either protocol.
///
/// `@unchecked Sendable`: belongs to its pod's identity (docs/threads.md).
private final class SecretStream: @unchecked Sendable {
    private let call: GRPCStream
    private let loop: EventLoop
    private let isDelta: Bool
    private var server: DiscoveryServer
    private var waiting: [[UInt8]] = []
    private var isSending = false

    init(_ call: GRPCStream, _ loop: EventLoop, delta: Bool) {
        self.call = call
        self.loop = loop
        isDelta = delta
        server = DiscoveryServer(delta ? .delta : .stateOfTheWorld)
    }

    var wantsRoots: Bool { server.isSubscribed(typeURL: Secret.typeURL, name: WorkloadSecrets.rootName) }

    var acknowledgedRoots: String? { server.acknowledged(typeURL: Secret.typeURL, name: WorkloadSecrets.rootName) }

    func publish(_ snapshot: Snapshot) {
        var changes = SnapshotChanges()
        var maker = ResponseMaker()
        send(server.publish(snapshot, &changes, &maker))
    }

    func received(_ bytes: [UInt8]) throws(GRPCStatus) {
        var maker = ResponseMaker()
        if isDelta {
            let request = try Self.decoded(bytes, as: DeltaDiscoveryRequest.self)
            do throws(ProtocolViolation) { send(try server.received(request, &maker)) } catch {
                throw GRPCStatus(.invalidArgument, error.description)
            }
        } else {
            let request = try Self.decoded(bytes, as: DiscoveryRequest.self)
            do throws(ProtocolViolation) { send(try server.received(request, &maker)) } catch {
                throw GRPCStatus(.invalidArgument, error.description)
            }
        }
    }

    private static func decoded<M: Message>(_ bytes: [UInt8], as type: M.Type) throws(GRPCStatus) -> M {
        do throws(MessageError) { return try M(serialized: bytes) } catch {
            throw GRPCStatus(.invalidArgument, "\(error)")
        }
    }

    // Bounded by the protocol: one response is under way, the next waits for its acknowledgement.
    private func send(_ responses: [DiscoveryMessage]) {
        waiting += responses.map(\.bytes)
        guard !waiting.isEmpty, !isSending else { return }
        isSending = true
        Task(executorPreference: loop) { await self.drain() }
    }

    private func drain() async {
        while !waiting.isEmpty {
            let bytes = waiting.removeFirst()
            do throws(GRPCStatus) { try await call.send(bytes) } catch {
                waiting = []  // The stream has ended; its reader says so.
            }
        }
        isSending = false
    }
}
