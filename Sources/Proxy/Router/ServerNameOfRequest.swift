internal import HTTP
internal import Upstream

/// The name that a request gives to the TLS of its upstream connection (`auto_sni`).
enum ServerNameOfRequest {
    private static let nameBytesMax = 253

    /// The host without its port, or the value of the configured header; nil where there is none that can be a name.
    static func find(_ request: borrowing RequestHead, _ settings: ClusterConfig.ServerNames) -> String? {
        var name = String(decoding: request.authorityBytes, as: UTF8.self)
        if let header = settings.header, let value = request.headers[header], !value.isEmpty { name = value }
        return host(name)
    }

    /// The host of an authority, lower case.
    static func host(_ authority: String) -> String? {
        var host = authority[...]
        if host.first == "[" {
            guard let end = host.firstIndex(of: "]") else { return nil }
            host = host[host.index(after: host.startIndex)..<end]
        } else if let colon = host.firstIndex(of: ":"), host[host.index(after: colon)...].allSatisfy(\.isNumber) {
            host = host[..<colon]
        }
        guard !host.isEmpty, host.utf8.count <= nameBytesMax, !host.utf8.contains(where: { $0 <= 0x20 || $0 >= 0x7F })
        else { return nil }
        return host.lowercased()
    }
}
