internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Telemetry
internal import Upstream
internal import XDS

/// Counts updates under Envoy's names: a place for clusters, one for listeners, and one for each route configuration, scoped table, discovered filter
/// and cluster of EDS.
final class DiscoveryCounts {
    private let store: ConfigurationStore
    /// By the elements of their names; held, for metrics live as long as somebody holds them.
    private var subscriptions: [[String]: SubscriptionMetrics] = [:]

    /// Names come from management servers.
    private static let subscriptionsMax = 20_000

    init(_ store: ConfigurationStore) { self.store = store }

    private func subscription(_ place: [String], _ kind: SubscriptionMetrics.Kind = .plain) -> SubscriptionMetrics {
        if let known = subscriptions[place] { return known }
        if subscriptions.count >= Self.subscriptionsMax { subscriptions = [:] }
        let metrics = store.context.metrics
        let fresh = SubscriptionMetrics(metrics.registry.scope(place), row: metrics.controlRow, kind: kind)
        subscriptions[place] = fresh
        return fresh
    }

    /// The place of a type that has one alone.
    private func place(_ typeURL: String) -> [String]? {
        switch typeURL {
        case Cluster.typeURL: ["cluster_manager", "cds"]
        case Listener.typeURL: ["listener_manager", "lds"]
        case RuntimeResource.typeURL: ["runtime", "rtds"]
        default: nil
        }
    }

    /// What was to be read could not be.
    func failed(_ typeURL: String) {
        guard let place = place(typeURL) else { return }
        subscription(place).asked()
        subscription(place).failed()
    }

    func count(_ update: DeltaClient.Update, _ outcome: ResourceApplier.Outcome) {
        if let place = place(update.typeURL) {
            count(place, isAccepted: outcome.problems.isEmpty, version: update.resources.last?.version ?? "")
        } else if update.typeURL == RouteConfiguration.typeURL {
            for resource in update.resources {
                for prefix in store.statPrefixes(ofRoutes: resource.name) {
                    count(
                        ["http", prefix, "rds", resource.name], .routes,
                        isAccepted: outcome.applied.contains(resource.name), version: resource.version)
                }
            }
        } else if update.typeURL == ScopedRouteConfiguration.typeURL {
            for place in store.scopedTables {
                let place = ["http", place.prefix, "scoped_rds", place.name]
                count(
                    place, .scopes, isAccepted: outcome.problems.isEmpty, version: update.resources.last?.version ?? "")
                subscription(place, .scopes).counted(scopes: store.scopes.count)
            }
        } else if update.typeURL == TypedExtensionConfig.typeURL {
            for resource in update.resources {
                count(
                    ["extension_config_discovery", "http_filter", resource.name], .filter,
                    isAccepted: outcome.applied.contains(resource.name), version: resource.version)
            }
        } else if update.typeURL == ClusterLoadAssignment.typeURL {
            let row = store.context.metrics.controlRow
            for name in outcome.applied {
                for cluster in store.clusterNames(ofEndpoints: name) {
                    let metrics = store.context.metrics.cluster(cluster)
                    metrics.add(.update_attempt, row: row)
                    metrics.add(.update_success, row: row)
                }
            }
        }
    }

    private func count(
        _ place: [String], _ kind: SubscriptionMetrics.Kind = .plain, isAccepted: Bool, version: String
    ) {
        let metrics = subscription(place, kind)
        metrics.asked()
        guard isAccepted else { return metrics.refused() }
        let now = WallClock.now
        metrics.accepted(
            version: version, now: UInt64(clamping: now.seconds * 1000 + Int64(now.nanoseconds) / 1_000_000))
    }
}

/// A `scoped_routes` as metrics name it.
private struct ScopedTable: Hashable {
    var prefix: String
    var name: String
}

extension ConfigurationStore {
    /// The connection managers that are routed by a route configuration.
    fileprivate func statPrefixes(ofRoutes name: String) -> Set<String> {
        let isOfScope = scopeRoutes.contains(name)
        return Set(
            listeners.values.flatMap(\.config.allChains).filter {
                $0.rdsNames.contains(name) || $0.scopesSource != nil && isOfScope
            }.compactMap { $0.manager?.statPrefix })
    }

    /// The connection managers that discover scopes, and what they call them.
    fileprivate var scopedTables: Set<ScopedTable> {
        Set(
            listeners.values.flatMap(\.config.allChains).compactMap { chain in
                guard chain.scopesSource != nil, let manager = chain.manager, case .scoped(let scoping) = manager.routes
                else { return nil }
                return ScopedTable(prefix: manager.statPrefix, name: scoping.name)
            })
    }

    /// The clusters that take these endpoints.
    fileprivate func clusterNames(ofEndpoints name: String) -> [String] {
        clusters.filter { cluster, entry in
            guard case .eds(let service) = entry.config.discovery else { return false }
            return (service.isEmpty ? cluster : service) == name
        }.map(\.key)
    }
}
