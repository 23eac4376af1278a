internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Telemetry

/// Sends recorded requests to a gRPC access log service (`envoy.service.accesslog.v3`), under the log name `skein.recorder`.
final class RecorderExport: Sendable {
    static let logName = "skein.recorder"
    private static let path = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs"
    private let queue: ExportQueue

    /// - Parameter cluster: The collector's cluster.
    init(cluster: String, node: Node?, metrics: MetricSet, hub: CollectorHub?) {
        let scope = metrics.scope("recorder")
        var identifier = StreamAccessLogsMessage.Identifier()
        identifier.node = node
        identifier.logName = Self.logName
        let speaker = identifier.serialized()
        queue = ExportQueue(
            CollectorTarget(cluster: cluster, authority: cluster, transport: .grpcStream(path: Self.path)),
            interval: .seconds(1), batchBytes: 16_384, hub: hub, written: scope.counter("logs_written"),
            dropped: scope.counter("logs_dropped")
        ) { records, isFirst in
            var entries: [UInt8] = []
            for record in records { ProtobufParts.field(1, record, to: &entries) }
            var message: [UInt8] = []
            if isFirst { ProtobufParts.field(1, speaker, to: &message) }
            ProtobufParts.field(2, entries, to: &message)
            return message
        }
    }

    func send(_ record: RecordedRequest, row: Int) { queue.add(Self.entry(record).serialized(), row: row) }

    /// A record as a collector reads it; what has no field of its own is a custom tag.
    static func entry(_ record: RecordedRequest) -> HTTPAccessLogEntry {
        let question = record.question
        var common = AccessLogCommon()
        common.startTime = Timestamp(
            seconds: question.milliseconds / 1000, nanoseconds: Int32(question.milliseconds % 1000) * 1_000_000)
        common.downstreamDirectRemoteAddress = address(question.source)
        common.downstreamRemoteAddress = address(question.source)
        common.downstreamLocalAddress = address(question.destination)
        common.upstreamRemoteAddress = record.host.flatMap(address)
        common.upstreamCluster = record.cluster ?? ""
        common.routeName = record.route ?? ""
        common.duration = record.duration
        if !record.flags.isEmpty { common.responseFlags = GRPCAccessLog.flags(record.flags) }
        for (name, value) in [
            ("filter_chain", record.chain), ("virtual_host", record.virtualHost), ("sni", question.serverName),
        ] {
            if let value { common.customTags[name] = value }
        }
        var request = HTTPRequestProperties()
        request.requestMethod = GRPCAccessLog.method(question.method)
        request.authority = question.authority
        request.path = question.path
        for (name, value) in question.headers {
            request.requestHeaders[name] = request.requestHeaders[name].map { "\($0),\(value)" } ?? value
        }
        var response = HTTPResponseProperties()
        if record.status > 0 { response.responseCode = UInt32(record.status) }
        response.responseCodeDetails = record.details ?? ""
        var entry = HTTPAccessLogEntry()
        entry.commonProperties = common
        entry.request = request
        entry.response = response
        return entry
    }

    private static func address(_ text: String) -> Address? {
        guard case .ip(let ip, let port)? = IO.SocketAddress(parsing: text) else { return nil }
        var socket = EnvoyAPI.SocketAddress()
        socket.address = "\(ip)"
        socket.portSpecifier = .portValue(UInt32(port))
        var message = Address()
        message.address = .socketAddress(socket)
        return message
    }
}
