internal import HTTP
internal import Upstream

extension Forwarding {
    /// How a tunnel that such a request asks for ends here (`connect_config`); nil: it goes on to the host, or is none.
    func termination(of method: HTTPMethod) -> Upgrade? {
        guard method == .connect || method == .post, !upgrades.isEmpty else { return nil }
        return upgrades.first {
            $0.terminatesConnect && $0.isEnabled && (method == .connect || $0.allowsPost)
        }
    }
}
