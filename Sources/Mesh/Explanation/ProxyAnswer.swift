public import Serialization

/// What one proxy says would become of a request: the answer of its admin page `/explain`, read.
public struct ProxyAnswer: Sendable, Hashable {
    /// One decision, or what led to it.
    public struct Step: Sendable, Hashable {
        /// `route`, `cluster`, `http_filters`.
        public var name: String
        /// In words.
        public var text: String
        /// The field of the proxy's configuration.
        public var path: String?
        /// The object and field that it was made of.
        public var origin: Provenance?
        /// 0 is the decision, more is what led to it.
        public var level: Int

        init(_ json: JSON) {
            name = json["step"]?.string ?? ""
            text = json["text"]?.string ?? ""
            path = json["path"]?.string
            origin = json["origin"].flatMap(Provenance.init(json:))
            level = json["level"]?.int ?? 0
        }
    }

    /// How it ends.
    public enum Outcome: String, Sendable, Hashable {
        /// The request goes to a host.
        case forwarded
        /// The proxy answers itself, and means it.
        case answered
        /// The proxy refuses the request, or closes the connection.
        case refused
    }

    /// The whole answer.
    public var json: JSON
    /// The decisions in their order.
    public var steps: [Step]

    /// Reads an answer; nil when it is none.
    public init?(_ json: JSON) {
        guard Outcome(rawValue: json["outcome"]?.string ?? "") != nil else { return nil }
        self.json = json
        steps = (json["steps"]?.array ?? []).map(Step.init)
    }

    /// How it ends.
    public var outcome: Outcome { Outcome(rawValue: text("outcome")) ?? .refused }
    /// Envoy's response flags, such as `UH`; empty for none.
    public var flags: String { text("flags") == "-" ? "" : text("flags") }
    /// Envoy's response code details.
    public var details: String { text("details") }
    /// The status of the proxy's own answer.
    public var status: Int? { json["status"]?.int }
    /// The cluster that the request goes to.
    public var cluster: ClusterName? { json["cluster"]?.string.map { ClusterName($0) } }
    /// The address of the host that was chosen.
    public var host: String? { json["host"]?.string }
    /// Where the route is written.
    public var routeOrigin: Provenance? { json["route_origin"].flatMap(Provenance.init(json:)) }

    /// The service whose virtual host takes the request.
    var serviceOrigin: Provenance? { steps("virtual_host").lazy.compactMap(\.origin).first { $0.kind == "Service" } }

    func text(_ name: String) -> String { json[name]?.string ?? "" }

    /// The steps of a name.
    public func steps(_ name: String) -> [Step] { steps.filter { $0.name == name } }

    /// Whether a response flag is set.
    func has(_ flag: String) -> Bool { flags.split(separator: ",").contains { $0 == flag } }
}

/// `outbound|80|v1|reviews.default.svc.cluster.local`, taken apart; a name of another form is a host alone.
public struct ClusterName: Sendable, Hashable, CustomStringConvertible {
    /// The whole name.
    public var description: String
    /// `outbound` or `inbound`; empty for others.
    public var direction = ""
    /// The port; 0 for others.
    public var port = 0
    /// The subset; empty for none.
    public var subset = ""
    /// The service's host.
    public var host = ""

    /// Reads a name.
    public init(_ name: String) {
        description = name
        let parts = name.split(separator: "|", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 4 else {
            host = name
            return
        }
        (direction, port, subset, host) = (parts[0], Int(parts[1]) ?? 0, parts[2], parts[3])
    }
}

extension Provenance {
    /// The place as the proxy's explanations write it.
    public init?(json: JSON) {
        guard let kind = json["kind"]?.string, !kind.isEmpty else { return nil }
        self.init(
            kind: kind,
            object: NamespacedName(namespace: json["namespace"]?.string ?? "", name: json["name"]?.string ?? ""),
            field: json["field"]?.string ?? "")
    }

    /// For programs.
    public var json: JSON {
        [
            "kind": .string(kind), "namespace": .string(object.namespace), "name": .string(object.name),
            "field": .string(field),
        ]
    }

    /// `VirtualService shop/reviews spec.http[0]`.
    public var words: String {
        "\(kind) \(object.namespace.isEmpty ? object.name : "\(object)")\(field.isEmpty ? "" : " " + field)"
    }
}
