internal import HTTP
internal import IO
internal import Upstream

/// The labels of standard metrics, in Istio's names and words.
enum StandardLabels {
    /// The labels of a series for one of its metrics, by name; nil when that metric is not told.
    static func labels(_ series: StandardSeries, _ metric: StandardMetric) -> [String: String]? {
        let changes = series.key.plan.changes[metric]
        if changes?.isDropped == true { return nil }
        var labels = all(series)
        if metric.isForConnections {
            labels["response_code"] = nil
            labels["grpc_response_status"] = nil
        }
        for name in changes?.removed ?? [] { labels[name] = nil }
        for (name, index) in changes?.added ?? [:] where series.key.extras.indices.contains(index) {
            labels[name] = series.key.extras[index]
        }
        return labels
    }

    private static func all(_ series: StandardSeries) -> [String: String] {
        let key = series.key
        let unknown = WorkloadFacts.unknown
        var labels: [String: String] = ["reporter": key.plan.isServer ? "destination" : "source"]
        let own = series.own?.facts ?? .nobody
        let other = key.isOverflow ? overflowed : series.peer?.facts ?? .nobody
        add(key.plan.isServer ? other : own, "source", to: &labels)
        add(key.plan.isServer ? own : other, "destination", to: &labels)
        let service = key.service ?? service(ofCluster: key.cluster, overflow: key.isOverflow)
        labels["destination_service"] = service.host
        labels["destination_service_name"] = service.name
        labels["destination_service_namespace"] = service.namespace
        labels["source_principal"] = key.sourcePrincipal.isEmpty ? unknown : key.sourcePrincipal
        labels["destination_principal"] = key.destinationPrincipal.isEmpty ? unknown : key.destinationPrincipal
        labels["request_protocol"] = "\(key.outcome.kind)"
        labels["response_code"] = "\(key.outcome.status)"
        labels["grpc_response_status"] = key.outcome.grpcStatus == 255 ? "" : "\(key.outcome.grpcStatus)"
        var flags = FormatLine(capacity: 64)
        key.outcome.flags.append(isLong: false, limitFirst: true, to: &flags)
        labels["response_flags"] = flags.text
        // Only the server's side knows what it asked for.
        labels["connection_security_policy"] = key.plan.isServer ? key.isMutualTLS ? "mutual_tls" : "none" : unknown
        return labels
    }

    private static let overflowed = WorkloadFacts(
        workload: "other", namespace: "other", app: "other", version: "other", canonicalName: "other",
        canonicalRevision: "other", cluster: "other")

    private static func add(_ facts: WorkloadFacts, _ side: String, to labels: inout [String: String]) {
        labels["\(side)_workload"] = facts.workload
        labels["\(side)_workload_namespace"] = facts.namespace
        labels["\(side)_app"] = facts.app
        labels["\(side)_version"] = facts.version
        labels["\(side)_canonical_service"] = facts.canonicalName
        labels["\(side)_canonical_revision"] = facts.canonicalRevision
        labels["\(side)_cluster"] = facts.cluster
    }

    /// The service that a cluster's name tells: `outbound|9080|v1|reviews.shop.svc.cluster.local`.
    ///
    /// What is no service's (passing through, black hole) goes by the cluster's own name, as with Istio.
    static func service(ofCluster name: String, overflow: Bool = false) -> StandardService {
        let unknown = WorkloadFacts.unknown
        if overflow { return StandardService(host: "other", name: "other", namespace: "other") }
        let parts = name.split(separator: "|", omittingEmptySubsequences: false)
        guard parts.count == 4, !parts[3].isEmpty else {
            let isOwn = parts.count == 4 || name.isEmpty
            return StandardService(host: unknown, name: isOwn ? unknown : name, namespace: unknown)
        }
        let host = String(parts[3])
        let words = host.split(separator: ".", maxSplits: 3)
        guard words.count > 2, words[2] == "svc" || words[2].hasPrefix("svc.") else {
            return StandardService(host: host, name: host, namespace: unknown)
        }
        return StandardService(host: host, name: String(words[0]), namespace: String(words[1]))
    }

    /// Whether a text can be the name of a label.
    static func isName(_ text: String) -> Bool {
        guard let first = text.utf8.first, !(first &- 48 < 10), !text.hasPrefix("__") else { return false }
        return text.utf8.allSatisfy { $0 &- 48 < 10 || ($0 | 0x20) &- 97 < 26 || $0 == 0x5F }
    }

    // MARK: Computed labels

    /// What an expression says of a request.
    static func value(_ expression: TagExpression, _ stream: HTTPStream) -> String {
        let text: String?
        switch expression {
        case .literal(let literal): text = literal
        case .requestMethod: text = "\(stream.request.method)"
        case .requestHost:
            text = stream.readRequest { request in
                request.authority.withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) }
            }
        case .requestPath:
            text = String(decoding: stream.request.pathBytes.prefix { $0 != UInt8(ascii: "?") }, as: UTF8.self)
        case .requestProtocol: text = stream.request.headers.isGRPC ? "grpc" : "http"
        case .requestHeader(let name): text = stream.request.headers[name]
        case .responseHeader(let name): text = stream.response.headers[name]
        case .responseCode: text = "\(stream.info.status)"
        case .destinationPort: text = port(stream.connectionInfo)
        }
        return bounded(text)
    }

    /// What an expression says of a connection.
    static func value(_ expression: TagExpression, _ connection: ConnectionInfo) -> String {
        switch expression {
        case .literal(let literal): bounded(literal)
        case .requestProtocol: "tcp"
        case .destinationPort: port(connection)
        default: WorkloadFacts.unknown
        }
    }

    private static func port(_ connection: ConnectionInfo) -> String {
        connection.localAddress.port.map { "\($0)" } ?? WorkloadFacts.unknown
    }

    /// ATK-19: what peers say makes labels of a bounded length.
    private static func bounded(_ text: String?) -> String {
        guard let text, !text.isEmpty else { return WorkloadFacts.unknown }
        return String(decoding: text.utf8.prefix(Limits.standardLabelBytes), as: UTF8.self)
    }
}
