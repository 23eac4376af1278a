internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import TLS
internal import Telemetry
internal import Upstream

/// Counts for one connection manager or TCP proxy of one loop: keeps the series of what came last.
///
/// What chooses a series is compared as numbers and identities; labels are made when the metrics are read.
final class StandardRecorder {
    /// A combination and its series, at the place that its numbers give.
    private struct Slot {
        var outcome: UInt64 = .max
        /// The client's connection, at the server's side.
        var connection: UInt64 = 0
        /// The host, at the client's side; held, so that no other can have its identity.
        var host: Host?
        var cluster = ""
        var series: StandardSeries?
    }

    private static let slotCount = 128

    private let plan: StandardPlan
    private let own: WorkloadDirectory.Peer?
    private let metrics: StandardMetrics
    private let row: Int
    private var slots: [Slot] = []
    private var generation: UInt64 = 0

    /// How often connections that last tell their bytes.
    let interval: Duration

    init(_ settings: StandardSettings, worker: Worker) {
        plan = settings.plan
        own = settings.own
        interval = settings.interval
        metrics = worker.metrics.standard
        row = worker.index
    }

    // MARK: Requests

    /// A request has ended.
    func record(_ stream: HTTPStream, nanoseconds: UInt64) {
        // What never was a request is none of the mesh's.
        guard stream.info.status != 0 || !stream.info.flags.isEmpty else { return }
        var outcome = StandardOutcome()
        outcome.status = stream.info.status
        outcome.flags = stream.info.flags
        if stream.request.headers.isGRPC {
            outcome.kind = .grpc
            outcome.grpcStatus = stream.info.grpcStatus ?? stream.response.headers.grpcStatus ?? 255
        }
        let series = series(outcome, stream)
        let request = stream.info.wire.downstreamHeadReceived &+ stream.info.bytesReceived
        let response = stream.info.wire.downstreamHeadSent &+ stream.info.bytesSent
        series.record(nanoseconds: nanoseconds, request: request, response: response, row: row)
    }

    private func series(_ outcome: StandardOutcome, _ stream: HTTPStream) -> StandardSeries {
        let host = plan.isServer ? nil : stream.router?.upstreamHost
        let connection = plan.isServer ? stream.connectionInfo.id : 0
        // Computed labels are for those who want them: each request is looked up.
        guard plan.expressions.isEmpty else {
            return find(outcome, stream, host, extras: plan.expressions.map { StandardLabels.value($0, stream) })
        }
        let packed = outcome.packed
        let cluster = stream.info.upstreamCluster ?? ""
        if generation != metrics.directory.generation || slots.isEmpty {
            generation = metrics.directory.generation
            slots = Array(repeating: Slot(), count: Self.slotCount)
        }
        let identity = host.map { UInt64(UInt(bitPattern: ObjectIdentifier($0))) } ?? connection
        // The upper seven bits of a multiplicative hash: 128 places.
        let index = Int(truncatingIfNeeded: ((identity ^ packed) &* 0x9E37_79B9_7F4A_7C15) >> 57)
        if slots[index].outcome == packed, slots[index].connection == connection, slots[index].host === host,
            slots[index].cluster == cluster, let series = slots[index].series
        {
            return series
        }
        let found = find(outcome, stream, host, extras: [])
        slots[index] = Slot(outcome: packed, connection: connection, host: host, cluster: cluster, series: found)
        return found
    }

    private func find(
        _ outcome: StandardOutcome, _ stream: HTTPStream, _ host: Host?, extras: [String]
    ) -> StandardSeries {
        let name = stream.info.upstreamCluster ?? ""
        return find(
            outcome, stream.connectionInfo, cluster: name,
            metadata: name.isEmpty ? nil : stream.worker.cluster(named: name)?.config.metadata,
            upstream: stream.info.upstreamHost, principals: stream.router?.pool?.principals ?? StandardPrincipals(),
            extras: extras)
    }

    // MARK: Connections

    /// The series of a TCP connection.
    func series(
        _ info: StreamInfo, _ connection: ConnectionInfo, cluster: String, metadata: JSON?,
        principals: StandardPrincipals
    ) -> StandardSeries {
        var outcome = StandardOutcome()
        outcome.kind = .tcp
        outcome.flags = info.flags
        return find(
            outcome, connection, cluster: cluster, metadata: metadata, upstream: info.upstreamHost,
            principals: principals, extras: plan.expressions.map { StandardLabels.value($0, connection) })
    }

    private func find(
        _ outcome: StandardOutcome, _ connection: ConnectionInfo, cluster: String, metadata: JSON?,
        upstream: IO.SocketAddress?, principals: StandardPrincipals, extras: [String]
    ) -> StandardSeries {
        var key = StandardSeries.Key(plan: plan)
        key.outcome = outcome
        key.cluster = cluster
        key.service = metadata?["istio"]?["services"]?.array?.first.flatMap(StandardService.init)
        key.extras = extras
        let other: IO.SocketAddress?
        if plan.isServer {
            other = connection.directRemoteAddress
            let principals = StandardPrincipals(connection.tls)
            key.sourcePrincipal = principals.peer
            key.destinationPrincipal = principals.own
            key.isMutualTLS = connection.tls?.isMutual ?? false
        } else {
            other = upstream
            key.sourcePrincipal = principals.own
            key.destinationPrincipal = principals.peer
        }
        var peer: WorkloadDirectory.Peer?
        if case .ip(let address, _)? = other { peer = metrics.directory.peer(address.canonical) }
        key.peer = peer.map(ObjectIdentifier.init)
        return metrics.series(key, peer: peer, own: own)
    }
}

/// The identities of both ends of a connection, empty without mutual TLS.
struct StandardPrincipals: Sendable, Hashable {
    var own = ""
    var peer = ""

    init() {}

    init(_ tls: TLSFacts?) {
        peer = Self.first(tls?.peer?.uris)
        own = peer.isEmpty ? "" : Self.first(tls?.local?.uris)
    }

    private static func first(_ names: [String]?) -> String {
        String(decoding: (names?.first ?? "").utf8.prefix(Limits.standardLabelBytes), as: UTF8.self)
    }
}

extension StandardService {
    fileprivate init?(_ json: JSON) {
        guard let host = json["host"]?.string, !host.isEmpty else { return nil }
        self.init(
            host: host, name: json["name"]?.string ?? host,
            namespace: json["namespace"]?.string ?? WorkloadFacts.unknown)
    }
}

extension HostPool {
    /// Notes who both ends are, once.
    func notePrincipals(_ upstream: any UpstreamStream) {
        if principals == nil { principals = StandardPrincipals(upstream.tlsFacts) }
    }
}
