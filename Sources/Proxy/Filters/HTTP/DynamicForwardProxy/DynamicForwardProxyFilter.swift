internal import EnvoyAPI
internal import HTTP
internal import Upstream

/// `envoy.filters.http.dynamic_forward_proxy`: requests go to the host that they name.
struct DynamicForwardProxyFilterConfig: HTTPFilterConfig {
    let name: String
    let isDisabled: Bool

    static let kind = HTTPFilterKind(
        EnvoyAPI.DynamicForwardProxyFilter.self, perRoute: DynamicForwardProxyPerRoute.self,
        compile: { message, context throws(ConfigurationError) in
            try FieldCheck.check(message, reads: ["dns_cache_config", "sub_cluster_config"], at: context.path)
            switch message.implementationSpecifier {
            case .dnsCacheConfig(let cache)?:
                _ = try DNSCacheSettings(compiling: cache, at: FieldCheck.join(context.path, "dns_cache_config"))
            case .subClusterConfig(let config)?:
                try FieldCheck.check(config, reads: [], at: FieldCheck.join(context.path, "sub_cluster_config"))
            case nil: throw ConfigurationError(at: FieldCheck.join(context.path, "dns_cache_config"), "is missing")
            }
            return DynamicForwardProxyFilterConfig(name: context.name, isDisabled: context.isDisabled)
        },
        compileRoute: { message, context throws(ConfigurationError) in
            try DynamicHostRewrite(compiling: message, at: context.path)
        })

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? { DynamicForwardProxyFilter(self) }
}

/// Another host than the one that the request names.
enum DynamicHostRewrite: Sendable {
    case literal([UInt8])
    case header(HeaderName)

    init(compiling message: DynamicForwardProxyPerRoute, at path: String) throws(ConfigurationError) {
        switch message.hostRewriteSpecifier {
        case .hostRewriteLiteral(let host) where !host.isEmpty: self = .literal(Array(host.utf8))
        case .hostRewriteHeader(let name) where !name.isEmpty: self = .header(HeaderName(name))
        default: throw ConfigurationError(at: path, "host_rewrite_literal or host_rewrite_header is needed")
        }
    }
}

/// Holds a request until its host's address is known.
final class DynamicForwardProxyFilter: HTTPFilter, DNSCacheClient {
    private let config: DynamicForwardProxyFilterConfig
    private var waiting: (stream: HTTPStream, cache: DNSCache, name: DNSCacheName)?

    let interest: FilterInterest = .requestHead

    init(_ config: DynamicForwardProxyFilterConfig) { self.config = config }

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        // Other clusters know their hosts.
        guard stream.currentRoute != nil, let target = stream.target,
            let cluster = stream.worker.cluster(named: target.cluster), let settings = cluster.config.dnsCache
        else { return .next }
        switch stream.routeConfig(for: config.name) as? DynamicHostRewrite {
        case .literal(let host)?: try? stream.request.setAuthority(host.span.bytes)
        case .header(let name)?:
            if let value = stream.request.headers[name.description], !value.isEmpty {
                try? stream.request.setAuthority(Array(value.utf8).span.bytes)
            }
        case nil: break
        }
        guard
            let name = DNSCacheName(authority: stream.request.authorityText, defaultPort: cluster.defaultPort)
        else {
            unresolved(stream)
            return .stop
        }
        let cache = stream.worker.dnsCache(settings)
        switch cache.load(name, for: self) {
        case .ready:
            if cache.address(of: name) != nil { return .next }
            unresolved(stream)
            return .stop
        case .loading:
            waiting = (stream, cache, name)
            return .stopAll
        case .overflow:
            stream.localReply(status: 503, body: "DNS cache overflow", details: "dns_cache_overflow")
            return .stop
        case .pendingOverflow:
            cluster.count(.upstream_rq_pending_overflow)
            stream.info.flags.insert(.upstreamOverflow)
            stream.localReply(
                status: 503, body: "Dns cache pending request overflow", details: "dns_cache_pending_request_overflow")
            return .stop
        }
    }

    private func unresolved(_ stream: HTTPStream) {
        stream.info.flags.insert(.dnsResolutionFailed)
        stream.localReply(status: 503, body: "DNS resolution failure", details: "dns_resolution_failure")
    }

    func nameLoaded() {
        guard let (stream, cache, name) = waiting else { return }
        waiting = nil
        if cache.address(of: name) == nil { return unresolved(stream) }
        stream.resumeRequest(self)
    }

    func streamEnded(_ stream: HTTPStream) {
        guard let (_, cache, name) = waiting else { return }
        waiting = nil
        cache.cancel(self, name)
    }
}
