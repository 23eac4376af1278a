import EnvoyAPI
import Mesh
import Serialization
import XDS

/// What proxies get that no agent of ours looks after: they ask for their certificates on the stream itself (decision 9).
///
/// The mesh names the agent's socket (cluster `sds-grpc` of the bootstrap) as the source of a workload's secrets; here that becomes `ads: {}`.
/// A resource that names no such source is the same object as before. What was made of a resource is kept as long as the resource is in use.
struct AgentlessResources {
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

    private struct MadePart {
        var source: SnapshotPart
        var part: SnapshotPart
    }

    private struct MadeTable {
        var source: ResourceTable
        var table: ResourceTable
    }

    private struct MadeResource {
        var source: EncodedResource
        var resource: EncodedResource
    }

    private var parts: [ObjectIdentifier: MadePart] = [:]
    private var oldParts: [ObjectIdentifier: MadePart] = [:]
    private var tables: [ObjectIdentifier: MadeTable] = [:]
    private var oldTables: [ObjectIdentifier: MadeTable] = [:]
    private var resources: [ObjectIdentifier: MadeResource] = [:]

    /// A new generation begins: what no snapshot of the last one used is forgotten.
    mutating func begin() {
        guard !parts.isEmpty || !oldParts.isEmpty else { return }
        oldParts = parts
        parts = [:]
        oldTables = tables
        tables = [:]
        let live = oldTables.values.reduce(0) { $0 + $1.source.resources.count }
        guard resources.count > 2 * live else { return }
        var kept: [ObjectIdentifier: MadeResource] = [:]
        for table in oldTables.values {
            for source in table.source.resources.values {
                let key = ObjectIdentifier(source)
                if let known = resources[key] { kept[key] = known }
            }
        }
        resources = kept
    }

    /// The same snapshot with the stream itself as source of the workload's secrets.
    mutating func snapshot(_ base: Snapshot) -> Snapshot {
        var snapshot = base
        for index in snapshot.parts.indices { snapshot.parts[index] = part(base.parts[index]) }
        return snapshot
    }

    private mutating func part(_ base: SnapshotPart) -> SnapshotPart {
        let key = ObjectIdentifier(base)
        if let known = parts[key] { return known.part }
        let known = oldParts[key]
        var made = base.tables
        for typeURL in [Cluster.typeURL, Listener.typeURL] {
            made[typeURL] = base.tables[typeURL]?.map { table($0) }
        }
        let part = known?.part ?? SnapshotPart(made)
        parts[key] = MadePart(source: base, part: part)
        return part
    }

    private mutating func table(_ base: ResourceTable) -> ResourceTable {
        let key = ObjectIdentifier(base)
        if let known = tables[key] ?? oldTables[key] {
            tables[key] = known
            return known.table
        }
        var changed = base.resources
        var isOther = false
        for (name, resource) in base.resources {
            let made = self.resource(resource)
            guard made !== resource else { continue }
            changed[name] = made
            isOther = true
        }
        let table = isOther ? ResourceTable(changed, aliases: base.names, resolver: base.resolver) : base
        tables[key] = MadeTable(source: base, table: table)
        return table
    }

    private mutating func resource(_ base: EncodedResource) -> EncodedResource {
        let key = ObjectIdentifier(base)
        if let known = resources[key] { return known.resource }
        let made = Self.changed(base)
        if made !== base { resources[key] = MadeResource(source: base, resource: made) }
        return made
    }

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
