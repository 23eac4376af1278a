internal import EnvoyAPI
internal import IO
internal import Serialization
internal import TLS
internal import Upstream

/// The transport socket of a filter chain, when it is not plain text.
final class DownstreamTransport: Sendable {
    let context: TransportContext
    let handshakeTimeout: Duration

    /// Compiles a chain's transport socket; nil for plain text.
    static func compile(
        _ chain: FilterChain, at path: String, context: CompileContext
    ) throws(ConfigurationError) -> DownstreamTransport? {
        guard let socket = chain.transportSocket else { return nil }
        let here = path + ".transport_socket"
        guard case .typedConfig(let any) = socket.configType else {
            guard socket.name == "envoy.transport_sockets.raw_buffer" else {
                throw ConfigurationError(at: here + ".typed_config", "it is needed")
            }
            return nil
        }
        switch any.name {
        case RawBuffer.schema.name: return nil
        case DownstreamTlsContext.schema.name:
            let message = try HTTPFilters.unpack(any, as: DownstreamTlsContext.self, at: here)
            return try DownstreamTransport(
                message, timeout: chain.transportSocketConnectTimeout, at: here + ".typed_config",
                secrets: context.secrets)
        default:
            throw ConfigurationError(
                at: here, "transport socket \(any.typeURL) is not supported; supported: raw_buffer, tls")
        }
    }

    private init(
        _ message: DownstreamTlsContext, timeout: Duration?, at path: String, secrets: SecretStore
    ) throws(ConfigurationError) {
        context = try TransportContext(.downstream(message), at: path, secrets: secrets)
        handshakeTimeout = timeout.map { $0 > .zero ? $0 : Limits.handshakeTimeout } ?? Limits.handshakeTimeout
    }
}
