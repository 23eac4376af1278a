internal import EnvoyAPI
internal import IO
internal import Synchronization
internal import Upstream

/// `envoy.filters.http.fault`: delays requests, and answers them with an error, by chance.
struct FaultFilterConfig: HTTPFilterConfig {
    let name: String
    let isDisabled: Bool
    let policy: FaultPolicy

    static let kind = HTTPFilterKind(
        HTTPFault.self, perRoute: HTTPFault.self,
        compile: { message, context throws(ConfigurationError) in
            FaultFilterConfig(
                name: context.name, isDisabled: context.isDisabled,
                policy: try FaultPolicy(compiling: message, path: context.path))
        },
        compileRoute: { message, context throws(ConfigurationError) in
            try FaultPolicy(compiling: message, path: context.path)
        })

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? {
        // The most specific policy counts: weighted cluster, route, virtual host, table, listener.
        let policy = stream.routeConfig(for: name) as? FaultPolicy ?? policy
        guard policy.delay != nil || policy.abort != nil else { return nil }
        let decision = policy.decide(
            for: RequestHeadView(stream.request), cluster: stream.target?.cluster ?? "",
            random: stream.worker.random.next())
        guard decision.delay != nil || decision.abort != nil else { return nil }
        let manager = stream.manager
        if let maximum = policy.activeFaultsMax, manager.activeFaults >= maximum {
            manager.count(.faultsOverflow, stream.worker)
            return nil
        }
        return FaultFilter(decision)
    }
}

/// One injected fault.
///
/// The delay and the answer do not count against the route's timeout (H-17): the router has not begun.
final class FaultFilter: HTTPFilter {
    private let decision: FaultPolicy.Decision
    private var timer: LoopTimer?
    private var isCounted = false

    init(_ decision: FaultPolicy.Decision) { self.decision = decision }

    let interest = FilterInterest.requestHead

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        stream.manager.activeFaults += 1
        isCounted = true
        guard let delay = decision.delay, delay > .zero else { return abort(stream) }
        stream.info.flags.insert(.delayInjected)
        stream.manager.count(.delaysInjected, stream.worker)
        timer = stream.worker.schedule(after: delay) { [weak self, weak stream] in
            guard let self, let stream, !stream.isFinished else { return }
            if self.abort(stream) == .next { stream.resumeRequest(self) }
        }
        return .stop
    }

    private func abort(_ stream: HTTPStream) -> FilterStep {
        guard let abort = decision.abort else { return .next }
        stream.info.flags.insert(.faultInjected)
        stream.manager.count(.abortsInjected, stream.worker)
        switch abort {
        case .http(let status):
            stream.localReply(status: status, body: "fault filter abort", details: "fault_filter_abort")
        case .grpc(let status):
            stream.localReply(
                status: 200, details: "fault_filter_abort",
                headers: [
                    ("content-type", "application/grpc"), ("grpc-status", String(status)),
                    ("grpc-message", "fault filter abort"),
                ])
        }
        return .stop
    }

    func streamEnded(_ stream: HTTPStream) {
        timer?.cancel()
        if isCounted { stream.manager.activeFaults -= 1 }
    }
}
