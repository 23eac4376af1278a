import APIServer
import HTTP
import IO
import Insight
import KubernetesAPI
import Mesh
import Serialization

// What the dashboard is told about the world.
extension ControlPlaneServer {
    func openDashboard(
        _ source: any ObjectSource, _ streams: ProxyStreams, _ page: OverviewPage
    ) throws(ControlPlaneError) {
        guard let insight else { return }
        let dashboard = Dashboard(insight, streams, token: try DashboardToken(directory: control), on: loop)
        dashboard.behind = { [weak streams, weak source] host, subset in
            guard let streams, let source else { return [:] }
            return Self.workloads(behind: host, subset, streams.publisher.model, source)
        }
        let own = DashboardPages(source, streams, insight)
        own.certificates = { [weak self] in self?.authorityFacts ?? .null }
        own.questions = DashboardQuestions(source, agents(), node: options.nodeName, on: loop)
        own.history = HistoryKeeper(source) { [loop] body in
            _ = loop.schedule(after: .milliseconds(50), body)
        } now: {
            let now = WallClock.now
            return now.seconds * 1000 + Int64(now.nanoseconds) / 1_000_000
        }
        let discovery = DiscoveryPages(streams)
        dashboard.pages = { [weak insight] request in
            if let answer = await own.answer(request) { return answer }
            if let answer = await InsightPages.command(request, insight) { return answer }
            return discovery.answer(request)
        }
        page.dashboard = dashboard
    }

    /// The workloads whose ready pods answer for a host, or for a subset of it.
    private static func workloads(
        behind host: String, _ subset: String, _ model: MeshModel, _ source: any ObjectSource
    ) -> [String: Int] {
        let words = host.split(separator: ".").map(String.init)
        guard words.count > 2, words[2] == "svc",
            let service = model.services[NamespacedName(namespace: words[1], name: words[0])]
        else { return [:] }
        let wanted = subset.isEmpty ? [:] : model.labels(ofSubset: subset, host: host) ?? [:]
        var counts: [String: Int] = [:]
        for endpoint in model.endpoints(of: service) where endpoint.isReady {
            guard let pod = endpoint.pod, wanted.allSatisfy({ endpoint.labels[$0.key] == $0.value }),
                let object = source.known(.pod, pod)
            else { continue }
            counts["\(pod.namespace)/\(workload(object))", default: 0] += 1
        }
        return counts
    }
}
