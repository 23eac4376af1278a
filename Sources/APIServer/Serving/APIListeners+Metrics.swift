import HTTP
import Telemetry

// What the transport of the API holds, and what it refused.
extension APIListeners {
    /// Connections, requests, watches, sessions and logs in Prometheus' text format.
    public var metrics: String {
        let gauges: [(name: String, help: String, value: Int)] = [
            ("connections", "Connections to the API.", places.taken),
            ("connections_limit", "Connections that it takes.", capacity.connections),
            ("watches", "Open watches.", openWatches),
            ("watches_limit", "Watches that it takes.", capacity.watches),
            ("sessions", "Commands, terminals and forwarded ports.", openSessions),
            ("logs", "Logs that are read.", openLogs),
        ]
        let counters: [(name: String, help: String, value: UInt64)] = [
            (
                "idle_connections_given_up", "Connections that waited and were closed for a new one.",
                places.givenUp.value
            ),
            (
                "connections_told_to_come_again", "Requests answered 429: too many connections.",
                places.toldToComeAgain.value
            ),
            ("connections_closed", "Connections closed without an answer.", places.closed.value),
            ("watches_refused", "Watches answered 429.", watchesRefused.value),
            ("sessions_refused", "Sessions answered 429.", sessionsRefused.value),
            ("logs_refused", "Logs answered 429.", logsRefused.value),
        ]
        var text = ""
        for gauge in gauges {
            text += "# HELP skein_api_\(gauge.name) \(gauge.help)\n# TYPE skein_api_\(gauge.name) gauge\n"
            text += "skein_api_\(gauge.name) \(gauge.value)\n"
        }
        for counter in counters {
            text +=
                "# HELP skein_api_\(counter.name)_total \(counter.help)\n# TYPE skein_api_\(counter.name)_total counter\n"
            text += "skein_api_\(counter.name)_total \(counter.value)\n"
        }
        return text + requests.metrics
    }
}
