public import KubernetesAPI
public import Serialization

// Why there is no route, no cluster, no host: what the objects say about it.
extension MeshExplanation {
    func noRoute(_ answer: ProxyAnswer, _ verdict: Verdict) -> Verdict {
        var verdict = verdict
        if let gone = unanswered(answer, verdict) { return gone }
        guard answer.json["virtual_host"] != nil else {
            verdict.cause = .noVirtualHost
            verdict.headline = "no service, VirtualService or route is for \"\(host)\" here"
            return verdict
        }
        verdict.cause = .noRoute
        let trials = answer.steps("route").filter { $0.text.hasPrefix("not ") }
        verdict.headline =
            trials.isEmpty
            ? "there is no route for \"\(host)\"" : "none of the routes for \"\(host)\" matches"
        verdict.origins = Array(trials.compactMap(\.origin).prefix(3))
        // One match may have become two routes.
        var seen: Set<String> = []
        for trial in trials {
            let reason = trial.text.split(separator: ":", maxSplits: 1).last.map { $0.drop { $0 == " " } } ?? ""
            let line = (trial.origin.map { words($0) + ": " } ?? "") + reason
            if seen.insert(line).inserted, verdict.advice.count < 8 { verdict.advice.append(line) }
        }
        return verdict
    }

    /// Something was asked of the control plane, and there was no answer.
    private func unanswered(_ answer: ProxyAnswer, _ verdict: Verdict) -> Verdict? {
        let asked = answer.json["state"]?["asked"]?.array ?? []
        let isConnected = answer.json["state"]?["control_plane"]?["is_connected"]?.bool ?? true
        guard let last = asked.last, last["arrived"]?.bool == false else { return nil }
        let isWaiting = last["outcome"]?.string?.hasPrefix("no answer") == true
        guard isWaiting || !isConnected else { return nil }
        var verdict = verdict
        verdict.cause = .controlPlaneGone
        verdict.headline =
            "\(last["what"]?.string ?? "") is not at the proxy yet, and the control plane, which has it, does not answer"
        return verdict
    }

    func cluster(_ answer: ProxyAnswer, _ verdict: Verdict) -> Verdict {
        var verdict = verdict
        if let gone = unanswered(answer, verdict) { return gone }
        let name = answer.cluster ?? wantedCluster(answer)
        guard let name else { return verdict }
        if name.description == "BlackHoleCluster" { return blackHole(verdict) }
        verdict.origins = [destinationOrigin(answer)].compactMap { $0 }
        if !name.subset.isEmpty { return unknownSubset(name, verdict) }
        verdict.cause = .unknownService
        verdict.headline = "there is no cluster \(name): no service \(name.host) with port \(name.port)"
        return verdict
    }

    private func blackHole(_ verdict: Verdict) -> Verdict {
        var verdict = verdict
        verdict.cause = .blackHole
        verdict.headline = "\"\(host)\" is no service of the mesh, and what leaves it is not allowed (REGISTRY_ONLY)"
        return verdict
    }

    private func unknownSubset(_ name: ClusterName, _ verdict: Verdict) -> Verdict {
        var verdict = verdict
        let rules = rules(for: name.host)
        let known = rules.flatMap { $0.spec["subsets"]?.array ?? [] }.compactMap { $0["name"]?.string }
        guard !known.contains(name.subset) else {
            verdict.cause = .noEndpoint
            verdict.headline = "the proxy has no cluster \(name)"
            return verdict
        }
        verdict.cause = .unknownSubset
        let named = rules.map { "DestinationRule \($0.namespace)/\($0.name)" }
        verdict.headline =
            "no healthy endpoint in \(name): "
            + (named.isEmpty
                ? "no DestinationRule for \(name.host) has subsets"
                : "\(named.joined(separator: ", ")) has no subset \(name.subset)")
        if !known.isEmpty { verdict.advice.append("subsets there are: \(known.joined(separator: ", "))") }
        return verdict
    }

    /// The cluster that a route names which the proxy has not got.
    private func wantedCluster(_ answer: ProxyAnswer) -> ClusterName? {
        answer.json["decision"]?["clusters"]?.array?.compactMap { $0.string?.split(separator: " ").first }.first.map {
            ClusterName(String($0))
        }
    }

    /// The field of the route that names the destination.
    private func destinationOrigin(_ answer: ProxyAnswer) -> Provenance? {
        guard var origin = answer.routeOrigin, origin.kind == "VirtualService" else { return answer.routeOrigin }
        if let name = answer.cluster ?? wantedCluster(answer), let object = object(origin.kind, origin.object) {
            // `spec.http[0].match[1]`: the destination is beside the match.
            let rule = origin.field.split(separator: ".").prefix(2).joined(separator: ".")
            let routes = object.value(at: rule)?["route"]?.array ?? []
            let index = routes.firstIndex { ($0["destination"]?["subset"]?.string ?? "") == name.subset } ?? 0
            origin.field = "\(rule).route[\(index)].destination" + (name.subset.isEmpty ? ".host" : ".subset")
        }
        return origin
    }

    func noHost(_ answer: ProxyAnswer, _ verdict: Verdict) -> Verdict {
        var verdict = verdict
        let name = answer.cluster ?? ClusterName(answer.text("cluster"))
        verdict.origins = [destinationOrigin(answer)].compactMap { $0 }
        let hosts = answer.json["state"]?["hosts"]?.array ?? []
        guard hosts.isEmpty else {
            let states = hosts.map { ($0["state"]?.array ?? []).compactMap(\.string) }
            let isEjected = states.allSatisfy { $0.contains { $0.contains("outlier") || $0.contains("eject") } }
            verdict.cause = isEjected ? .ejected : .noHealthyEndpoint
            verdict.headline =
                isEjected
                ? "all \(hosts.count) endpoints of \(name) are ejected by outlier detection"
                : "none of the \(hosts.count) endpoints of \(name) is healthy"
            if isEjected,
                let rule = rules(for: name.host).first(where: { $0.spec["trafficPolicy"]?["outlierDetection"] != nil })
            {
                verdict.origins.append(
                    Provenance(
                        kind: rule.kind, object: NamespacedName(namespace: rule.namespace, name: rule.name),
                        field: "spec.trafficPolicy.outlierDetection"))
            }
            verdict.advice = zip(hosts, states).prefix(5).map {
                "\($0["address"]?.string ?? ""): \($1.joined(separator: ","))"
            }
            return verdict
        }
        if !name.subset.isEmpty {
            let known = rules(for: name.host).flatMap { $0.spec["subsets"]?.array ?? [] }
            guard let subset = known.first(where: { $0["name"]?.string == name.subset }) else {
                return unknownSubset(name, verdict)
            }
            verdict.cause = .noEndpoint
            let labels = (subset["labels"]?.object ?? [:]).map { "\($0.key)=\($0.value.string ?? "")" }.sorted()
            verdict.headline =
                "no endpoint in \(name): no ready pod of \(name.host) has \(labels.joined(separator: ","))"
            return verdict
        }
        verdict.cause = .noEndpoint
        verdict.headline = "no endpoint in \(name): \(whyEmpty(name, &verdict))"
        return verdict
    }

    /// Why a service has no endpoint.
    private func whyEmpty(_ name: ClusterName, _ verdict: inout Verdict) -> String {
        let parts = name.host.split(separator: ".").map(String.init)
        guard parts.count >= 2,
            let service = object("Service", NamespacedName(namespace: parts[1], name: parts[0]))
        else { return "its registry has none" }
        let selector = (service.spec["selector"]?.object ?? [:]).compactMapValues(\.string)
        verdict.origins.append(
            Provenance(
                kind: "Service", object: NamespacedName(namespace: parts[1], name: parts[0]), field: "spec.selector"))
        guard !selector.isEmpty else { return "the Service has no selector, and nobody wrote EndpointSlices for it" }
        let pods = objects("Pod").filter { pod in
            pod.namespace == parts[1] && selector.allSatisfy { pod.metadata.labels[$0.key] == $0.value }
        }
        let words = selector.map { "\($0.key)=\($0.value)" }.sorted().joined(separator: ",")
        guard !pods.isEmpty else { return "no pod has the labels \(words)" }
        verdict.advice = pods.prefix(5).map { pod in
            "pod \(pod.name): \(pod.status["phase"]?.string ?? "Pending"), "
                + (pod.metadata.json["deletionTimestamp"] == nil ? "not ready" : "being deleted")
        }
        return "none of the \(pods.count) pods with \(words) is ready"
    }

    func overflow(_ answer: ProxyAnswer, _ verdict: Verdict) -> Verdict {
        var verdict = verdict
        verdict.cause = .circuitOpen
        let limits = answer.json["state"]?["circuit_breakers"]?.object ?? [:]
        let full = limits.keys.sorted().compactMap { name -> String? in
            guard let limit = limits[name], let used = limit["used"]?.int, let most = limit["limit"]?.int, used >= most
            else {
                return nil
            }
            return "\(name.split(separator: "_").joined(separator: " ")) \(used) of \(most)"
        }
        let name = answer.cluster?.description ?? answer.text("cluster")
        verdict.headline = "the circuit of \(name) is open now: \(full.joined(separator: ", "))"
        if let host = answer.cluster?.host,
            let rule = rules(for: host).first(where: { rule in
                rule.spec["trafficPolicy"]?["connectionPool"] != nil
                    || (rule.spec["subsets"]?.array ?? []).contains { $0["trafficPolicy"]?["connectionPool"] != nil }
            })
        {
            let isWhole = rule.spec["trafficPolicy"]?["connectionPool"] != nil
            verdict.origins = [
                Provenance(
                    kind: rule.kind, object: NamespacedName(namespace: rule.namespace, name: rule.name),
                    field: isWhole ? "spec.trafficPolicy.connectionPool" : "spec.subsets")
            ]
        }
        return verdict
    }
}

extension KubernetesObject {
    /// The value at a field such as `spec.http[0]`.
    public func value(at path: String) -> JSON? {
        var node = json
        for part in path.split(whereSeparator: { $0 == "." || $0 == "[" || $0 == "]" }) {
            if let index = Int(part), case .array(let items) = node {
                guard items.indices.contains(index) else { return nil }
                node = items[index]
            } else {
                guard let next = node[String(part)] else { return nil }
                node = next
            }
        }
        return node
    }
}
