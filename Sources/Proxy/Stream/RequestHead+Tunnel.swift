internal import HTTP

extension RequestHead {
    /// Whether what follows the head is a tunnel's, once somebody agrees: an upgrade, or CONNECT.
    @inline(__always)
    var opensTunnel: Bool { isUpgrade || method == .connect }
}

extension ResponseHead {
    /// Whether it opens the tunnel that the request asked for.
    @inline(__always)
    func opensTunnel(for request: borrowing RequestHead) -> Bool {
        if status == 101 { return true }
        guard request.method == .connect, status / 100 == 2, case .tunnel = body else { return false }
        return true
    }
}
