/// One span: what one proxy, or one program, did for a request.
public struct TraceSpan: Sendable, Hashable {
    /// On which side of a call a span stands (OpenTelemetry's `SpanKind`).
    public enum Kind: String, Sendable, Hashable {
        /// Inside of a program.
        case `internal`
        /// The called side.
        case server
        /// The calling side.
        case client
        /// Who put a message somewhere.
        case producer
        /// Who took it from there.
        case consumer
    }

    /// Something that happened while a span lasted.
    public struct Event: Sendable, Hashable {
        /// What happened.
        public var name: String
        /// When; nanoseconds since 1970.
        public var time: Int64
        /// More about it.
        public var attributes: [Label]

        /// An event.
        public init(_ name: String, time: Int64, attributes: [Label] = []) {
            self.name = name
            self.time = time
            self.attributes = attributes
        }
    }

    /// Its trace.
    public var trace: TraceID
    /// Its own id.
    public var id: UInt64
    /// The span that it is inside of; nil for the first of a trace.
    public var parent: UInt64?
    /// What was done.
    public var name: String
    /// The side of the call.
    public var kind: Kind
    /// The service's name as its tracer gives it: `web.default`.
    public var service: String
    /// Whose proxy has sent it, as the control plane verified it: `default/web-5d8f`; empty where that is not known.
    public var sender: String
    /// When it began by the clock of who tells; nanoseconds since 1970.
    public var start: Int64
    /// How long it took; nanoseconds.
    public var duration: Int64
    /// Whether its tracer calls it an error.
    public var isError: Bool
    /// What else is known, in the order in which it came.
    public var attributes: [Label]
    /// What happened meanwhile.
    public var events: [Event]

    /// A span.
    public init(
        trace: TraceID, id: UInt64, parent: UInt64? = nil, name: String, kind: Kind, service: String,
        sender: String = "", start: Int64, duration: Int64, isError: Bool = false, attributes: [Label] = [],
        events: [Event] = []
    ) {
        self.trace = trace
        self.id = id
        self.parent = parent
        self.name = name
        self.kind = kind
        self.service = service
        self.sender = sender
        self.start = start
        self.duration = duration
        self.isError = isError
        self.attributes = attributes
        self.events = events
    }

    /// When it ended; nanoseconds since 1970.
    public var end: Int64 { start &+ duration }

    /// The value of an attribute; nil without it.
    public func attribute(_ name: String) -> String? { attributes.first { $0.name == name }?.value }

    /// The HTTP status; nil when there was none.
    public var status: Int? {
        let text = attribute("http.status_code") ?? attribute("http.response.status_code")
        return text.flatMap { Int($0) }.flatMap { $0 > 0 ? $0 : nil }
    }

    /// The response flags, as access logs print them: `UH`, `UF,URX`; empty without any.
    public var flags: [String] {
        (attribute("response_flags") ?? "").split(separator: ",").map(String.init).filter { $0 != "-" }
    }

    /// Whether something went wrong: its tracer says so, the status is 5xx, or a response flag tells of it.
    public var hasFailed: Bool {
        isError || (status ?? 0) >= 500 || flags.contains { !Self.harmless.contains($0) }
    }

    /// Response flags of requests that went as they should: a delay was asked for, a cache has answered.
    private static let harmless: Set<String> = ["DI", "RFCF"]

    /// Whether somebody asked for this trace (`x-envoy-force-trace`, `x-client-trace-id`): Envoy's digit in the request's id says so.
    public var isAskedFor: Bool {
        guard let id = attribute("guid:x-request-id")?.utf8, id.count == 36 else { return false }
        return id.dropFirst(14).first.map { $0 == UInt8(ascii: "a") || $0 == UInt8(ascii: "b") } ?? false
    }

    /// What slow requests are compared by: the service and its route, or the name of what is done.
    var comparedBy: String { "\(service)\u{0}\(attribute("route_name") ?? name)" }

    /// About what it takes in memory.
    var bytes: Int {
        var sum = 256 + name.utf8.count + service.utf8.count + sender.utf8.count
        for label in attributes { sum += 48 + label.name.utf8.count + label.value.utf8.count }
        for event in events {
            sum += 64 + event.name.utf8.count
            for label in event.attributes { sum += 48 + label.name.utf8.count + label.value.utf8.count }
        }
        return sum
    }
}
