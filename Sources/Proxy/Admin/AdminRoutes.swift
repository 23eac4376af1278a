internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Telemetry
internal import Upstream

/// What the admin server answers.
///
/// `@unchecked Sendable`: called on the control loop alone.
final class AdminRoutes: @unchecked Sendable {
    private weak var proxy: ProxyServer?

    init(_ proxy: ProxyServer) { self.proxy = proxy }

    private static let help = """
        /: this page
        /certs: certificates (none: TLS comes with a later version)
        /clusters: upstream hosts and their state (?format=json)
        /config_dump: the configuration in force
        /drain_listeners: POST: drain listeners (?graceful)
        /healthcheck/fail: POST: answer /ready with 503
        /healthcheck/ok: POST: take that back
        /listeners: addresses of listeners (?format=json)
        /logging: POST: change the log level (?level=debug)
        /quitquitquit: POST: exit
        /reset_counters: POST: counters and histograms begin at zero again
        /ready: 200 LIVE when everything is configured
        /server_info: version, state, flags
        /stats: metrics (?filter=regex, ?usedonly, ?type=, ?histogram_buckets=, ?format=json|prometheus)
        /stats/prometheus: the same for Prometheus

        """

    func answer(_ request: HTTPRequest) async -> HTTPResponse {
        guard let proxy else { return HTTPResponse(status: 503, text: "shutting down\n") }
        let query = Dictionary(request.queryItems.map { ($0.name, $0.value) }) { first, _ in first }
        switch request.path {
        case "/", "/help": return HTTPResponse(status: 200, text: Self.help)
        case "/ready":
            return HTTPResponse(status: proxy.isReady ? 200 : 503, text: proxy.state.rawValue + "\n")
        case "/server_info": return json(serverInfo(proxy))
        case "/stats":
            return await StatsPages.answer(proxy, query, isPrometheus: false)
        case "/stats/prometheus": return await StatsPages.answer(proxy, query, isPrometheus: true)
        case "/reset_counters": return change(request) { proxy.metrics.resetCounters() }
        case "/clusters": return await clusters(proxy, asJSON: query["format"] == "json")
        case "/config_dump": return json(ConfigDump.of(proxy))
        case "/listeners": return listeners(proxy, asJSON: query["format"] == "json")
        case "/certs": return json(.object(["certificates": .array([])]))
        case "/logging": return logging(request, query)
        case "/healthcheck/fail": return change(request) { proxy.setHealthCheck(fails: true) }
        case "/healthcheck/ok": return change(request) { proxy.setHealthCheck(fails: false) }
        case "/drain_listeners":
            return change(request) { proxy.drainListeners(gracefully: query["graceful"] != nil) }
        case "/quitquitquit": return change(request) { proxy.quit() }
        default: return HTTPResponse(status: 404, text: "invalid path. admin commands are:\n" + Self.help)
        }
    }

    /// What changes something takes POST: a link on a web page must not stop a proxy.
    private func change(_ request: HTTPRequest, _ body: () -> Void) -> HTTPResponse {
        guard request.method == "POST" else {
            return HTTPResponse(status: 405, text: "Method \(request.method) not allowed, POST required.\n")
        }
        body()
        return HTTPResponse(status: 200, text: "OK\n")
    }

    private func json(_ value: JSON) -> HTTPResponse {
        HTTPResponse(status: 200, contentType: "application/json", body: Array(value.pretty.utf8))
    }

    private func logging(_ request: HTTPRequest, _ query: [String: String]) -> HTTPResponse {
        guard request.method == "POST" else {
            return HTTPResponse(status: 200, text: "active level: \(Logger.level)\n")
        }
        guard let name = query["level"], let level = LogLevel(name: name) else {
            return HTTPResponse(status: 400, text: "usage: /logging?level=<debug|info|warning|error>\n")
        }
        Logger.level = level
        return HTTPResponse(status: 200, text: "active level: \(level)\n")
    }

    private func serverInfo(_ proxy: ProxyServer) -> JSON {
        let uptime = (MonotonicTime.now - proxy.started).components.seconds
        return .object([
            "version": .string("skein/\(Version.text)"), "state": .string(proxy.state.rawValue),
            "uptime_current_epoch": .string("\(uptime)s"), "uptime_all_epochs": .string("\(uptime)s"),
            "node": proxy.bootstrap.node.json(names: .proto),
            "command_line_options": .object([
                "concurrency": .integer(Int64(proxy.workers.count)),
                "config_path": .string(proxy.options.configPath ?? ""),
                "mode": .string("Serve"), "drain_time": .string("\(proxy.options.drainTime.components.seconds)s"),
            ]),
        ])
    }

    private func listeners(_ proxy: ProxyServer, asJSON: Bool) -> HTTPResponse {
        let entries = proxy.store.listeners.sorted { $0.key < $1.key }
        if asJSON {
            return json(
                .object([
                    "listener_statuses": .array(
                        entries.map { name, entry in
                            .object([
                                "name": .string(name),
                                "local_address": .string(
                                    (proxy.store.boundAddresses[name] ?? entry.config.address).description),
                                "state": .string(entry.isWarm ? "ACTIVE" : "WARMING"),
                            ])
                        })
                ]))
        }
        return HTTPResponse(
            status: 200,
            text: entries.map { "\($0.key)::\(proxy.store.boundAddresses[$0.key] ?? $0.value.config.address)\n" }
                .joined())
    }

    private func clusters(_ proxy: ProxyServer, asJSON: Bool) async -> HTTPResponse {
        var reports: [ClusterReport] = []
        for worker in proxy.workers {
            reports = ClusterReport.merge(
                reports, await worker.ask { worker in worker.allClusters.map { ClusterReport($0) } } ?? [])
        }
        if asJSON {
            return json(.object(["cluster_statuses": .array(reports.map(\.json))]))
        }
        return HTTPResponse(status: 200, text: reports.map(\.text).joined())
    }
}
