internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Upstream

// The router's part of an explanation.
extension Router {
    func explain(
        _ explanation: Explanation, _ forwarding: Forwarding, _ cluster: ClusterRuntime, _ choice: LoadBalancer.Request,
        _ host: Host?
    ) {
        explanation.cluster = stream.info.upstreamCluster
        if cluster.name != stream.info.upstreamCluster {
            explanation.note(
                "cluster", "an aggregate: \"\(cluster.name)\" serves",
                at: explanation.places.cluster(stream.info.upstreamCluster ?? "") + ".cluster_type", level: 1)
        }
        explanation.explainHosts(cluster, choice, host)
        explainPolicies(explanation, forwarding, cluster)
        if let host { explainTransport(explanation, cluster, host) }
    }

    private func explainPolicies(_ explanation: Explanation, _ forwarding: Forwarding, _ cluster: ClusterRuntime) {
        let here = explanation.actionPlace
        func note(_ text: String, _ field: String) { explanation.note("policies", text, at: "\(here).\(field)") }
        var action: RouteAction?
        if case .route(let message)? = explanation.routeConfiguration?.route(
            virtualHost: explanation.virtualHostIndex, route: explanation.routeIndex)?.action
        {
            action = message
        }
        if let total = timeouts?.total, total > .zero {
            note("timeout \(total)\(action != nil && action?.timeout == nil ? " (the default)" : "")", "timeout")
        } else {
            note("no timeout for the whole request", "timeout")
        }
        if let perTry = timeouts?.perTry {
            note("timeout of one try \(perTry)", "retry_policy.per_try_timeout")
        }
        if let idle = timeouts?.perTryIdle {
            note("one try without bytes \(idle)", "retry_policy.per_try_idle_timeout")
        }
        if let idle = forwarding.idleTimeout { note("idle_timeout \(idle)", "idle_timeout") }
        if let policy = forwarding.retryPolicy {
            note(
                "up to \(policy.retriesMax) retries on \(policy.conditionWords.joined(separator: ","))"
                    + (retry.mayRetry ? "" : "; not for this request"), "retry_policy")
        }
        if let hedge = forwarding.hedge, hedge.hedgesOnPerTryTimeout {
            note("a second try beside the first when one takes too long", "hedge_policy")
        }
        for (index, mirror) in forwarding.mirrors.enumerated() {
            let name: String =
                switch mirror.destination {
                case .cluster(let name): "\"\(name)\""
                case .header(let header): "the cluster that header \(header) names"
                }
            let share = mirror.share.map { " for \($0.fraction(stream).text) of the requests" } ?? ""
            note("copied to \(name)\(share)", "request_mirror_policies[\(index)]")
        }
        for (index, policy) in forwarding.hashPolicies.enumerated() {
            note("hashed: \(policy.text)", "hash_policy[\(index)]")
        }
        if let hash { explanation.note("policies", "hash \(hash)", level: 1) }
        if priority == .high { note("counts as high priority", "priority") }
        explanation.decide(timeouts, forwarding, retry)
        let place = explanation.places.cluster(cluster.name)
        let limits = cluster.config.limits[priority]
        explanation.noteUse(of: cluster, priority, at: place)
        explanation.note(
            "policies",
            "circuit breakers: " + limits.words, at: place + ".circuit_breakers")
        if cluster.config.outlierDetection != nil {
            explanation.note("policies", "outlier detection is on", at: place + ".outlier_detection")
        }
    }

    private func explainTransport(_ explanation: Explanation, _ cluster: ClusterRuntime, _ host: Host) {
        let place = explanation.places.cluster(cluster.name)
        let codec =
            cluster.config.codec == .http2
            ? "HTTP/2"
            : cluster.config.codec == .http1
                ? "HTTP/1.1"
                : cluster.config.codec == .automatic
                    ? "HTTP/2 or HTTP/1.1, as ALPN says" : "the client's version of HTTP"
        explanation.note(
            "upstream", "\(codec), connect_timeout \(cluster.config.connectTimeout)", at: place)
        if cluster.config.transport != nil {
            let name = serverName(for: host, of: cluster)
            guard let context = (cluster.config.transport as? UpstreamTransport)?.socket(for: host).context else {
                explanation.decision["upstream_tls"] = .bool(false)
                return explanation.note(
                    "upstream", "plain text: nothing says that this host speaks mutual TLS",
                    at: place + ".transport_socket_matches")
            }
            explanation.note(
                "upstream", "TLS\(name.map { " with SNI \"\($0)\"" } ?? "")", at: place + ".transport_socket")
            explanation.decision["upstream_tls"] = .bool(true)
            var state = context.summary
            if let name { state["sni"] = .string(name) }
            state["alpn"] = .array(context.offers.map { .string($0) })
            explanation.state["upstream_tls"] = state
            context.note(in: explanation, "upstream", at: place + ".transport_socket")
        } else {
            explanation.decision["upstream_tls"] = .bool(false)
            explanation.note("upstream", "plain text")
        }
        if cluster.config.codec == .http2 || (cluster.config.codec == .downstream && stream.version == .http2) {
            explanation.state["upstream_protocol"] = "HTTP/2"
        }
    }

    private func serverName(for host: Host, of cluster: ClusterRuntime) -> String? {
        if cluster.config.serverNames.followRequests {
            return ServerNameOfRequest.find(stream.request, cluster.config.serverNames)
        }
        guard let transport = cluster.config.transport as? UpstreamTransport else { return nil }
        let socket = transport.socket(for: host)
        return socket.serverName.isEmpty ? nil : socket.serverName
    }

    /// The filters that each try would pass; they do not run here, since there is no try.
    private func explainUpstreamFilters(_ explanation: Explanation, _ cluster: ClusterRuntime) {
        guard let chain = upstreamChain else { return }
        let place =
            cluster.upstreamFilters == nil
            ? nil
            : explanation.places.cluster(cluster.name)
                + ".typed_extension_protocol_options.\(UpstreamHttpProtocolOptions.schema.name).http_filters"
        let route = stream.currentRoute
        for filter in chain.filters {
            let isOff = route.map { $0.isDisabled(filter.name, otherwise: filter.isDisabled) } ?? filter.isDisabled
            if !isOff { explanation.isExact = false }
            let text = isOff ? "switched off" : "each try passes it; taken to change and refuse nothing"
            explanation.note("upstream_filters", "\(filter.name): \(text)", at: place)
        }
    }

    /// A byte would leave now.
    func explainEnd(_ explanation: Explanation, _ cluster: ClusterRuntime) {
        finishHead()
        explainUpstreamFilters(explanation, cluster)
        explainRetries(explanation, cluster)
        guard explainConnection(explanation, cluster) else { return }
        explanation.outcome = .forwarded
        explainTries(explanation, cluster)
        for change in explanation.headerChanges(ofResponse: true) {
            explanation.note("response", "the client would get \(change.text)", at: change.path)
        }
    }
}

extension Explanation {
    /// The cluster's priorities, their hosts, and the one that was chosen.
    func explainHosts(_ cluster: ClusterRuntime, _ choice: LoadBalancer.Request, _ chosen: Host?) {
        let place = places.cluster(cluster.name)
        let set = cluster.hostSet
        if case .originalDestination = cluster.config.discovery {
            note("hosts", "the host is where the connection wanted to go", at: place)
        } else {
            note("hosts", "\(cluster.config.balancing.words), \(set.count) hosts", at: place + ".lb_policy")
        }
        if let criteria = choice.criteria, !criteria.isEmpty {
            let wanted = criteria.criteria.map { "\($0.key)=\($0.value)" }
            note(
                "hosts", "of the subset \(wanted.joined(separator: ","))", at: actionPlace + ".metadata_match", level: 1
            )
        }
        state["hosts"] = .array(set.hosts.prefix(Self.hostsShown).map { json($0, ofCluster: cluster.name) })
        var shown = 0
        for (index, priority) in set.priorities.enumerated() {
            let load = set.healthyLoad.indices.contains(index) ? set.healthyLoad[index] : 0
            let degraded = set.degradedLoad.indices.contains(index) ? set.degradedLoad[index] : 0
            let panics = set.isInPanic.indices.contains(index) && set.isInPanic[index]
            note(
                "hosts",
                "priority \(index): \(priority.healthy.count) of \(priority.hosts.count) healthy, gets \(load) %"
                    + (degraded > 0 ? " and \(degraded) % for degraded hosts" : "") + (panics ? ", in panic" : ""),
                level: 1)
            for host in priority.hosts {
                guard shown < Self.hostsShown else { break }
                shown += 1
                let words = host.conditions.words
                let locality = host.locality.words
                note(
                    "hosts",
                    "\(host === chosen ? "taken" : "not taken"): \(places.text(of: host.address)), weight \(host.weight)"
                        + (locality.isEmpty ? "" : ", in \(locality)")
                        + (words.isEmpty ? ", healthy" : ", \(words.joined(separator: ","))")
                        + (host.activeRequests > 0 ? ", \(host.activeRequests) requests under way" : ""),
                    at: places.endpoint(host, ofCluster: cluster.name), level: 2)
            }
        }
        if set.count > shown { note("hosts", "\(set.count - shown) more hosts", level: 1) }
        guard let chosen else {
            note("hosts", set.count == 0 ? "there is no host" : "no host can be taken", at: place)
            return
        }
        host = places.text(of: chosen.address)
        note(
            "hosts", "\(places.text(of: chosen.address)) is taken", at: places.endpoint(chosen, ofCluster: cluster.name)
        )
    }

    fileprivate func headerChanges(ofResponse: Bool) -> [(text: String, path: String)] {
        routeConfiguration?.headerChanges(
            virtualHost: virtualHostIndex, route: routeIndex, weighted: weightedIndex, ofResponse: ofResponse) ?? []
    }

    private func json(_ host: Host, ofCluster name: String) -> JSON {
        var json: JSON = [
            "address": .string(places.text(of: host.address)), "weight": .integer(Int64(host.weight)),
            "state": .array(host.conditions.words.map { .string($0) }),
        ]
        let path = places.endpoint(host, ofCluster: name)
        if let origin = path.flatMap({ places.origins.origin(of: $0) }) { json["origin"] = origin.json }
        return json
    }

    /// Hosts shown of a large cluster.
    static let hostsShown = 50

    /// What became of the request, when its stream is over or would go on elsewhere.
    func take(_ stream: HTTPStream, _ client: ExplainedStream) {
        flags = stream.info.flags
        virtualHost = stream.info.virtualHost ?? virtualHost
        route = stream.info.routeName
        cluster = stream.info.upstreamCluster
        if outcome == .forwarded {
            forwarded = [
                "method": .string(stream.request.methodText), "path": .string(stream.request.pathText),
                "authority": .string(stream.request.authorityText),
                "headers": .array(stream.request.headers.lines.map { .string($0) }),
            ]
            note("request", "\(stream.request.methodText) \(stream.request.pathText)")
            note("request", "authority: \(stream.request.authorityText)", level: 1)
            if let path = stream.originalPath {
                note("request", "the path was \(String(decoding: path, as: UTF8.self))", at: actionPlace, level: 1)
            }
            if let authority, authority != stream.request.authorityText {
                note("request", "the authority was \(authority)", at: actionPlace, level: 1)
            }
            for line in stream.request.headers.lines { note("request", line, level: 1) }
            for change in headerChanges(ofResponse: false) {
                note("request", "configured: \(change.text)", at: change.path, level: 1)
            }
            return
        }
        details = stream.info.details
        guard let answer = client.answer else { return }
        status = stream.response.status
        outcome = stream.response.status < 400 && !stream.info.flags.isFailure ? .answered : .refused
        note("response", "status \(stream.response.status), details \(details ?? "-")")
        for line in answer { note("response", line, level: 1) }
    }
}

extension ResourceLimits.Thresholds {
    /// The limits that are any.
    fileprivate var words: String {
        let all = [
            (connectionsMax, "connections"), (pendingRequestsMax, "pending"), (requestsMax, "requests"),
            (retriesMax, "retries"),
        ]
        let some = all.filter { $0.0 != .max }.map { "\($0.0) \($0.1)" }
        return some.isEmpty ? "no limit" : some.joined(separator: ", ")
    }
}

extension ResponseFlags {
    /// Flags that say more than that a fault delayed the request.
    fileprivate var isFailure: Bool { !subtracting([.delayInjected]).isEmpty }
}

extension Upstream.Locality {
    /// `region/zone/sub_zone`.
    fileprivate var words: String {
        [region, zone, subZone].filter { !$0.isEmpty }.joined(separator: "/")
    }
}

extension ClusterConfig.Balancing {
    /// Envoy's name.
    fileprivate var words: String {
        switch self {
        case .roundRobin: "ROUND_ROBIN"
        case .leastRequest: "LEAST_REQUEST"
        case .random: "RANDOM"
        case .ringHash: "RING_HASH"
        case .maglev: "MAGLEV"
        default: "\(self)".split(separator: "(").first.map { String($0) } ?? ""
        }
    }
}
