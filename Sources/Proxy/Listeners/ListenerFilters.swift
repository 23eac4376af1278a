internal import EnvoyAPI
internal import Serialization
internal import Upstream

/// A listener's filters, compiled, in their order.
struct ListenerFilters: Sendable {
    /// One of them.
    struct Entry: Sendable {
        let filter: any ListenerFilterConfig
        let disabled: ListenerFilterPredicate?

        func runs(port: UInt16?) -> Bool { disabled.map { !$0.matches(port: port) } ?? true }
    }

    private(set) var entries: [Entry] = []

    /// - Parameters:
    ///   - usesOriginalDst: `use_original_dst`, which brings the filter original_dst along.
    ///   - matcher: what the chains ask for; a filter chain that asks for the server name brings tls_inspector along.
    init(
        _ filters: [ListenerFilter], at path: String, usesOriginalDst: Bool, matcher: FilterChainMatcher,
        metrics: MetricSet
    ) throws(ConfigurationError) {
        var hasOriginalDst = false
        var hasTLSInspector = false
        var hasHTTPInspector = false
        for (index, message) in filters.enumerated() {
            let here = "\(path)[\(index)]"
            guard case .typedConfig(let any) = message.configType else {
                throw ConfigurationError(at: here, "typed_config is needed")
            }
            var disabled: ListenerFilterPredicate?
            if let predicate = message.filterDisabled {
                disabled = try ListenerFilterPredicate(compiling: predicate, at: here + ".filter_disabled")
            }
            let filter = try Self.compile(any, at: here, matcher: matcher, metrics: metrics)
            entries.append(Entry(filter: filter, disabled: disabled))
            if filter is OriginalDestination { hasOriginalDst = true }
            if filter is TLSInspectorConfig { hasTLSInspector = true }
            if filter is HTTPInspectorConfig { hasHTTPInspector = true }
        }
        if usesOriginalDst && !hasOriginalDst {
            entries.insert(Entry(filter: OriginalDestination(), disabled: nil), at: 0)
        }
        // As Envoy does it; but a chain that asks for nothing but `http/1.1` is content with http_inspector.
        if matcher.needsTLSInspector(besidesHTTPInspector: hasHTTPInspector) && !hasTLSInspector {
            entries.append(
                Entry(
                    filter: TLSInspectorConfig(refusesUndecided: matcher.usesTransportProtocol, metrics: metrics),
                    disabled: nil))
        }
    }

    private static func compile(
        _ any: AnyMessage, at path: String, matcher: FilterChainMatcher, metrics: MetricSet
    ) throws(ConfigurationError) -> any ListenerFilterConfig {
        let here = path + ".typed_config"
        switch any.name {
        case OriginalDst.schema.name: return OriginalDestination()
        case OriginalSrc.schema.name:
            return try OriginalSource(
                compiling: HTTPFilters.unpack(any, as: OriginalSrc.self, at: path), at: here)
        case HttpInspector.schema.name: return HTTPInspectorConfig(metrics: metrics)
        case TlsInspector.schema.name:
            return try TLSInspectorConfig(
                compiling: HTTPFilters.unpack(any, as: TlsInspector.self, at: path), at: here,
                refusesUndecided: matcher.usesTransportProtocol, metrics: metrics)
        case ProxyProtocol.schema.name:
            return try ProxyProtocolConfiguration(
                compiling: HTTPFilters.unpack(any, as: ProxyProtocol.self, at: path), at: here, metrics: metrics)
        default:
            throw ConfigurationError(
                at: path,
                "unknown listener filter \(any.typeURL); supported: original_dst, tls_inspector, "
                    + "http_inspector, proxy_protocol, original_src")
        }
    }
}
