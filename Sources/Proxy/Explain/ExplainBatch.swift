internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Upstream

/// `skein-proxy explain --batch`: many requests, as `/recorder` writes them, against one configuration or two.
///
/// One line comes out for each that goes in: with one configuration its explanation; with two what differs between the answers, and both
/// explanations where something does.
struct ExplainBatch {
    private let worlds: [ExplainWorld]
    /// Settings and endpoints of clusters, as they are compared; made once.
    private var clusters: [[String: JSON]]

    /// One world for each file of resources; with none, what the bootstrap itself holds.
    init(_ options: Options, resources: [String]) throws(ProxyError) {
        var options = options
        if options.configPath == nil, options.configYAML == nil { options.configYAML = Self.bootstrap }
        let bootstrap: BootstrapConfig
        do throws(ConfigurationError) {
            bootstrap = try BootstrapConfig(options)
        } catch {
            throw ProxyError(options.configPath, error)
        }
        var worlds: [ExplainWorld] = []
        for file in resources {
            worlds.append(try ExplainWorld(bootstrap, seed: 1, delivered: DeliveredResources(file: file)))
        }
        if worlds.isEmpty { worlds.append(try ExplainWorld(bootstrap, seed: 1)) }
        self.worlds = worlds
        clusters = worlds.map { _ in [:] }
    }

    /// What resources of a control plane refer to: its stream.
    static let bootstrap = """
        node: { id: explain, cluster: explain }
        dynamic_resources:
          ads_config: { api_type: DELTA_GRPC, transport_api_version: V3, grpc_services: [ { envoy_grpc: { cluster_name: xds } } ] }
        static_resources:
          clusters:
          - { name: xds, type: STATIC, load_assignment: { cluster_name: xds } }
          - { name: sds-grpc, type: STATIC, load_assignment: { cluster_name: sds-grpc } }
          - { name: skein-ratelimit, type: STATIC, load_assignment: { cluster_name: skein-ratelimit } }
        """

    func close() { for world in worlds { world.close() } }

    /// The answer to one line.
    mutating func answer(_ line: JSON) -> JSON {
        do throws(UsageError) {
            let question = try ExplainQuestion(recorded: line)
            var answers: [Explanation] = []
            for index in worlds.indices {
                let explanation = try Explainer.explain(question, in: worlds[index])
                compareClusters(explanation, index)
                answers.append(explanation)
            }
            guard answers.count == 2 else { return answers.first?.json ?? .null }
            var result = compare(answers[0], answers[1], question)
            // The configuration was another one when the request was recorded, or something that counts was not recorded.
            for (member, now) in [("filter_chain", answers[0].filterChain), ("virtual_host", answers[0].virtualHost)]
            where line[member]?.string.map({ $0 != now }) ?? false {
                result["not_reproduced"] = .string(member)
            }
            return result
        } catch {
            return ["error": .string("\(error)")]
        }
    }

    private func compare(_ old: Explanation, _ new: Explanation, _ question: ExplainQuestion) -> JSON {
        var changes: JSON = [:]
        let (before, after) = (old.comparable, new.comparable)
        for key in Set(before.keys).union(after.keys).sorted() where before[key] != after[key] {
            changes[key] = ["old": before[key] ?? .null, "new": after[key] ?? .null]
        }
        let known = Set(question.headers.map(\.name)).union(old.looksAt)
        let unknown = new.looksAt.subtracting(known).sorted()
        var result: JSON = ["changes": changes, "exact": .bool(old.isExact && new.isExact && unknown.isEmpty)]
        if !unknown.isEmpty { result["not_recorded"] = .array(unknown.map { .string($0) }) }
        if !(changes.object ?? [:]).isEmpty {
            result["old"] = old.json
            result["new"] = new.json
        }
        return result
    }

    /// Puts what clusters do with requests beside the decision for them.
    private mutating func compareClusters(_ explanation: Explanation, _ index: Int) {
        for entry in explanation.decision["clusters"]?.array ?? [] {
            guard let name = entry.string?.split(separator: " ").first.map(String.init) else { continue }
            let settings = clusters[index][name] ?? worlds[index].settings(ofCluster: name)
            clusters[index][name] = settings
            explanation.decision["cluster \(name)"] = settings
        }
    }
}

extension ExplainWorld {
    /// What of a cluster says how requests are treated, and its endpoints.
    fileprivate func settings(ofCluster name: String) -> JSON {
        guard let message = places.message(ofCluster: name), let cluster = worker.cluster(named: name) else {
            return "there is no such cluster"
        }
        var json = message.json(names: .proto)
        for member in ["name", "metadata", "load_assignment", "eds_cluster_config", "alt_stat_name"] {
            json[member] = nil
        }
        json["endpoints"] = .array(
            cluster.hostSet.priorities.enumerated().flatMap { level, priority in
                priority.hosts.map {
                    "\(places.text(of: $0.address)) weight \($0.weight)" + (level > 0 ? " priority \(level)" : "")
                }
            }.sorted().map { .string($0) })
        return json
    }
}

extension Explanation {
    /// What two configurations are compared by: what becomes of the request, but not what was drawn for it, nor where it is written.
    fileprivate var comparable: [String: JSON] {
        var all = decision
        all["virtual_host"] = nil
        all["policies"] = all["policies"].map { policies in
            .array(
                (policies.array ?? []).map { policy in
                    var policy = policy
                    policy["origin"] = nil
                    return policy
                })
        }
        all["outcome"] = .string("\(outcome)")
        all["status"] = status.map { .integer(Int64($0)) } ?? .null
        if outcome == .refused { all["refusal"] = .string([flags.text, details ?? ""].joined(separator: " ")) }
        return all
    }
}

extension ExplainQuestion {
    /// A line of `/recorder`.
    init(recorded line: JSON) throws(UsageError) {
        self.init()
        isRecorded = true
        listener = line["listener"]?.string ?? ""
        method = line["method"]?.string ?? "GET"
        authority = line["authority"]?.string ?? ""
        path = line["path"]?.string ?? "/"
        if let text = line["source"]?.string { try take(source: text) }
        if let text = line["destination"]?.string { try take(destination: text) }
        usesHTTP2 = line["protocol"]?.string?.hasPrefix("HTTP/2") ?? false
        serverName = line["server_name"]?.string
        principal = line["principal"]?.string
        applicationProtocols = (line["alpn"]?.string ?? "").split(separator: ",").map(String.init)
        usesTLS = line["tls"]?.bool ?? (serverName != nil || principal != nil)
        for field in line["headers"]?.array ?? [] {
            guard let pair = field.array, pair.count == 2, let name = pair[0].string, let value = pair[1].string else {
                throw UsageError("headers: [name, value] is needed")
            }
            guard headers.count < Self.fieldsMax else { throw UsageError("more than \(Self.fieldsMax) headers") }
            headers.append((name, value))
        }
    }
}
