internal import HTTP
internal import IO
internal import Upstream

// What becomes of a try whose connection ended before its response did.
extension Router {
    /// The connection is closed already.
    func upstreamFailed(_ failure: UpstreamFailure, onReusedConnection: Bool) {
        guard let cluster, state != .finished else { return }
        upstream = nil
        stream.endUpstreamFilters()
        if hedge != nil, state == .active, !hedgeIsAnswering {
            // The second try is still under way: its answer decides.
            if let host = pool?.host { cluster.outlier?.report(.localFailure, host) }
            releaseHost()
            makeExtras().failureBeforeHedge = { [self] in
                upstreamFailed(failure, onReusedConnection: onReusedConnection)
            }
            return
        }
        let host = pool?.host
        releaseHost()
        if state == .responding {
            switch failure {
            case .terminated:
                return failResponse(
                    .upstreamConnectionTermination, "upstream_reset_after_response_started{connection_termination}")
            case .reset, .refused:
                return failResponse(.upstreamRemoteReset, "upstream_reset_after_response_started{remote_reset}")
            case .protocolError:
                return failResponse(.upstreamProtocolError, "upstream_reset_after_response_started{protocol_error}")
            }
        }
        switch failure {
        case .protocolError(let error):
            if let host { cluster.outlier?.report(.localFailure, host) }
            makeExtras().latestReset = "protocol error"
            stream.info.upstreamTransportFailure = error
            decide(
                .reset(requestBytesSent: true), status: 502, flag: .upstreamProtocolError,
                details: "upstream_reset_before_response_started{protocol_error}")
        case .reset:
            if let host { cluster.outlier?.report(.localFailure, host) }
            cluster.count(.upstream_rq_rx_reset)
            makeExtras().latestReset = "remote reset"
            decide(
                .reset(requestBytesSent: true), status: 503, flag: .upstreamRemoteReset,
                details: "upstream_reset_before_response_started{remote_reset}")
        case .refused:
            // RFC 9113 §8.7: not processed, so it may be sent again whatever it is.
            if !hasFreshTry && canRepeat && (bodyIsEmpty || keepsBody) && !stream.manager.config.usesEnvoyDefaults
                && !retry.coversResets
            {
                hasFreshTry = true
                return beginTry()
            }
            cluster.count(.upstream_rq_rx_reset)
            makeExtras().latestReset = "remote refused stream reset"
            decide(
                .reset(requestBytesSent: false), status: 503, flag: .upstreamRemoteReset,
                details: "upstream_reset_before_response_started{remote_refused_stream_reset}")
        case .terminated:
            // The upstream closed a kept connection just as we used it (RFC 9112 §9.3.1): a request that may be repeated
            // goes out once more, on a new connection, and nobody notices.
            if onReusedConnection && !hasFreshTry && canRepeat && stream.request.method.isIdempotent
                && (bodyIsEmpty || keepsBody) && !stream.manager.config.usesEnvoyDefaults && !retry.coversResets
            {
                hasFreshTry = true
                return beginTry()
            }
            if let host { cluster.outlier?.report(.localFailure, host) }
            cluster.count(.upstream_rq_rx_reset)
            makeExtras().latestReset = "connection termination"
            decide(
                .reset(requestBytesSent: true), status: 503, flag: .upstreamConnectionTermination,
                details: "upstream_reset_before_response_started{connection_termination}")
        }
    }
}
