internal import Telemetry

/// What the configuration store counts: `cluster_manager.*` and `listener_manager.*`.
///
/// On the control loop alone; the gauges beside these are asked when they are read.
struct StoreMetrics {
    let clusterAdded: MetricCounter
    let clusterModified: MetricCounter
    let clusterRemoved: MetricCounter
    let clusterUpdated: MetricCounter
    let listenerAdded: MetricCounter
    let listenerModified: MetricCounter
    let listenerRemoved: MetricCounter
    let listenerInPlace: MetricCounter
    let listenerCreateSuccess: MetricCounter
    let listenerCreateFailure: MetricCounter
    private let row: Int

    init(_ metrics: MetricSet) {
        let clusters = metrics.scope("cluster_manager")
        clusterAdded = clusters.counter("cluster_added")
        clusterModified = clusters.counter("cluster_modified")
        clusterRemoved = clusters.counter("cluster_removed")
        clusterUpdated = clusters.counter("cluster_updated")
        let listeners = metrics.scope("listener_manager")
        listenerAdded = listeners.counter("listener_added")
        listenerModified = listeners.counter("listener_modified")
        listenerRemoved = listeners.counter("listener_removed")
        listenerInPlace = listeners.counter("listener_in_place_updated")
        listenerCreateSuccess = listeners.counter("listener_create_success")
        listenerCreateFailure = listeners.counter("listener_create_failure")
        row = metrics.controlRow
    }

    func count(_ counter: MetricCounter, _ amount: Int = 1) { counter.add(UInt64(clamping: amount), row: row) }
}
