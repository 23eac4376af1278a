internal import EnvoyAPI
internal import HTTP
internal import Upstream

/// `envoy.filters.http.on_demand`: a request without a route waits while its virtual host is asked for (VHDS), one whose
/// cluster is not there while that is asked for (ODCDS).
struct OnDemandFilterConfig: HTTPFilterConfig {
    let name: String
    let isDisabled: Bool
    /// Nil: clusters are not asked for.
    let clusters: OnDemandClusters?

    /// What a route says instead.
    struct PerRoute: Sendable {
        let clusters: OnDemandClusters?
    }

    static let kind = HTTPFilterKind(
        EnvoyAPI.OnDemandFilter.self, perRoute: OnDemandPerRoute.self,
        compile: { message, context throws(ConfigurationError) in
            OnDemandFilterConfig(
                name: context.name, isDisabled: context.isDisabled,
                clusters: try clusters(message.odcds, at: context.path, context.compile))
        },
        compileRoute: { message, context throws(ConfigurationError) in
            PerRoute(clusters: try clusters(message.odcds, at: context.path, context.compile))
        })

    /// How long a request waits where nothing is said.
    fileprivate static let timeout: Duration = .seconds(5)

    private static func clusters(
        _ message: OnDemandCds?, at path: String, _ context: CompileContext
    ) throws(ConfigurationError) -> OnDemandClusters? {
        guard let message else { return nil }
        return try OnDemandClusters(
            message.source, locator: message.resourcesLocator, timeout: message.timeout, default: timeout,
            sourceField: "source", at: FieldCheck.join(path, "odcds"), context: context)
    }

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? {
        var routes: String?
        if case .rds(let name) = stream.manager.config.routes { routes = name }
        if stream.currentRoute == nil, routes != nil { return OnDemandHTTPFilter(self, routes: routes) }
        guard clusters != nil || stream.routeConfig(for: name) != nil else { return nil }
        // Nothing is missing; where a filter changes the route, those behind it are made anew.
        if let target = stream.target, stream.manager.cluster(for: target) != nil { return nil }
        return OnDemandHTTPFilter(self, routes: routes)
    }
}

/// One request that may have to wait.
final class OnDemandHTTPFilter: HTTPFilter {
    private let config: OnDemandFilterConfig
    private let routes: String?
    private var waitingForHost: DemandWait?
    private var waitingForCluster: DemandWait?

    init(_ config: OnDemandFilterConfig, routes: String?) {
        self.config = config
        self.routes = routes
    }

    let interest: FilterInterest = .requestHead

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        if stream.currentRoute == nil, askForHost(stream) { return .stopAll }
        return askForCluster(stream) ? .stopAll : .next
    }

    /// Whether the request waits for a virtual host.
    private func askForHost(_ stream: HTTPStream) -> Bool {
        guard let routes else { return false }
        let host = stream.request.authorityText.lowercased()
        guard !host.isEmpty else { return false }
        waitingForHost = stream.worker.demandHost(host, ofRoutes: routes, timeout: OnDemandFilterConfig.timeout) {
            [weak self, weak stream] _ in
            guard let self, let stream, !stream.isFinished else { return }
            self.waitingForHost = nil
            stream.clearRoute()
            // What the virtual host says of filters holds for the first request, too.
            if stream.currentRoute != nil, stream.startOver(self) { return }
            if !self.askForCluster(stream) { stream.resumeRequest(self) }
        }
        return waitingForHost != nil
    }

    /// Whether the request waits for the cluster that its route names.
    private func askForCluster(_ stream: HTTPStream) -> Bool {
        guard stream.currentRoute != nil, let target = stream.target,
            stream.manager.cluster(for: target) == nil, let clusters = clusters(stream)
        else { return false }
        waitingForCluster = stream.worker.demandCluster(target.cluster, clusters) { [weak self, weak stream] _ in
            guard let self, let stream, !stream.isFinished else { return }
            self.waitingForCluster = nil
            // The route stays, and with it the cluster that was drawn by weight; without cluster the router answers.
            stream.resumeRequest(self)
        }
        return waitingForCluster != nil
    }

    /// From where the present route's clusters are asked for.
    private func clusters(_ stream: HTTPStream) -> OnDemandClusters? {
        if let route = stream.routeConfig(for: config.name) as? OnDemandFilterConfig.PerRoute { return route.clusters }
        return config.clusters
    }

    func streamEnded(_ stream: HTTPStream) {
        waitingForHost?.cancel()
        waitingForCluster?.cancel()
    }
}
