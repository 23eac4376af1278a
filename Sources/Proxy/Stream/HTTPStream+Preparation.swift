internal import HTTP
internal import IO
internal import Upstream

// What happens to a request before filters and routes look at it.
extension HTTPStream {
    /// What the connection manager does to each request before anything else looks at it.
    func prepareRequest() -> Bool {
        let config = manager.config
        if worker.overload.refusesRequest(worker.random.next()) || worker.sheds(.requestHead) {
            info.flags.insert(.overloadManager)
            manager.count(.downstream_rq_overload_close, worker)
            localReply(
                status: 503, body: "envoy overloaded", details: "overload",
                headers: config.tellsOfOverload ? [("x-envoy-local-overloaded", "true")] : [])
            return false
        }
        switch config.pathNormalization.apply(to: &request) {
        case .forward: break
        case .redirect where !request.headers.isGRPC:
            manager.count(.downstream_rq_redirected_with_normalized_path, worker)
            localReply(
                status: 307, details: "path_normalization_failed", headers: [("location", request.pathText)])
            return false
        case .refuse, .redirect:
            manager.count(.downstream_rq_failed_path_normalization, worker)
            closesConnection = true
            localReply(status: 400, details: "path_normalization_failed")
            return false
        }
        if request.method == .options, request.isAboutServer {
            // About the server itself, and this is none.
            manager.count(.downstream_rq_non_relative_path, worker)
            localReply(status: 404, details: "absolute_path_rejected")
            return false
        }
        if request.minorVersion == 0 {
            guard config.http1.acceptsHTTP10 else {
                // RFC 9110 §15.5.22; Envoy's details.
                info.flags.insert(.downstreamProtocolError)
                isRefused = true
                localReply(status: 426, body: "Upgrade Required", details: "low_version")
                return false
            }
            if request.authorityIsEmpty, !config.http1.defaultHost.isEmpty {
                let host = config.http1.defaultHost
                try? request.setAuthority(host.span.bytes)
            }
        }
        guard allowsUnderscores() else {
            info.flags.insert(.downstreamProtocolError)
            isRefused = true
            closesConnection = true
            localReply(status: 400, body: "Bad Request", details: "http1.unexpected_underscore")
            return false
        }
        if let status = manager.setForwardingHeaders(self) {
            localReply(status: status, details: "rejecting_because_detection_failed")
            return false
        }
        if request.isUpgrade {
            let upgrade = request.headers[.upgrade] ?? ""
            request.headers.removeHopByHopFields()
            try? request.headers.append(.upgrade, upgrade)
        } else {
            request.headers.removeHopByHopFields()
        }
        return true
    }

    /// `headers_with_underscores_action` (ATK-16): a back end may read `x_user` as `x-user`.
    private func allowsUnderscores() -> Bool {
        guard manager.config.underscores != .allow else { return true }
        var index = 0
        while index < request.headers.count {
            guard request.headers.nameHasUnderscore(at: index) else {
                index += 1
                continue
            }
            guard manager.dropsUnderscore(worker) else { return false }
            request.headers.remove(at: index)
        }
        return true
    }

    /// When the stream ends at the latest by what its route says; nil leaves that to the connection manager.
    func deadline(_ forwarding: Forwarding) -> MonotonicTime? {
        let limit = readRequest { StreamLimit(forwarding, request: $0) }
        guard let duration = limit.duration else { return nil }
        if limit.isDeadline {
            try? request.headers.set("grpc-timeout", "\(duration.wholeMilliseconds)m")
        } else if duration == .zero {
            return .never
        }
        return info.started + duration
    }

    /// What a route answers itself, with its `content-type` where a format makes the body.
    func body(of direct: Upstream.DirectResponse) -> (bytes: [UInt8], contentType: String?) {
        guard let format = routeConfig(for: Upstream.DirectResponse.formatName) as? SubstitutionFormat else {
            return (direct.body, nil)
        }
        var bytes: [UInt8] = []
        let moment = FormatMoment(type: .notSet, localReplyBody: direct.body, now: worker.loop.now)
        info.status = direct.status
        if format.isJSON {
            format.appendLine(self, moment, to: &bytes)
        } else {
            format.append(self, moment, to: &bytes)
        }
        return (bytes, format.contentType)
    }
}
