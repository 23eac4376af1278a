public import Serialization

/// Which requests from outside go to which services.
public struct Ingress: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Name, namespace, labels and the rest.
    public var metadata: ObjectMeta { view("metadata") ?? ObjectMeta(json: .object([:])) }
    /// What is wanted.
    public var spec: IngressSpec { view("spec") ?? IngressSpec(json: .object([:])) }
    /// Where it answers.
    public var status: IngressStatus { view("status") ?? IngressStatus(json: .object([:])) }
}

/// What an Ingress wants.
public struct IngressSpec: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Who acts on it.
    public var ingressClassName: String? { json["ingressClassName"]?.string }
    /// Where requests go that no rule matches.
    public var defaultBackend: IngressBackend? { view("defaultBackend") }
    /// Certificates by host.
    public var tls: [IngressTLS] { views("tls") }
    /// The rules.
    public var rules: [IngressRule] { views("rules") }
}

/// A certificate for hosts.
public struct IngressTLS: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The hosts.
    public var hosts: [String] { strings("hosts") }
    /// The Secret that holds it.
    public var secretName: String { string("secretName") }
}

/// Paths of one host.
public struct IngressRule: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The host; empty means all.
    public var host: String { string("host") }
    /// The paths.
    public var http: HTTPIngressRuleValue { view("http") ?? HTTPIngressRuleValue(json: .object([:])) }
}

/// Paths of one host.
public struct HTTPIngressRuleValue: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The paths.
    public var paths: [HTTPIngressPath] { views("paths") }
}

/// Where requests with a path go.
public struct HTTPIngressPath: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The path.
    public var path: String { string("path") }
    /// `Exact`, `Prefix` or `ImplementationSpecific`.
    public var pathType: String { string("pathType") }
    /// Where they go.
    public var backend: IngressBackend { view("backend") ?? IngressBackend(json: .object([:])) }
}

/// Where requests go.
public struct IngressBackend: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// A service.
    public var service: IngressServiceBackend? { view("service") }
    /// Another object.
    public var resource: ObjectReference? { view("resource") }
}

/// A port of a service.
public struct IngressServiceBackend: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The service.
    public var name: String { string("name") }
    /// The port.
    public var port: ServiceBackendPort { view("port") ?? ServiceBackendPort(json: .object([:])) }
}

/// A port of a service, by name or number.
public struct ServiceBackendPort: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The name.
    public var name: String { string("name") }
    /// The number.
    public var number: Int? { int("number") }
}

/// Where an Ingress answers.
public struct IngressStatus: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The addresses.
    public var loadBalancer: LoadBalancerStatus { view("loadBalancer") ?? LoadBalancerStatus(json: .object([:])) }
}

/// Who acts on Ingresses of a class.
public struct IngressClass: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Name, namespace, labels and the rest.
    public var metadata: ObjectMeta { view("metadata") ?? ObjectMeta(json: .object([:])) }
    /// Who.
    public var spec: IngressClassSpec { view("spec") ?? IngressClassSpec(json: .object([:])) }
}

/// Who acts on Ingresses of a class.
public struct IngressClassSpec: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The controller.
    public var controller: String { string("controller") }
}
