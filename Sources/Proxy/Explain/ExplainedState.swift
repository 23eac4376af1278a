internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import TLS
internal import Upstream

// Decisions as values that two configurations are compared by, and the state that decides besides the configuration.
extension Explanation {
    /// The verdict of an RBAC filter.
    func decide(_ filter: String, _ field: String, _ verdict: RBACEngine.Verdict) {
        var json: JSON = ["filter": .string(filter), "rules": .string(field), "allowed": .bool(verdict.isAllowed)]
        if let policy = verdict.policy {
            json["policy"] = .string(policy)
            if let origin = ConfigurationOrigin(policy: policy) { json["origin"] = origin.json }
        }
        decision["policies"] = .array((decision["policies"]?.array ?? []) + [json])
    }

    /// Timeouts, retries and what else is in force for the request.
    func decide(_ timeouts: RequestTimeouts?, _ forwarding: Forwarding, _ retry: RetryState) {
        func text(_ duration: Duration?) -> JSON { duration.map { .string("\($0)") } ?? .null }
        decision["timeouts"] = [
            "total": text(timeouts?.total), "per_try": text(timeouts?.perTry),
            "per_try_idle": text(timeouts?.perTryIdle), "idle": text(forwarding.idleTimeout),
        ]
        decision["retries"] = retry.json
        if let policy = forwarding.retryPolicy, retry.isOn {
            decision["retries"]?["back_off"] = .string("\(policy.backOff.base) to \(policy.backOff.limit)")
        }
        decision["mirrors"] = .array(
            forwarding.mirrors.map { mirror in
                let name: String =
                    switch mirror.destination {
                    case .cluster(let name): name
                    case .header(let header): "header \(header)"
                    }
                return .string(name + (mirror.share.map { " \($0)" } ?? ""))
            })
        decision["hash"] = .array(forwarding.hashPolicies.map { .string($0.text) })
    }

    /// What of a cluster's limits is in use.
    func noteUse(of cluster: ClusterRuntime, _ priority: ResourcePriority, at place: String) {
        let use = priority == .high ? cluster.highUse : cluster.normalUse
        var json: JSON = [:]
        var full: [String] = []
        for (name, resource) in [
            ("connections", ResourceUse.Resource.connection), ("pending_requests", .pendingRequest),
            ("requests", .request), ("retries", .retry),
        ] {
            json[name] = [
                "used": .integer(Int64(use.count(of: resource))), "limit": .integer(Int64(use.limit(of: resource))),
            ]
            if !use.canAcquire(resource) {
                full.append("\(name) (\(use.count(of: resource)) of \(use.limit(of: resource)))")
            }
        }
        state["circuit_breakers"] = json
        guard !full.isEmpty else { return }
        note(
            "policies", "in use up to the limit: \(full.joined(separator: ", "))", at: place + ".circuit_breakers",
            level: 1)
    }
}

extension RetryState {
    /// How a try may end, in words.
    static let endings: [(words: String, outcome: TryOutcome)] = [
        ("connect-failure", .connectFailure), ("reset before a byte was sent", .reset(requestBytesSent: false)),
        ("reset", .reset(requestBytesSent: true)), ("refused-stream", .refusedStream),
        ("timeout of a try", .perTryTimeout), ("409", .response(status: 409)), ("429", .response(status: 429)),
        ("500", .response(status: 500)), ("502", .response(status: 502)), ("503", .response(status: 503)),
        ("504", .response(status: 504)), ("grpc-status 14", .response(status: 200, grpcStatus: 14)),
    ]

    /// Whether a first try that ends so is followed by another, as `decide` says; nil: it is.
    func refusal(after outcome: TryOutcome) -> Reason? {
        var copy = self
        if case .deliver(let reason) = copy.decide(after: outcome, random: 0) { return reason }
        return nil
    }

    var json: JSON {
        var after: JSON = [:]
        for (words, outcome) in Self.endings { after[words] = .bool(refusal(after: outcome) == nil) }
        return ["max": .integer(Int64(retriesMax)), "after": after]
    }
}

// The end of the way: what a pool would say.
extension Router {
    func explainRetries(_ explanation: Explanation, _ cluster: ClusterRuntime) {
        let place = explanation.actionPlace + ".retry_policy"
        let refusals = RetryState.endings.map { ($0.words, retry.refusal(after: $0.outcome)) }
        let yes = refusals.filter { $0.1 == nil }.map(\.0)
        let no = refusals.filter { $0.1 != nil }.map(\.0)
        guard !yes.isEmpty else {
            let reason =
                switch refusals.first?.1 {
                case .limitExceeded: "no retry is left"
                default: "no retry_on fits"
                }
            return explanation.note("retries", "never tried again: \(reason)", at: place)
        }
        explanation.note(
            "retries", "tried again, up to \(retry.retriesMax) times, after: \(yes.joined(separator: ", "))", at: place)
        if !no.isEmpty { explanation.note("retries", "not after: \(no.joined(separator: ", "))", level: 1) }
        let use = priority == .high ? cluster.highUse : cluster.normalUse
        if !use.canAcquire(.retry) {
            explanation.note(
                "retries", "but not now: \(use.count(of: .retry)) retries are under way, which is the limit",
                at: explanation.places.cluster(cluster.name) + ".circuit_breakers", level: 1)
        }
        if !stream.request.method.isIdempotent {
            explanation.note(
                "retries",
                "\(stream.request.methodText) is not idempotent: what a host may have begun is repeated all the same",
                level: 1)
        }
    }

    /// Whether a connection would take the request; where none would, what follows is the enforcing code's.
    func explainConnection(_ explanation: Explanation, _ cluster: ClusterRuntime) -> Bool {
        guard let pool else { return true }
        let place = explanation.places.cluster(cluster.name)
        let address = "\(pool.host.address)"
        let idle = explanation.idleConnections(address)
        if let idle {
            explanation.note("upstream", "\(idle) idle connections to the host", level: 1)
            // As a pool does: who finds no connection waits in line, if there is room.
            if idle == 0, !cluster.acquire(.pendingRequest, priority) {
                explanation.note(
                    "upstream", "the circuit is open: no connection is free and no request may wait for one",
                    at: place + ".circuit_breakers")
                retry = RetryState()
                poolFailed(.overflow)
                return false
            }
            if idle == 0 { cluster.release(.pendingRequest, priority) }
        }
        if let trouble = explanation.trouble(address), let text = trouble.text {
            let age = (worker.loop.now - trouble.time).wholeMilliseconds
            explanation.state["last_failure"] = ["text": .string(text), "ms_ago": .integer(Int64(clamping: age))]
            explanation.note("upstream", "the last connection to it failed \(age) ms ago: \(text)", at: place, level: 1)
        }
        // Who finds a connection makes no handshake.
        if let idle, idle > 0 { return true }
        guard let context = (cluster.config.transport as? UpstreamTransport)?.socket(for: pool.host).context else {
            return true
        }
        var reason: String?
        if let current = context.current {
            if !explanation.hostChain.isEmpty {
                reason = current.refusal(ofPeer: explanation.hostChain).map {
                    "the host's certificate is refused: \($0)"
                }
            }
        } else if explanation.isLive {
            reason = context.problem
        }
        guard let reason else { return true }
        explanation.note("upstream", "no handshake: \(reason)", at: place + ".transport_socket")
        retry = RetryState()
        poolFailed(.handshakeFailed(reason))
        return false
    }
}
