internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Telemetry
internal import Upstream

/// `envoy.filters.http.stateful_session`: a client's requests go to the host that served it before.
struct StatefulSessionFilterConfig: HTTPFilterConfig {
    let name: String
    let isDisabled: Bool
    let settings: StatefulSessionSettings

    static let kind = HTTPFilterKind(
        StatefulSession.self, perRoute: StatefulSessionPerRoute.self,
        compile: { message, context throws(ConfigurationError) in
            let counters =
                message.statPrefix.isEmpty
                ? nil
                : StatefulSessionCounters(
                    context.compile.metrics.scope("http", context.statPrefix, "stateful_session", message.statPrefix))
            return StatefulSessionFilterConfig(
                name: context.name, isDisabled: context.isDisabled,
                settings: try StatefulSessionSettings(compiling: message, at: context.path, counters))
        },
        compileRoute: { message, context throws(ConfigurationError) in
            switch message.override {
            case .disabled(let isDisabled):
                guard isDisabled else { throw ConfigurationError(at: context.path + ".disabled", "must be true") }
                return StatefulSessionRoute(settings: nil)
            case .statefulSession(let session):
                return StatefulSessionRoute(
                    settings: try StatefulSessionSettings(
                        compiling: session, at: context.path + ".stateful_session", nil))
            case nil: throw ConfigurationError(at: context.path, "set disabled or stateful_session")
            }
        })

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? { StatefulSessionFilter(self) }
}

/// What a route says; nil switches the filter off.
struct StatefulSessionRoute: Sendable {
    let settings: StatefulSessionSettings?
}

/// The counters of one filter, where it has a `stat_prefix`.
struct StatefulSessionCounters: Sendable {
    let routed: MetricCounter
    let failedOpen: MetricCounter
    let failedClosed: MetricCounter
    let noSession: MetricCounter

    init(_ scope: MetricScope) {
        routed = scope.counter("routed")
        failedOpen = scope.counter("failed_open")
        failedClosed = scope.counter("failed_closed")
        noSession = scope.counter("no_session")
    }
}

/// One level's settings.
struct StatefulSessionSettings: Sendable {
    let state: SessionState?
    let isStrict: Bool
    let counters: StatefulSessionCounters?

    init(
        compiling message: StatefulSession, at path: String, _ counters: StatefulSessionCounters?
    ) throws(ConfigurationError) {
        try FieldCheck.check(message, reads: ["session_state", "strict", "stat_prefix"], at: path)
        isStrict = message.strict
        self.counters = counters
        guard let config = message.sessionState else {
            state = nil
            return
        }
        let place = path + ".session_state"
        guard let any = config.typedConfig else { throw ConfigurationError(at: place, "typed_config is needed") }
        if any.holds(CookieBasedSessionState.self) {
            state = try Self.cookie(try HTTPFilters.unpack(any, as: CookieBasedSessionState.self, at: place), at: place)
        } else if any.holds(HeaderBasedSessionState.self) {
            let header = try HTTPFilters.unpack(any, as: HeaderBasedSessionState.self, at: place)
            var probe = HeaderTable()
            do throws(HTTPFieldError) {
                try probe.append(header.name, "x")
            } catch {
                throw ConfigurationError(at: place + ".typed_config.name", "\"\(header.name)\" is no header name")
            }
            state = .header(HeaderName(header.name))
        } else {
            throw ConfigurationError(at: place, "unknown session state \(any.typeURL); supported: cookie and header")
        }
    }

    private static func cookie(
        _ message: CookieBasedSessionState, at path: String
    ) throws(ConfigurationError) -> SessionState {
        let place = path + ".typed_config.cookie"
        guard let cookie = message.cookie, !cookie.name.isEmpty else {
            throw ConfigurationError(at: place + ".name", "is empty")
        }
        guard (cookie.ttl ?? .zero) >= .zero else { throw ConfigurationError(at: place + ".ttl", "is negative") }
        var attributes = ""
        for attribute in cookie.attributes {
            attributes += "; \(attribute.name)" + (attribute.value.isEmpty ? "" : "=\(attribute.value)")
        }
        // What goes into each response must be a header's value.
        var probe = HeaderTable()
        do throws(HTTPFieldError) {
            try probe.append("set-cookie", "\(cookie.name)=\"\"; Path=\(cookie.path)\(attributes)")
        } catch {
            throw ConfigurationError(at: place, "holds a control character")
        }
        return .cookie(
            name: cookie.name, lifetime: (cookie.ttl ?? .zero).components.seconds, path: cookie.path,
            attributes: attributes)
    }
}

/// The session of one request.
final class StatefulSessionFilter: HTTPFilter {
    private let config: StatefulSessionFilterConfig
    private var settings: StatefulSessionSettings?
    private var state: SessionState?
    /// The host that the client named.
    private var named: String?

    init(_ config: StatefulSessionFilterConfig) { self.config = config }

    let interest: FilterInterest = [.requestHead, .responseHead]

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        var settings = config.settings
        if let route = stream.routeConfig(for: config.name) as? StatefulSessionRoute {
            guard let own = route.settings else { return .next }
            settings = own
        }
        self.settings = settings
        guard let state = settings.state, state.covers(path: stream.request.pathBytes) else { return .next }
        self.state = state
        if let host = state.host(in: stream.request.headers, now: WallClock.now.seconds) {
            named = host
            stream.info.hostOverride = HostOverride(host, isStrict: settings.isStrict)
        }
        return .next
    }

    func responseHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        guard let settings else { return .next }
        let row = stream.worker.index
        // The counters are the filter's own, whichever level's settings are in force.
        let counters = config.settings.counters
        guard let host = stream.info.upstreamHost?.description else {
            if settings.isStrict, state != nil, stream.info.flags.contains(.noHealthyUpstream) {
                counters?.failedClosed.add(row: row)
            }
            return .next
        }
        guard let state else {
            counters?.noSession.add(row: row)
            return .next
        }
        guard named != host else {
            counters?.routed.add(row: row)
            return .next
        }
        // As Envoy: a client's first request counts here too.
        if !settings.isStrict { counters?.failedOpen.add(row: row) }
        var headers = stream.response.headers
        state.tell(host, in: &headers, now: WallClock.now.seconds)
        stream.response.headers = headers
        return .next
    }
}
