internal import IO
internal import Serialization
internal import Upstream

/// What would happen to a request, decision by decision.
///
/// A stream that has one is only explained: it runs the code that every request runs, notes here what is decided, and ends where a byte would
/// leave. Streams of real requests have none, which costs them a test for nil at a few places.
final class Explanation {
    /// One decision.
    struct Finding {
        /// What is decided: `filter_chain`.
        var step: String
        var text: String
        /// The field of the configuration that says so; nil where none does.
        var path: String?
        /// 0 is the decision, 1 what led to it.
        var level: Int
    }

    /// How it ends.
    enum Outcome {
        /// The request goes to a host.
        case forwarded
        /// The proxy answers itself, and does not mean it as a refusal: a redirect, a direct response, a preflight.
        case answered
        /// The proxy answers with an error, or ends the connection.
        case refused
    }

    private(set) var findings: [Finding] = []
    let places: ConfigurationPlaces
    /// Tables, virtual hosts and routes as messages, to name their fields.
    var routesPlace = ""
    var routeConfiguration: RouteMessages?

    var outcome = Outcome.refused
    var listener = ""
    var filterChain: String?
    var virtualHost: String?
    var route: String?
    var cluster: String?
    var host: String?
    var status: UInt16?
    var flags = ResponseFlags()
    var details: String?
    /// The place of the route in force, below `routesPlace`.
    var routePlace: String?
    /// Which virtual host, route and weighted cluster that is, where it stands in a list.
    var virtualHostIndex: Int?
    var routeIndex: Int?
    var weightedIndex: Int?
    /// The connection manager's `typed_config`.
    var managerPlace = ""
    /// What the client sent as authority.
    var authority: String?
    /// Names of its HTTP filters.
    var filterNames: [String] = []
    /// False when somebody would have to be asked.
    var isExact = true
    /// What was decided, without what only this request drew: what two configurations are compared by.
    var decision: [String: JSON] = [:]
    /// What is the case besides the configuration: connections, circuit breakers, certificates.
    var state: [String: JSON] = [:]
    /// The request as it would leave.
    var forwarded: JSON?
    /// What is asked of the control plane before the request goes on (VHDS, ODCDS).
    var wantedHost: (host: String, routes: String)?
    var wantedCluster: (name: String, clusters: OnDemandClusters)?
    /// Keys for tokens that a request would let be fetched.
    var wantedKeys: [RemoteKeySet] = []
    /// Connections of the chosen host that could take the request at once, as a loop knows them; nil: nobody knows.
    var idleConnections: (String) -> Int? = { _ in nil }
    /// Why the last connection to a host did not come about.
    var trouble: (String) -> ConnectionTrouble? = { _ in nil }
    /// Fields of requests that the configuration looks at.
    var looksAt: Set<String> = []
    /// A running proxy is asked, which has what it waits for, or not.
    var isLive = false
    /// Credentials of the request are not known.
    var isRecorded = false
    /// The certificates that the chosen host would show, DER, leaf first.
    var hostChain: [[UInt8]] = []
    /// How the tries are taken to end; empty: nothing is asked about what follows.
    var tries: [TryEnding] = []

    init(places: ConfigurationPlaces) { self.places = places }

    func note(_ step: String, _ text: String, at path: String? = nil, level: Int = 0) {
        findings.append(Finding(step: step, text: text, path: path, level: level))
    }

    // MARK: Showing

    /// The exit status of `skein-proxy explain`.
    var exitStatus: Int32 {
        switch outcome {
        case .forwarded: 0
        case .answered: 3
        case .refused: 4
        }
    }

    /// One line that says it all.
    var summary: String {
        switch outcome {
        case .forwarded:
            return "forwarded to cluster \"\(cluster ?? "")\"" + (host.map { ", host \($0)" } ?? "")
        case .answered: return "answered by the proxy with \(status ?? 0)" + (details.map { " (\($0))" } ?? "")
        case .refused:
            let answer = status.map { "refused with \($0)" } ?? "the connection is closed"
            return answer + ", flags \(flags.text)" + (details.map { ", \($0)" } ?? "")
        }
    }

    /// For people.
    var text: String {
        var text = ""
        var step = ""
        for finding in findings {
            if finding.step != step {
                step = finding.step
                text += "\(step.split(separator: "_").joined(separator: " "))\n"
            }
            let indent = String(repeating: "  ", count: finding.level + 1)
            text += indent + finding.text + "\n"
            if let path = finding.path {
                text += indent + "    at \(path)\n"
                if let origin = places.origins.origin(of: path) { text += indent + "    from \(origin.text)\n" }
            }
        }
        return text + "result\n  \(summary)\n"
    }

    /// For programs.
    var json: JSON {
        var result: [String: JSON] = [
            "listener": .string(listener), "flags": .string(flags.text),
            "outcome": .string("\(outcome)"), "summary": .string(summary), "exact": .bool(isExact),
        ]
        for (name, value) in [
            ("filter_chain", filterChain), ("virtual_host", virtualHost), ("route", route), ("cluster", cluster),
            ("host", host), ("details", details), ("route_path", routePlace.map { "\(routesPlace).\($0)" }),
        ] {
            if let value { result[name] = .string(value) }
        }
        if let status { result["status"] = .integer(Int64(status)) }
        if let forwarded { result["request"] = forwarded }
        if !decision.isEmpty { result["decision"] = .object(decision) }
        if !state.isEmpty { result["state"] = .object(state) }
        if let origin = routePlace.flatMap({ places.origins.origin(of: "\(routesPlace).\($0)") }) {
            result["route_origin"] = origin.json
        }
        result["steps"] = .array(
            findings.map { finding in
                var step: [String: JSON] = [
                    "step": .string(finding.step), "text": .string(finding.text),
                    "level": .integer(Int64(finding.level)),
                ]
                if let path = finding.path {
                    step["path"] = .string(path)
                    if let origin = places.origins.origin(of: path) { step["origin"] = origin.json }
                }
                return .object(step)
            })
        return .object(result)
    }
}
