internal import HTTP
internal import IO
internal import TLS
internal import Upstream

/// The span of a request under way, and of its try where tries have their own.
final class ActiveSpan {
    private let config: TracingConfig
    let provider: TraceProvider
    private(set) var context: TraceContext
    private let isShared: Bool
    /// What is done; empty where the request is not sampled, and nobody asks.
    private var name = ""
    private var isNamedByClient = false
    /// When the request came; nanoseconds since 1970, 0 where it is not sampled.
    private let startedAt: UInt64
    /// What happened on the way, of sampled requests.
    private var events: [SpanRecord.Event] = []
    /// The try's own span.
    private var attempt: (context: TraceContext, started: MonotonicTime, number: Int, host: String, name: String)?

    private static let decorator = "x-envoy-decorator-operation"

    /// Begins the span of a request; nil where the request is not traced at all.
    ///
    /// Called after the route is known and before any filter.
    static func begin(_ stream: HTTPStream, _ config: TracingConfig) -> ActiveSpan? {
        let reason = sample(stream, config)
        guard let provider = config.provider else { return nil }
        return ActiveSpan(stream, config, provider, isTraced: reason != .notTraceable)
    }

    /// Marks the request's id, and counts why.
    private static func sample(_ stream: HTTPStream, _ config: TracingConfig) -> TraceSampling.Reason {
        let row = stream.worker
        if stream.route?.tracing == nil, leaves(stream.request.headers.parts, config.sampling) {
            stream.manager.count(.tracing_not_traceable, row)
            return .notTraceable
        }
        guard let id = stream.request.headers[.xRequestId] else {
            stream.manager.count(.tracing_not_traceable, row)
            return .notTraceable
        }
        var bytes = Array(id.utf8)
        var sampling = config.sampling
        if let route = stream.route?.tracing {
            sampling.client = route.clientSampling.map(share) ?? sampling.client
            sampling.random = route.randomSampling.map(share) ?? sampling.random
            sampling.overall = route.overallSampling.map(share) ?? sampling.overall
        }
        let reason = sampling.decide(
            requestID: &bytes, hasClientTraceID: stream.request.headers.parts.contains(.xClientTraceId),
            isForced: stream.request.headers.parts.contains(.xEnvoyForceTrace))
        try? stream.request.headers.set(.xRequestId, bytes.span.bytes)
        switch reason {
        case .notTraceable: stream.manager.count(.tracing_not_traceable, row)
        case .sampled: stream.manager.count(.tracing_random_sampling, row)
        case .serviceForced: stream.manager.count(.tracing_service_forced, row)
        case .clientForced: stream.manager.count(.tracing_client_enabled, row)
        }
        return reason
    }

    /// Whether it is clear at once that a request is not traced; most have no field with which they could ask for it.
    private static func leaves(_ headers: HeaderTable.Parts, _ sampling: TraceSampling) -> Bool {
        guard !headers.contains(.xClientTraceId), !headers.contains(.xEnvoyForceTrace),
            let id = headers.value(of: .xRequestId)
        else { return false }
        return sampling.leaves(id.bytes)
    }

    /// A share as parts of 10,000.
    private static func share(_ fraction: Fraction) -> UInt64 {
        min(UInt64(fraction.numerator) &* 10_000 / UInt64(max(fraction.denominator, 1)), 10_000)
    }

    private init(_ stream: HTTPStream, _ config: TracingConfig, _ provider: TraceProvider, isTraced: Bool) {
        self.config = config
        self.provider = provider
        let worker = stream.worker
        (context, isShared) = provider.begin(provider.extract(stream.request.headers), isTraced: isTraced) {
            worker.random.next()
        }
        if context.isSampled {
            switch provider.kind {
            case .openTelemetry: name = config.isEgress ? "egress \(stream.request.authorityText)" : "ingress"
            case .zipkin: name = stream.request.authorityText
            }
            let now = WallClock.now
            startedAt =
                UInt64(clamping: now.seconds) &* 1_000_000_000 &+ UInt64(clamping: now.nanoseconds)
                &- (MonotonicTime.now - stream.info.started).wholeNanoseconds
        } else {
            startedAt = 0
        }
        routeFound(stream)
        if !config.isEgress, stream.request.headers.parts.contains(.xEnvoyDecoratorOperation),
            let operation = stream.request.headers[Self.decorator]
        {
            name = operation
            isNamedByClient = true
            stream.request.headers.remove(named: Self.decorator)
        }
        provider.inject(context, into: &stream.request.headers)
    }

    /// The route is known, which may have its own name for what is done; at the beginning, or later where it was asked for (on_demand).
    ///
    /// Whether the request is sampled has been decided at its beginning.
    func routeFound(_ stream: HTTPStream) {
        guard let route = stream.route?.tracing, !route.operation.isEmpty else { return }
        if !isNamedByClient { name = route.operation }
        if config.isEgress, route.propagatesOperation {
            try? stream.request.headers.set(Self.decorator, route.operation)
        }
    }

    // MARK: Tries

    /// A try goes out: its context goes with it.
    func beginTry(_ stream: HTTPStream, host: SocketAddress?) {
        guard config.spawnsUpstreamSpan else { return }
        endTry(stream)
        var child = context
        child.parent = context.span
        child.span = stream.worker.random.next() | 1
        attempt = (
            child, stream.worker.loop.now, stream.info.attempts, host.map { "\($0)" } ?? "",
            "router \(stream.info.upstreamCluster ?? "") egress"
        )
        provider.inject(child, into: &stream.request.headers)
    }

    /// The try is over.
    private func endTry(_ stream: HTTPStream) {
        guard let attempt else { return }
        self.attempt = nil
        guard attempt.context.isSampled else { return }
        let named = rendered(stream.route?.tracing?.tryName ?? config.tryName, stream)
        var span = SpanRecord(
            context: attempt.context, name: named ?? attempt.name, kind: .client,
            started: nanoseconds(stream, attempt.started),
            duration: (stream.worker.loop.now - attempt.started).wholeNanoseconds)
        span.tags = [
            ("component", "proxy"), ("upstream_cluster", stream.info.upstreamCluster ?? ""),
            ("upstream_cluster.name", stream.observedCluster ?? ""), ("upstream_address", attempt.host),
            ("peer.address", attempt.host), ("http.protocol", "\(stream.info.upstreamProtocol?.text ?? "HTTP/1.1")"),
        ]
        if attempt.number > 1 { span.tags.append(("retry.count", "\(attempt.number - 1)")) }
        if stream.info.status > 0 { span.tags.append(("http.status_code", "\(stream.info.status)")) }
        span.tags.append(("response_flags", stream.info.flags.text))
        span.isError = stream.info.status == 0 || stream.info.status >= 500
        if span.isError { span.tags.append(("error", "true")) }
        addCustomTags(&span, stream)
        provider.report(span, local: stream.connectionInfo.localAddress, row: stream.worker.index)
    }

    /// A name that the configuration makes of what happened; nil where it makes none, or an empty one.
    private func rendered(_ template: HeaderTemplate?, _ stream: HTTPStream) -> String? {
        guard let template else { return nil }
        let bytes = HeaderRewriter(stream: stream).render(template)
        return bytes.isEmpty ? nil : String(decoding: bytes.prefix(Self.valueMax), as: UTF8.self)
    }

    private func addCustomTags(_ span: inout SpanRecord, _ stream: HTTPStream) {
        let moment = FormatMoment(now: stream.info.lastDownstreamByteSent ?? stream.worker.loop.now)
        var rules = config.tags
        if let more = stream.route?.tracing?.customTags, !more.isEmpty {
            // Few routes have tags of their own, and only requests that are sampled come here.
            rules += (try? CustomTagRule.compile(more, at: "tracing.custom_tags")) ?? []
        }
        for rule in rules {
            if let value = rule.value(stream, moment) { span.tags.append((rule.name, value)) }
        }
    }

    func nanoseconds(_ stream: HTTPStream, _ time: MonotonicTime) -> UInt64 {
        if startedAt > 0 { return startedAt &+ (time - stream.info.started).wholeNanoseconds }
        // Of a request that is not sampled a call is traced all the same, which few filters ask for.
        let now = WallClock.now
        return UInt64(clamping: now.seconds) &* 1_000_000_000 &+ UInt64(clamping: now.nanoseconds)
            &- (MonotonicTime.now - time).wholeNanoseconds
    }

    // MARK: Events

    /// Whether what happens is told to anybody.
    var isSampled: Bool { context.isSampled }

    /// Something happened to the request now.
    func happened(_ event: String, _ stream: HTTPStream, _ attributes: [(name: String, value: String)] = []) {
        guard context.isSampled, events.count < Limits.spanEvents else { return }
        events.append(
            SpanRecord.Event(name: event, time: nanoseconds(stream, stream.worker.loop.now), attributes: attributes))
    }

    // MARK: End

    /// The response's head is about to be sent.
    func respond(_ stream: HTTPStream) {
        if stream.request.headers.parts.contains(.xEnvoyForceTrace), let id = stream.request.headers[.xRequestId] {
            try? stream.response.headers.set(.xRequestId, id)
        }
        if config.isEgress {
            if stream.response.headers.parts.contains(.xEnvoyDecoratorOperation),
                let operation = stream.response.headers[Self.decorator]
            {
                name = operation
                stream.response.headers.remove(named: Self.decorator)
            }
        } else if let route = stream.route?.tracing, !route.operation.isEmpty, route.propagatesOperation {
            try? stream.response.headers.set(Self.decorator, route.operation)
        }
    }

    /// The request is over: its span goes to the exporter.
    func end(_ stream: HTTPStream) {
        endTry(stream)
        guard context.isSampled else { return }
        let end = stream.info.lastDownstreamByteSent ?? stream.worker.loop.now
        let named = rendered(stream.route?.tracing?.spanName ?? config.spanName, stream)
        var span = SpanRecord(
            context: context, isShared: isShared, name: named ?? name,
            kind: config.isEgress && !config.spawnsUpstreamSpan ? .client : .server,
            started: nanoseconds(stream, stream.info.started),
            duration: (end - stream.info.started).wholeNanoseconds)
        span.tags = tags(stream)
        span.events = events + moments(stream)
        span.isError = stream.info.status == 0 || stream.info.status >= 500
        if span.isError { span.tags.append(("error", "true")) }
        addCustomTags(&span, stream)
        provider.report(span, local: stream.connectionInfo.localAddress, row: stream.worker.index)
    }

    /// Envoy's tags.
    private func tags(_ stream: HTTPStream) -> [(name: String, value: String)] {
        let request = stream.request
        func header(_ name: String) -> String? { request.headers[name].map { String($0.prefix(Self.valueMax)) } }
        var path = stream.originalPath ?? request.pathBytes
        if path.count > config.pathBytesMax { path.removeLast(path.count - config.pathBytesMax) }
        var tags: [(name: String, value: String)] = [
            ("node_id", config.nodeID),
            ("guid:x-request-id", header("x-request-id") ?? ""),
            (
                "http.url",
                "\(header("x-forwarded-proto") ?? "http")://\(request.authorityText)\(String(decoding: path, as: UTF8.self))"
            ),
            ("http.method", String(decoding: request.methodBytes, as: UTF8.self)),
            ("downstream_cluster", header("x-envoy-downstream-service-cluster") ?? "-"),
            ("user_agent", header("user-agent") ?? "-"), ("http.protocol", "\(stream.version.text)"),
            ("peer.address", peer(stream)), ("request_size", "\(stream.info.bytesReceived)"),
            ("response_size", "\(stream.info.bytesSent)"), ("component", "proxy"),
            ("upstream_cluster", stream.info.upstreamCluster ?? "-"),
            ("upstream_cluster.name", stream.observedCluster ?? "-"),
            ("http.status_code", "\(stream.info.status)"), ("response_flags", stream.info.flags.text),
        ]
        if let route = stream.info.routeName { tags.append(("route_name", route)) }
        if let details = stream.info.details { tags.append(("response_code_details", details)) }
        if stream.info.attempts > 1 { tags.append(("retry.count", "\(stream.info.attempts - 1)")) }
        if let host = stream.info.upstreamHost { tags.append(("upstream_address", "\(host)")) }
        if let facts = stream.connectionInfo.tls {
            tags.append(("downstream_tls", facts.version))
            if let peer = facts.peer?.uris.first {
                tags.append(("source.principal", String(peer.prefix(Self.valueMax))))
            }
        }
        if let id = header("x-client-trace-id") { tags.append(("guid:x-client-trace-id", id)) }
        if !config.zone.isEmpty { tags.append(("zone", config.zone)) }
        if stream.isGRPC {
            tags.append(("grpc.path", String(decoding: path, as: UTF8.self)))
            tags.append(("grpc.authority", request.authorityText))
            if let type = header("content-type") { tags.append(("grpc.content_type", type)) }
            if let timeout = header("grpc-timeout") { tags.append(("grpc.timeout", timeout)) }
            if let status = stream.grpcStatus { tags.append(("grpc.status_code", "\(status)")) }
        }
        return tags
    }

    /// What the proxy knows anyway about when bytes went where.
    private func moments(_ stream: HTTPStream) -> [SpanRecord.Event] {
        var found: [SpanRecord.Event] = []
        for (name, time) in [
            ("request sent", stream.info.lastUpstreamByteSent),
            ("response begun", stream.info.firstUpstreamByteReceived),
        ] {
            guard let time else { continue }
            found.append(SpanRecord.Event(name: name, time: nanoseconds(stream, time), attributes: []))
        }
        return found
    }

    /// What a peer sent is cut: spans are kept until they are taken.
    private static let valueMax = 1024

    private func peer(_ stream: HTTPStream) -> String {
        if let ip = stream.connectionInfo.remoteAddress.address { return "\(ip)" }
        return "\(stream.connectionInfo.remoteAddress)"
    }
}

extension HTTPStream {
    var traceContext: TraceContext? { span?.context }
}
