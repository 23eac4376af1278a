import EnvoyAPI
import Mesh
import Serialization
import XDS

/// What proxies get that no agent of ours looks after: they ask for their certificates on the stream itself (decision 9).
///
/// The mesh names the agent's socket (cluster `sds-grpc` of the bootstrap) as the source of a workload's secrets; here that becomes `ads: {}`.
enum AgentlessResources {
    /// The member of `node.metadata` by which a proxy says where it gets its certificates.
    static let metadataKey = "skein.secrets"

    /// Whether a proxy asks us for its certificates, and not an agent.
    ///
    /// Our own proxy has an agent unless it says `skein.secrets: ads`; all others have none unless they say `skein.secrets: agent`.
    static func isAgentless(_ node: EnvoyAPI.Node?) -> Bool {
        switch node?.metadata?[metadataKey]?.string {
        case "ads": true
        case "agent": false
        default: ClientKind(node) != .skein
        }
    }

    /// Resources with the stream itself as source of the workload's secrets.
    static var resources: AdaptedResources { AdaptedResources([Cluster.typeURL, Listener.typeURL], changed) }

    // MARK: Messages

    private static let agentCluster = Array(MutualTLS.secretCluster.utf8)

    private static func changed(_ resource: EncodedResource) -> EncodedResource {
        let message = resource.message
        // Most resources do not name the agent; those are not decoded.
        guard message.value.contains(agentCluster) else { return resource }
        let changed: AnyMessage
        if var cluster = try? message.unpack(as: Cluster.self) {
            cluster.transportSocket = cluster.transportSocket.map(socket)
            for index in cluster.transportSocketMatches.indices {
                cluster.transportSocketMatches[index].transportSocket =
                    cluster.transportSocketMatches[index].transportSocket.map(socket)
            }
            changed = AnyMessage(packing: cluster)
        } else if var listener = try? message.unpack(as: Listener.self) {
            for index in listener.filterChains.indices {
                listener.filterChains[index].transportSocket = listener.filterChains[index].transportSocket.map(socket)
            }
            if var chain = listener.defaultFilterChain {
                chain.transportSocket = chain.transportSocket.map(socket)
                listener.defaultFilterChain = chain
            }
            changed = AnyMessage(packing: listener)
        } else {
            return resource
        }
        return EncodedResource(name: resource.name, version: resource.version + ".ads", message: changed)
    }

    private static func socket(_ socket: TransportSocket) -> TransportSocket {
        guard case .typedConfig(let config)? = socket.configType else { return socket }
        var socket = socket
        if var context = try? config.unpack(as: UpstreamTlsContext.self) {
            context.commonTlsContext = context.commonTlsContext.map(common)
            socket.configType = .typedConfig(AnyMessage(packing: context))
        } else if var context = try? config.unpack(as: DownstreamTlsContext.self) {
            context.commonTlsContext = context.commonTlsContext.map(common)
            socket.configType = .typedConfig(AnyMessage(packing: context))
        } else if var header = try? config.unpack(as: ProxyProtocolUpstreamTransport.self) {
            header.transportSocket = header.transportSocket.map(Self.socket)
            socket.configType = .typedConfig(AnyMessage(packing: header))
        }
        return socket
    }

    private static func common(_ context: CommonTlsContext) -> CommonTlsContext {
        var context = context
        context.tlsCertificateSdsSecretConfigs = context.tlsCertificateSdsSecretConfigs.map(secret)
        switch context.validationContextType {
        case .validationContextSdsSecretConfig(let config):
            context.validationContextType = .validationContextSdsSecretConfig(secret(config))
        case .combinedValidationContext(var combined):
            combined.validationContextSdsSecretConfig = combined.validationContextSdsSecretConfig.map(secret)
            context.validationContextType = .combinedValidationContext(combined)
        default: break
        }
        return context
    }

    private static func secret(_ config: SdsSecretConfig) -> SdsSecretConfig {
        guard case .apiConfigSource(let api)? = config.sdsConfig?.configSourceSpecifier,
            case .envoyGrpc(let grpc)? = api.grpcServices.first?.targetSpecifier,
            grpc.clusterName == MutualTLS.secretCluster
        else { return config }
        var config = config
        config.sdsConfig?.configSourceSpecifier = .ads(AggregatedConfigSource())
        return config
    }
}
