internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Telemetry
internal import Upstream

/// One discovery stream: connects, carries messages, and connects again when it breaks.
///
/// `@unchecked Sendable`: lives on the control loop alone.
final class DiscoveryStream: @unchecked Sendable {
    private static let log = Logger("xds")
    private static let connectTimeout: Duration = .seconds(5)
    /// Envoy's reconnect back-off: half a second to thirty, with full jitter.
    private static let backOff = BackOff(base: .milliseconds(500), limit: .seconds(30))
    private static let readBytes = 65_536

    private let loop: EventLoop
    private let store: ConfigurationStore
    private let source: DiscoverySource.GRPCSource
    private let path: String
    private let session: DiscoverySession
    private var random = SystemRandomNumberGenerator()
    private var stream: SocketStream?
    private var call: GRPCClientStream?
    private var isFlushing = false
    private var isStopped = false
    private(set) var isConnected = false

    init(
        loop: EventLoop, store: ConfigurationStore, source: DiscoverySource.GRPCSource, path: String,
        session: DiscoverySession
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
    private func connect(_ turn: Int) async throws(SystemError) -> SocketStream {
        let hosts = (store.endpoints[source.clusterName]?.groups ?? []).flatMap(\.endpoints).map(\.address)
        let addresses = hosts.compactMap { IO.SocketAddress($0) }
        guard !addresses.isEmpty else {
            throw SystemError(Self.noAddress, "cluster \(source.clusterName) has no endpoint")
        }
        return try await SocketStream.connect(
            to: addresses[turn % addresses.count], on: loop, timeout: Self.connectTimeout)
    }

    private static let noAddress: Int32 = 99  // EADDRNOTAVAIL

    /// One stream from its beginning to its end; the answer is whether the server said anything.
    private func talk(_ stream: SocketStream) async -> Bool {
        var metadata = HeaderTable()
        for field in source.initialMetadata { try? metadata.append(field.name, field.value) }
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
