internal import HTTP
internal import IO
internal import Serialization
internal import TLS
internal import Upstream

/// Attributes of a request or response that are sent along, by the names of Envoy's attribute vocabulary.
enum ExtProcAttribute: String, Sendable, CaseIterable {
    case requestPath = "request.path"
    case requestURLPath = "request.url_path"
    case requestHost = "request.host"
    case requestScheme = "request.scheme"
    case requestMethod = "request.method"
    case requestReferer = "request.referer"
    case requestUserAgent = "request.useragent"
    case requestID = "request.id"
    case requestProtocol = "request.protocol"
    case requestQuery = "request.query"
    case requestSize = "request.size"
    case responseCode = "response.code"
    case responseCodeDetails = "response.code_details"
    case responseFlags = "response.flags"
    case responseSize = "response.size"
    case sourceAddress = "source.address"
    case sourcePort = "source.port"
    case destinationAddress = "destination.address"
    case destinationPort = "destination.port"
    case connectionID = "connection.id"
    case connectionMTLS = "connection.mtls"
    case connectionServerName = "connection.requested_server_name"
    case connectionTLSVersion = "connection.tls_version"
    case connectionSubject = "connection.subject_peer_certificate"
    case connectionURI = "connection.uri_san_peer_certificate"
    case upstreamAddress = "upstream.address"
    case routeName = "xds.route_name"
    case clusterName = "xds.cluster_name"
    case virtualHostName = "xds.virtual_host_name"

    static func list(_ names: [String], at path: String) throws(ConfigurationError) -> [ExtProcAttribute] {
        var attributes: [ExtProcAttribute] = []
        for (index, name) in names.enumerated() {
            guard let attribute = ExtProcAttribute(rawValue: name) else {
                throw ConfigurationError(
                    at: "\(path)[\(index)]",
                    "\(name) is not supported; there are: "
                        + allCases.map(\.rawValue).joined(separator: ", "))
            }
            attributes.append(attribute)
        }
        return attributes
    }

    /// The value; nil where there is none.
    func value(_ stream: HTTPStream) -> JSON? {
        let request = stream.request
        let connection = stream.connectionInfo
        switch self {
        case .requestPath: return .string(request.pathText)
        case .requestURLPath:
            return .string(String(decoding: request.pathBytes.prefix { $0 != UInt8(ascii: "?") }, as: UTF8.self))
        case .requestHost: return .string(request.authorityText)
        case .requestScheme: return .string(String(decoding: [UInt8](copying: request.scheme), as: UTF8.self))
        case .requestMethod: return .string(String(decoding: request.methodBytes, as: UTF8.self))
        case .requestReferer: return text(request.headers["referer"])
        case .requestUserAgent: return text(request.headers["user-agent"])
        case .requestID: return text(request.headers["x-request-id"])
        case .requestProtocol: return .string("\(stream.version.text)")
        case .requestQuery: return .string(String(decoding: request.queryBytes, as: UTF8.self))
        case .requestSize: return .integer(Int64(clamping: stream.info.bytesReceived))
        case .responseCode: return .integer(Int64(stream.response.status))
        case .responseCodeDetails: return text(stream.info.details)
        case .responseFlags: return .integer(Int64(stream.info.flags.rawValue))
        case .responseSize: return .integer(Int64(clamping: stream.info.bytesSent))
        case .sourceAddress: return .string("\(connection.remoteAddress)")
        case .sourcePort: return connection.remoteAddress.port.map { .integer(Int64($0)) }
        case .destinationAddress: return .string("\(connection.localAddress)")
        case .destinationPort: return connection.localAddress.port.map { .integer(Int64($0)) }
        case .connectionID: return .integer(Int64(clamping: connection.id))
        case .connectionMTLS: return .bool(connection.tls?.isVerified ?? false)
        case .connectionServerName: return text(connection.tls?.serverName)
        case .connectionTLSVersion: return text(connection.tls?.version)
        case .connectionSubject: return text(connection.tls?.peer?.subject)
        case .connectionURI: return text(connection.tls?.peer?.uris.first)
        case .upstreamAddress: return text(stream.info.upstreamHost.map { "\($0)" })
        case .routeName: return text(stream.info.routeName)
        case .clusterName: return text(stream.info.upstreamCluster)
        case .virtualHostName: return text(stream.info.virtualHost)
        }
    }

    private func text(_ value: String?) -> JSON? { value.map { .string($0) } }
}
