internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Telemetry
internal import Upstream

/// What is said on a stream to a management server.
///
/// On the control loop alone.
protocol ManagementSession: AnyObject {
    /// Writes messages to the present stream; none are written while there is none.
    var send: ([[UInt8]]) -> Void { get set }
    /// A stream is open: what is said first.
    func connected()
    func disconnected()
    func received(_ bytes: [UInt8]) throws(MessageError)
}

/// One stream to a management server: connects, carries messages, and connects again when it breaks.
///
/// `@unchecked Sendable`: lives on the control loop alone.
final class ManagementStream: @unchecked Sendable {
    private static let log = Logger("xds")
    private static let connectTimeout: Duration = .seconds(5)
    /// Envoy's reconnect back-off: half a second to thirty, with full jitter.
    private static let backOff = BackOff(base: .milliseconds(500), limit: .seconds(30))
    private static let readBytes = 65_536

    private let loop: EventLoop
    private let store: ConfigurationStore
    private let source: DiscoverySource.GRPCSource
    private let path: String
    private let session: any ManagementSession
    private var random = SystemRandomNumberGenerator()
    private var stream: (any ByteStream)?
    private var call: GRPCClientStream?
    private var isFlushing = false
    private var isStopped = false
    private(set) var isConnected = false
    /// When the last connection ended, in milliseconds since 1970.
    private(set) var lost: Int64?

    init(
        loop: EventLoop, store: ConfigurationStore, source: DiscoverySource.GRPCSource, path: String,
        session: any ManagementSession
    ) {
        self.loop = loop
        self.store = store
        self.source = source
        self.path = path
        self.session = session
        session.send = { [weak self] requests in self?.write(requests) }
    }

    func start() {
        Task(executorPreference: loop) { await self.run() }
    }

    func stop() {
        isStopped = true
        stream?.close()
    }

    private func run() async {
        var failures: UInt32 = 0
        var turn = 0
        while !isStopped {
            do throws(SystemError) {
                let stream = try await connect(turn)
                let hasTalked = await talk(stream)
                stream.close()
                if hasTalked { failures = 0 }
            } catch {
                if failures == 0 { Self.log.warning("management server: \(error)") }
            }
            guard !isStopped else { return }
            turn += 1
            failures += 1
            await loop.sleep(for: Self.backOff.wait(beforeRetry: failures, random: random.next()))
        }
    }

    /// Connects to the cluster's endpoints in turn.
    private func connect(_ turn: Int) async throws(SystemError) -> any ByteStream {
        let hosts = (store.endpoints[source.clusterName]?.groups ?? []).flatMap(\.endpoints).map(\.address)
        let addresses = hosts.compactMap { IO.SocketAddress($0) }
        guard !addresses.isEmpty else {
            throw SystemError(Self.noAddress, "cluster \(source.clusterName) has no endpoint")
        }
        guard let cluster = store.clusters[source.clusterName]?.config else {
            throw SystemError(Self.noAddress, "there is no cluster \(source.clusterName)")
        }
        return try await HostStream.connect(
            to: addresses[turn % addresses.count], of: cluster, on: loop, timeout: Self.connectTimeout)
    }

    private static let noAddress: Int32 = 99  // EADDRNOTAVAIL

    /// One stream from its beginning to its end; the answer is whether the server said anything.
    private func talk(_ stream: any ByteStream) async -> Bool {
        var metadata = HeaderTable()
        for field in source.initialMetadata { try? metadata.append(field.name, field.value) }
        if let token = source.token {
            guard let field = token.read() else {
                Self.log.warning("management server: the token cannot be read", ["file": token.file])
                return false
            }
            try? metadata.append(field.name, field.value)
        }
        var hasTalked = false
        do throws(HTTPError) {
            let call = try GRPCClientStream(path: path, authority: source.authority, metadata: metadata)
            self.call = call
            self.stream = stream
            isConnected = true
            session.connected()
            flush()
            while !isStopped, !call.hasClosed {
                guard let bytes = try? await stream.read(upTo: Self.readBytes), !bytes.isEmpty else {
                    for event in call.inputEnded() { report(event) }
                    break
                }
                for event in call.receive(bytes.span.bytes) {
                    if case .message(let message) = event {
                        hasTalked = true
                        received(message, call)
                    } else {
                        report(event)
                    }
                }
                flush()
            }
        } catch {
            Self.log.warning("management server: \(error)")
        }
        isConnected = false
        lost = WallClock.milliseconds
        call = nil
        self.stream = nil
        session.disconnected()
        return hasTalked
    }

    private func received(_ message: [UInt8], _ call: GRPCClientStream) {
        do throws(MessageError) {
            try session.received(message)
        } catch {
            Self.log.error("management server: a response cannot be read: \(error)")
            call.cancel()
        }
    }

    private func report(_ event: GRPCClientStream.Event) {
        if case .closed(let status) = event, !isStopped {
            Self.log.warning("management server: the stream ended: \(status)", ["method": path])
        }
    }

    private func write(_ requests: [[UInt8]]) {
        guard let call else { return }
        for request in requests { try? call.send(request) }
        flush()
    }

    /// Sends what the call has to send; one at a time, so that pieces stay in order.
    private func flush() {
        guard !isFlushing, call?.hasOutput == true else { return }
        isFlushing = true
        Task(executorPreference: loop) { await self.sendOutput() }
    }

    private func sendOutput() async {
        defer { isFlushing = false }
        while let call, let stream, call.hasOutput {
            var output: [UInt8] = []
            call.takeOutput(into: &output)
            if output.isEmpty { return }
            do throws(SystemError) {
                try await stream.write(output)
            } catch {
                return stream.close()
            }
        }
    }
}
