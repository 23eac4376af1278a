public import IO

/// Which connections of a pod its sidecar gets: Istio's annotations, checked.
public struct CaptureOptions: Sendable, Hashable {
    /// All, or only those that are listed.
    public enum Selection<Element: Sendable & Hashable>: Sendable, Hashable {
        /// Everything.
        case all
        /// What is listed; an empty list is nothing.
        case only([Element])
    }

    /// The user as which the sidecar runs; its own connections are not captured again.
    public var proxyUID: UInt32 = 1337
    /// Where outbound connections are sent.
    public var outboundPort: UInt16 = 15001
    /// Where inbound connections are sent.
    public var inboundPort: UInt16 = 15006
    /// Destinations whose connections are captured.
    public var includeOutboundIPRanges = Selection<Prefix>.all
    /// Destinations whose connections are not captured.
    public var excludeOutboundIPRanges: [Prefix] = []
    /// Ports captured even towards destinations that are not included.
    public var includeOutboundPorts: [UInt16] = []
    /// Ports to which connections are not captured.
    public var excludeOutboundPorts: [UInt16] = []
    /// Own ports whose connections are captured.
    public var includeInboundPorts = Selection<UInt16>.all
    /// Own ports whose connections are not captured.
    public var excludeInboundPorts: [UInt16] = []

    /// Ports of the sidecar itself that peers reach directly: metrics, readiness, and Istio's name for metrics.
    public static let sidecarPorts: [UInt16] = [15020, 15021, 15090]

    /// Sources that inbound capture leaves alone, of both families: those of Istio's ambient nodes.
    ///
    /// A node gives them to what its own root sends to pods, when it is told to, and drops whatever else bears them.
    static let probeSources: [IPAddress] = [
        .v4(0xa9fe_077f), .v6(high: 0xfd16_9254_7127_1337, low: .max),
    ]

    /// Captures everything.
    public init() {}

    private static let prefix = "traffic.sidecar.istio.io/"

    /// Reads a pod's annotations.
    ///
    /// Those that we do not know under `traffic.sidecar.istio.io/` are refused.
    public init(annotations: [String: String]) throws(NetworkError) {
        for (name, value) in annotations.sorted(by: { $0.key < $1.key }) {
            if name == "sidecar.istio.io/interceptionMode", value != "REDIRECT" {
                throw .invalid("metadata.annotations[\(name)]: '\(value)' is not supported, use REDIRECT")
            }
            guard name.hasPrefix(CaptureOptions.prefix) else { continue }
            let path = "metadata.annotations[\(name)]"
            switch name.dropFirst(CaptureOptions.prefix.count) {
            case "includeOutboundIPRanges": includeOutboundIPRanges = try Self.selection(value, path, Self.ranges)
            case "excludeOutboundIPRanges": excludeOutboundIPRanges = try Self.ranges(value, path)
            case "includeOutboundPorts": includeOutboundPorts = try Self.ports(value, path)
            case "excludeOutboundPorts": excludeOutboundPorts = try Self.ports(value, path)
            case "includeInboundPorts": includeInboundPorts = try Self.selection(value, path, Self.ports)
            case "excludeInboundPorts": excludeInboundPorts = try Self.ports(value, path)
            default: throw .invalid("\(path): this annotation is not supported; remove it")
            }
        }
    }

    /// Reads the arguments of an `istio-init` container (`-p PORT -u UID -m REDIRECT -i '*' -x '' -b '*' -d PORTS …`).
    ///
    /// Flags that only steer how istio-init works (`-g`, `--log_output_level`, `--run-validation` …) say nothing here.
    public init(istioInitArguments arguments: [String]) throws(NetworkError) {
        var rest = arguments[...]
        if rest.first == "istio-iptables" { rest = rest.dropFirst() }
        while let flag = rest.popFirst() {
            let parts = flag.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            let name = parts.first ?? flag
            func value() -> String { parts.count == 2 ? parts[1] : rest.popFirst() ?? "" }
            switch name {
            case "-p", "--envoy-port": outboundPort = try Self.port(value(), name)
            case "-z", "--inbound-capture-port": inboundPort = try Self.port(value(), name)
            case "-u", "--proxy-uid":
                let text = value()
                guard let uid = UInt32(text), uid != 0 else {
                    throw .invalid("istio-init \(name): '\(text)' is not a user id above 0")
                }
                proxyUID = uid
            case "-m", "--istio-inbound-interception-mode":
                let mode = value()
                guard mode.isEmpty || mode == "REDIRECT" else {
                    throw .invalid("istio-init \(name): '\(mode)' is not supported, use REDIRECT")
                }
            case "-i", "--istio-service-cidr":
                includeOutboundIPRanges = try Self.selection(value(), name, Self.ranges)
            case "-x", "--istio-service-exclude-cidr": excludeOutboundIPRanges = try Self.ranges(value(), name)
            case "-b", "--istio-inbound-ports":
                includeInboundPorts = try Self.selection(value(), name, Self.ports)
            case "-d", "--istio-local-exclude-ports": excludeInboundPorts = try Self.ports(value(), name)
            case "-q", "--istio-outbound-ports": includeOutboundPorts = try Self.ports(value(), name)
            case "-o", "--istio-local-outbound-ports-exclude": excludeOutboundPorts = try Self.ports(value(), name)
            case "-g", "--proxy-gid", "--log_output_level", "-k", "--kube-virt-interfaces": _ = value()
            case "--run-validation", "--skip-rule-apply", "-f": break
            default: throw .invalid("istio-init \(name): this argument is not supported")
            }
        }
    }

    private static func selection<Element>(
        _ text: String, _ path: String, _ read: (String, String) throws(NetworkError) -> [Element]
    ) throws(NetworkError) -> Selection<Element> {
        words(text) == ["*"] ? .all : .only(try read(text, path))
    }

    private static func words(_ text: String) -> [String] {
        text.split(separator: ",").map { word in
            String(word.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
        }.filter { !$0.isEmpty }
    }

    private static func ports(_ text: String, _ path: String) throws(NetworkError) -> [UInt16] {
        var result: [UInt16] = []
        for word in words(text) { result.append(try port(word, path)) }
        return result
    }

    private static func port(_ text: String, _ path: String) throws(NetworkError) -> UInt16 {
        guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let port = UInt16(text), port != 0 else {
            throw .invalid("\(path): '\(text)' is not a port (1 to 65535)")
        }
        return port
    }

    private static func ranges(_ text: String, _ path: String) throws(NetworkError) -> [Prefix] {
        var result: [Prefix] = []
        for word in words(text) {
            guard let range = Prefix(word) else {
                throw .invalid("\(path): '\(word)' is not an address range such as 10.0.0.0/8")
            }
            result.append(range)
        }
        return result
    }
}
