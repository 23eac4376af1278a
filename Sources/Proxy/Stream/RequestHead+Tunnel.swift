internal import HTTP

extension RequestHead {
    /// Whether what follows the head is a tunnel's, once somebody agrees: an upgrade, or CONNECT.
    @inline(__always)
    var opensTunnel: Bool { isUpgrade || method == .connect }
}

extension ResponseHead {
    /// Whether it opens the tunnel that a request of that method asked for.
    @inline(__always)
    func opensTunnel(answering method: HTTPMethod) -> Bool {
        if status == 101 { return true }
        guard method == .connect, status / 100 == 2, case .tunnel = body else { return false }
        return true
    }
}
