internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Telemetry
internal import Upstream

/// Load reports out of band (ORCA) of one cluster: to each host a connection with one stream, on which it says how busy it is.
///
/// `@unchecked Sendable`: lives on the control loop alone. What hosts say goes to all workers. A stream that ends is begun again after a
/// wait, unless the host says that it has no such service.
final class HostReportStreams: @unchecked Sendable {
    private static let log = Logger("orca")
    private static let path = "/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics"
    private static let readBytes = 16_384

    private typealias OutOfBand = ClusterConfig.ReportedWeights.OutOfBand

    private let loop: EventLoop
    private let counts: Counts
    /// Tells workers what a host says of itself.
    private let report: (HostAddress, LoadReport) -> Void
    private var random = SystemRandomNumberGenerator()
    private var config: ClusterConfig
    private var sessions: [HostAddress: Session] = [:]

    /// `cluster.<name>.lb_orca_oob.*`.
    private struct Counts {
        let reportsReceived: MetricCounter
        /// Reports of which no weight follows.
        let reportErrors: MetricCounter
        let streamFailures: MetricCounter
        /// Streams that are not begun again.
        let streamTerminated: MetricCounter
        /// Hosts beyond `Limits.hostReportStreams`.
        let streamOverflow: MetricCounter
        let activeSessions: MetricGauge
        let row: Int

        init(_ metrics: MetricSet, cluster: String) {
            let scope = metrics.scope("cluster", cluster, "lb_orca_oob")
            reportsReceived = scope.counter("reports_received")
            reportErrors = scope.counter("report_errors")
            streamFailures = scope.counter("stream_failures")
            streamTerminated = scope.counter("stream_terminated")
            streamOverflow = scope.counter("stream_overflow")
            activeSessions = scope.gauge("active_sessions")
            row = metrics.controlRow
        }
    }

    /// One host.
    ///
    /// `@unchecked Sendable`: lives on the control loop, like its owner.
    private final class Session: @unchecked Sendable {
        var endpoint: EndpointTable.Endpoint
        let target: HostAddress
        /// The host has no such service, or there are too many hosts: nothing more is asked of it.
        var isOver = false
        /// The wait for the next stream.
        var wait: LoopTimer?
        /// Ends a stream on which nothing comes.
        var silence: LoopTimer?
        var stream: (any ByteStream)?
        var failures: UInt32 = 0
        /// The latest report that workers were not told yet.
        var latest: LoadReport?
        var telling: LoopTimer?
        var told: MonotonicTime?

        init(_ endpoint: EndpointTable.Endpoint, _ target: HostAddress) {
            self.endpoint = endpoint
            self.target = target
        }

        func end() {
            isOver = true
            for timer in [wait, silence, telling] { timer?.cancel() }
            stream?.close()
            stream = nil
        }
    }

    init(
        _ config: ClusterConfig, loop: EventLoop, metrics: MetricSet,
        report: @escaping (HostAddress, LoadReport) -> Void
    ) {
        self.config = config
        self.loop = loop
        self.report = report
        counts = Counts(metrics, cluster: config.observedName)
    }

    // MARK: Hosts

    /// Has streams to these endpoints from now on; known ones go on, unless the cluster says otherwise how.
    func update(_ config: ClusterConfig, endpoints: EndpointTable) {
        guard let settings = config.reportedWeights?.outOfBand else { return cancel() }
        let before = self.config
        if settings != before.reportedWeights?.outOfBand
            || (config.transport as? UpstreamTransport)?.fingerprint
                != (before.transport as? UpstreamTransport)?.fingerprint
        {
            cancel()
        }
        self.config = config
        var present: Set<HostAddress> = []
        var overflow: UInt64 = 0
        for endpoint in endpoints.groups.lazy.flatMap(\.endpoints) {
            guard let target = settings.address(of: endpoint), present.insert(endpoint.address).inserted else {
                continue
            }
            if let known = sessions[endpoint.address] {
                known.endpoint = endpoint
                continue
            }
            guard sessions.count < Limits.hostReportStreams else {
                overflow += 1
                continue
            }
            let session = Session(endpoint, target)
            sessions[endpoint.address] = session
            counts.activeSessions.add(row: counts.row)
            schedule(session, after: settings.firstWait(random: random.next()))
        }
        for (address, session) in sessions where !present.contains(address) {
            sessions[address] = nil
            end(session)
        }
        if overflow > 0 {
            counts.streamOverflow.add(overflow, row: counts.row)
            Self.log.warning(
                "too many hosts to ask all of them for reports", ["cluster": config.name, "left_out": "\(overflow)"])
        }
    }

    func cancel() {
        for session in sessions.values { end(session) }
        sessions = [:]
    }

    /// The host is gone, or has no such service.
    private func end(_ session: Session) {
        guard !session.isOver else { return }
        session.end()
        counts.activeSessions.subtract(row: counts.row)
    }

    // MARK: Streams

    private func schedule(_ session: Session, after wait: Duration) {
        session.wait = loop.schedule(after: wait) { [weak self, weak session] in
            guard let self, let session, !session.isOver else { return }
            Task(executorPreference: self.loop) { await self.follow(session) }
        }
    }

    /// One stream from its beginning to its end.
    private func follow(_ session: Session) async {
        let status = await converse(session)
        session.silence?.cancel()
        session.stream?.close()
        session.stream = nil
        guard !session.isOver else { return }
        if status.code == .unimplemented {
            Self.log.info(
                "host does not report its load",
                ["cluster": config.name, "host": "\(session.target)", "why": "\(status)"])
            counts.streamTerminated.add(row: counts.row)
            return end(session)
        }
        Self.log.debug("stream ended: \(status)", ["cluster": config.name, "host": "\(session.target)"])
        counts.streamFailures.add(row: counts.row)
        session.failures &+= 1
        schedule(session, after: OutOfBand.wait(after: session.failures, random: random.next()))
    }

    private func converse(_ session: Session) async -> GRPCStatus {
        guard let settings = config.reportedWeights?.outOfBand, let address = IO.SocketAddress(session.target) else {
            return GRPCStatus(.unavailable, "no address")
        }
        let endpoint = session.endpoint
        var metadata = endpoint.metadata
        if let criteria = settings.socketCriteria {
            metadata = .object([UpstreamTransport.metadataNamespace: criteria])
        }
        let isSecure = (config.transport as? UpstreamTransport)?.socket(metadata: metadata).context != nil
        do {
            let stream = try await HostStream.connect(
                to: address, of: config, metadata: metadata, hostname: endpoint.hostname, offering: ["h2"], on: loop,
                timeout: config.connectTimeout)
            guard !session.isOver else {
                stream.close()
                return GRPCStatus(.cancelled, "the host is gone")
            }
            session.stream = stream
            let call = try GRPCClientStream(
                path: Self.path, authority: settings.authority(of: endpoint, at: session.target, cluster: config.name),
                isSecure: isSecure, messageBytesMax: OutOfBand.messageBytesMax)
            var request = OrcaLoadReportRequest()
            request.reportInterval = settings.period
            try call.send(request.serialized())
            try call.finishSending()
            listen(session, settings)
            var output: [UInt8] = []
            while true {
                output.removeAll(keepingCapacity: true)
                call.takeOutput(into: &output)
                if !output.isEmpty { try await stream.write(output) }
                let bytes = try await stream.read(upTo: Self.readBytes)
                for event in bytes.isEmpty ? call.inputEnded() : call.receive(bytes.span.bytes) {
                    switch event {
                    case .message(let message):
                        guard take(message, session, settings) else {
                            return GRPCStatus(.internal, "a report cannot be read")
                        }
                    case .closed(let status): return status
                    case .opened, .pong, .drained: break
                    }
                }
                if session.isOver { return GRPCStatus(.cancelled, "the host is gone") }
            }
        } catch {
            return GRPCStatus(.unavailable, "\(error)")
        }
    }

    /// Ends the stream unless something comes in time.
    private func listen(_ session: Session, _ settings: OutOfBand) {
        session.silence?.cancel()
        session.silence = loop.schedule(after: settings.silenceMax) { [weak session] in session?.stream?.close() }
    }

    // MARK: Reports

    /// Takes a message; false when it is no report.
    private func take(_ message: [UInt8], _ session: Session, _ settings: OutOfBand) -> Bool {
        // Nothing is said (as in Envoy: an empty frame is passed over).
        if message.isEmpty { return true }
        guard let report = LoadReport(serialized: message) else { return false }
        counts.reportsReceived.add(row: counts.row)
        session.failures = 0
        listen(session, settings)
        guard let weights = config.reportedWeights, ReportedWeight.weight(by: report, weights) != nil else {
            counts.reportErrors.add(row: counts.row)
            return true
        }
        session.latest = report
        guard session.telling == nil else { return true }
        // A host that never stops talking is heard as often as weights are renewed at most.
        guard let told = session.told, loop.now - told < OutOfBand.reportInterval else {
            tell(session)
            return true
        }
        let wait = told + OutOfBand.reportInterval - loop.now
        session.telling = loop.schedule(after: wait) { [weak self, weak session] in
            guard let self, let session, !session.isOver else { return }
            session.telling = nil
            self.tell(session)
        }
        return true
    }

    private func tell(_ session: Session) {
        guard let report = session.latest else { return }
        session.latest = nil
        session.told = loop.now
        self.report(session.endpoint.address, report)
    }
}
