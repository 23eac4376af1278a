internal import EnvoyAPI
internal import HTTP
internal import Upstream

/// `envoy.filters.http.on_demand`: a request without a route waits while its virtual host is asked for (VHDS).
struct OnDemandFilterConfig: HTTPFilterConfig {
    let name: String
    let isDisabled: Bool

    static let kind = HTTPFilterKind(
        EnvoyAPI.OnDemandFilter.self, perRoute: OnDemandPerRoute.self,
        compile: { message, context throws(ConfigurationError) in
            try refuse(message.odcds, at: context.path)
            return OnDemandFilterConfig(name: context.name, isDisabled: context.isDisabled)
        },
        compileRoute: { message, context throws(ConfigurationError) in
            try refuse(message.odcds, at: context.path)
            return true
        })

    private static func refuse(_ odcds: OnDemandCds?, at path: String) throws(ConfigurationError) {
        guard odcds != nil else { return }
        throw ConfigurationError(
            at: FieldCheck.join(path, "odcds"), "clusters are not discovered on demand; let CDS send them all")
    }

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? {
        guard stream.currentRoute == nil, case .rds(let routes) = stream.manager.config.routes else { return nil }
        return OnDemandHTTPFilter(routes: routes)
    }
}

/// One request that waits.
final class OnDemandHTTPFilter: HTTPFilter {
    private let routes: String
    private var waiting: UInt64?

    init(routes: String) { self.routes = routes }

    let interest: FilterInterest = .requestHead

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        guard stream.currentRoute == nil else { return .next }
        let host = stream.request.authorityText.lowercased()
        guard !host.isEmpty else { return .next }
        waiting = stream.worker.demandHost(host, ofRoutes: routes) { [weak self, weak stream] in
            guard let self, let stream, !stream.isFinished else { return }
            self.waiting = nil
            stream.clearRoute()
            stream.resumeRequest(self)
        }
        return waiting == nil ? .next : .stopAll
    }

    func streamEnded(_ stream: HTTPStream) {
        if let waiting { stream.worker.forgetHost(waiting) }
    }
}
