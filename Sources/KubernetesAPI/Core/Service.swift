public import Serialization

/// A name and address for a set of pods.
public struct Service: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Name, namespace, labels and the rest.
    public var metadata: ObjectMeta { view("metadata") ?? ObjectMeta(json: .object([:])) }
    /// Which pods, which ports.
    public var spec: ServiceSpec { view("spec") ?? ServiceSpec(json: .object([:])) }
    /// Addresses given from outside.
    public var status: ServiceStatus { view("status") ?? ServiceStatus(json: .object([:])) }
}

/// Which pods and ports a service stands for.
public struct ServiceSpec: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// `ClusterIP`, `NodePort`, `LoadBalancer` or `ExternalName`.
    public var type: String { json["type"]?.string ?? "ClusterIP" }
    /// Labels of its pods.
    public var selector: [String: String] { map("selector") }
    /// Its ports.
    public var ports: [ServicePort] { views("ports") }
    /// Its address; `None` for headless.
    public var clusterIP: String { string("clusterIP") }
    /// All its addresses.
    public var clusterIPs: [String] { strings("clusterIPs") }
    /// Further addresses that lead to it.
    public var externalIPs: [String] { strings("externalIPs") }
    /// The name that it is an alias of.
    public var externalName: String { string("externalName") }
    /// `None` or `ClientIP`.
    public var sessionAffinity: String { json["sessionAffinity"]?.string ?? "None" }
    /// `sessionAffinityConfig.clientIP.timeoutSeconds`; `nil` means the default.
    public var sessionAffinitySeconds: Int? { json["sessionAffinityConfig"]?["clientIP"]?["timeoutSeconds"]?.int }
    /// `PreferClose`, `PreferSameZone` or `PreferSameNode`; empty means no preference.
    public var trafficDistribution: String { string("trafficDistribution") }
    /// Whether pods that are not ready count.
    public var publishNotReadyAddresses: Bool { bool("publishNotReadyAddresses") }
    /// `Cluster` or `Local`.
    public var internalTrafficPolicy: String { json["internalTrafficPolicy"]?.string ?? "Cluster" }
    /// Whether somebody outside of the cluster reaches it.
    public var isReachedFromOutside: Bool {
        type == "LoadBalancer" || type == "NodePort"
            || type == "ClusterIP" && json["externalIPs"]?.array?.isEmpty == false
    }
    /// `Cluster` or `Local`.
    public var externalTrafficPolicy: String { json["externalTrafficPolicy"]?.string ?? "Cluster" }
    /// The wanted address.
    public var loadBalancerIP: String { string("loadBalancerIP") }
    /// Who provides the address.
    public var loadBalancerClass: String? { json["loadBalancerClass"]?.string }
    /// `IPv4`, `IPv6`.
    public var ipFamilies: [String] { strings("ipFamilies") }
    /// `SingleStack`, `PreferDualStack` or `RequireDualStack`.
    public var ipFamilyPolicy: String? { json["ipFamilyPolicy"]?.string }
}

/// One port of a service.
public struct ServicePort: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Its name; may be empty when it is the only one.
    public var name: String { string("name") }
    /// `TCP`, `UDP` or `SCTP`.
    public var `protocol`: String { json["protocol"]?.string ?? "TCP" }
    /// The protocol above it.
    public var appProtocol: String? { json["appProtocol"]?.string }
    /// The port of the service.
    public var port: Int { int("port") ?? 0 }
    /// Number or name of the port of the pods.
    public var targetPort: IntOrString? { IntOrString(json: json["targetPort"]) }
    /// The port of every node.
    public var nodePort: Int? { int("nodePort") }
}

/// What is known of a service.
public struct ServiceStatus: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Addresses given from outside.
    public var loadBalancer: LoadBalancerStatus { view("loadBalancer") ?? LoadBalancerStatus(json: .object([:])) }
    /// Conditions.
    public var conditions: [Condition] { views("conditions") }
}

/// Addresses given from outside.
public struct LoadBalancerStatus: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The addresses.
    public var ingress: [LoadBalancerIngress] { views("ingress") }
}

/// One address given from outside.
public struct LoadBalancerIngress: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The address.
    public var ip: String? { json["ip"]?.string }
    /// Or its name.
    public var hostname: String? { json["hostname"]?.string }
}

/// The older form of EndpointSlice.
public struct Endpoints: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Name, namespace, labels and the rest.
    public var metadata: ObjectMeta { view("metadata") ?? ObjectMeta(json: .object([:])) }
    /// Addresses that share ports.
    public var subsets: [EndpointSubset] { views("subsets") }
}

/// Addresses that share ports.
public struct EndpointSubset: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Ready.
    public var addresses: [EndpointAddress] { views("addresses") }
    /// Not ready.
    public var notReadyAddresses: [EndpointAddress] { views("notReadyAddresses") }
    /// The ports.
    public var ports: [EndpointPort] { views("ports") }
}

/// One address of an endpoint.
public struct EndpointAddress: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The address.
    public var ip: String { string("ip") }
    /// Its host name.
    public var hostname: String? { json["hostname"]?.string }
    /// Its node.
    public var nodeName: String? { json["nodeName"]?.string }
    /// The pod.
    public var targetRef: ObjectReference? { view("targetRef") }
}

/// Another object.
public struct ObjectReference: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Its kind.
    public var kind: String { string("kind") }
    /// Its namespace.
    public var namespace: String { string("namespace") }
    /// Its name.
    public var name: String { string("name") }
    /// Its identity.
    public var uid: String { string("uid") }
    /// Its API version.
    public var apiVersion: String { string("apiVersion") }
    /// Its revision.
    public var resourceVersion: String { string("resourceVersion") }
    /// A part of it.
    public var fieldPath: String { string("fieldPath") }
}
