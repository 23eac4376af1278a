public import KubernetesAPI
public import Serialization

/// What becomes of a request on its way through the mesh: what the proxies on it say, what is known besides, and one sentence about it all.
///
/// Pure: the proxies were asked before (their enforcing code decides), objects and files are looked up by what is handed in.
public struct MeshExplanation: Sendable {
    /// A program at one end.
    public struct Workload: Sendable, Hashable {
        /// Namespace and name of the pod.
        public var pod: NamespacedName
        /// Its address.
        public var address: String
        /// Its service account.
        public var account: String
        /// Whether a proxy of the mesh stands before it.
        public var hasProxy: Bool
        /// Whether it is a gateway.
        public var isGateway: Bool

        /// A workload.
        public init(pod: NamespacedName, address: String, account: String, hasProxy: Bool, isGateway: Bool) {
            self.pod = pod
            self.address = address
            self.account = account
            self.hasProxy = hasProxy
            self.isGateway = isGateway
        }

        var words: String { "\(isGateway ? "gateway" : "pod") \(pod)" }
    }

    /// What the name server said.
    public enum Names: Sendable, Hashable {
        /// The target is an address, or no name is looked up (at a gateway).
        case notAsked
        /// The name that was found, and its addresses.
        case found(name: String, addresses: [String])
        /// Why there is no address.
        case failed(String)
    }

    /// What is known of the control plane.
    public struct ControlPlane: Sendable, Hashable {
        /// nil when it answers; else why it does not.
        public var problem: String?
        /// The newest revision of the store.
        public var revision: Int64?
        /// By pod: the newest revision of which its proxy has everything.
        public var acknowledged: [NamespacedName: Int64] = [:]
        /// By pod: what its proxy refuses.
        public var refused: [NamespacedName: [String]] = [:]

        /// Nothing is known.
        public init() {}
    }

    /// A gateway that a request of the mesh goes through on its way.
    public struct Passage: Sendable {
        /// The gateway.
        public var workload: Workload
        /// What its proxy says.
        public var answer: ProxyAnswer?
        /// Why it says nothing.
        public var problem: String?

        /// A passage of which nothing is known yet.
        public init(_ workload: Workload) { self.workload = workload }
    }

    /// Who asks; nil when nobody knows.
    public var source: Workload
    /// The request line: `GET http://reviews/x`.
    public var request: String
    /// The host that is wanted, without port.
    public var host: String
    /// What the name server said.
    public var names = Names.notAsked
    /// What the caller's proxy says.
    public var outbound: ProxyAnswer?
    /// Why the caller's proxy says nothing.
    public var outboundProblem: String?
    /// At which Gateway's own address the request comes in, for people; nil: at the gateway pod's own ports, or inside of the mesh.
    public var entrance: String?
    /// The gateway that the caller's proxy sends the request to; nil when it goes to where it is answered.
    public var passage: Passage?
    /// Where the request arrives.
    public var destination: Workload?
    /// What the proxy there says.
    public var inbound: ProxyAnswer?
    /// Why it says nothing.
    public var inboundProblem: String?
    /// What is known of the control plane.
    public var controlPlane = ControlPlane()
    /// Objects by kind, namespace and name.
    public var object: @Sendable (_ kind: String, _ key: NamespacedName) -> KubernetesObject?
    /// All objects of a kind.
    public var objects: @Sendable (_ kind: String) -> [KubernetesObject]
    /// `reviews.yaml:14`: where a field is written; nil where nobody knows.
    public var place: @Sendable (Provenance) -> String?

    /// An explanation to be filled.
    public init(
        source: Workload, request: String, host: String,
        object: @escaping @Sendable (_ kind: String, _ key: NamespacedName) -> KubernetesObject? = { _, _ in nil },
        objects: @escaping @Sendable (_ kind: String) -> [KubernetesObject] = { _ in [] },
        place: @escaping @Sendable (Provenance) -> String? = { _ in nil }
    ) {
        self.source = source
        self.request = request
        self.host = host
        self.object = object
        self.objects = objects
        self.place = place
    }

    // MARK: Showing

    /// Object, field, and the place in a file.
    func words(_ origin: Provenance) -> String {
        origin.words + (place(origin).map { ", \($0)" } ?? "")
    }

    /// For people: the verdict, then the walk.
    public var text: String {
        let verdict = verdict
        var text = verdict.headline + "\n"
        for line in verdict.advice { text += "  \(line)\n" }
        text += "\nsource\n  \(source.words), service account \(source.account)"
        text += source.address.isEmpty ? "" : ", \(source.address)"
        text += source.hasProxy ? "\n" : ", without a proxy\n"
        if let entrance { text += "    \(entrance)\n" }
        for line in state(of: source, outbound) { text += "    \(line)\n" }
        switch names {
        case .notAsked: break
        case .found(let name, let addresses):
            text += "dns\n  \(name): \(addresses.joined(separator: ", "))\n"
        case .failed(let problem): text += "dns\n  \(problem)\n"
        }
        if let outbound {
            text += walk(outbound, source.isGateway ? "gateway" : "outbound")
        } else if let outboundProblem {
            text += "outbound\n  \(outboundProblem)\n"
        }
        if let passage {
            text += "through\n  \(passage.workload.words), \(passage.workload.address)\n"
            for line in state(of: passage.workload, passage.answer) { text += "    \(line)\n" }
            text += passage.answer.map { walk($0, "gateway") } ?? "gateway\n  \(passage.problem ?? "")\n"
        }
        if let destination {
            text +=
                "destination\n  \(destination.words), service account \(destination.account), \(destination.address)"
            text += destination.hasProxy ? "\n" : ", without a proxy\n"
            for line in state(of: destination, inbound) { text += "    \(line)\n" }
        }
        if let inbound {
            text += walk(inbound, "inbound")
        } else if let inboundProblem {
            text += "inbound\n  \(inboundProblem)\n"
        }
        if let problem = controlPlane.problem { text += "control plane\n  \(problem)\n" }
        return text
    }

    private func walk(_ answer: ProxyAnswer, _ side: String) -> String {
        var text = ""
        var name = ""
        var origin: Provenance?
        for step in answer.steps {
            if step.name != name {
                name = step.name
                origin = nil
                text += "\(side) \(name.split(separator: "_").joined(separator: " "))\n"
            }
            let indent = String(repeating: "  ", count: step.level + 1)
            text += indent + step.text + "\n"
            // A chain for several services is nobody's own: it is there for the one whose virtual host takes the request.
            let shared = step.name == "filter_chain" && step.level == 0 ? answer.serviceOrigin : nil
            if let found = step.origin ?? shared {
                if found != origin { text += indent + "    from \(words(found))\n" }
                origin = found
            } else if let path = step.path {
                text += indent + "    at \(path)\n"
            }
        }
        if answer.outcome != .forwarded { text += "\(side) result\n  \(answer.text("summary"))\n" }
        return text
    }

    /// What a proxy has from its control plane, and since when.
    private func state(of workload: Workload, _ answer: ProxyAnswer?) -> [String] {
        var lines: [String] = []
        let control = answer?.json["state"]?["control_plane"]
        if control?["is_used"]?.bool == true {
            let age = (control?["types"]?.object ?? [:]).values.compactMap { $0["accepted_ms_ago"]?.int }.min()
            let last = age.map { "last update accepted \(Self.span($0)) ago" } ?? "no update was accepted yet"
            if control?["is_connected"]?.bool == false {
                let lost = control?["lost_ms_ago"]?.int.map { " for \(Self.span($0))" } ?? ""
                lines.append("its proxy is without control plane\(lost); \(last)")
            } else {
                lines.append("its proxy is connected to the control plane; \(last)")
            }
        }
        if let acknowledged = controlPlane.acknowledged[workload.pod], let revision = controlPlane.revision {
            lines.append(
                acknowledged >= revision
                    ? "it has acknowledged everything (revision \(revision))"
                    : "it has acknowledged revision \(acknowledged) of \(revision): what is newer is not in force there"
            )
        }
        for refusal in controlPlane.refused[workload.pod] ?? [] { lines.append("it refuses \(refusal)") }
        return lines
    }

    static func span(_ milliseconds: Int) -> String {
        switch milliseconds {
        case ..<1000: "\(milliseconds) ms"
        case ..<120_000: "\(milliseconds / 1000) s"
        case ..<7_200_000: "\(milliseconds / 60_000) min"
        default: "\(milliseconds / 3_600_000) h"
        }
    }

    /// For programs.
    public var json: JSON {
        let verdict = verdict
        func json(_ workload: Workload) -> JSON {
            [
                "namespace": .string(workload.pod.namespace), "pod": .string(workload.pod.name),
                "address": .string(workload.address), "serviceAccount": .string(workload.account),
                "proxy": .bool(workload.hasProxy), "gateway": .bool(workload.isGateway),
            ]
        }
        var result: JSON = [
            "verdict": .string(verdict.headline), "cause": .string(verdict.cause.rawValue),
            "answered": .bool(verdict.isAnswered), "flags": .string(verdict.flags),
            "advice": .array(verdict.advice.map { .string($0) }), "request": .string(request), "source": json(source),
            "origins": .array(
                verdict.origins.map { origin in
                    var json = origin.json
                    if let place = place(origin) { json["place"] = .string(place) }
                    return json
                }),
        ]
        if let status = verdict.status { result["status"] = .integer(Int64(status)) }
        if let destination { result["destination"] = json(destination) }
        if let entrance { result["entrance"] = .string(entrance) }
        if let passage {
            result["through"] = json(passage.workload)
            if let answer = passage.answer { result["gateway"] = answer.json }
        }
        switch names {
        case .notAsked: break
        case .found(let name, let addresses):
            result["dns"] = ["name": .string(name), "addresses": .array(addresses.map { .string($0) })]
        case .failed(let problem): result["dns"] = ["problem": .string(problem)]
        }
        if let outbound { result["outbound"] = outbound.json }
        if let inbound { result["inbound"] = inbound.json }
        for (name, problem) in [
            ("outboundProblem", outboundProblem), ("gatewayProblem", passage?.problem),
            ("inboundProblem", inboundProblem),
            ("controlPlaneProblem", controlPlane.problem),
        ] {
            if let problem { result[name] = .string(problem) }
        }
        return result
    }
}
