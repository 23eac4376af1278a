internal import HTTP
internal import IO
internal import Upstream

// How the filters take part in explanations. What asks somebody else, or counts what it lets pass, does not run.

extension FaultFilterConfig {
    func explain(_ stream: HTTPStream, _ note: (_ text: String, _ path: String) -> Void) -> ExplainedFilterRun {
        let settings = stream.routeConfig(for: name) as? FaultSettings ?? settings
        let policy = settings.policy
        if let delay = policy.delay { note("\(name): delays \(delay.share.text) of the requests", "delay") }
        if let abort = policy.abort { note("\(name): ends \(abort.share.text) of the requests", "abort") }
        if let rate = policy.rate {
            note("\(name): slows \(rate.share.text) of the responses down", "response_rate_limit")
        }
        for (index, header) in policy.headers.enumerated() where !stream.readRequest({ header.matches($0) }) {
            note(
                "\(name): not for this request: \(stream.readRequest { header.explain($0) })", "headers[\(index)]"
            )
        }
        if !policy.upstreamCluster.isEmpty, policy.upstreamCluster != stream.target?.cluster {
            note("\(name): only for cluster \"\(policy.upstreamCluster)\"", "upstream_cluster")
        }
        return .runs
    }
}

extension RBACFilterConfig {
    func explain(_ stream: HTTPStream, _ note: (_ text: String, _ path: String) -> Void) -> ExplainedFilterRun {
        let routeRules = stream.routeConfig(for: name) as? RBACFilterConfig.Rules
        let rules = routeRules ?? rules
        let prefix = routeRules == nil ? "" : "rbac."
        let view = RequestRBACView(stream)
        for (either, field) in [(rules.shadow, "shadow_rules"), (rules.enforced, "rules")] {
            guard let either else { continue }
            guard case .engine(let engine) = either else {
                let verdict = either.decide(stream, view)
                let place = field == "rules" ? "matcher" : "shadow_matcher"
                stream.explanation?.decide(name, place, verdict)
                for text in either.explainExpressions(view) { note("\(name): \(text)", "\(prefix)\(place)") }
                note(
                    "\(name): \(place): \(verdict.text)"
                        + (verdict.policy.map { " by action \"\($0)\"" } ?? ", nothing matches"), "\(prefix)\(place)")
                continue
            }
            for trial in engine.trials(view) {
                note("\(name): policy \"\(trial.policy)\" \(trial.text)", "\(prefix)\(field).policies[\(trial.policy)]")
            }
            let verdict = engine.decide(view)
            stream.explanation?.decide(name, field, verdict)
            note(
                "\(name): \(field): \(verdict.text)"
                    + (verdict.policy.map { " by policy \"\($0)\"" } ?? ", no policy of action \(engine.action) matches"),
                "\(prefix)\(field)")
        }
        return .runs
    }
}

extension JWTAuthnFilterConfig {
    func explain(_ stream: HTTPStream, _ note: (_ text: String, _ path: String) -> Void) -> ExplainedFilterRun {
        var missing: [String] = []
        for provider in issuers.values.sorted(by: { $0.name < $1.name }) {
            note("\(name): tokens of provider \"\(provider.name)\" are looked for", "providers[\(provider.name)]")
            if case .remote(let remote) = provider.keys, remote.current(at: stream.worker.loop.now) == nil {
                missing.append(provider.name)
                stream.explanation?.wantedKeys.append(remote)
            }
        }
        if stream.explanation?.isRecorded == true { return .isAsked("tokens are not recorded; taken to be good") }
        guard !missing.isEmpty else { return .runs }
        return .isAsked(
            "the keys of \(missing.joined(separator: ", ")) would be fetched; taken to let the request pass")
    }
}

extension APIKeyAuthFilterConfig {
    func explain(_ stream: HTTPStream, _ note: (_ text: String, _ path: String) -> Void) -> ExplainedFilterRun {
        if stream.explanation?.isRecorded == true { return .isAsked("keys are not recorded; taken to be good") }
        let route = stream.routeConfig(for: name) as? APIKeySettings
        let settings = settings.overridden(by: route)
        note("\(name): a key is looked for in \(settings.sources?.count ?? 0) places", "key_sources")
        if !settings.allowedClients.isEmpty {
            note("\(name): clients \(settings.allowedClients.sorted().joined(separator: ", "))", "allowed_clients")
        }
        return .runs
    }
}

extension CredentialInjectorFilterConfig {
    func explain(_ stream: HTTPStream, _ note: (_ text: String, _ path: String) -> Void) -> ExplainedFilterRun {
        note("\(name): header \(header) gets secret \"\(secret.name)\"", "credential")
        return .runs
    }
}

extension OnDemandFilterConfig {
    func explain(_ stream: HTTPStream, _ note: (_ text: String, _ path: String) -> Void) -> ExplainedFilterRun {
        if stream.currentRoute == nil, case .rds(let routes) = stream.manager.config.routes {
            stream.explanation?.wantedHost = (stream.request.authorityText.lowercased(), routes)
            return .isAsked("the virtual host is not here: the control plane is asked for it (VHDS)")
        }
        guard stream.currentRoute != nil, let target = stream.target, stream.manager.cluster(for: target) == nil else {
            return .decidesNothing("asks the control plane for nothing: virtual host and cluster are here")
        }
        let route = stream.routeConfig(for: name) as? PerRoute
        guard let clusters = route?.clusters ?? (route == nil ? clusters : nil) else {
            return .decidesNothing("nobody is asked for clusters")
        }
        stream.explanation?.wantedCluster = (target.cluster, clusters)
        return .isAsked("cluster \"\(target.cluster)\" is not here: the control plane is asked for it (ODCDS)")
    }
}

extension LocalRateLimitFilterConfig {
    func explain(_ stream: HTTPStream, _ note: (_ text: String, _ path: String) -> Void) -> ExplainedFilterRun {
        let settings = stream.routeConfig(for: name) as? LocalRateLimitSettings ?? settings
        guard settings.enabled.numerator > 0 else { return .isAsked("is not enabled") }
        return .isAsked(
            "its bucket would be asked (enabled for \(settings.enabled.text), enforced for \(settings.enforced.text)); "
                + "taken to let the request pass")
    }
}

extension CORSFilterConfig {
    func explain(_ stream: HTTPStream, _ note: (_ text: String, _ path: String) -> Void) -> ExplainedFilterRun { .runs }
}

extension CSRFFilterConfig {
    func explain(_ stream: HTTPStream, _ note: (_ text: String, _ path: String) -> Void) -> ExplainedFilterRun { .runs }
}

extension HeaderMutationFilterConfig {
    func explain(_ stream: HTTPStream, _ note: (_ text: String, _ path: String) -> Void) -> ExplainedFilterRun { .runs }
}

extension HeaderToMetadataFilterConfig {
    func explain(_ stream: HTTPStream, _ note: (_ text: String, _ path: String) -> Void) -> ExplainedFilterRun { .runs }
}

extension SetFilterStateFilterConfig {
    func explain(_ stream: HTTPStream, _ note: (_ text: String, _ path: String) -> Void) -> ExplainedFilterRun { .runs }
}

extension HealthCheckFilterConfig {
    func explain(_ stream: HTTPStream, _ note: (_ text: String, _ path: String) -> Void) -> ExplainedFilterRun {
        for (index, header) in headers.enumerated() where !stream.readRequest({ header.matches($0) }) {
            note("\(name): no health check: \(stream.readRequest { header.explain($0) })", "headers[\(index)]")
        }
        return .runs
    }
}

extension BufferHTTPFilterConfig {
    func explain(_ stream: HTTPStream, _ note: (_ text: String, _ path: String) -> Void) -> ExplainedFilterRun {
        .isAsked("would collect the request's body first")
    }
}

// What looks at bodies, statistics and responses alone decides nothing about where a request goes.

extension GRPCStatsFilterConfig {
    func explain(_ stream: HTTPStream, _ note: (_ text: String, _ path: String) -> Void) -> ExplainedFilterRun {
        .decidesNothing("counts calls")
    }
}

extension GRPCWebFilterConfig {
    func explain(_ stream: HTTPStream, _ note: (_ text: String, _ path: String) -> Void) -> ExplainedFilterRun {
        .decidesNothing("speaks gRPC-Web with the client")
    }
}

extension GRPCHTTP1BridgeFilterConfig {
    func explain(_ stream: HTTPStream, _ note: (_ text: String, _ path: String) -> Void) -> ExplainedFilterRun {
        .decidesNothing("speaks HTTP/1.1 with clients of gRPC")
    }
}

extension CompressorFilterConfig {
    func explain(_ stream: HTTPStream, _ note: (_ text: String, _ path: String) -> Void) -> ExplainedFilterRun {
        .decidesNothing("compresses bodies")
    }
}

extension DecompressorFilterConfig {
    func explain(_ stream: HTTPStream, _ note: (_ text: String, _ path: String) -> Void) -> ExplainedFilterRun {
        .decidesNothing("decompresses bodies")
    }
}

extension BandwidthLimitFilterConfig {
    func explain(_ stream: HTTPStream, _ note: (_ text: String, _ path: String) -> Void) -> ExplainedFilterRun {
        .decidesNothing("slows bodies down")
    }
}

extension CustomResponseFilterConfig {
    func explain(_ stream: HTTPStream, _ note: (_ text: String, _ path: String) -> Void) -> ExplainedFilterRun {
        .decidesNothing("replaces responses of hosts")
    }
}

extension RBACEngine {
    /// What a policy makes of a request or connection.
    struct Trial {
        var policy: String
        var permission: Int?
        var principal: Int?
        /// The policy's CEL condition, where it has one.
        var condition: (holds: Bool, text: String)?

        var text: String {
            switch (permission, principal) {
            case (_?, _?) where condition?.holds == false: "does not match: its condition \(condition?.text ?? "")"
            case (let permission?, let principal?):
                "matches by permissions[\(permission)] and principals[\(principal)]"
                    + (condition.map { ", and its condition \($0.text)" } ?? "")
            case (nil, _?): "does not match: none of its permissions does"
            case (_?, nil): "does not match: none of its principals does"
            case (nil, nil): "does not match: none of its permissions and principals does"
            }
        }
    }
}
