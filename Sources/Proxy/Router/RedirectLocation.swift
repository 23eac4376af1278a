internal import HTTP
internal import Upstream

extension Redirect {
    /// The `location` of a redirected request (H-15).
    func location(for stream: HTTPStream, route: Route) -> [UInt8] {
        let oldScheme = "http"
        let newScheme = scheme.map { String(decoding: $0, as: UTF8.self) } ?? oldScheme
        var authority = stream.request.authorityBytes
        var writtenPort: [UInt8] = []
        if let colon = authority.lastIndex(of: UInt8(ascii: ":")), authority.last != UInt8(ascii: "]") {
            writtenPort = Array(authority[(colon + 1)...])
            authority.removeSubrange(colon...)
        }
        if let host { authority = host }
        var location = Array("\(newScheme)://".utf8) + authority
        let defaultPort = newScheme == "https" ? "443" : "80"
        var port = port.map { Array(String($0).utf8) } ?? writtenPort
        // A port the client wrote for the old scheme says nothing about the new one.
        if self.port == nil && newScheme != oldScheme && writtenPort == Array("80".utf8) { port = [] }
        if !port.isEmpty && port != Array(defaultPort.utf8) { location += [UInt8(ascii: ":")] + port }
        var path = route.redirectedPath(stream.request.pathBytes.span) ?? stream.request.pathBytes
        if stripsQuery, let query = path.firstIndex(of: UInt8(ascii: "?")) { path.removeSubrange(query...) }
        return location + path
    }
}
