internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Telemetry
internal import Upstream

/// Who exports by OTLP, as its messages say it.
enum ExportResource {
    /// The resource of a proxy.
    ///
    /// - Parameter service: The service's name; where it is empty, the node's cluster.
    static func message(
        service: String, detectors: [TypedExtensionConfig], node: Node?, at path: String
    ) throws(ConfigurationError) -> OTLPResource {
        // Envoy calls itself unknown where nothing is configured; who it serves says more.
        let named = node.flatMap { $0.cluster.isEmpty ? nil : $0.cluster } ?? "unknown_service:skein-proxy"
        var resource = OTLPResource()
        resource.attributes = [
            OTLPKeyValue("service.name", service.isEmpty ? named : service),
            OTLPKeyValue("telemetry.sdk.language", "swift"), OTLPKeyValue("telemetry.sdk.name", "skein"),
            OTLPKeyValue("telemetry.sdk.version", Product.version),
        ]
        for (index, detector) in detectors.enumerated() {
            let here = "\(path).resource_detectors[\(index)]"
            switch detector.typedConfig?.name {
            case EnvironmentResourceDetectorConfig.schema.name?:
                for pair in (Environment.variable("OTEL_RESOURCE_ATTRIBUTES") ?? "").split(separator: ",") {
                    let parts = pair.split(separator: "=", maxSplits: 1).map(String.init)
                    if parts.count == 2 { resource.attributes.append(OTLPKeyValue(parts[0], parts[1])) }
                }
            case StaticConfigResourceDetectorConfig.schema.name?:
                guard let any = detector.typedConfig else { continue }
                let message = try HTTPFilters.unpack(any, as: StaticConfigResourceDetectorConfig.self, at: here)
                for (key, value) in message.attributes.sorted(by: { $0.key < $1.key }) {
                    resource.attributes.append(OTLPKeyValue(key, value))
                }
            default:
                throw ConfigurationError(
                    at: here, "unknown resource detector \(detector.name); supported: environment and static_config")
            }
        }
        return resource
    }
}
