internal import EnvoyAPI
internal import IO
internal import Upstream

/// The network filter set_filter_state: gives connections named values that later filters, requests and logs read.
struct NetworkSetFilterStateConfig: NetworkFilterConfig {
    private let values: [FilterStateTemplate]

    init(compiling message: NetworkSetFilterState, at path: String) throws(ConfigurationError) {
        try FieldCheck.check(message, reads: ["on_new_connection", "on_downstream_tls_handshake"], at: path)
        // A connection comes here when its handshake is done.
        values =
            try FilterStateTemplate.list(
                message.onNewConnection, at: FieldCheck.join(path, "on_new_connection"), isOfConnection: true)
            + FilterStateTemplate.list(
                message.onDownstreamTlsHandshake, at: FieldCheck.join(path, "on_downstream_tls_handshake"),
                isOfConnection: true)
    }

    func make(_ worker: Worker) -> any NetworkFilter { NetworkSetFilterStateFilter(self, worker) }

    /// Puts the values where they are looked for.
    func apply(to connection: inout ConnectionInfo, now: MonotonicTime) {
        var readOnly: Set<String> = []
        for value in values where !readOnly.contains(value.key) {
            let context = ListenerLogContext(info: StreamInfo(started: now), connectionInfo: connection)
            guard let object = value.object(context, now: now) else { continue }
            connection.facts.filterState[value.key] = object
            if value.isReadOnly { readOnly.insert(value.key) }
        }
    }
}

/// The values of the connections of one loop.
final class NetworkSetFilterStateFilter: NetworkFilter {
    private let config: NetworkSetFilterStateConfig
    private let worker: Worker

    init(_ config: NetworkSetFilterStateConfig, _ worker: Worker) {
        self.config = config
        self.worker = worker
    }

    func newConnection(_ connection: NetworkConnection) -> NetworkStep {
        config.apply(to: &connection.info, now: worker.loop.now)
        return .next
    }
}
