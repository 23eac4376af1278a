internal import IO
internal import Upstream

/// Active health checks of one cluster, made on the control loop for all workers.
final class HealthChecker {
    private let cluster: String
    private let loop: EventLoop
    private let report: (HostAddress, Bool) -> Void

    init(cluster: String, loop: EventLoop, report: @escaping (HostAddress, Bool) -> Void) {
        self.cluster = cluster
        self.loop = loop
        self.report = report
    }

    func update(_ check: HealthCheckConfig, endpoints: EndpointTable) {}

    func cancel() {}
}
