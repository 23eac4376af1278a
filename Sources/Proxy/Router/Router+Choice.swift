internal import HTTP
internal import IO
internal import Serialization
internal import Upstream

// Which host a try goes to, and what a host's answer says about it.
extension Router {
    /// The host for the next try; nil is 503 UH.
    func chooseHost(_ forwarding: Forwarding, _ cluster: ClusterRuntime) -> Host? {
        if cluster.choosesByItself, cluster.hasOwnHosts, upstreamHost == nil, !stream.info.hasHostOverride,
            stream.explanation == nil
        {
            // The usual case: the first try in a cluster that asks nothing of the request.
            var choice = LoadBalancer.Request()
            choice.hash = hash
            choice.now = worker.loop.now.nanoseconds
            return cluster.choose(choice, connection: nil)
        }
        var choice = LoadBalancer.Request()
        describe(&choice, forwarding, cluster)
        let chosen = cluster.choose(choice, connection: stream.connectionInfo, named: namedDestination(cluster))
        if let explanation = stream.explanation { explain(explanation, forwarding, cluster, choice, chosen) }
        return chosen
    }

    /// What the balancer may look at for the next try.
    func describe(_ choice: inout LoadBalancer.Request, _ forwarding: Forwarding, _ cluster: ClusterRuntime) {
        choice.hash = hash
        choice.now = worker.loop.now.nanoseconds
        if cluster.config.balancingOptions.subsets != nil {
            choice.criteria = target?.criteria
            if case .object(let members)? = stream.info.metadata["envoy.lb"] {
                choice.criteria = (choice.criteria ?? MetadataCriteria()).merged(with: members)
            }
        }
        let sources = cluster.config.balancingOptions.overrideSources
        if !sources.isEmpty { choice.overrides = overrides(sources) }
        // A retry goes where the balancer says.
        if let named = stream.info.hostOverride, upstreamHost == nil {
            choice.overrides = [named.address]
            choice.overrideIsStrict = named.isStrict
        }
        guard upstreamHost != nil, let policy = forwarding.retryPolicy else { return }
        if policy.avoidsPreviousHosts { choice.avoiding = triedHosts }
        choice.avoidsCanaries = policy.avoidsCanaries
        choice.avoidedMetadata = policy.avoidedMetadata
        if policy.avoidsPreviousHosts || policy.avoidsCanaries || policy.avoidedMetadata != nil {
            choice.attemptsMax = policy.hostSelectionAttemptsMax
        }
        if let frequency = policy.priorityUpdateFrequency {
            // As Envoy: the priorities tried count only each so many tries.
            let counted = triedHosts.count - triedHosts.count % Int(frequency)
            choice.avoidedPriorities = triedHosts.prefix(counted).map(\.priority)
        }
    }

    /// The hosts that the request names itself, for this try: those named for earlier tries are passed over.
    private func overrides(_ sources: [ClusterConfig.OverrideSource]) -> [HostAddress] {
        for source in sources {
            var text: String?
            switch source {
            case .header(let name): text = stream.request.headers[name.description]
            case .metadata(let namespace, let path):
                var value = stream.info.metadata[namespace]
                for key in path { value = value?[key] }
                text = value?.string
            }
            guard let text else { continue }
            let addresses = text.split(separator: ",").compactMap { HostAddress(parsing: String($0)) }
            guard !addresses.isEmpty else { continue }
            return Array(addresses.dropFirst(max(stream.info.attempts - 1, 0)))
        }
        return []
    }

    /// ORIGINAL_DST and dynamic_forward_proxy: the address or name that the request names.
    func namedDestination(_ cluster: ClusterRuntime) -> String? {
        switch cluster.discovery {
        case .members: return nil
        case .dynamic: return extras?.dynamicHost
        case .aggregate, .original: break
        }
        guard case .originalDestination(let settings) = cluster.config.discovery else { return nil }
        if let header = settings.header, let value = stream.request.headers[header.description], !value.isEmpty {
            return value
        }
        guard let metadata = settings.metadata else { return nil }
        var value = stream.info.metadata[metadata.namespace]
        for key in metadata.path { value = value?[key] }
        return value?.string
    }

    /// What a response says about the host besides its status: load, degradation, that it wants no more.
    func learn(from response: borrowing ResponseHead, of host: Host, in cluster: ClusterRuntime) {
        if let settings = cluster.config.reportedWeights {
            if let index = response.headers.index(named: "endpoint-load-metrics") {
                if let report = LoadReport(header: response.headers.value(at: index).octets) {
                    host.take(report, settings, now: worker.loop.now.nanoseconds)
                }
            } else if let value = response.headers["endpoint-load-metrics-bin"], let report = LoadReport(base64: value)
            {
                host.take(report, settings, now: worker.loop.now.nanoseconds)
            }
        }
        // Only where checks may take it back.
        guard !cluster.config.healthChecks.isEmpty else { return }
        if response.headers.contains(.xEnvoyImmediateHealthCheckFail) {
            cluster.count(.health_check_passive_failure)
            cluster.hostSet.set([.failedActiveCheck, .excluded], of: host, to: true)
        }
    }

    /// The status by which outlier detection judges: a gRPC failure counts as what it means.
    func judgedStatus(_ response: borrowing ResponseHead) -> UInt16 {
        if let matcher = cluster?.config.errorMatcher {
            return matcher.matches(ResponseHeadView(head: copy response), status: response.status) ? 500 : 200
        }
        guard let status = response.headers[.grpcStatus].flatMap({ UInt32($0) }), stream.request.headers.isGRPC else {
            return response.status
        }
        switch status {
        case 0: return 200
        case 1: return 499
        case 3, 9, 11: return 400
        case 4: return 504
        case 5: return 404
        case 6, 10: return 409
        case 7: return 403
        case 8: return 429
        case 12: return 501
        case 14: return 503
        case 16: return 401
        default: return 500
        }
    }
}

extension HostAddress {
    /// `1.2.3.4:80`, `[::1]:80`; nil when it is no address with a port.
    init?(parsing text: String) {
        guard case .ip(let ip, let port)? = IO.SocketAddress(parsing: text.filter { $0 != " " }) else { return nil }
        self = .ip("\(ip)", port: port)
    }
}
