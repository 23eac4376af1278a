import EnvoyAPI
public import IO
import Mesh
import Serialization
import Telemetry
import XDS

// Endpoints that must be known to be gone before their pod stops (ATK-44).
extension SnapshotPublisher {
    /// The pods that may stop now; the shell writes the annotation.
    ///
    /// Ask after every flush, every request and at `nextDrainDeadline`.
    public mutating func drained(now: MonotonicTime) -> [DrainTracker.Outcome] {
        guard !drains.pods.isEmpty else { return [] }
        for pod in drains.pods {
            guard let hosts = drainNames[pod], model.isOutOfService(pod) else { continue }
            drains.published(pod, waitingFor: Set(streams.values.filter { !hasHeard($0, hosts) }.map(\.number)))
        }
        let outcomes = drains.finished(now: now)
        for outcome in outcomes {
            drainNames[outcome.pod] = nil
            guard !outcome.laggards.isEmpty else { continue }
            laggardCount += outcome.laggards.count
            let names = outcome.laggards.compactMap { streams[$0].map { "\($0.proxy.pod)" } }
            log.warning(
                "proxies did not acknowledge in time that a pod stops",
                ["pod": "\(outcome.pod)", "laggards": names.joined(separator: " ")])
        }
        return outcomes
    }

    /// Whether other servers over the same store may have proxies too.
    public var hasOtherServers: Bool {
        get { drains.hasUnknownSubscribers }
        set { drains.hasUnknownSubscribers = newValue }
    }

    /// Whether a pod waits for proxies to hear that it stops.
    var isDraining: Bool { !drains.pods.isEmpty }

    /// When `drained` has something to say although nothing happens.
    public var nextDrainDeadline: MonotonicTime? { drains.nextDeadline }

    /// Whether a proxy has acknowledged (or refused) the present endpoints of those hosts, or does not use them.
    private func hasHeard(_ stream: ProxyStream, _ hosts: Set<String>) -> Bool {
        let type = ClusterLoadAssignment.typeURL
        guard let snapshot = stream.server.snapshot, !stream.server.isSettled(typeURL: type) else { return true }
        let refused = stream.server.refused(typeURL: type)
        return (stream.base ?? snapshot)[type].allSatisfy { table in
            table.resources.values.allSatisfy { resource in
                let name = resource.name
                return !hosts.contains { name.hasSuffix("|\($0)") }
                    || !stream.server.isSubscribed(typeURL: type, name: name) || refused[name] != nil
                    || stream.server.acknowledged(typeURL: type, name: name) == resource.version
            }
        }
    }
}
