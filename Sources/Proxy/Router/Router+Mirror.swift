internal import HTTP
internal import IO
internal import Upstream

// Copies of the request, second tries beside the first, and redirects that the proxy follows itself.
extension Router {
    // MARK: Mirrors

    /// Begins the copies of a request that its route wants (H-16).
    func startMirrors(_ forwarding: Forwarding) {
        for policy in forwarding.mirrors {
            guard
                let name = stream.readRequest({
                    policy.cluster(for: $0, facts: stream, random: worker.random.next())
                }),
                let cluster = worker.cluster(named: name)?.member()
            else { continue }
            var head = stream.request
            let old = stream.request.authorityBytes
            let authority = policy.authority(of: old.span)
            try? head.setAuthority(authority.span.bytes)
            let copy = SideRequest(head, cluster: cluster, worker: worker, priority: .normal, for: nil)
            var choice = LoadBalancer.Request()
            choice.hash = hash
            choice.now = worker.loop.now.nanoseconds
            if copy.start(choice, timeout: timeouts?.total) { makeExtras().mirrors.append(copy) }
        }
    }

    // MARK: Hedging

    /// A try takes longer than it may: another begins beside it; false when there is none left.
    func startHedge() -> Bool {
        guard hedge == nil, !isFiltering, let cluster, let forwarding, canRepeat, requestIsComplete, state == .active,
            retry.mayRetry, acquireRetry()
        else { return false }
        guard retry.hedge() else { return false }
        announceTimeLeft()
        let second = SideRequest(stream.request, cluster: cluster, worker: worker, priority: priority, for: self)
        makeExtras().hedge = second
        stream.info.attempts += 1
        cluster.count(.upstream_rq_retry)
        if let body { second.sendBody(body.bytes) }
        second.sendEnd(trailers ?? HeaderTable())
        var choice = LoadBalancer.Request()
        describe(&choice, forwarding, cluster)
        if !second.start(choice, timeout: nil) {
            extras?.hedge = nil
            return false
        }
        return true
    }

    /// The second try answers first: the first one is given up.
    func hedgeAnswers(_ second: SideRequest, _ stream: any UpstreamStream, _ pool: HostPool) {
        guard hedge === second, upstream !== stream else { return }
        letGoOfFirst()
        upstream = stream
        self.pool = pool
        self.stream.info.upstreamHost = pool.address
        state = .active
    }

    /// Whether the response being delivered comes from the second try.
    func isAnsweredBy(_ second: SideRequest) -> Bool { hedge === second && hedgeIsAnswering }

    func hedgeFailed(_ second: SideRequest) {
        guard hedge === second else { return }
        extras?.hedge = nil
        // The first has failed meanwhile: there is nothing left to wait for.
        if let failure = extras?.failureBeforeHedge {
            extras?.failureBeforeHedge = nil
            failure()
        }
    }

    // MARK: Internal redirects

    /// Follows a redirect in place of delivering it; false delivers it.
    func followRedirect(_ policy: InternalRedirectPolicy) -> Bool {
        guard policy.statuses.contains(stream.response.status), let cluster else { return false }
        func refuse() -> Bool {
            cluster.count(.upstream_internal_redirect_failed_total)
            return false
        }
        guard policy.follows(status: stream.response.status, redirectsSoFar: redirects) else { return refuse() }
        let scheme = Array((stream.connectionInfo.tls == nil ? "http" : "https").utf8)
        let authority = stream.request.authorityBytes
        let location = Array((stream.response.headers[.location] ?? "").utf8)
        // Envoy follows whole addresses only.
        let isFollowed = location.first != UInt8(ascii: "/") || !stream.manager.config.usesEnvoyDefaults
        guard requestIsComplete, canRepeat, !location.isEmpty, isFollowed,
            let target = InternalRedirectPolicy.Target(
                location: location.span,
                scheme: scheme.span, authority: authority.span),
            policy.allows(schemeTo: target, clientUsesTLS: stream.connectionInfo.tls != nil)
        else { return refuse() }
        let original = stream.request
        let copied = policy.copiedHeaders.map { name in (name, stream.response.headers[name.description]) }
        let url =
            scheme + Array("://".utf8) + authority + (stream.originalPath ?? stream.request.pathBytes)
        do {
            try stream.request.setAuthority(target.authority.span.bytes)
            try stream.request.setPath(target.path.span.bytes)
            try stream.request.headers.set("x-envoy-original-url", String(decoding: url, as: UTF8.self))
            for (name, value) in copied {
                stream.request.headers.remove(named: name.description)
                if let value { try stream.request.headers.append(name.description, value) }
            }
        } catch {
            stream.request = original
            return refuse()
        }
        stream.request.headers.remove(.xEnvoyOriginalPath)
        guard let next = stream.redirectedRoute(),
            policy.allows(route: next.route, previous: (extras?.previousRoutes ?? []) + [route])
        else {
            stream.request = original
            return refuse()
        }
        cluster.count(.upstream_internal_redirect_succeeded_total)
        // 303: the answer is to be fetched, whatever was sent (RFC 9110 §15.4.4).
        let isFetch = stream.response.status == 303 && stream.request.method != .head
        if isFetch {
            stream.request.setMethod(.get)
            stream.request.headers.remove(.contentLength)
            stream.request.body = .none
        }
        dropConnection()
        releaseHost()
        let router = Router(stream: stream, route: next.route, target: next.target)
        router.redirects = redirects + 1
        router.makeExtras().previousRoutes = (extras?.previousRoutes ?? []) + [route]
        let (body, trailers) = isFetch ? (nil, nil) : (body, trailers)
        state = .finished
        releaseRetry(succeeded: true)
        stream.replaceRouter(router, next)
        if let body, !body.isEmpty { router.requestBody(body.bytes) }
        if !stream.isFinished { router.requestEnd(trailers ?? HeaderTable()) }
        return true
    }
}
