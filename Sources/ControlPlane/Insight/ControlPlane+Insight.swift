import APIServer
import IO
import Insight
import KubernetesAPI
import Mesh
import Serialization
import Telemetry

// What the insight service is told about the world.
extension ControlPlaneServer {
    func openInsight(_ source: any ObjectSource, _ streams: ProxyStreams, _ page: OverviewPage) {
        let limits = SeriesLimits(mebibytes: options.insightMebibytes)
        let service = InsightService(directory: control + "/insight", limits: limits, on: loop)
        service.usage = { [weak self, agents = agents()] path in
            await self?.usage(path, from: agents, patience: InsightService.patience) ?? []
        }
        service.targets = { [weak streams, weak source] in
            guard let streams, let source else { return [] }
            let pods = Set(streams.publisher.proxies.map(\.pod))
            return pods.sorted().compactMap { source.known(.pod, $0).flatMap(Self.target) }
        }
        service.pods = { [weak source] in
            (source?.all(.pod) ?? []).filter { !["Succeeded", "Failed"].contains($0.status["phase"]?.string ?? "") }.map
            {
                InsightService.Pod(uid: $0.metadata.uid, observed: Self.observed($0), restarts: Self.restarts($0))
            }
        }
        service.workloads = { [weak streams, weak source] host in
            let words = host.split(separator: ".").map(String.init)
            guard let streams, let source, words.count > 2, words[2] == "svc" else { return [:] }
            let model = streams.publisher.model
            let key = NamespacedName(namespace: words[1], name: words[0])
            guard let service = model.services[key] else { return [:] }
            var counts: [String: [String: Int]] = [:]
            for endpoint in model.endpoints(of: service) where endpoint.isReady {
                guard let pod = endpoint.pod, let object = source.known(.pod, pod) else { continue }
                let node = object.spec["nodeName"]?.string ?? ""
                counts["\(pod.namespace)/\(Self.workload(object))", default: [:]][node, default: 0] += 1
            }
            return counts
        }
        service.callGroups = { [weak streams, weak source] from, to in
            guard let streams, let source else { return [:] }
            var names: [String: String] = [:]
            for pod in Set(streams.publisher.proxies.map(\.pod)) {
                guard let object = source.known(.pod, pod) else { continue }
                names["\(pod)"] = "\(pod.namespace)/\(Self.workload(object))"
            }
            return streams.traces?.store.callGroups(from: from, to: to) { names[$0.sender] } ?? [:]
        }
        openAccessLogs(streams)
        service.accessLogs = streams.accessLogs
        service.ownPage = { [weak page] in page?.metrics ?? "" }
        service.streams = { [weak streams] in streams?.publisher.states.map { ($0.pod, $0.traffic) } ?? [] }
        service.others = { [weak streams] in streams?.others.map(\.proxies) ?? [] }
        service.alerts.mailProgram = options.mailProgram
        service.alerts.configuration = { [weak source] in
            let data = source?.known(.configMap, AlertService.object)?.json["data"]?.object ?? [:]
            return data.compactMapValues(\.string)
        }
        page.insight = service
        insight = service
        service.start()
    }

    func openMetricExporter(_ page: OverviewPage) throws(ControlPlaneError) {
        guard let url = options.metricsCollector else { return }
        guard let exporter = MetricExporter(url, on: loop) else {
            throw ControlPlaneError("--metrics-otlp \(url): http://ADDRESS:PORT or http://ADDRESS:PORT/PATH is needed")
        }
        exporter.page = { [weak page] in page?.allMetrics ?? "" }
        page.exporter = { [weak exporter] in exporter?.metrics ?? "" }
        metricExporter = exporter
        exporter.start()
    }

    private func openAccessLogs(_ streams: ProxyStreams) {
        streams.accessLogs?.workload = { [weak streams] in streams?.publisher.translator.workload(at: $0) }
        streams.accessLogs?.address = { [weak streams] in streams?.publisher.translator.address(of: $0) }
        streams.accessLogs?.generation = { [weak streams] in streams?.publisher.generation ?? 0 }
        streams.accessLogs?.service = { [weak streams] in streams?.publisher.service(ofCluster: $1, of: $0) }
    }

    private static func observed(_ object: KubernetesObject) -> ObservedPod {
        ObservedPod(
            namespace: object.namespace, name: object.name, workload: workload(object),
            node: object.spec["nodeName"]?.string ?? "")
    }

    /// The Deployment, StatefulSet … that a pod belongs to; a pod alone is its own.
    static func workload(_ pod: KubernetesObject) -> String {
        let name = pod.workloadName
        return name.isEmpty ? pod.name : name
    }

    private static func target(_ pod: KubernetesObject) -> InsightService.Target? {
        guard let address = pod.status["podIP"]?.string.flatMap({ IPAddress($0) }) else { return nil }
        return InsightService.Target(pod: observed(pod), address: address)
    }

    private static func restarts(_ pod: KubernetesObject) -> Double {
        (pod.status["containerStatuses"]?.array ?? []).reduce(0) { $0 + ($1["restartCount"]?.double ?? 0) }
    }
}
