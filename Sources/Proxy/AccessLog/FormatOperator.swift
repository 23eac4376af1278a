internal import HTTP
internal import IO
internal import Upstream

/// The command operators of Envoy's formats: `%REQ(x-id)%`, `%RESPONSE_CODE%`, ….
enum FormatOperator {
    /// Every operator that `value` knows.
    static let names: Set<String> = [
        "START_TIME", "START_TIME_LOCAL", "PROTOCOL", "RESPONSE_CODE", "RESPONSE_FLAGS", "RESPONSE_FLAGS_LONG",
        "RESPONSE_CODE_DETAILS", "CONNECTION_TERMINATION_DETAILS", "UPSTREAM_TRANSPORT_FAILURE_REASON",
        "BYTES_RECEIVED", "BYTES_SENT", "DURATION", "REQUEST_DURATION", "RESPONSE_DURATION", "RESPONSE_TX_DURATION",
        "REQ", "RESP", "TRAILER", "UPSTREAM_HOST", "UPSTREAM_REMOTE_ADDRESS", "UPSTREAM_REMOTE_PORT",
        "UPSTREAM_CLUSTER", "UPSTREAM_CLUSTER_RAW", "UPSTREAM_LOCAL_ADDRESS", "DOWNSTREAM_LOCAL_ADDRESS",
        "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_LOCAL_PORT", "DOWNSTREAM_REMOTE_ADDRESS",
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_REMOTE_PORT", "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_DIRECT_REMOTE_PORT", "REQUESTED_SERVER_NAME",
        "ROUTE_NAME", "VIRTUAL_CLUSTER_NAME", "HOSTNAME", "CONNECTION_ID", "UPSTREAM_REQUEST_ATTEMPT_COUNT",
        "DYNAMIC_METADATA", "FILTER_STATE", "DOWNSTREAM_PEER_URI_SAN", "UPSTREAM_PEER_URI_SAN",
        "DOWNSTREAM_TLS_VERSION", "STREAM_ID",
    ]

    /// The operator's value for an HTTP stream; nil prints as `-`.
    static func value(_ name: String, _ argument: String?, _ stream: HTTPStream) -> String? {
        switch name {
        case "REQ": return requestHeader(argument ?? "", stream)
        case "RESP": return header(argument ?? "", stream.response.headers)
        case "PROTOCOL": return stream.request.minorVersion == 0 ? "HTTP/1.0" : "HTTP/1.1"
        default: return value(name, argument, stream.info, stream.connectionInfo)
        }
    }

    /// The operator's value where there is no request (TCP).
    static func value(_ name: String, _ argument: String?, _ info: StreamInfo, _ connection: ConnectionInfo) -> String?
    {
        switch name {
        case "START_TIME", "START_TIME_LOCAL": return startTime(info, argument)
        case "RESPONSE_CODE": return String(info.status)
        case "RESPONSE_FLAGS", "RESPONSE_FLAGS_LONG": return info.flags.isEmpty ? nil : info.flags.text
        case "RESPONSE_CODE_DETAILS": return info.details
        case "CONNECTION_TERMINATION_DETAILS": return info.connectionTerminationDetails
        case "UPSTREAM_TRANSPORT_FAILURE_REASON": return info.upstreamTransportFailure
        case "BYTES_RECEIVED": return String(info.bytesReceived)
        case "BYTES_SENT": return String(info.bytesSent)
        case "DURATION": return milliseconds(info.lastDownstreamByteSent, since: info.started)
        case "REQUEST_DURATION": return milliseconds(info.requestEnded, since: info.started)
        case "RESPONSE_DURATION": return milliseconds(info.firstUpstreamByteReceived, since: info.started)
        case "RESPONSE_TX_DURATION":
            return info.firstUpstreamByteReceived.flatMap { milliseconds(info.lastDownstreamByteSent, since: $0) }
        case "UPSTREAM_HOST", "UPSTREAM_REMOTE_ADDRESS": return info.upstreamHost?.description
        case "UPSTREAM_REMOTE_PORT": return info.upstreamHost?.port.map { String($0) }
        case "UPSTREAM_CLUSTER", "UPSTREAM_CLUSTER_RAW": return info.upstreamCluster
        case "UPSTREAM_LOCAL_ADDRESS": return info.upstreamLocalAddress?.description
        case "DOWNSTREAM_LOCAL_ADDRESS": return connection.localAddress.description
        case "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT": return connection.localAddress.address?.description
        case "DOWNSTREAM_LOCAL_PORT": return connection.localAddress.port.map { String($0) }
        case "DOWNSTREAM_REMOTE_ADDRESS": return connection.remoteAddress.description
        case "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": return connection.remoteAddress.address?.description
        case "DOWNSTREAM_REMOTE_PORT": return connection.remoteAddress.port.map { String($0) }
        case "DOWNSTREAM_DIRECT_REMOTE_ADDRESS": return connection.directRemoteAddress.description
        case "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT":
            return connection.directRemoteAddress.address?.description
        case "DOWNSTREAM_DIRECT_REMOTE_PORT": return connection.directRemoteAddress.port.map { String($0) }
        case "ROUTE_NAME": return info.routeName
        case "HOSTNAME": return Environment.hostName
        case "CONNECTION_ID": return String(connection.id)
        case "UPSTREAM_REQUEST_ATTEMPT_COUNT": return String(info.attempts)
        default: return nil  // TLS, metadata and filter state: there is none.
        }
    }

    /// `NAME` or `NAME?ALTERNATIVE`, with pseudo headers.
    private static func requestHeader(_ argument: String, _ stream: HTTPStream) -> String? {
        for name in argument.split(separator: "?", maxSplits: 1) {
            switch name.lowercased() {
            case ":method": return String(decoding: stream.request.methodBytes, as: UTF8.self)
            case ":path": return stream.request.pathText
            case ":authority", "host": return stream.request.authorityText
            case ":scheme": return "http"
            case let name: if let value = stream.request.headers[name] { return value }
            }
        }
        return nil
    }

    private static func header(_ argument: String, _ headers: HeaderTable) -> String? {
        for name in argument.split(separator: "?", maxSplits: 1) {
            if let value = headers[String(name)] { return value }
        }
        return nil
    }

    private static func milliseconds(_ end: MonotonicTime?, since start: MonotonicTime) -> String? {
        end.map { String(($0 - start).wholeNanoseconds / 1_000_000) }
    }

    private static func startTime(_ info: StreamInfo, _ format: String?) -> String? {
        guard let wall = info.startedWall else { return nil }
        switch format {
        case "%s"?: return String(wall.seconds)
        case "%s.%3f"?: return "\(wall.seconds).\(HTTPClock.pad(Int(wall.nanoseconds) / 1_000_000, 3))"
        default:
            return CivilTime(seconds: wall.seconds).text(milliseconds: Int(wall.nanoseconds) / 1_000_000)
        }
    }
}
