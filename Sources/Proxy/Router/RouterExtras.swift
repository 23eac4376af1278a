internal import IO
internal import Upstream

/// What few requests' routers have: kept apart, so that the others are small and quick to make.
final class RouterExtras {
    /// The cookie that keeps a client's hash.
    var newCookie: [UInt8]?
    /// Hosts of tries before the latest.
    var formerHosts: [Host] = []
    var backOffTimer: LoopTimer?
    /// Copies under way.
    var mirrors: [SideRequest] = []
    /// A second try beside the first.
    var hedge: SideRequest?
    /// What to do about the first try's failure when the second fails too.
    var failureBeforeHedge: (() -> Void)?
    /// The routes that led here by redirects.
    var previousRoutes: [Route] = []
    /// The tunnel ends here: its payload goes to the host as it is.
    var termination: Forwarding.Upgrade?
    /// The name that the upstream's TLS must have; nil is its transport socket's.
    var serverName: String?
    /// The ALPN names that the upstream's TLS offers; nil is its transport socket's.
    var applicationProtocols: String?
    /// The host as the request named it (dynamic_forward_proxy).
    var dynamicHost: String?
    /// Why the latest try ended without an answer.
    var latestReset: String?
}

extension Router {
    /// The hosts of all tries so far.
    var triedHosts: [Host] { (extras?.formerHosts ?? []) + (upstreamHost.map { [$0] } ?? []) }

    /// A second try beside the first.
    var hedge: SideRequest? { extras?.hedge }
}
