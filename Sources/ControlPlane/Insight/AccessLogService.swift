import EnvoyAPI
import HTTP
import IO
import Insight
import Mesh
import Serialization

/// Takes the access logs of proxies that know no standard metrics (`envoy.service.accesslog.v3.AccessLogService`), on the sockets on which they are configured.
///
/// Whose they are is what the socket or the certificate says; who is on the other side, what the mesh knows of the address. Entries become figures at
/// once; nothing of a request is kept. `@unchecked Sendable`: used on one loop (docs/threads.md).
final class AccessLogService: @unchecked Sendable {
    static let method = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs"

    /// Bounds on what a proxy may make us hold or do (ATK-19).
    struct Limits {
        /// Entries of one proxy at once.
        var burst = 100_000.0
        /// Entries of one proxy in a second; what is more is left out and counted.
        var rate = 20_000.0
        /// Proxies that are known at once.
        var podsMax = 20_000
        /// Streams of one proxy: each of its workers has some.
        var streamsPerPod = 512
        /// Connections of one proxy of which it is known what was told; of others only the end counts.
        var connectionsMax = 20_000
        /// Looks (of ten seconds) after which a connection is forgotten that nothing was told of.
        var connectionLooks = 12
    }

    /// The service that a cluster leads to.
    struct Service {
        var host = ""
        var name = ""
        var namespace = ""
    }

    /// What was told of a connection so far.
    private struct Connection {
        var sent: UInt64
        var received: UInt64
        var look: Int
    }

    private struct Sender {
        var traffic = LoggedTraffic()
        var bucket: TokenBucket
        var connections: [String: Connection] = [:]
        var streams = 0
    }

    private let limits: Limits
    private let loop: EventLoop
    private var senders: [NamespacedName: Sender] = [:]
    private var look = 0
    private struct ClusterKey: Hashable {
        var pod: NamespacedName
        var cluster: String
    }
    /// What was found for entries, in this generation and until the next look.
    private var found: (generation: Int, workloads: [String: WorkloadLabels?], services: [ClusterKey: Service?]) = (
        0, [:], [:]
    )
    /// Whose an address is.
    var workload: (String) -> EnvoyAPI.Workload? = { _ in nil }
    /// The address of a pod.
    var address: (NamespacedName) -> String? = { _ in nil }
    /// Which configuration of the mesh is in force: what was found for an earlier one is looked up anew.
    var generation: () -> Int = { 0 }
    /// The service of a cluster of a pod's proxy.
    var service: (NamespacedName, String) -> Service? = { _, _ in nil }
    /// Entries that were taken.
    private(set) var entries: UInt64 = 0
    /// Entries beyond what their sender may send.
    private(set) var refused: UInt64 = 0
    /// Messages that were none, or said no log of ours.
    private(set) var malformed: UInt64 = 0
    /// Entries whose labels were too many, told as `other`.
    private(set) var overflowed: UInt64 = 0
    /// Streams beyond the limit, or of somebody who is not who he says.
    private(set) var refusedStreams: UInt64 = 0

    init(on loop: EventLoop, limits: Limits = Limits()) {
        self.loop = loop
        self.limits = limits
    }

    /// Serves one stream, to its end; `identify` says whose it is, or refuses it.
    func serve(
        _ call: GRPCStream, identify: (EnvoyAPI.Node?) throws(GRPCStatus) -> NamespacedName
    ) async throws(GRPCStatus) {
        guard let first = try await call.next() else { return }
        let opening = try decoded(first)
        guard let identifier = opening.identifier,
            [LoggedProxies.clientLog, LoggedProxies.serverLog].contains(identifier.logName)
        else {
            malformed += 1
            throw GRPCStatus(
                .invalidArgument,
                "the first message names no log of the mesh: \(LoggedProxies.clientLog), \(LoggedProxies.serverLog)")
        }
        let isServer = identifier.logName == LoggedProxies.serverLog
        let pod: NamespacedName
        do throws(GRPCStatus) { pod = try identify(identifier.node) } catch {
            refusedStreams += 1
            throw error
        }
        try open(pod)
        defer { senders[pod]?.streams -= 1 }
        take(opening, of: pod, isServer: isServer)
        try await call.forEach { (bytes) throws(GRPCStatus) in
            self.take(try self.decoded([UInt8](bytes)), of: pod, isServer: isServer)
        }
    }

    private func decoded(_ bytes: [UInt8]) throws(GRPCStatus) -> StreamAccessLogsMessage {
        do throws(MessageError) { return try StreamAccessLogsMessage(serialized: bytes) } catch {
            malformed += 1
            throw GRPCStatus(.invalidArgument, "\(error)")
        }
    }

    /// A stream of a pod's proxy begins.
    func open(_ pod: NamespacedName) throws(GRPCStatus) {
        guard senders[pod] != nil || senders.count < limits.podsMax, senders[pod]?.streams ?? 0 < limits.streamsPerPod
        else {
            refusedStreams += 1
            throw GRPCStatus(.resourceExhausted, "too many streams of access logs of pod \(pod)")
        }
        senders[pod, default: Sender(bucket: TokenBucket(burst: limits.burst, rate: limits.rate))].streams += 1
    }

    /// Whether a pod's proxy tells its access log now.
    func isTold(_ pod: NamespacedName) -> Bool { senders[pod]?.streams ?? 0 > 0 }

    /// What is new since the last look, by pod.
    func takeNew() -> [(pod: NamespacedName, traffic: LoggedTraffic)] {
        look += 1
        found = (generation(), [:], [:])
        var all: [(pod: NamespacedName, traffic: LoggedTraffic)] = []
        for pod in senders.keys {
            guard var sender = senders[pod] else { continue }
            let traffic = sender.traffic.take()
            overflowed &+= traffic.overflowed
            sender.connections = sender.connections.filter { look - $0.value.look <= limits.connectionLooks }
            // Who is gone and has told all is forgotten.
            senders[pod] = sender.streams > 0 || !traffic.isEmpty ? sender : nil
            if !traffic.isEmpty { all.append((pod, traffic)) }
        }
        return all
    }

    // MARK: Entries

    /// Takes the entries of a message.
    func take(_ message: StreamAccessLogsMessage, of pod: NamespacedName, isServer: Bool) {
        guard var sender = senders.removeValue(forKey: pod) else { return }
        defer { senders[pod] = sender }
        let now = loop.now
        if found.generation != generation() { found = (generation(), [:], [:]) }
        var base = LoggedEntry()
        base.isServer = isServer
        base.own = address(pod).flatMap(labels) ?? WorkloadLabels(unknown: pod)
        func isRefused() -> Bool {
            guard !sender.bucket.take(now: now) else { return false }
            refused += 1
            return true
        }
        switch message.logEntries {
        case .httpLogs(let logs)?:
            for log in logs.logEntry where !isRefused() && !(log.commonProperties?.intermediateLogEntry ?? false) {
                entries += 1
                sender.traffic.add(entry(log, base, pod))
            }
        case .tcpLogs(let logs)?:
            for log in logs.logEntry where !isRefused() {
                entries += 1
                if let entry = entry(log, base, pod, &sender.connections) { sender.traffic.add(entry) }
            }
        case nil: break
        }
    }

    private func labels(_ address: String) -> WorkloadLabels? {
        if let known = found.workloads[address] { return known }
        let labels = workload(address).map(WorkloadLabels.init)
        if found.workloads.count < limits.connectionsMax { found.workloads[address] = .some(labels) }
        return labels
    }

    private func service(of cluster: String, _ pod: NamespacedName) -> Service? {
        let key = ClusterKey(pod: pod, cluster: cluster)
        if let known = found.services[key] { return known }
        let told = cluster.isEmpty ? nil : service(pod, cluster)
        if found.services.count < limits.connectionsMax { found.services[key] = .some(told) }
        return told
    }

    private func entry(_ common: AccessLogCommon, _ base: LoggedEntry, _ pod: NamespacedName) -> LoggedEntry {
        var entry = base
        let other =
            base.isServer
            ? common.downstreamDirectRemoteAddress ?? common.downstreamRemoteAddress : common.upstreamRemoteAddress
        if let known = other.flatMap(AccessLogFacts.address).flatMap(labels) { entry.peer = known }
        entry.cluster = common.upstreamCluster
        if let service = service(of: common.upstreamCluster, pod) {
            entry.service = (service.host, service.name, service.namespace)
        } else {
            entry.setService(ofCluster: common.upstreamCluster)
        }
        entry.flags = common.responseFlags.map(AccessLogFacts.letters) ?? ""
        if base.isServer {
            entry.sourcePrincipal = AccessLogFacts.identity(common.tlsProperties?.peerCertificateProperties)
            if !entry.sourcePrincipal.isEmpty {
                entry.destinationPrincipal = AccessLogFacts.identity(common.tlsProperties?.localCertificateProperties)
            }
        }
        entry.retries = Int(clamping: common.upstreamRequestAttemptCount) - 1
        entry.retries = max(0, entry.retries)
        entry.milliseconds =
            (common.duration ?? common.timeToLastDownstreamTxByte).map(AccessLogFacts.milliseconds) ?? 0
        return entry
    }

    private func entry(_ log: HTTPAccessLogEntry, _ base: LoggedEntry, _ pod: NamespacedName) -> LoggedEntry {
        var entry = entry(log.commonProperties ?? AccessLogCommon(), base, pod)
        let (request, response) = (log.request, log.response)
        entry.status = UInt16(clamping: response?.responseCode ?? 0)
        entry.received = (request?.requestHeadersBytes ?? 0) &+ (request?.requestBodyBytes ?? 0)
        entry.sent = (response?.responseHeadersBytes ?? 0) &+ (response?.responseBodyBytes ?? 0)
        if request?.requestHeaders["content-type"]?.hasPrefix("application/grpc") ?? false {
            entry.kind = .grpc
            let status = response?.responseTrailers["grpc-status"] ?? response?.responseHeaders["grpc-status"]
            entry.grpcStatus = status.flatMap { UInt8($0) }
        }
        return entry
    }

    /// What is new on a connection; nil when there is nothing to be told.
    private func entry(
        _ log: TCPAccessLogEntry, _ base: LoggedEntry, _ pod: NamespacedName, _ connections: inout [String: Connection]
    ) -> LoggedEntry? {
        let common = log.commonProperties ?? AccessLogCommon()
        var entry = entry(common, base, pod)
        entry.kind = .tcp
        let sent = log.connectionProperties?.sentBytes ?? 0
        let received = log.connectionProperties?.receivedBytes ?? 0
        let known = connections[common.streamId]
        switch common.accessLogType {
        case .tcpUpstreamConnected, .tcpConnectionStart: entry.isOpened = known == nil
        case .tcpPeriodic: break
        default:
            entry.isClosed = true
            entry.isOpened = known == nil
        }
        // One that was there before us, or is one too many, is not counted from its beginning.
        let isLate = known == nil && common.accessLogType == .tcpPeriodic
        let before = isLate ? (sent, received) : (known?.sent ?? 0, known?.received ?? 0)
        entry.sent = sent - min(sent, before.0)
        entry.received = received - min(received, before.1)
        if entry.isClosed {
            connections[common.streamId] = nil
        } else if !common.streamId.isEmpty, known != nil || connections.count < limits.connectionsMax {
            connections[common.streamId] = Connection(sent: sent, received: received, look: look)
        }
        return entry
    }

    /// The service's own figures, as a page of metrics.
    var metrics: String {
        let figures: [(name: String, type: String, help: String, value: UInt64)] = [
            ("skein_access_log_entries_total", "counter", "Entries of access logs that were taken.", entries),
            (
                "skein_access_log_refused_total", "counter", "Entries beyond what a proxy may send in a second.",
                refused
            ),
            (
                "skein_access_log_malformed_total", "counter", "Messages that were none, or of no log of the mesh.",
                malformed
            ),
            (
                "skein_access_log_overflowed_total", "counter", "Entries that were told as other, for want of room.",
                overflowed
            ),
            (
                "skein_access_log_refused_streams_total", "counter",
                "Streams of access logs beyond the limit, or of nobody who is known.",
                refusedStreams
            ),
            (
                "skein_access_log_streams", "gauge", "Open streams of access logs.",
                UInt64(senders.values.reduce(0) { $0 + max(0, $1.streams) })
            ),
        ]
        return figures.map {
            "# HELP \($0.name) \($0.help)\n# TYPE \($0.name) \($0.type)\n\($0.name) \($0.value)\n"
        }.joined()
    }
}

/// What members of entries mean.
enum AccessLogFacts {
    /// The IP address of a socket's; nil for others.
    static func address(_ address: EnvoyAPI.Address) -> String? {
        guard case .socketAddress(let socket)? = address.address, let ip = IPAddress(socket.address) else { return nil }
        return "\(ip.canonical)"
    }

    /// The first identity of a certificate, bounded; empty without one.
    static func identity(_ certificate: TLSProperties.CertificateProperties?) -> String {
        for name in certificate?.subjectAltName ?? [] {
            if case .uri(let uri)? = name.san {
                return String(decoding: uri.utf8.prefix(principalBytesMax), as: UTF8.self)
            }
        }
        return ""
    }

    private static let principalBytesMax = 256

    static func milliseconds(_ duration: Swift.Duration) -> Double {
        let (seconds, attoseconds) = duration.components
        return max(0, Double(seconds) * 1000 + Double(attoseconds) / 1e15)
    }

    /// Envoy's letters, in the order in which it writes them.
    static func letters(_ flags: AccessLogResponseFlags) -> String {
        let all: [(Bool, String)] = [
            (flags.failedLocalHealthcheck, "LH"), (flags.noHealthyUpstream, "UH"), (flags.upstreamRequestTimeout, "UT"),
            (flags.localReset, "LR"), (flags.upstreamRemoteReset, "UR"), (flags.upstreamConnectionFailure, "UF"),
            (flags.upstreamConnectionTermination, "UC"), (flags.upstreamOverflow, "UO"), (flags.noRouteFound, "NR"),
            (flags.delayInjected, "DI"), (flags.faultInjected, "FI"), (flags.rateLimited, "RL"),
            (flags.unauthorizedDetails != nil, "UAEX"), (flags.rateLimitServiceError, "RLSE"),
            (flags.downstreamConnectionTermination, "DC"), (flags.upstreamRetryLimitExceeded, "URX"),
            (flags.streamIdleTimeout, "SI"), (flags.invalidEnvoyRequestHeaders, "IH"),
            (flags.downstreamProtocolError, "DPE"),
            (flags.upstreamMaxStreamDurationReached, "UMSDR"), (flags.responseFromCacheFilter, "RFCF"),
            (flags.noFilterConfigFound, "NFCF"), (flags.durationTimeout, "DT"), (flags.upstreamProtocolError, "UPE"),
            (flags.noClusterFound, "NC"), (flags.overloadManager, "OM"), (flags.dnsResolutionFailure, "DF"),
            (flags.downstreamRemoteReset, "DR"), (flags.unconditionalDropOverload, "UDO"),
        ]
        return all.filter(\.0).map(\.1).joined(separator: ",")
    }
}

extension WorkloadLabels {
    init(_ message: EnvoyAPI.Workload) {
        self.init()
        workload = message.name
        namespace = message.namespace
        app = message.app
        version = message.version
        canonicalName = message.canonicalName
        canonicalRevision = message.canonicalRevision
        cluster = message.cluster
    }

    /// Of a pod of which nothing but its name is known.
    init(unknown pod: NamespacedName) {
        self.init()
        workload = pod.name
        namespace = pod.namespace
    }
}
