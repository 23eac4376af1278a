/// A workload as labels of standard metrics name it; empty texts are not known.
public struct WorkloadLabels: Sendable, Hashable {
    /// The Deployment, StatefulSet … that the pod belongs to, or the pod.
    public var workload = ""
    /// Its namespace.
    public var namespace = ""
    /// The label `app`.
    public var app = ""
    /// The label `version`.
    public var version = ""
    /// The canonical service.
    public var canonicalName = ""
    /// Its revision.
    public var canonicalRevision = ""
    /// The cluster of machines.
    public var cluster = ""

    /// Nobody who is known.
    public init() {}
}

/// What one entry of an access log says: a request that has ended, or what was new on a connection.
public struct LoggedEntry: Sendable, Hashable {
    /// What an entry is about.
    public enum Kind: String, Sendable, Hashable {
        /// A request of HTTP.
        case http
        /// A call of gRPC.
        case grpc
        /// Bytes.
        case tcp
    }

    /// Whether the proxy is the server's.
    public var isServer = false
    /// What it is about.
    public var kind = Kind.http
    /// Whose proxy it is.
    public var own = WorkloadLabels()
    /// Who is on the other side.
    public var peer = WorkloadLabels()
    /// The service: host, name, namespace; empty when it is none's.
    public var service = (host: "", name: "", namespace: "")
    /// The cluster that it went to; empty for none.
    public var cluster = ""
    /// The status of the response; 0 without one.
    public var status: UInt16 = 0
    /// The status of gRPC; nil without one.
    public var grpcStatus: UInt8?
    /// Response flags in letters, with commas; empty for none.
    public var flags = ""
    /// The certificates' identities; empty without mutual TLS.
    public var sourcePrincipal = ""
    /// That of the server.
    public var destinationPrincipal = ""
    /// How long it took, in milliseconds.
    public var milliseconds = 0.0
    /// Bytes from the client: of a request its head and body.
    public var received: UInt64 = 0
    /// Bytes to the client.
    public var sent: UInt64 = 0
    /// Further tries.
    public var retries = 0
    /// Whether a connection was opened, of `tcp`.
    public var isOpened = false
    /// Whether a connection has ended, of `tcp`.
    public var isClosed = false

    /// A request of which nothing is known.
    public init() {}

    /// Takes the service that a cluster's name tells: `outbound|9080|v1|reviews.shop.svc.cluster.local`.
    ///
    /// What is no service's (passing through, black hole) goes by the cluster's own name, as with Istio.
    public mutating func setService(ofCluster name: String) {
        guard let target = ClusterTarget(name), !target.host.isEmpty else { return }
        service = target.host == name ? ("", name, "") : (target.host, target.service, target.namespace)
    }

    /// All but what is counted.
    public static func == (left: LoggedEntry, right: LoggedEntry) -> Bool {
        left.labels == right.labels && left.cluster == right.cluster && left.received == right.received
            && left.sent == right.sent && left.milliseconds == right.milliseconds
    }

    /// By what equality compares first.
    public func hash(into hasher: inout Hasher) { hasher.combine(labels) }

    /// What is said of who is not known: Istio's word.
    private static let unknown = "unknown"

    /// Istio's labels, as proxies of ours tell them.
    public var labels: Labels {
        func word(_ text: String) -> String { text.isEmpty ? Self.unknown : text }
        var labels: [String: String] = [
            "reporter": isServer ? "destination" : "source", "request_protocol": kind.rawValue,
            "destination_service": word(service.host), "destination_service_name": word(service.name),
            "destination_service_namespace": word(service.namespace), "source_principal": word(sourcePrincipal),
            "destination_principal": word(destinationPrincipal), "response_flags": flags.isEmpty ? "-" : flags,
            "connection_security_policy": isServer ? (sourcePrincipal.isEmpty ? "none" : "mutual_tls") : Self.unknown,
        ]
        if kind != .tcp {
            labels["response_code"] = String(status)
            labels["grpc_response_status"] = grpcStatus.map { String($0) } ?? ""
        }
        for (side, facts) in [("source", isServer ? peer : own), ("destination", isServer ? own : peer)] {
            labels["\(side)_workload"] = word(facts.workload)
            labels["\(side)_workload_namespace"] = word(facts.namespace)
            labels["\(side)_app"] = word(facts.app)
            labels["\(side)_version"] = word(facts.version)
            labels["\(side)_canonical_service"] = word(facts.canonicalName)
            labels["\(side)_canonical_revision"] = facts.canonicalRevision.isEmpty ? "latest" : facts.canonicalRevision
            labels["\(side)_cluster"] = word(facts.cluster)
        }
        return Labels(labels)
    }

    /// What stands for everybody of whom there is no room to tell (ATK-19).
    fileprivate var overflowing: LoggedEntry {
        var rest = LoggedEntry()
        rest.isServer = isServer
        rest.kind = kind
        var other = WorkloadLabels()
        other.workload = "other"
        other.namespace = "other"
        rest.own = own
        rest.peer = other
        rest.service = ("other", "other", "other")
        rest.flags = "other"
        return rest
    }
}

/// What the access log of one proxy has told since the last look, with bounds on the sets of labels (ATK-19).
public struct LoggedTraffic: Sendable {
    /// The figures of one cluster.
    struct Edge: Sendable {
        var responses: [UInt16: Double] = [:]
        var failures: [String: Double] = [:]
        var times = LatencySketch(.proxy)
        var sent = 0.0
        var received = 0.0
        var connections = 0.0
        var handshakes = 0.0
        var retries = 0.0
    }

    /// Sets of labels at most of one proxy; what comes beyond is told as `other`.
    public static let setsMax = 1_000
    /// Clusters at most of one proxy.
    static let clustersMax = 1_000
    /// Looks for which a set is remembered that nobody tells any more.
    static let idleLooks = Int(Collector.idleTicks)

    private(set) var standard: [Labels: StandardFigures] = [:]
    private(set) var edges: [ClusterTarget: Edge] = [:]
    private var known: [Labels: Int] = [:]
    private var looks = 0
    /// Entries for whose labels there was no room.
    public private(set) var overflowed: UInt64 = 0

    /// Nothing told yet.
    public init() {}

    /// Whether anything is new.
    public var isEmpty: Bool { standard.isEmpty && edges.isEmpty }

    /// Takes an entry.
    public mutating func add(_ entry: LoggedEntry) {
        var labels = entry.labels
        if known[labels] == nil, known.count >= Self.setsMax {
            overflowed += 1
            labels = entry.overflowing.labels
        }
        known[labels] = looks
        standard[labels, default: StandardFigures()].add(entry)
        guard let target = ClusterTarget(entry.cluster), edges[target] != nil || edges.count < Self.clustersMax else {
            return
        }
        edges[target, default: Edge()].add(entry)
    }

    /// Hands out what is new.
    public mutating func take() -> LoggedTraffic {
        let taken = self
        standard = [:]
        edges = [:]
        overflowed = 0
        looks += 1
        if looks % Self.idleLooks == 0 { known = known.filter { $0.value >= looks - Self.idleLooks } }
        return taken
    }
}

extension StandardFigures {
    fileprivate mutating func add(_ entry: LoggedEntry) {
        func count(_ name: String, _ value: Double) { counters[name, default: 0] += value }
        func record(_ name: String, _ value: Double) {
            distributions[name, default: LatencySketch(.proxy)].record(value)
        }
        guard entry.kind == .tcp else {
            count("requests_total", 1)
            record("request_duration_milliseconds", entry.milliseconds)
            record("request_bytes", Double(entry.received))
            record("response_bytes", Double(entry.sent))
            return
        }
        count("tcp_connections_opened_total", entry.isOpened ? 1 : 0)
        count("tcp_connections_closed_total", entry.isClosed ? 1 : 0)
        count("tcp_sent_bytes_total", Double(entry.sent))
        count("tcp_received_bytes_total", Double(entry.received))
    }
}

extension LoggedTraffic.Edge {
    /// Flags that are told of an edge, as those of a proxy's page.
    private static let flags = Set(ProxyPage.flags.map(\.flag))

    /// Sent and received are the caller's words for a cluster: to its hosts, and from them.
    fileprivate mutating func add(_ entry: LoggedEntry) {
        sent += Double(entry.received)
        received += Double(entry.sent)
        retries += Double(entry.retries)
        for flag in entry.flags.split(separator: ",").map(String.init) where Self.flags.contains(flag) {
            failures[flag, default: 0] += 1
        }
        guard entry.kind != .tcp else {
            connections += entry.isOpened ? 1 : 0
            handshakes += entry.isOpened && !entry.sourcePrincipal.isEmpty ? 1 : 0
            return
        }
        if entry.status > 0 { responses[entry.status, default: 0] += 1 }
        times.record(entry.milliseconds)
    }
}
