import EnvoyAPI
import HTTP
import IO
import Identity
import Insight
import Serialization
import Telemetry

/// Takes the spans of the mesh's proxies by OTLP (`opentelemetry.proto.collector.trace.v1.TraceService`), on the sockets on which they are configured, into the built-in store.
///
/// Whose spans they are is what the socket or the certificate says. `@unchecked Sendable`: used on one loop (docs/threads.md).
final class TraceService: @unchecked Sendable {
    static let method = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
    /// Spans of one sender at once, and in a second; what is more is refused, so that nobody fills the store for all.
    private static let burst = 20_000.0
    private static let rate = 2_000.0
    /// Senders that are known apart.
    private static let sendersMax = 20_000

    private(set) var store = TraceStore()
    private var buckets: [String: TokenBucket] = [:]
    /// Spans beyond what their sender may send.
    private(set) var refused: UInt64 = 0
    /// Messages that were none.
    private(set) var malformed: UInt64 = 0
    private let loop: EventLoop

    init(on loop: EventLoop) { self.loop = loop }

    /// Begins to decide about traces.
    func start() {
        loop.schedule(after: .seconds(1)) { [weak self] in
            guard let self else { return }
            self.store.tick(Self.now)
            self.start()
        }
    }

    /// Milliseconds since 1970.
    static var now: Int64 { Int64(InsightService.seconds * 1000) }

    /// Serves one call.
    func serve(_ call: GRPCStream, _ who: ProxyStreams.Subscriber) async throws(GRPCStatus) {
        guard let bytes = try await call.next() else {
            throw GRPCStatus(.invalidArgument, "a request is needed")
        }
        let request: ExportTraceServiceRequest
        do throws(MessageError) { request = try ExportTraceServiceRequest(serialized: bytes) } catch {
            malformed += 1
            throw GRPCStatus(.invalidArgument, "\(error)")
        }
        try await call.send(take(request, from: Self.name(who)).serialized())
    }

    private static func name(_ who: ProxyStreams.Subscriber) -> String {
        switch who {
        case .pod(let pod, _): "\(pod)"
        case .serviceAccount(let account): "serviceaccount \(account)"
        case .token(let token): "serviceaccount \(token.namespace)/\(token.serviceAccount)"
        }
    }

    /// Takes the spans of a request; says how many were refused.
    func take(_ request: ExportTraceServiceRequest, from sender: String) -> ExportTraceServiceResponse {
        let (now, time) = (Self.now, loop.now)
        if buckets.count > Self.sendersMax { buckets = [:] }
        var bucket = buckets[sender] ?? TokenBucket(burst: Self.burst, rate: Self.rate)
        var rejected: Int64 = 0
        for resource in request.resourceSpans {
            let service = OTLPSpans.service(resource)
            for scope in resource.scopeSpans {
                for message in scope.spans {
                    guard bucket.take(now: time) else {
                        refused += 1
                        rejected += 1
                        continue
                    }
                    guard let span = OTLPSpans.span(message, service: service, sender: sender) else {
                        malformed += 1
                        rejected += 1
                        continue
                    }
                    store.add(span, at: now)
                }
            }
        }
        buckets[sender] = bucket
        var response = ExportTraceServiceResponse()
        if rejected > 0 {
            var partial = ExportTracePartialSuccess()
            partial.rejectedSpans = rejected
            partial.errorMessage = "without ids, or more than \(Int(Self.rate)) spans a second"
            response.partialSuccess = partial
        }
        return response
    }

    /// The service's own figures, as a page of metrics.
    var metrics: String {
        let counts = store.counts
        var text = """
            # HELP skein_traces Traces of the built-in store.
            # TYPE skein_traces gauge
            skein_traces \(store.count)
            # HELP skein_traces_bytes Memory of the built-in store of traces, about.
            # TYPE skein_traces_bytes gauge
            skein_traces_bytes \(store.bytes)
            # HELP skein_trace_spans_total Spans that came.
            # TYPE skein_trace_spans_total counter
            skein_trace_spans_total \(counts.spans)
            # HELP skein_trace_spans_lost_total Spans that are not in the store, by reason.
            # TYPE skein_trace_spans_lost_total counter

            """
        for (reason, value) in [
            ("duplicate", counts.duplicates), ("excess", counts.excess), ("invalid", counts.invalid + malformed),
            ("rate", refused),
        ] { text += "skein_trace_spans_lost_total{reason=\"\(reason)\"} \(value)\n" }
        text += """
            # HELP skein_traces_decided_total Traces that were decided, by what became of them.
            # TYPE skein_traces_decided_total counter

            """
        for (kept, value) in [
            ("error", counts.errors), ("asked", counts.asked), ("slow", counts.slow), ("share", counts.others),
            ("dropped", counts.dropped), ("evicted", counts.evicted),
        ] { text += "skein_traces_decided_total{kept=\"\(kept)\"} \(value)\n" }
        text += """
            # HELP skein_trace_attributes_cut_total Attributes, events and texts of spans that were left out or cut.
            # TYPE skein_trace_attributes_cut_total counter
            skein_trace_attributes_cut_total \(counts.cutAttributes + counts.cutTexts)

            """
        return text
    }
}

/// Spans of OpenTelemetry's messages.
enum OTLPSpans {
    /// Attributes that hold what a client sent beyond the path; they are not kept.
    private static let unkept: Set<String> = [
        "user_agent", "user_agent.original", "http.user_agent", "url.query", "guid:x-client-trace-id",
    ]
    /// Attributes that hold a URL, of which the path is kept.
    private static let urls: Set<String> = ["http.url", "url.full", "http.target", "url.path"]

    static func service(_ resource: ResourceSpans) -> String {
        let name = resource.resource?.attributes.first { $0.key == "service.name" }?.value.map(text) ?? ""
        return name.isEmpty ? "unknown" : name
    }

    /// A span; nil when it has no ids.
    static func span(_ message: OTLPSpan, service: String, sender: String) -> TraceSpan? {
        guard let trace = TraceID(bytes: message.traceId), let id = SpanID.id(bytes: message.spanId) else { return nil }
        let start = Int64(clamping: message.startTimeUnixNano.rawValue)
        let end = Int64(clamping: message.endTimeUnixNano.rawValue)
        return TraceSpan(
            trace: trace, id: id, parent: SpanID.id(bytes: message.parentSpanId), name: message.name,
            kind: kind(message.kind), service: service, sender: sender, start: start,
            duration: end > start ? end - start : 0, isError: message.status?.code == .error,
            attributes: labels(message.attributes),
            events: message.events.map {
                TraceSpan.Event(
                    $0.name, time: Int64(clamping: $0.timeUnixNano.rawValue), attributes: labels($0.attributes))
            })
    }

    private static func kind(_ kind: OTLPSpan.SpanKind) -> TraceSpan.Kind {
        switch kind {
        case .server: .server
        case .client: .client
        case .producer: .producer
        case .consumer: .consumer
        default: .internal
        }
    }

    private static func labels(_ attributes: [OTLPKeyValue]) -> [Label] {
        attributes.compactMap { attribute in
            let value = attribute.value.map(text) ?? ""
            if urls.contains(attribute.key) { return Label("http.path", path(value)) }
            return unkept.contains(attribute.key) ? nil : Label(attribute.key, value)
        }
    }

    /// The path of a URL, without its query: that may hold anything.
    static func path(_ url: String) -> String {
        var bytes = Array(url.utf8)[...]
        if !url.hasPrefix("/"), let scheme = bytes.firstIndex(of: UInt8(ascii: ":")),
            bytes[scheme...].starts(with: "://".utf8)
        {
            let rest = bytes[(scheme + 3)...]
            bytes = rest.firstIndex(of: UInt8(ascii: "/")).map { rest[$0...] } ?? []
        }
        let end = bytes.firstIndex { $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#") } ?? bytes.endIndex
        return String(decoding: bytes[..<end], as: UTF8.self)
    }

    private static func text(_ value: AnyValue) -> String {
        switch value.value {
        case .stringValue(let text)?: text
        case .boolValue(let flag)?: flag ? "true" : "false"
        case .intValue(let number)?: String(number)
        case .doubleValue(let number)?: NumberText.text(number)
        case .bytesValue(let bytes)?: "\(bytes.count) bytes"
        case .arrayValue(let array)?: array.values.prefix(16).map(plain).joined(separator: ",")
        case .kvlistValue(let list)?: list.values.prefix(16).map(\.key).joined(separator: ",")
        case nil: ""
        }
    }

    /// A value in a list; lists in lists are not followed.
    private static func plain(_ value: AnyValue) -> String {
        switch value.value {
        case .arrayValue?, .kvlistValue?: "…"
        default: text(value)
        }
    }
}
