internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Upstream

/// A connection manager's `tracing`, compiled: which requests get a span, what it says, who gets it.
final class TracingConfig: Sendable {
    /// Envoy's `max_path_tag_length`.
    private static let pathBytesMax = 256

    let sampling: TraceSampling
    let pathBytesMax: Int
    let tags: [CustomTagRule]
    /// nil: ids are marked, and no span is made.
    let provider: TraceProvider?
    /// A span of its own for each try.
    let spawnsUpstreamSpan: Bool
    /// The listener is for traffic that leaves: spans are the client's.
    let isEgress: Bool
    let nodeID: String
    let zone: String
    /// The name of spans, made of what happened; a route's goes before it.
    let spanName: HeaderTemplate?
    /// The name of the spans of tries.
    let tryName: HeaderTemplate?

    init(
        compiling message: HttpConnectionManager.Tracing, startsChildSpan: Bool, isEgress: Bool, at path: String,
        context: CompileContext
    ) throws(ConfigurationError) {
        try FieldCheck.check(
            message,
            reads: [
                "client_sampling", "random_sampling", "overall_sampling", "max_path_tag_length", "custom_tags",
                "provider", "spawn_upstream_span", "operation", "upstream_operation",
            ], at: path)
        sampling = TraceSampling(
            client: Self.share(message.clientSampling), random: Self.share(message.randomSampling),
            overall: Self.share(message.overallSampling))
        pathBytesMax = Int(message.maxPathTagLength ?? UInt32(Self.pathBytesMax))
        tags = try CustomTagRule.compile(message.customTags, at: path + ".custom_tags")
        let place = message.provider == nil ? "tracing.http" : path + ".provider"
        provider = try (message.provider ?? context.tracer).map { provider throws(ConfigurationError) in
            try TraceProvider(compiling: provider, at: place, context: context)
        }
        spawnsUpstreamSpan = message.spawnUpstreamSpan ?? startsChildSpan
        self.isEgress = isEgress
        nodeID = context.node?.id ?? ""
        spanName = try HeaderTemplate(spanName: message.operation, at: path + ".operation")
        tryName = try HeaderTemplate(spanName: message.upstreamOperation, at: path + ".upstream_operation")
        zone = context.node?.locality?.zone ?? ""
    }

    /// Percent as parts of 10,000; everything where it is left out.
    private static func share(_ percent: Percent?) -> UInt64 {
        guard let value = percent?.value, value.isFinite else { return 10_000 }
        return UInt64(max(0, min(value, 100)) * 100)
    }
}
