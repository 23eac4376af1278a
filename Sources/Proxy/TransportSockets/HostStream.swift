internal import IO
internal import Serialization
internal import TLS
internal import Upstream

/// Connections of the control loop to hosts of clusters (management servers, health checks, collectors): with the transport socket that the
/// cluster has, never in plain text where it says TLS.
enum HostStream {
    private static let protocolError: Int32 = 71  // EPROTO

    /// Connects, and does the handshake where there is one.
    ///
    /// - Parameters:
    ///   - metadata: the endpoint's, by which `transport_socket_matches` choose.
    ///   - hostname: the endpoint's, for `auto_host_sni`.
    ///   - protocols: the ALPN names to offer instead of the transport socket's.
    static func connect(
        to address: IO.SocketAddress, of cluster: ClusterConfig, metadata: JSON? = nil, hostname: String = "",
        offering protocols: [String]? = nil, on loop: EventLoop, timeout: Duration
    ) async throws(SystemError) -> any DirectStream {
        let stream = try await SocketStream.connect(to: address, on: loop, timeout: timeout)
        guard let transport = cluster.transport as? UpstreamTransport else { return stream }
        let socket = transport.socket(metadata: metadata)
        if let preface = socket.preface {
            try await stream.write(preface.ownHeader(local: stream.socket.localAddress, remote: address))
        }
        return try await secure(stream, socket, hostname, protocols, on: loop, timeout: timeout)
    }

    private static func secure(
        _ stream: SocketStream, _ socket: UpstreamTransport.Socket, _ hostname: String, _ protocols: [String]?,
        on loop: EventLoop, timeout: Duration
    ) async throws(SystemError) -> any DirectStream {
        guard let context = socket.context else { return stream }
        // A peer that accepts and then says nothing must not hold up whoever waits.
        let timer = loop.schedule(after: timeout) { stream.close() }
        defer { timer.cancel() }
        do throws(TLSError) {
            guard let current = context.current else { throw TLSError("TLS", context.problem) }
            let name = socket.usesHostName && !hostname.isEmpty ? hostname : socket.serverName
            let sni: String? = name.isEmpty ? nil : name
            return try await TLSStream.connect(
                stream, current, serverName: socket.checksServerName ? sni : nil,
                indicates: socket.checksServerName ? nil : sni, offering: protocols)
        } catch {
            stream.close()
            throw SystemError(protocolError, "TLS: \(error.reason)")
        }
    }
}
