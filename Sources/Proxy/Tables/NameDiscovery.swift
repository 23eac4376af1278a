internal import IO
internal import Telemetry
internal import Upstream

/// Resolves the names in a STRICT_DNS or LOGICAL_DNS cluster, again and again.
final class NameDiscovery {
    private static let log = Logger("dns")

    private let config: ClusterConfig
    private let loop: EventLoop
    private let apply: (EndpointTable) -> Void
    private var isCancelled = false

    init(_ config: ClusterConfig, loop: EventLoop, apply: @escaping (EndpointTable) -> Void) {
        self.config = config
        self.loop = loop
        self.apply = apply
    }

    func start() {
        let table = config.endpoints ?? EndpointTable()
        var answers: [String: [String]] = [:]
        for case .name(let name, _) in table.names {
            // An address in place of a name resolves to itself.
            if IPAddress(name) != nil {
                answers[name] = [name]
            } else if name == "localhost" {
                answers[name] = ["127.0.0.1"]
            } else {
                Self.log.warning("name is not resolved: there is no resolver yet", ["cluster": config.name, "name": name])
            }
        }
        apply(table.resolved(answers))
    }

    func cancel() { isCancelled = true }
}
