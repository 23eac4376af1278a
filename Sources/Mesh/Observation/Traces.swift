import EnvoyAPI
import KubernetesAPI
import Serialization

/// The tracing of connection managers.
enum Traces {
    static func isTracer(_ provider: ExtensionProvider) -> Bool {
        provider.kind == .otelTracing || provider.kind == .zipkin || provider.kind == .traceStore
    }

    /// The cluster of a proxy's bootstrap by which it reaches the control plane's store of traces: the pod's own socket.
    static let storeCluster = "skein-traces"

    /// The longest path in a tag, in bytes, unless the provider says otherwise.
    static let pathBytesMax = 256

    static func tracing(
        _ provider: ExtensionProvider, sampling: Double, tags: [String: JSON]
    ) -> HttpConnectionManager.Tracing? {
        guard let tracer = tracer(provider) else { return nil }
        var tracing = HttpConnectionManager.Tracing()
        tracing.provider = tracer
        tracing.clientSampling = percent(100)
        tracing.randomSampling = percent(sampling)
        tracing.overallSampling = percent(100)
        tracing.maxPathTagLength = UInt32(clamping: provider.settings["maxTagLength"]?.int ?? pathBytesMax)
        tracing.customTags = tags.sorted { $0.key < $1.key }.compactMap { tag($0.key, $0.value) }
        return tracing
    }

    private static func percent(_ value: Double) -> Percent {
        var percent = Percent()
        percent.value = value.isFinite ? min(max(value, 0), 100) : 0
        return percent
    }

    private static func tracer(_ provider: ExtensionProvider) -> TraceTracing.Http? {
        var http = TraceTracing.Http()
        switch provider.kind {
        case .otelTracing:
            var config = OpenTelemetryConfig()
            config.serviceName = provider.settings["serviceName"]?.string ?? ""
            if let written = provider.settings["http"] {
                config.httpService = httpService(provider, written)
            } else {
                config.grpcService = Services.grpc(provider)
            }
            http.name = "envoy.tracers.opentelemetry"
            http.configType = .typedConfig(AnyMessage(packing: config))
        case .traceStore:
            var target = GrpcService.EnvoyGrpc()
            target.clusterName = storeCluster
            var service = GrpcService()
            service.targetSpecifier = .envoyGrpc(target)
            var config = OpenTelemetryConfig()
            config.grpcService = service
            http.name = "envoy.tracers.opentelemetry"
            http.configType = .typedConfig(AnyMessage(packing: config))
        case .zipkin:
            var config = ZipkinConfig()
            config.collectorCluster = Services.cluster(provider)
            config.collectorEndpoint = provider.settings["path"]?.string ?? "/api/v2/spans"
            config.collectorHostname = provider.service
            config.collectorEndpointVersion = .httpJson
            config.traceId128bit = provider.settings["enable64bitTraceId"]?.bool != true
            config.sharedSpanContext = false
            http.name = "envoy.tracers.zipkin"
            http.configType = .typedConfig(AnyMessage(packing: config))
        default: return nil
        }
        return http
    }

    private static func httpService(_ provider: ExtensionProvider, _ written: JSON) -> HttpService {
        var uri = HttpUri()
        uri.uri = "http://\(provider.service):\(provider.port ?? 0)\(written["path"]?.string ?? "/v1/traces")"
        uri.httpUpstreamType = .cluster(Services.cluster(provider))
        uri.timeout = KubernetesObject(json: written).duration("timeout") ?? .seconds(10)
        var service = HttpService()
        service.httpUri = uri
        service.requestHeadersToAdd = (written["headers"]?.array ?? []).compactMap { header in
            guard let name = header["name"]?.string, let text = header["value"]?.string else { return nil }
            var value = HeaderValue()
            value.key = name
            value.value = text
            var option = HeaderValueOption()
            option.header = value
            option.appendAction = .overwriteIfExistsOrAdd
            return option
        }
        return service
    }

    /// A tag of `customTags`; `nil` when it is none.
    static func tag(_ name: String, _ written: JSON) -> CustomTag? {
        var tag = CustomTag()
        tag.tag = name
        if let literal = written["literal"] {
            var value = CustomTag.Literal()
            value.value = literal["value"]?.string ?? ""
            tag.type = .literal(value)
        } else if let environment = written["environment"] {
            var value = CustomTag.Environment()
            value.name = environment["name"]?.string ?? ""
            value.defaultValue = environment["defaultValue"]?.string ?? ""
            tag.type = .environment(value)
        } else if let header = written["header"] {
            var value = CustomTag.Header()
            value.name = header["name"]?.string ?? ""
            value.defaultValue = header["defaultValue"]?.string ?? ""
            tag.type = .requestHeader(value)
        } else if let format = written["formatter"] {
            tag.type = .value(format["value"]?.string ?? "")
        } else {
            return nil
        }
        return tag
    }
}
