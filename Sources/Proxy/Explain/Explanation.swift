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
    /// Names of its HTTP filters.
    var filterNames: [String] = []
    /// False when somebody would have to be asked.
    var isExact = true

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
            if let path = finding.path { text += indent + "    at \(path)\n" }
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
        result["steps"] = .array(
            findings.map { finding in
                var step: [String: JSON] = [
                    "step": .string(finding.step), "text": .string(finding.text),
                    "level": .integer(Int64(finding.level)),
                ]
                if let path = finding.path { step["path"] = .string(path) }
                return .object(step)
            })
        return .object(result)
    }
}
