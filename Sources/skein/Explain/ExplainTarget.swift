internal import IO
internal import KubernetesAPI
internal import Mesh
internal import Serialization

/// Where a request is to go: `host[:port]`, `service/NAME`, or a URL; and its method, path and headers.
struct ExplainTarget: Sendable {
    var host: String
    var port: Int?
    var isTLS = false
    var method = "GET"
    var path = "/"
    var headers: [String]

    init(_ operands: [String], headers: [String]) throws(CommandError) {
        guard let target = operands.first, operands.count <= 3 else {
            throw CommandError.usage("explain", "needs FROM TO, and perhaps METHOD and PATH")
        }
        self.headers = headers
        var rest = target[...]
        for (scheme, secure) in [("https://", true), ("http://", false)] where rest.hasPrefix(scheme) {
            rest = rest.dropFirst(scheme.count)
            isTLS = secure
        }
        for prefix in ["service/", "services/", "svc/"] where rest.hasPrefix(prefix) {
            rest = rest.dropFirst(prefix.count)
        }
        if let slash = rest.firstIndex(of: "/") {
            path = String(rest[slash...])
            rest = rest[..<slash]
        }
        if let colon = rest.lastIndex(of: ":"), let number = Int(rest[rest.index(after: colon)...]),
            !rest.contains("]") || rest[..<colon].hasSuffix("]")
        {
            port = number
            rest = rest[..<colon]
        }
        host = rest.filter { $0 != "[" && $0 != "]" }.lowercased()
        for operand in operands.dropFirst() {
            if operand.hasPrefix("/") { path = operand } else { method = operand.uppercased() }
        }
        guard !host.isEmpty, port.map({ (1...65535).contains($0) }) ?? true else {
            throw CommandError.usage("explain", "\(target): no host, or no port")
        }
        for header in headers where !header.dropFirst().contains(":") {
            throw CommandError.usage("explain", "-H '\(header)': not 'name: value'")
        }
    }

    /// What the client writes as authority.
    func authority(port number: Int) -> String {
        number == (isTLS ? 443 : 80) ? host : "\(host):\(number)"
    }

    /// The port: as written, else the scheme's, else the only one that the service has.
    func port(_ objects: KnownObjects, namespace: String) -> Int {
        if let port { return port }
        let usual = isTLS ? 443 : 80
        let parts = host.split(separator: ".").map(String.init)
        guard let name = parts.first,
            let service = objects.object(
                "Service", NamespacedName(namespace: parts.count > 1 ? parts[1] : namespace, name: name))
        else { return usual }
        let ports = (service.spec["ports"]?.array ?? []).compactMap { $0["port"]?.int }
        return ports.contains(usual) ? usual : ports.first ?? usual
    }
}
