import EnvoyAPI
import Mesh
import Serialization
import XDS

/// Proxies that are not ours, real Envoy above all, tell what they did by their access logs (`AccessLogService`), since they know no standard metrics.
///
/// Whoever wants it says in `node.metadata` which cluster of his bootstrap leads to the control plane: `skein.access_logs: xds`.
enum LoggedProxies {
    /// The member of `node.metadata` with the cluster's name.
    static let metadataKey = "skein.access_logs"
    /// Bytes of such a name at most (ATK-19).
    private static let nameBytesMax = 128
    /// Names that are known apart at once; of one more proxy nothing is told.
    static let namesMax = 16

    /// How the logs are called: by the side that the proxy is on.
    static let clientLog = "skein.client"
    /// That of the server's side.
    static let serverLog = "skein.server"

    /// How often a proxy sends what it has, and how often it tells of a connection that lasts.
    private static let interval = Duration.seconds(1)
    private static let connectionInterval = Duration.seconds(10)

    /// The cluster by which a proxy reaches us with its logs; nil when it is one of ours, or does not say.
    static func cluster(_ node: EnvoyAPI.Node?) -> String? {
        guard ![.skein, .grpc].contains(ClientKind(node)), let name = node?.metadata?[metadataKey]?.string,
            !name.isEmpty,
            name.utf8.count <= nameBytesMax
        else { return nil }
        return name
    }

    /// Resources with logs to that cluster.
    static func resources(_ cluster: String) -> AdaptedResources {
        AdaptedResources([Listener.typeURL]) { changed($0, cluster) }
    }

    private static func changed(_ resource: EncodedResource, _ cluster: String) -> EncodedResource {
        guard var listener = try? resource.message.unpack(as: Listener.self) else { return resource }
        let name = listener.trafficDirection == .inbound ? serverLog : clientLog
        func changed(_ chain: FilterChain) -> FilterChain {
            var chain = chain
            for index in chain.filters.indices {
                guard case .typedConfig(let config)? = chain.filters[index].configType else { continue }
                if config.holds(HttpConnectionManager.self),
                    var manager = try? config.unpack(as: HttpConnectionManager.self)
                {
                    manager.accessLog.append(log(http(name, cluster), "envoy.access_loggers.http_grpc"))
                    chain.filters[index].configType = .typedConfig(AnyMessage(packing: manager))
                } else if config.holds(TcpProxy.self), var proxy = try? config.unpack(as: TcpProxy.self) {
                    add(&proxy, name, cluster)
                    chain.filters[index].configType = .typedConfig(AnyMessage(packing: proxy))
                }
            }
            return chain
        }
        listener.filterChains = listener.filterChains.map(changed)
        listener.defaultFilterChain = listener.defaultFilterChain.map(changed)
        return EncodedResource(
            name: resource.name, version: "\(resource.version).als.\(cluster)", message: AnyMessage(packing: listener))
    }

    // MARK: Messages

    private static func log(_ message: some Message, _ name: String) -> AccessLog {
        var log = AccessLog()
        log.name = name
        log.configType = .typedConfig(AnyMessage(packing: message))
        return log
    }

    private static func common(_ name: String, _ cluster: String) -> CommonGrpcAccessLogConfig {
        var target = GrpcService.EnvoyGrpc()
        target.clusterName = cluster
        var service = GrpcService()
        service.targetSpecifier = .envoyGrpc(target)
        var config = CommonGrpcAccessLogConfig()
        config.logName = name
        config.grpcService = service
        config.transportApiVersion = .v3
        config.bufferFlushInterval = interval
        return config
    }

    private static func http(_ name: String, _ cluster: String) -> HttpGrpcAccessLogConfig {
        var config = HttpGrpcAccessLogConfig()
        config.commonConfig = common(name, cluster)
        config.additionalRequestHeadersToLog = ["content-type"]
        config.additionalResponseHeadersToLog = ["grpc-status"]
        config.additionalResponseTrailersToLog = ["grpc-status"]
        return config
    }

    /// A connection is told when it stands, while it lasts, and at its end; logs of others go on telling ends only.
    private static func add(_ proxy: inout TcpProxy, _ name: String, _ cluster: String) {
        var config = TcpGrpcAccessLogConfig()
        config.commonConfig = common(name, cluster)
        let own = log(config, "envoy.access_loggers.tcp_grpc")
        if proxy.accessLogOptions == nil {
            var options = TcpProxy.TcpAccessLogOptions()
            options.accessLogFlushInterval = connectionInterval
            options.flushAccessLogOnConnected = true
            proxy.accessLogOptions = options
            proxy.accessLog = proxy.accessLog.map(atEnds)
        }
        proxy.accessLog.append(own)
    }

    private static func atEnds(_ log: AccessLog) -> AccessLog {
        var types = LogTypeFilter()
        types.types = [.tcpUpstreamConnected, .tcpPeriodic]
        types.exclude = true
        var ends = AccessLogFilter()
        ends.filterSpecifier = .logTypeFilter(types)
        guard let before = log.filter else {
            var log = log
            log.filter = ends
            return log
        }
        var both = AndFilter()
        both.filters = [before, ends]
        var filter = AccessLogFilter()
        filter.filterSpecifier = .andFilter(both)
        var log = log
        log.filter = filter
        return log
    }
}

extension SnapshotPublisher {
    /// The service of a cluster, as the proxy of a pod has it; nil when it is none's.
    func service(ofCluster name: String, of pod: NamespacedName) -> AccessLogService.Service? {
        let stream = streams.values.first { $0.proxy.pod == pod && $0.base != nil }
        guard let message = stream?.base?.resource(Cluster.typeURL, name)?.message,
            let cluster = try? message.unpack(as: Cluster.self),
            let service = cluster.metadata?.filterMetadata["istio"]?["services"]?[0]
        else { return nil }
        let host = service["host"]?.string ?? ""
        return AccessLogService.Service(
            host: host, name: service["name"]?.string ?? host, namespace: service["namespace"]?.string ?? "")
    }
}
