internal import HTTP
internal import IO
internal import Telemetry
internal import Upstream

// What a request is made into before its first try: hash key, target, fields.
extension Router {
    /// The hash that ring hash and Maglev choose by (B-3), and the cookie that keeps it.
    func makeHash(_ policies: [HashPolicy]) {
        let source = Array((stream.connectionInfo.remoteAddress.address?.description ?? "").utf8)
        let random = worker.random.next()
        let made = stream.readRequest {
            RequestHash(policies, request: $0, sourceAddress: source.span, random: random, facts: stream)
        }
        hash = made.value
        if let cookie = made.newCookie { makeExtras().newCookie = cookie.field }
    }

    func allowsUpgrade(_ forwarding: Forwarding) -> Bool {
        let name = stream.request.isUpgrade ? stream.request.headers[.upgrade]?.lowercased() : "connect"
        guard let wanted = name else { return false }
        for upgrade in forwarding.upgrades where String(decoding: upgrade.type, as: UTF8.self) == wanted {
            return upgrade.isEnabled
        }
        return stream.manager.config.upgrades.contains(wanted)
    }

    /// What goes before the payload of a tunnel that ends here.
    func opening(_ termination: Forwarding.Upgrade) -> [UInt8] {
        guard let version = termination.proxyProtocol else { return [] }
        let client = stream.connection?.info ?? stream.connectionInfo
        let settings = ProxyProtocolUpstream(version: version)
        return settings.header(for: client) ?? settings.ownHeader(local: nil, remote: client.localAddress)
    }

    /// Everything a route changes in a request before it leaves.
    func rewriteRequest(_ forwarding: Forwarding) {
        let mutations = target?.requestMutations ?? route.requestMutations
        if !mutations.isEmpty {
            // A copy: the values may read the very table that changes.
            var headers = stream.request.headers
            HeaderRewriter(stream: stream).apply(mutations, to: &headers)
            stream.request.headers = headers
        }
        if forwarding.pathRewrite != nil {
            let old = stream.request.pathBytes
            if let path = route.rewrittenPath(old.span) {
                stream.originalPath = old
                try? stream.request.setPath(path.span.bytes)
                if !stream.manager.config.suppressesEnvoyHeaders {
                    try? stream.request.headers.set(.xEnvoyOriginalPath, old.span.bytes)
                }
            }
        }
        switch forwarding.hostRewrite {
        case .none:
            if let literal = target?.hostRewrite { setAuthority(literal, forwarding, keepsOriginal: false) }
        case .literal(let literal): setAuthority(literal, forwarding)
        case .header(let name):
            if let value = stream.request.headers[name.description], !value.isEmpty {
                setAuthority(Array(value.utf8), forwarding)
            }
        case .pathRegex(let expression, let substitution):
            let path = stream.originalPath ?? stream.request.pathBytes
            let host = expression.replacingAll(inPath: path, with: substitution)
            if !host.isEmpty { setAuthority(host, forwarding) }
        case .auto: break  // Known when the host is chosen.
        }
        removeOwnFields()
        if let timeout = timeouts?.expected, timeout > .zero {
            if timeouts?.announcesGRPCTimeout == true {
                try? stream.request.headers.set("grpc-timeout", "\(timeout.wholeMilliseconds)m")
            }
            stream.request.headers.remove(.xEnvoyExpectedRqTimeoutMs)
            if !stream.manager.config.suppressesEnvoyHeaders {
                stream.request.headers.append(worker.expectedTimeout(timeout))
            }
        }
    }

    /// What a later try tells the upstream: the time that is left, or one try's limit where that is less.
    func announceTimeLeft() {
        guard routeDeadline < .never, !stream.manager.config.suppressesEnvoyHeaders,
            stream.request.headers.contains(.xEnvoyExpectedRqTimeoutMs)
        else { return }
        var left = max(routeDeadline - worker.loop.now, .milliseconds(1))
        if let timeouts, !timeouts.hedges, let limit = timeouts.perTry { left = min(left, limit) }
        stream.request.headers.remove(.xEnvoyExpectedRqTimeoutMs)
        stream.request.headers.append(.xEnvoyExpectedRqTimeoutMs, number: Int(clamping: left.wholeMilliseconds))
    }

    /// What is known of the head only when the host is.
    func finishHead() {
        if case .auto? = forwarding?.hostRewrite, let host = pool?.host, !host.endpoint.hostname.isEmpty,
            let forwarding
        {
            setAuthority(Array(host.endpoint.hostname.utf8), forwarding)
        }
        if stream.manager.config.matchesUpstreamScheme, let host = pool?.host {
            let transport = cluster?.config.transport as? UpstreamTransport
            stream.request.setScheme(transport?.socket(for: host).context == nil ? "http" : "https")
        }
        if route.includesAttemptCount {
            stream.request.headers.remove(.xEnvoyAttemptCount)
            stream.request.headers.append(.xEnvoyAttemptCount, number: stream.info.attempts)
        }
    }

    /// Fields that speak to this proxy end here.
    private func removeOwnFields() {
        if stream.manager.config.router.respectsExpectedTimeout,
            stream.request.headers.contains(.xEnvoyExpectedRqTimeoutMs)
        {
            // Who decided on the time before us has read it (Envoy).
            stream.request.headers.remove(Self.ownFieldsWithoutTime)
        } else {
            stream.request.headers.remove(Self.ownFields)
        }
        // From others they have been taken before.
        guard stream.isInternal else { return }
        for name in Self.rareOwnFields { stream.request.headers.remove(named: name) }
    }

    private static let ownFields = HeaderIDSet([
        .xEnvoyRetryOn, .xEnvoyRetryGrpcOn, .xEnvoyMaxRetries, .xEnvoyUpstreamRqTimeoutMs,
        .xEnvoyUpstreamRqPerTryTimeoutMs,
    ])
    private static let ownFieldsWithoutTime = HeaderIDSet([
        .xEnvoyRetryOn, .xEnvoyRetryGrpcOn, .xEnvoyMaxRetries, .xEnvoyUpstreamRqPerTryTimeoutMs,
    ])
    private static let rareOwnFields = [
        "x-envoy-retriable-status-codes", "x-envoy-retriable-header-names", "x-envoy-hedge-on-per-try-timeout",
        "x-envoy-upstream-rq-timeout-alt-response",
    ]

    /// - Parameter keepsOriginal: The client's authority is told in `x-envoy-original-host`, as Envoy does for what a route rewrites.
    func setAuthority(_ authority: [UInt8], _ forwarding: Forwarding, keepsOriginal: Bool = true) {
        if forwarding.appendsForwardedHost {
            try? stream.request.headers.append(.xForwardedHost, stream.request.authorityBytes.span.bytes)
        }
        if keepsOriginal, !stream.manager.config.suppressesEnvoyHeaders {
            try? stream.request.headers.set(
                "x-envoy-original-host", String(decoding: stream.request.authorityBytes, as: UTF8.self))
        }
        try? stream.request.setAuthority(authority.span.bytes)
    }
}

extension HTTPMethod {
    /// RFC 9110 §9.2.2: repeating it does what doing it once does.
    var isIdempotent: Bool {
        switch self {
        case .get, .head, .options, .trace, .put, .delete: true
        case .post, .connect, .patch, .other: false
        }
    }
}

extension TryOutcome {
    /// The outcome that a response head is.
    static func of(_ head: borrowing ResponseHead) -> TryOutcome { of(head.status, head.headers.parts) }

    /// The same of a head that is part of an object, and would be copied.
    static func of(_ status: UInt16, _ headers: HeaderTable.Parts) -> TryOutcome {
        let text = headers.value(of: .grpcStatus).map { String(decoding: $0, as: UTF8.self) }
        return .response(status: status, grpcStatus: text.flatMap { UInt32($0) })
    }
}

extension [UInt8] {
    /// The bytes of a span.
    init(copying span: RawSpan) {
        self = span.withUnsafeBytes { [UInt8]($0) }
    }
}
