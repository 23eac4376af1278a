internal import EnvoyAPI
internal import IO
internal import Serialization

/// What an explained request would have waited for, asked of the control plane, or of who publishes keys, as a request asks.
///
/// The proxy is subscribed to it from then on, until nobody has used it for long.
enum DemandForExplanation {
    struct Outcome {
        var what: String
        var text: String
        var hasArrived: Bool

        var json: JSON { ["what": .string(what), "outcome": .string(text), "arrived": .bool(hasArrived)] }
    }

    /// How long a virtual host is waited for.
    private static let patience = Duration.seconds(5)

    /// Nil: the request waits for nothing.
    static func ask(_ proxy: ProxyServer, _ explanation: Explanation, _ number: Int) async -> Outcome? {
        guard proxy.workers.indices.contains(number) else { return nil }
        let worker = proxy.workers[number]
        if let (host, routes) = explanation.wantedHost, !host.isEmpty {
            return await ask(worker, "virtual host \(routes)/\(host)", timeout: patience) { worker, body in
                worker.demandHost(host, ofRoutes: routes, timeout: patience, body)
            }
        }
        guard let (name, clusters) = explanation.wantedCluster else {
            return await askForKeys(proxy, explanation, worker)
        }
        return await ask(worker, "cluster \(name)", timeout: clusters.timeout) { worker, body in
            worker.demandCluster(name, clusters, body)
        }
    }

    /// Lets the running configuration fetch the keys that the request's tokens are checked with.
    private static func askForKeys(
        _ proxy: ProxyServer, _ explanation: Explanation, _ worker: WorkerHandle
    ) async -> Outcome? {
        guard let wanted = explanation.wantedKeys.first,
            let live = proxy.store.listeners.values.lazy.flatMap({ $0.config.allChains.flatMap(\.remoteKeySets) })
                .first(
                    where: wanted.isSame)
        else { return nil }
        let hasCome: Bool = await withCheckedContinuation { continuation in
            worker.send { worker in
                if !live.wait(on: worker, { continuation.resume(returning: $0) }) {
                    continuation.resume(returning: false)
                }
            }
        }
        return Outcome(
            what: "keys of \(live.authority)\(live.path)",
            text: hasCome ? "have come" : "cannot be fetched: tokens are refused", hasArrived: hasCome)
    }

    /// Waits on a worker as a request does, by `demand`.
    private static func ask(
        _ worker: WorkerHandle, _ what: String, timeout: Duration,
        _ demand: @escaping @Sendable (Worker, @escaping (ClusterDemand.Outcome) -> Void) -> DemandWait?
    ) async -> Outcome {
        let answer: ClusterDemand.Outcome? = await withCheckedContinuation { continuation in
            worker.send { worker in
                let wait = demand(worker) { continuation.resume(returning: $0) }
                if wait == nil { continuation.resume(returning: nil) }
            }
        }
        let text =
            switch answer {
            case .available: "has come"
            case .missing: "the control plane says that there is none"
            case .timedOut: "no answer within \(timeout)"
            case nil: "nobody can be asked"
            }
        return Outcome(what: what, text: text, hasArrived: answer == .available)
    }
}

extension ProxyServer {
    /// What the proxy has from its control plane, and since when: for explanations.
    var controlPlaneState: JSON {
        guard let discovery, discovery.hasStreams else { return ["is_used": .bool(false)] }
        let now = WallClock.milliseconds
        var types: JSON = [:]
        for (url, statistics) in discovery.statistics {
            var json: JSON = ["version": .string(statistics.version)]
            if let accepted = statistics.accepted { json["accepted_ms_ago"] = .integer(now - accepted) }
            if let problem = statistics.problem { json["refused"] = .string(problem) }
            types[url.split(separator: ".").last.map(String.init) ?? url] = json
        }
        var state: JSON = ["is_used": .bool(true), "is_connected": .bool(discovery.isConnected), "types": types]
        if let lost = discovery.lostSince { state["lost_ms_ago"] = .integer(now - lost) }
        state["refused"] = .array(
            store.failures.flatMap { url, failures in
                failures.keys.sorted().map { .string("\(url.split(separator: ".").last ?? "") \($0)") }
            })
        return state
    }
}

extension WallClock {
    /// Milliseconds since 1970.
    static var milliseconds: Int64 {
        let time = now
        return time.seconds * 1000 + Int64(time.nanoseconds / 1_000_000)
    }
}
