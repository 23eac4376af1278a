import HTTP
import IO
import Insight
import KubernetesAPI
import Mesh
import Serialization
import Telemetry

/// Reads what proxies, the control plane and the node tell, every ten seconds, into the built-in time series.
///
/// `@unchecked Sendable`: used on one loop.
final class InsightService: @unchecked Sendable {
    /// How long one proxy, or the agents of nodes, are waited for.
    static let patience = Duration.seconds(2)
    /// Bytes of a page at most (ATK-19).
    private static let pageBytesMax = 8 << 20
    /// Pages that are asked for at the same time.
    private static let lanes = 8
    /// Where a proxy shows its metrics.
    static let metricsPort: UInt16 = 15_020
    /// Ticks between two looks at what is too old.
    private static let sweepTicks: Int64 = 30
    /// Ticks between two writings of what is not complete.
    private static let writeTicks: Int64 = 6

    /// A proxy that is asked.
    struct Target {
        var pod: ObservedPod
        var address: IPAddress
    }

    /// A pod that runs or is about to, with a proxy or without.
    struct Pod {
        var uid: String
        var observed: ObservedPod
        /// How often its containers were started anew.
        var restarts: Double
    }

    private(set) var store: SeriesStore
    private var collector = Collector()
    private let files: InsightFiles
    private let loop: EventLoop
    private let log = Logger("insight")
    private var clients: [String: (address: IPAddress, client: HTTPClient)] = [:]
    private var lastTick: Int64 = 0
    private var task: Task<Void, Never>?
    /// Asks the agents of all nodes what pods use.
    var usage: (_ path: String) async -> [(node: String, page: JSON)] = { _ in [] }
    /// Rules over the samples.
    let alerts: AlertService
    /// Queries that are worked on.
    var queries = 0
    /// What is asked, at each tick.
    var targets: () -> [Target] = { [] }
    /// All pods.
    var pods: () -> [Pod] = { [] }
    /// The workloads behind a host, keys `namespace/workload`, with the number of their pods on each node.
    var workloads: (String) -> [String: [String: Int]] = { _ in [:] }
    /// Which calls of each workload overlap, from the traces between two times in milliseconds since 1970.
    var callGroups: (_ from: Int64, _ to: Int64) -> [String: [CallGroup]] = { _, _ in [:] }
    /// The control plane's own page.
    var ownPage: () -> String = { "" }
    /// Bytes and messages to each proxy.
    var streams: () -> [(pod: NamespacedName, traffic: StreamTraffic)] = { [] }
    /// Access logs of proxies that are not ours.
    var accessLogs: AccessLogService?
    /// How many proxies each other control plane of the same store has: those are not asked here.
    var others: () -> [Int] = { [] }
    /// Called when new samples are there and the rules were asked.
    var ticked: () -> Void = {}
    /// Seconds that the last tick took, most of them waiting.
    private(set) var lastDuration = 0.0

    init(directory: String, limits: SeriesLimits = SeriesLimits(), on loop: EventLoop) {
        self.loop = loop
        store = SeriesStore(limits)
        alerts = AlertService(on: loop)
        files = InsightFiles(directory, log: Logger("insight"))
    }

    static var seconds: Double {
        let now = WallClock.now
        return Double(now.seconds) + Double(now.nanoseconds) / 1e9
    }

    /// Reads the files and begins.
    func start() {
        let tick = SeriesStore.tick(Self.seconds)
        files.load(into: &store, now: tick)
        collector.resume(from: store, tick: tick)
        task = Task(executorPreference: loop) { [weak self, loop] in
            while !Task.isCancelled {
                let now = Self.seconds
                let step = Double(Insight.step)
                await loop.sleep(
                    for: .milliseconds(Int64((step - now.truncatingRemainder(dividingBy: step)) * 1000) + 5))
                guard !Task.isCancelled, let self else { return }
                await self.collect()
            }
        }
    }

    /// Ends; what is in memory is on disk then.
    func stop() {
        task?.cancel()
        files.write(store.takeSealed(), now: SeriesStore.tick(Self.seconds))
        files.writeLast(store)
        for client in clients.values { client.client.close() }
        clients = [:]
    }

    // MARK: A tick

    func collect() async {
        let begin = Self.seconds
        let tick = SeriesStore.tick(begin)
        guard tick > lastTick else { return }
        let sinceLast = lastTick == 0 ? Double(Insight.step) : Double((tick - lastTick) * Insight.step)
        let targets = targets()
        var pages: [ProxyPage?] = Array(repeating: nil, count: targets.count)
        let lanes = (0..<min(Self.lanes, targets.count)).map { lane in
            Task(executorPreference: loop) { [weak self] in
                var found: [(Int, ProxyPage?)] = []
                for index in stride(from: lane, to: targets.count, by: Self.lanes) {
                    found.append((index, await self?.page(of: targets[index]) ?? nil))
                }
                return found
            }
        }
        for lane in lanes { for (index, page) in await lane.value { pages[index] = page } }
        let pods = pods()
        let usage = await podUsage(pods)
        guard !Task.isCancelled else { return }
        lastTick = tick
        collector.begin(tick: tick)
        for (target, page) in zip(targets, pages) {
            let name = NamespacedName(namespace: target.pod.namespace, name: target.pod.name)
            collector.take(
                page, of: target.pod, sinceLast: sinceLast, isLogged: accessLogs?.isTold(name) ?? false)
        }
        takeLogs(targets)
        for pod in pods {
            let labels = [
                "namespace": pod.observed.namespace, "pod": pod.observed.name, "workload": pod.observed.workload,
            ]
            collector.setCounter(Labels("skein_pod_restarts_total", labels), pod.restarts)
        }
        collector.keep(only: targets.map(\.pod))
        nodeFigures = []
        for (node, page) in usage { take(page, of: node, pods) }
        for (pod, traffic) in streams() {
            let labels = ["namespace": pod.namespace, "pod": pod.name]
            collector.setCounter(Labels("skein_control_sent_bytes_total", labels), Double(traffic.responseBytes))
            collector.setCounter(Labels("skein_control_sent_messages_total", labels), Double(traffic.responses))
        }
        collector.take(page: Array(ownPage().utf8), job: "control-plane")
        takeNode()
        collector.finish(into: &store)
        forgetClients(targets)
        lastDuration = Self.seconds - begin
        await keep(tick)
        alerts.evaluate(store, at: tick * Insight.step * 1000)
        ticked()
    }

    private func takeLogs(_ targets: [Target]) {
        guard let accessLogs else { return }
        let pods = Dictionary(
            targets.map { (NamespacedName(namespace: $0.pod.namespace, name: $0.pod.name), $0.pod) },
            uniquingKeysWith: { first, _ in first })
        for (name, traffic) in accessLogs.takeNew() {
            // Of one that has just gone its last words count, too.
            let pod = pods[name] ?? ObservedPod(namespace: name.namespace, name: name.name, workload: name.name)
            collector.take(traffic, of: pod)
        }
    }

    private func keep(_ tick: Int64) async {
        if tick % Self.sweepTicks == 0 {
            store.sweep(now: tick)
            files.removeOld(now: tick)
        }
        files.write(store.takeSealed(), now: tick)
        if tick % Self.writeTicks == 0 { await files.writeUnsealed(store) }
    }

    private func page(of target: Target) async -> ProxyPage? {
        let client = client(target)
        do throws(HTTPError) {
            let response = try await client.send(HTTPClientRequest(.get, "/stats/prometheus?" + ProxyPage.query))
            let deadline = loop.schedule(after: Self.patience) { response.close() }
            defer { deadline.cancel() }
            let bytes = try await response.collect(limit: Self.pageBytesMax)
            guard response.status == 200 else { return nil }
            return ProxyPage(bytes)
        } catch {
            log.debug("a proxy's metrics were not read", ["pod": target.pod.name, "error": "\(error)"])
            return nil
        }
    }

    private func client(_ target: Target) -> HTTPClient {
        let key = "\(target.pod.namespace)/\(target.pod.name)"
        if let known = clients[key], known.address == target.address { return known.client }
        clients.removeValue(forKey: key)?.client.close()
        let (loop, address) = (loop, SocketAddress.ip(target.address, port: Self.metricsPort))
        let client = HTTPClient(authority: "\(address)", on: loop) { () throws(HTTPError) in
            do throws(SystemError) {
                return try await SocketStream.connect(to: address, on: loop, timeout: Self.patience)
            } catch {
                throw HTTPError.connection(error)
            }
        }
        client.headTimeout = Self.patience
        clients[key] = (target.address, client)
        return client
    }

    private func forgetClients(_ targets: [Target]) {
        let known = Set(targets.map { "\($0.pod.namespace)/\($0.pod.name)" })
        for (key, gone) in clients where !known.contains(key) {
            gone.client.close()
            clients[key] = nil
        }
    }

    // MARK: Pods and node

    private func podUsage(_ pods: [Pod]) async -> [(node: String, page: JSON)] {
        let namespaces = Set(pods.map(\.observed.namespace)).sorted()
        guard !namespaces.isEmpty else { return [] }
        return await usage("/podUsage?requests=false&namespaces=" + namespaces.joined(separator: ","))
    }

    /// Takes what the agent of a node said.
    private func take(_ usage: JSON, of node: String, _ pods: [Pod]) {
        let figures = NodeFigure.read(usage, now: usage["time"]?.double ?? Self.seconds)
        if node == Environment.hostName || nodeFigures.isEmpty { nodeFigures = figures }
        collector.take(figures, node: node)
        let names = Dictionary(pods.map { ($0.uid, $0.observed) }, uniquingKeysWith: { first, _ in first })
        for pod in usage["pods"]?.array ?? [] {
            guard let known = pod["uid"]?.string.flatMap({ names[$0] }) else { continue }
            for container in pod["containers"]?.array ?? [] {
                let labels = [
                    "namespace": known.namespace, "pod": known.name, "workload": known.workload,
                    "container": container["name"]?.string ?? "",
                ]
                if let seconds = container["cpuSeconds"]?.double {
                    collector.setCounter(Labels("skein_pod_cpu_seconds_total", labels), seconds)
                }
                if let bytes = container["memoryBytes"]?.double {
                    collector.gauge(Labels("skein_pod_memory_bytes", labels), bytes)
                }
            }
        }
    }

    /// What this machine's node agent says of the node as a whole.
    private(set) var nodeFigures: [NodeFigure] = []

    private func takeNode() {
        let own = ControlGroup.machine()
        let allowance = NodeAllowance(
            processors: own.processorMicroseconds == nil ? nil : own.processorQuota,
            processorSeconds: Double(own.processorMicroseconds ?? 0) / 1e6,
            memoryBytes: own.memoryBytes == nil ? nil : own.memoryLimit.map { Double($0) },
            memoryUsed: Double(own.memoryBytes ?? 0))
        collector.takeNode(
            Environment.hostName, stat: (try? File.text("/proc/stat")) ?? "",
            memory: (try? File.text("/proc/meminfo")) ?? "", processors: Environment.processorCount,
            allowance: allowance, time: Double(MonotonicTime.now.nanoseconds) / 1e9)
    }

    // MARK: Answers

    /// What the last samples were taken at; nil before the first.
    var newest: Int64? { lastTick > 0 ? lastTick : nil }

    /// The figures of the traffic of the last seconds.
    func traffic(seconds: Int64) -> JSON {
        var json = TrafficView(store, now: lastTick, ticks: max(1, seconds / Insight.step)).json
        json["time"] = .integer(lastTick * Insight.step)
        json["pods"] = pods(ticks: max(1, seconds / Insight.step))
        return json
    }

    /// What the planner learns from: the last seconds, and each half of them.
    func plan(seconds: Int64) -> JSON {
        let ticks = max(4, seconds / Insight.step)
        let workloads = workloads
        let step = Insight.step * 1000
        let groups = callGroups((lastTick - ticks) * step, lastTick * step)
        func observe(_ end: Int64, _ ticks: Int64) -> JSON {
            PlanObservations.json(
                PlanObservations.observe(store, now: end, ticks: ticks, workloads: workloads, groups: groups))
        }
        return [
            "nodes": PlanObservations.json(PlanObservations.nodes(store, now: lastTick, ticks: ticks)),
            "all": observe(lastTick, ticks), "earlier": observe(lastTick - ticks / 2, ticks / 2),
            "later": observe(lastTick, ticks / 2),
        ]
    }

    private func pods(ticks: Int64) -> JSON {
        var found: [String: [String: JSON]] = [:]
        func change(_ labels: Labels, _ body: (inout [String: JSON]) -> Void) {
            let key = "\(labels["namespace"])/\(labels["pod"])"
            var members =
                found[key] ?? [
                    "namespace": .string(labels["namespace"]), "pod": .string(labels["pod"]),
                    "workload": .string(labels["workload"]),
                ]
            body(&members)
            found[key] = members
        }
        for (labels, value) in store.newest("up", since: lastTick - 1) where labels["job"] == "proxies" {
            change(labels) { $0["proxyAnswers"] = .bool(value > 0) }
        }
        for (labels, value) in store.increases("skein_pod_cpu_seconds_total", after: lastTick - ticks, upTo: lastTick) {
            let cores = value / Double(ticks * Insight.step)
            change(labels) { $0["cores"] = .number(($0["cores"]?.double ?? 0) + cores) }
        }
        for (labels, value) in store.newest("skein_pod_memory_bytes", since: lastTick - 1) {
            change(labels) { $0["memoryBytes"] = .number(($0["memoryBytes"]?.double ?? 0) + value) }
        }
        for (labels, value) in store.newest("skein_pod_restarts_total", since: lastTick - 1) {
            change(labels) { $0["restarts"] = .number(value) }
        }
        return .array(found.sorted { $0.key < $1.key }.map { .object($0.value) })
    }

    /// The service's own figures, as a page of metrics.
    var metrics: String {
        let figures: [(name: String, type: String, help: String, value: Double)] = [
            ("skein_insight_series", "gauge", "Series of the built-in store.", Double(store.count)),
            ("skein_insight_bytes", "gauge", "Memory of the built-in store, about.", Double(store.bytes)),
            (
                "skein_insight_refused_total", "counter", "Samples of series that were one too many.",
                Double(store.refused)
            ),
            (
                "skein_insight_evictions_total", "counter", "Times that samples went early for want of memory.",
                Double(store.evictions)
            ),
            (
                "skein_insight_malformed_lines_total", "counter", "Lines of pages that were no samples, or too many.",
                Double(collector.refusedLines)
            ),
            ("skein_insight_tick_seconds", "gauge", "How long the last reading took, waiting included.", lastDuration),
        ]
        let node = nodeFigures.map { (name: $0.name, type: "gauge", help: $0.help, value: $0.value) }
        return (figures + node).map {
            "# HELP \($0.name) \($0.help)\n# TYPE \($0.name) \($0.type)\n\($0.name) \(NumberText.text($0.value))\n"
        }.joined() + alerts.metrics + (accessLogs?.metrics ?? "")
    }
}
