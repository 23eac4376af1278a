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
        /// The name of the port.
        public var portName: String { json["port"]?["name"]?.string ?? "" }
        /// Whether plain requests are to be redirected to HTTPS.
        public var httpsRedirect: Bool { json["tls"]?["httpsRedirect"]?.bool ?? false }
        /// Whether there are TLS settings.
        public var hasTLS: Bool { json["tls"] != nil }
        /// The address to listen on; empty means all.
        public var bind: String { string("bind") }
        /// The TLS settings.
        public var tls: ServerTLS? { view("tls") }
    }

    /// `tls` of a server.
    public struct ServerTLS: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as TLS settings.
        public init(json: JSON) { self.json = json }
        /// `SIMPLE`, `MUTUAL`, …; without one `PASSTHROUGH`, the first value of the enumeration.
        public var mode: String { json["mode"]?.string ?? "PASSTHROUGH" }
        /// The Secrets with certificates and keys.
        public var credentialNames: [String] {
            let many = strings("credentialNames")
            return many.isEmpty ? [string("credentialName")].filter { !$0.isEmpty } : many
        }
        /// The Secret with the authorities for certificates of clients, when it is another.
        public var caCertCredentialName: String { string("caCertCredentialName") }
        /// Names of which certificates of clients must have one.
        public var subjectAltNames: [String] { strings("subjectAltNames") }
        /// Pins of public keys of clients.
        public var verifyCertificateSpki: [String] { strings("verifyCertificateSpki") }
        /// Pins of certificates of clients.
        public var verifyCertificateHash: [String] { strings("verifyCertificateHash") }
        /// The oldest version; empty or `TLS_AUTO` means the default.
        public var minProtocolVersion: String { string("minProtocolVersion") }
        /// The newest version; empty or `TLS_AUTO` means the default.
        public var maxProtocolVersion: String { string("maxProtocolVersion") }
        /// Cipher suites by OpenSSL's names.
        public var cipherSuites: [String] { strings("cipherSuites") }
        /// Groups for key exchange; empty means the proxy's own.
        public var ecdhCurves: [String] { strings("ecdhCurves") }
        /// Whether a client's certificate that nobody vouches for is let in.
        public var insecureSkipVerify: Bool { bool("insecureSkipVerify") }
        /// The names of members that name files in the gateway's own file system.
        public var fileMembers: [String] {
            ["serverCertificate", "privateKey", "caCertificates", "caCrl", "tlsCertificates"].filter {
                guard let member = json[$0] else { return false }
                return member.string.map { !$0.isEmpty } ?? true
            }
        }
    }
}
