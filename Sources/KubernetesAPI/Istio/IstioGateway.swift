public import Serialization

/// An Istio Gateway: ports and hosts that gateway pods serve (`networking.istio.io`, gateway.proto).
///
/// Named apart from the Gateway API's `Gateway`.
public struct IstioGateway: JSONView {
    /// The whole object.
    public var json: JSON
    /// Looks at `json` as a Gateway.
    public init(json: JSON) { self.json = json }

    /// Name, namespace and the rest.
    public var metadata: ObjectMeta { ObjectMeta(json: json["metadata"] ?? .object([:])) }
    private var spec: KubernetesObject { KubernetesObject(json: json["spec"] ?? .object([:])) }
    /// The labels of the gateway pods that serve it.
    public var selector: [String: String] { spec.map("selector") }
    /// The ports with their hosts.
    public var servers: [Server] { spec.views("servers") }

    /// One entry of `spec.servers`.
    public struct Server: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as a server.
        public init(json: JSON) { self.json = json }
        /// The port to listen on.
        public var port: Int? { json["port"]?["number"]?.int }
        /// The protocol of the port as written.
        public var portProtocol: String { json["port"]?["protocol"]?.string ?? "" }
        /// The hosts, each optionally with a namespace in front (`ns/host`, `./host`).
        public var hosts: [String] { strings("hosts") }
        /// Whether plain requests are to be redirected to HTTPS.
        public var httpsRedirect: Bool { json["tls"]?["httpsRedirect"]?.bool ?? false }
        /// Whether there are TLS settings.
        public var hasTLS: Bool { json["tls"] != nil }
    }
}
