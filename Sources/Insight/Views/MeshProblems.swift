public import Serialization

/// What is wrong now, worst first: for the head of the dashboard.
public struct MeshProblem: Sendable, Hashable {
    /// How bad it is.
    public enum Severity: String, Sendable, CaseIterable {
        /// Requests fail.
        case critical
        /// Something does not do what it should.
        case warning
        /// Worth a look.
        case info
    }

    /// What kind of problem; the dashboard has a text for each.
    public enum Code: String, Sendable, CaseIterable {
        /// An alert fires: its name and summary.
        case alert
        /// Requests to a host fail: the host and the share.
        case errors
        /// A proxy did not tell its metrics: the pod.
        case silent
        /// A proxy refuses configuration: the pod, the type, and why.
        case refused
        /// A host has no healthy endpoint: the host.
        case noHealthyEndpoint
        /// Endpoints are ejected: the host and how many.
        case ejected
        /// The alerts' configuration is not used: why.
        case alertConfiguration
    }

    /// How bad it is.
    public var severity: Severity
    /// What kind of problem.
    public var code: Code
    /// What it is about: a host, a pod, an alert.
    public var subject: String
    /// A number, an explanation: as the code says.
    public var detail: String
    /// What to do; empty when the code says it all.
    public var action = ""

    /// A problem.
    public init(_ severity: Severity, _ code: Code, _ subject: String, _ detail: String = "", action: String = "") {
        self.severity = severity
        self.code = code
        self.subject = subject
        self.detail = detail
        self.action = action
    }

    /// The share of failed requests from which a host is named.
    static let errorShare = 0.01
    /// Problems that are told at most (ATK-19); the number of all is told beside them.
    public static let problemsMax = 100

    /// What the series tell, with the alerts that fire.
    public static func find(_ picture: MeshPicture, _ store: SeriesStore, alerts: [Alert], now tick: Int64)
        -> [MeshProblem]
    {
        var problems: [MeshProblem] = []
        for alert in alerts where alert.state == .firing {
            let severity = Severity(rawValue: alert.labels["severity"]) ?? .warning
            problems.append(
                MeshProblem(
                    severity, .alert, alert.labels["alertname"], alert.annotations["summary"] ?? "",
                    action: alert.annotations["action"] ?? ""))
        }
        for (host, figures) in picture.view.services where figures.requests > 0 {
            let share = figures.failed / figures.requests
            guard share >= errorShare else { continue }
            problems.append(
                MeshProblem(share >= 0.1 ? .critical : .warning, .errors, host, NumberText.fixed(share * 100, 1)))
        }
        for (labels, value) in store.newest("up", since: tick - 1) where labels["job"] == "proxies" && value == 0 {
            problems.append(MeshProblem(.warning, .silent, "\(labels["namespace"])/\(labels["pod"])"))
        }
        // A host without endpoints that nobody asks is scaled to nothing, not broken; the subsets are told apart.
        let asked = Set(picture.view.edges.filter { $0.value.requests > 0 }.map { [$0.key.host, $0.key.subset] })
        var unhealthy: Set<String> = []
        for (labels, value) in store.newest("skein_edge_endpoints_healthy", since: tick - 2) where value == 0 {
            let key = [labels["destination_service"], labels["destination_subset"]]
            if asked.contains(key) { unhealthy.insert(key[1].isEmpty ? key[0] : key.joined(separator: "/")) }
        }
        problems += unhealthy.sorted().map { MeshProblem(.critical, .noHealthyEndpoint, $0) }
        var ejected: [String: Double] = [:]
        for (labels, value) in store.newest("skein_edge_endpoints_ejected", since: tick - 2) {
            ejected[labels["destination_service"], default: 0] += value
        }
        for (host, count) in ejected.sorted(by: { $0.key < $1.key }) where count > 0 {
            problems.append(MeshProblem(.warning, .ejected, host, NumberText.fixed(count, 0)))
        }
        return problems
    }

    /// Worst first, as far as they are told.
    public static func json(_ problems: [MeshProblem]) -> JSON {
        let order = Severity.allCases
        let sorted = order.flatMap { severity in problems.filter { $0.severity == severity } }
        return .array(
            sorted.prefix(problemsMax).map {
                [
                    "severity": .string($0.severity.rawValue), "code": .string($0.code.rawValue),
                    "subject": .string($0.subject), "detail": .string($0.detail), "action": .string($0.action),
                ]
            })
    }
}
