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
    private let config: AdminConfig

    init(_ proxy: ProxyServer, _ config: AdminConfig) {
        self.proxy = proxy
        self.config = config
    }

    /// The commands as a page with links; what changes something is named and not linked.
    private static var page: HTTPResponse {
        var text = "<!DOCTYPE html>\n<html><head><title>Skein admin</title></head><body><table>\n"
        for line in help.split(separator: "\n") {
            guard let colon = line.firstIndex(of: ":") else { continue }
            let name = line[..<colon]
            let what = line[line.index(after: colon)...].replacing("&", with: "&amp;")
            let cell = what.hasPrefix(" POST") ? "\(name)" : "<a href=\"\(name)\">\(name)</a>"
            text += "<tr><td>\(cell)</td><td>\(what)</td></tr>\n"
        }
        return HTTPResponse(
            status: 200, contentType: "text/html; charset=utf-8", body: Array((text + "</table></body></html>\n").utf8))
    }

    private static let help = """
        /: this page
        /certs: certificates
        /clusters: upstream hosts and their state (?format=json)
        /config_dump: the configuration in force (?resource=, ?mask=, ?name_regex=, ?include_eds)
        /drain_listeners: POST: drain listeners (?graceful, ?inboundonly, ?skip_exit)
        /explain: what would happen to a request (?listener=, ?url=, ?header=; without parameters: how to ask)
        /healthcheck/fail: POST: answer /ready with 503
        /healthcheck/ok: POST: take that back
        /hot_restart_version: whether another process can take over
        /init_dump: what the proxy waits for before it is live
        /listeners: addresses of listeners (?format=json)
        /logging: POST: show or change log levels (?level=debug, ?paths=xds:debug,worker:info, ?xds=debug)
        /memory: memory of the process
        /quitquitquit: POST: exit
        /reopen_logs: POST: open the files of access logs anew
        /recorder: a sample of the requests, as JSON lines (?limit=, ?since=)
        /reset_counters: POST: counters and histograms begin at zero again
        /ready: 200 LIVE when everything is configured
        /runtime: runtime keys and where they come from
        /runtime_modify: POST: change keys of the admin layer (?key1=value1&key2=)
        /server_info: version, state, flags
        /stats: metrics (?filter=regex, ?usedonly, ?type=, ?histogram_buckets=, ?format=json|prometheus)
        /stats/prometheus: the same for Prometheus
        /tap: requests as they happen, as JSON lines (?direction=, ?method=, ?path=, ?status=, ?flag=, ?cluster=, ?source=, ?headers, ?rate=)

        """

    func answer(_ request: HTTPRequest) async -> HTTPResponse {
        guard let proxy else { return HTTPResponse(status: 503, text: "shutting down\n") }
        guard isAllowed(request.path) else {
            return HTTPResponse(status: 403, text: "request to path \(request.path) not allowed\n")
        }
        let query = Dictionary(request.queryItems.map { ($0.name, $0.value) }) { first, _ in first }
        switch request.path {
        case "/": return Self.page
        case "/help": return HTTPResponse(status: 200, text: "admin commands are:\n" + Self.help)
        case "/ready":
            return HTTPResponse(status: proxy.isReady ? 200 : 503, text: proxy.state.rawValue + "\n")
        case "/server_info": return json(ServerInfoPage.of(proxy))
        case "/stats":
            return await StatsPages.answer(proxy, query, isPrometheus: false)
        case "/stats/prometheus": return await StatsPages.answer(proxy, query, isPrometheus: true)
        case "/reopen_logs": return change(request) { proxy.reopenLogs() }
        case "/reset_counters": return change(request) { proxy.metrics.resetCounters() }
        case "/clusters": return await clusters(proxy, asJSON: query["format"] == "json")
        case "/config_dump": return configDump(proxy, query)
        case "/explain": return await ExplainPage.answer(proxy, request.queryItems)
        case "/recorder": return await RecorderPage.answer(proxy, query)
        case "/tap": return TapPage.answer(proxy, request.queryItems)
        case "/init_dump": return json(ServerInfoPage.waiting(proxy))
        case "/listeners": return listeners(proxy, asJSON: query["format"] == "json")
        case "/certs":
            return json(CertificateReport.json(proxy.bootstrap.secrets, now: WallClock.now.seconds))
        case "/memory": return json(ServerInfoPage.memory())
        case "/runtime": return json(RuntimePage.of(proxy.runtimeLayers.runtime))
        case "/runtime_modify": return runtimeModify(request, proxy)
        case "/hot_restart_version":
            return HTTPResponse(status: 200, text: proxy.options.enablesHotRestart ? HotRestart.version : "disabled")
        case "/logging": return logging(request)
        case "/healthcheck/fail": return change(request) { proxy.setHealthCheck(fails: true) }
        case "/healthcheck/ok": return change(request) { proxy.setHealthCheck(fails: false) }
        case "/drain_listeners": return drain(request, proxy, query)
        case "/quitquitquit": return change(request) { proxy.quit() }
        default:
            return HTTPResponse(status: 404, text: "invalid path. admin commands are:\n" + Self.help)
        }
    }

    private func isAllowed(_ path: String) -> Bool {
        config.allowedPaths.isEmpty || config.allowedPaths.contains { $0.matches(Array(path.utf8).span) }
    }

    /// What changes something takes POST: a link on a web page must not stop a proxy.
    private func refusal(_ request: HTTPRequest) -> HTTPResponse? {
        guard request.method != "POST" else { return nil }
        return HTTPResponse(status: 405, text: "Method \(request.method) not allowed, POST required.")
    }

    private func change(_ request: HTTPRequest, _ body: () -> Void) -> HTTPResponse {
        if let refusal = refusal(request) { return refusal }
        body()
        return HTTPResponse(status: 200, text: "OK\n")
    }

    private func json(_ value: JSON) -> HTTPResponse {
        HTTPResponse(status: 200, contentType: "application/json", body: Array(value.pretty.utf8))
    }

    private func configDump(_ proxy: ProxyServer, _ query: [String: String]) -> HTTPResponse {
        do throws(ConfigDump.Failure) {
            return json(
                try ConfigDump(proxy).page(
                    resource: query["resource"], mask: query["mask"], nameRegex: query["name_regex"],
                    includesEndpoints: query["include_eds"] != nil))
        } catch {
            return HTTPResponse(status: error.status, text: error.text)
        }
    }

    private func runtimeModify(_ request: HTTPRequest, _ proxy: ProxyServer) -> HTTPResponse {
        if let refusal = refusal(request) { return refusal }
        let changes = request.queryItems
        guard !changes.isEmpty else {
            return HTTPResponse(
                status: 400,
                text: "usage: /runtime_modify?key1=value1&key2=value2&keyN=valueN\n"
                    + "       or send the parameters as form values\nuse an empty value to remove a previously added override"
            )
        }
        guard proxy.runtimeLayers.modify(changes) else {
            return HTTPResponse(status: 503, text: "Could not update: No admin layer specified")
        }
        return HTTPResponse(status: 200, text: "OK\n")
    }

    private func logging(_ request: HTTPRequest) -> HTTPResponse {
        if let refusal = refusal(request) { return refusal }
        var components = Logger.componentLevels
        func bad(_ text: String) -> HTTPResponse {
            HTTPResponse(
                status: 400,
                text: text + "\nusage: /logging?<name>=<level> (change single level)\n"
                    + "usage: /logging?paths=name1:level1,name2:level2,... (change multiple levels)\n"
                    + "usage: /logging?level=<level> (change all levels)\n"
                    + "levels: trace debug info warning error critical off\n")
        }
        for (name, value) in request.queryItems {
            switch name {
            case "level":
                guard let level = LogLevel(name: value) else { return bad("error: unknown logger level") }
                Logger.level = level
                components = [:]
            case "paths":
                guard let levels = try? Options.levels(value) else { return bad("error: invalid paths") }
                components.merge(levels) { _, new in new }
            default:
                guard let level = LogLevel(name: value) else { return bad("error: unknown logger level") }
                components[name] = level
            }
        }
        Logger.componentLevels = components
        var text = "active loggers:\n  all: \(Logger.level)\n"
        for (name, level) in components.sorted(by: { $0.key < $1.key }) { text += "  \(name): \(level)\n" }
        return HTTPResponse(status: 200, text: text)
    }

    private func drain(_ request: HTTPRequest, _ proxy: ProxyServer, _ query: [String: String]) -> HTTPResponse {
        let isGraceful = query["graceful"] != nil
        let skipsExit = query["skip_exit"] != nil
        if let refusal = refusal(request) { return refusal }
        guard isGraceful || !skipsExit else {
            return HTTPResponse(
                status: 400, text: "skip_exit requires graceful\n")
        }
        proxy.drainListeners(
            gracefully: isGraceful, inboundOnly: query["inboundonly"] != nil, staysOpen: skipsExit)
        return HTTPResponse(status: 200, text: "OK\n")
    }

    private func listeners(_ proxy: ProxyServer, asJSON: Bool) -> HTTPResponse {
        let entries = proxy.store.listeners.sorted { $0.key < $1.key }.map { name, entry in
            (
                name, proxy.store.boundAddresses[name] ?? entry.config.address,
                proxy.store.additionalBoundAddresses[name] ?? []
            )
        }
        guard asJSON else {
            return HTTPResponse(
                status: 200,
                text: entries.flatMap { name, first, more in ([first] + more).map { "\(name)::\($0)\n" } }.joined())
        }
        var message = Listeners()
        for (name, address, more) in entries {
            var status = ListenerStatus()
            status.name = name
            status.localAddress = EnvoyAPI.Address(address)
            status.additionalLocalAddresses = more.map { EnvoyAPI.Address($0) }
            message.listenerStatuses.append(status)
        }
        return json(message.json(names: .proto))
    }

    private func clusters(_ proxy: ProxyServer, asJSON: Bool) async -> HTTPResponse {
        let reports = await ClusterReport.all(proxy)
        if asJSON {
            var message = Clusters()
            message.clusterStatuses = reports.map(\.message)
            return json(message.json(names: .proto))
        }
        return HTTPResponse(status: 200, text: reports.map(\.text).joined())
    }
}
