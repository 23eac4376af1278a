public import Serialization

/// The objects of the Gateway API (`gateway.networking.k8s.io`): typed views, named as in its reference.
public enum GatewayAPI {
    /// The API group of all its kinds.
    public static let group = "gateway.networking.k8s.io"

    /// A reference to another object: a parent, a backend, a certificate, a policy's target.
    public struct Reference: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as a reference.
        public init(json: JSON) { self.json = json }
        /// The API group; `nil` when it is left out.
        public var group: String? { json["group"]?.string }
        /// The kind; empty when it is left out.
        public var kind: String { string("kind") }
        /// The name.
        public var name: String { string("name") }
        /// The namespace; `nil` means that of the object with the reference.
        public var namespace: String? { json["namespace"]?.string }
        /// The port.
        public var port: Int? { int("port") }
        /// The listener, rule or port by name.
        public var sectionName: String? { json["sectionName"]?.string }
        /// The share of a backend; 1 when it is left out (I-7).
        public var weight: Int { int("weight") ?? 1 }
        /// What is done with requests that go to this backend.
        public var filters: [Filter] { views("filters") }
    }

    /// A GatewayClass: who acts on Gateways of a class.
    public struct GatewayClass: JSONView {
        /// The whole object.
        public var json: JSON
        /// Looks at `json` as a GatewayClass.
        public init(json: JSON) { self.json = json }
        /// The controller.
        public var controllerName: String { json["spec"]?["controllerName"]?.string ?? "" }
        /// Parameters, which we know none of.
        public var hasParameters: Bool { json["spec"]?["parametersRef"] != nil }
    }

    /// A Gateway: listeners on ports.
    public struct Gateway: JSONView {
        /// The whole object.
        public var json: JSON
        /// Looks at `json` as a Gateway.
        public init(json: JSON) { self.json = json }
        private var spec: KubernetesObject { KubernetesObject(json: json["spec"] ?? .object([:])) }
        /// The name of its class.
        public var className: String { spec.string("gatewayClassName") }
        /// The listeners.
        public var listeners: [Listener] { spec.views("listeners") }
        /// The addresses that are asked for.
        public var addresses: [Address] { spec.views("addresses") }
        /// Which namespaces may add listeners; `None` when it is left out.
        public var allowedListeners: NamespaceChoice {
            NamespaceChoice(json: spec.json["allowedListeners"]?["namespaces"] ?? ["from": "None"])
        }
        /// Whether `infrastructure.parametersRef` is set.
        public var hasParameters: Bool { spec.json["infrastructure"]?["parametersRef"] != nil }
        /// `infrastructure.labels`: what the labels of things made for it must have.
        public var infrastructureLabels: [String: String] { infrastructure("labels") }
        /// `infrastructure.annotations`, likewise.
        public var infrastructureAnnotations: [String: String] { infrastructure("annotations") }
        private func infrastructure(_ member: String) -> [String: String] {
            (spec.json["infrastructure"]?[member]?.object ?? [:]).compactMapValues(\.string)
        }
        /// The certificate that it shows to backends.
        public var backendCertificate: Reference? {
            KubernetesObject(json: spec.json["tls"]?["backend"] ?? .null).view("clientCertificateRef")
        }

        /// Whether clients without a valid certificate are let in somewhere: by default, or on a port of its own setting.
        public var allowsInsecureFallback: Bool {
            guard let frontend = spec.json["tls"]?["frontend"] else { return false }
            let settings =
                [frontend["default"]?["validation"]]
                + (frontend["perPort"]?.array ?? []).map { $0["tls"]?["validation"] }
            return settings.contains { $0.map(ClientValidation.init(json:))?.allowsInsecureFallback ?? false }
        }

        /// How certificates of clients are checked on a port: the port's own setting, else the default.
        public func clientValidation(port: Int) -> ClientValidation? {
            guard let frontend = spec.json["tls"]?["frontend"] else { return nil }
            let own = (frontend["perPort"]?.array ?? []).first { $0["port"]?.int == port }
            return (own.map { $0["tls"]?["validation"] } ?? frontend["default"]?["validation"])
                .flatMap { $0.map(ClientValidation.init(json:)) }
        }
    }

    /// An address that a Gateway asks for.
    public struct Address: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as an address.
        public init(json: JSON) { self.json = json }
        /// `IPAddress`, `Hostname`, or a type with a domain.
        public var type: String { json["type"]?.string ?? "IPAddress" }
        /// The address; empty means any.
        public var value: String { string("value") }
    }

    /// `validation` of client certificates.
    public struct ClientValidation: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as a validation.
        public init(json: JSON) { self.json = json }
        /// The authorities.
        public var caCertificateRefs: [Reference] { views("caCertificateRefs") }
        /// Whether connections without a valid certificate are let in.
        public var allowsInsecureFallback: Bool { string("mode") == "AllowInsecureFallback" }
    }

    /// Which namespaces are meant.
    public struct NamespaceChoice: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as a choice of namespaces.
        public init(json: JSON) { self.json = json }
        /// `All`, `Selector`, `Same`, `None`.
        public var from: String { json["from"]?.string ?? "Same" }
        /// The labels of the namespaces, with `Selector`.
        public var selector: LabelSelector? { view("selector") }
    }

    /// One listener of a Gateway or ListenerSet.
    public struct Listener: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as a listener.
        public init(json: JSON) { self.json = json }
        /// Its name, unique in its object.
        public var name: String { string("name") }
        /// The port.
        public var port: Int { int("port") ?? 0 }
        /// `HTTP`, `HTTPS`, `TLS`, `TCP`, `UDP`.
        public var protocolName: String { string("protocol") }
        /// The host; empty means all.
        public var hostname: String { string("hostname").lowercased() }
        /// Whether there are TLS settings.
        public var hasTLS: Bool { json["tls"] != nil }
        /// `Terminate` or `Passthrough`.
        public var tlsMode: String { json["tls"]?["mode"]?.string ?? "Terminate" }
        /// The certificates.
        public var certificateRefs: [Reference] {
            KubernetesObject(json: json["tls"] ?? .null).views("certificateRefs")
        }
        /// The names of TLS options, all of them an implementation's own.
        public var tlsOptions: [String: String] {
            (json["tls"]?["options"]?.object ?? [:]).compactMapValues(\.string)
        }
        /// Which namespaces' routes may attach (I-14).
        public var allowedNamespaces: NamespaceChoice {
            NamespaceChoice(json: json["allowedRoutes"]?["namespaces"] ?? .object([:]))
        }
        /// Which kinds of routes may attach; empty means all that fit the protocol.
        public var allowedKinds: [Reference] {
            KubernetesObject(json: json["allowedRoutes"] ?? .null).views("kinds")
        }
    }

    /// A ListenerSet: more listeners for a Gateway.
    public struct ListenerSet: JSONView {
        /// The whole object.
        public var json: JSON
        /// Looks at `json` as a ListenerSet.
        public init(json: JSON) { self.json = json }
        /// The Gateway.
        public var parent: Reference { Reference(json: json["spec"]?["parentRef"] ?? .object([:])) }
        /// The listeners.
        public var listeners: [Listener] { KubernetesObject(json: json["spec"] ?? .null).views("listeners") }
    }

    /// A ReferenceGrant: who may refer to what is in its namespace (I-13).
    public struct ReferenceGrant: JSONView {
        /// The whole object.
        public var json: JSON
        /// Looks at `json` as a ReferenceGrant.
        public init(json: JSON) { self.json = json }
        private var spec: KubernetesObject { KubernetesObject(json: json["spec"] ?? .object([:])) }
        /// Kinds and namespaces of those who refer.
        public var from: [Reference] { spec.views("from") }
        /// Kinds, and names if any, of what is referred to.
        public var to: [Reference] { spec.views("to") }
    }

    /// A BackendTLSPolicy: how gateways speak TLS to a service.
    public struct BackendTLSPolicy: JSONView {
        /// The whole object.
        public var json: JSON
        /// Looks at `json` as a BackendTLSPolicy.
        public init(json: JSON) { self.json = json }
        private var spec: KubernetesObject { KubernetesObject(json: json["spec"] ?? .object([:])) }
        private var validation: KubernetesObject { KubernetesObject(json: spec.json["validation"] ?? .object([:])) }
        /// The services, or single ports of them.
        public var targets: [Reference] { spec.views("targetRefs") }
        /// The name for SNI and for the certificate's check.
        public var hostname: String { validation.string("hostname") }
        /// The authorities.
        public var caCertificateRefs: [Reference] { validation.views("caCertificateRefs") }
        /// `System` for the authorities of the machine; empty when there is none.
        public var wellKnownCACertificates: String { validation.string("wellKnownCACertificates") }
        /// The names of which the certificate must have one; the host name is not asked for then.
        public var subjectAltNames: [(isURI: Bool, value: String)] {
            (validation.json["subjectAltNames"]?.array ?? []).map { entry in
                entry["type"]?.string == "URI"
                    ? (true, entry["uri"]?.string ?? "") : (false, entry["hostname"]?.string ?? "")
            }
        }
        /// The names of options, all of them an implementation's own.
        public var options: [String] { (spec.json["options"]?.object ?? [:]).keys.sorted() }
    }
}
