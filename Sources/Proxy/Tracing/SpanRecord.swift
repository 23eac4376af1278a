internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization

/// A finished span, as exporters take it.
struct SpanRecord: Sendable {
    /// On which side of a call the span stands.
    enum Kind: Sendable { case server, client }

    /// Something that happened meanwhile.
    struct Event: Sendable {
        var name: String
        /// Nanoseconds since 1970.
        var time: UInt64
        var attributes: [(name: String, value: String)]
    }

    var context: TraceContext
    /// Whether the caller's span has the same id (Zipkin's shared spans).
    var isShared = false
    var name: String
    var kind: Kind
    /// Nanoseconds since 1970.
    var started: UInt64
    var duration: UInt64
    var isError = false
    var tags: [(name: String, value: String)] = []
    var events: [Event] = []

    /// The span as OpenTelemetry's message.
    var otlp: OTLPSpan {
        var span = OTLPSpan()
        span.traceId = context.traceBytes
        span.spanId = context.spanBytes
        if let parent = context.parent { span.parentSpanId = TraceContext.bytes(parent) }
        span.traceState = String(decoding: context.state, as: UTF8.self)
        span.flags = context.isSampled ? 1 : 0
        span.name = name
        span.kind = kind == .server ? .server : .client
        span.startTimeUnixNano = Fixed64(rawValue: started)
        span.endTimeUnixNano = Fixed64(rawValue: started &+ duration)
        span.attributes = tags.map { OTLPKeyValue($0.name, $0.value) }
        span.events = events.map { event in
            var message = OTLPSpan.Event()
            message.name = event.name
            message.timeUnixNano = Fixed64(rawValue: event.time)
            message.attributes = event.attributes.map { OTLPKeyValue($0.name, $0.value) }
            return message
        }
        if isError {
            var status = OTLPStatus()
            status.code = .error
            span.status = status
        }
        return span
    }

    /// The span as Zipkin's JSON, version 2.
    func zipkin(serviceName: String, local: IO.SocketAddress?) -> JSON {
        func hex(_ words: UInt64...) -> JSON {
            var bytes: [UInt8] = []
            for word in words { bytes.append(hex: word) }
            return .string(String(decoding: bytes, as: UTF8.self))
        }
        var endpoint: [String: JSON] = ["serviceName": .string(serviceName)]
        if case .ip(let ip, let port)? = local {
            endpoint[ip.isV6 ? "ipv6" : "ipv4"] = .string("\(ip)")
            endpoint["port"] = .integer(Int64(port))
        }
        var span: [String: JSON] = [
            "traceId": context.traceHigh == 0 ? hex(context.traceLow) : hex(context.traceHigh, context.traceLow),
            "id": hex(context.span), "name": .string(name), "kind": .string(kind == .server ? "SERVER" : "CLIENT"),
            "timestamp": .integer(Int64(clamping: started / 1000)),
            "duration": .integer(Int64(clamping: max(duration / 1000, 1))), "localEndpoint": .object(endpoint),
            "tags": .object(Dictionary(tags.map { ($0.name, .string($0.value)) }) { _, last in last }),
        ]
        let end = Int64(clamping: (started &+ duration) / 1000)
        span["annotations"] = .array(
            events.map {
                .object(["timestamp": .integer(Int64(clamping: $0.time / 1000)), "value": .string($0.name)])
            } + [.object(["timestamp": .integer(end), "value": .string(kind == .server ? "ss" : "cr")])])
        if let parent = context.parent { span["parentId"] = hex(parent) }
        if isShared { span["shared"] = true }
        return .object(span)
    }
}
