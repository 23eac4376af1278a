internal import EnvoyAPI
internal import IO
internal import Upstream

/// The listener filter original_src: upstream connections come from the client's own address.
///
/// The address is part of what an HTTP connection pool is found by: connections are never shared between clients then.
struct OriginalSource: ListenerFilterConfig {
    /// Whether the client's port is used too.
    let bindsPort: Bool
    /// `SO_MARK` of upstream sockets, so that routing can bring the answers back; 0 is none.
    let mark: UInt32

    init(compiling message: OriginalSrc, at path: String) throws(ConfigurationError) {
        try FieldCheck.check(message, reads: ["bind_port", "mark"], at: path)
        bindsPort = message.bindPort
        mark = message.mark
    }

    func accepted(_ socket: Socket, _ info: inout ConnectionInfo) -> ListenerFilterStep {
        // A unix socket's peer has no address to come from.
        guard case .ip(let ip, let port) = info.remoteAddress else { return .next }
        info.facts.upstreamSource = UpstreamSource(address: .ip(ip, port: bindsPort ? port : 0), mark: mark)
        return .next
    }
}

/// Where connections for this client come from, as far as original_src says so.
struct UpstreamSource: Sendable, Hashable {
    let address: IO.SocketAddress
    let mark: UInt32
}
