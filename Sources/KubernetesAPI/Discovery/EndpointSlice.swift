public import Serialization

/// Some of the endpoints of a service.
public struct EndpointSlice: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Name, namespace, labels and the rest.
    public var metadata: ObjectMeta { view("metadata") ?? ObjectMeta(json: .object([:])) }
    /// `IPv4`, `IPv6` or `FQDN`.
    public var addressType: String { string("addressType") }
    /// The endpoints.
    public var endpoints: [Endpoint] { views("endpoints") }
    /// The ports of each.
    public var ports: [EndpointPort] { views("ports") }
}

/// One endpoint of a service.
public struct Endpoint: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Its addresses, which are alike.
    public var addresses: [String] { strings("addresses") }
    /// Its state.
    public var conditions: EndpointConditions { view("conditions") ?? EndpointConditions(json: .object([:])) }
    /// Its host name.
    public var hostname: String? { json["hostname"]?.string }
    /// Its node.
    public var nodeName: String? { json["nodeName"]?.string }
    /// Its zone.
    public var zone: String? { json["zone"]?.string }
    /// The pod.
    public var targetRef: ObjectReference? { view("targetRef") }
}

/// The state of an endpoint; an absent `ready` counts as true.
public struct EndpointConditions: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Whether it takes new traffic.
    public var ready: Bool { json["ready"]?.bool ?? true }
    /// Whether it passes its probes, terminating or not.
    public var serving: Bool? { json["serving"]?.bool }
    /// Whether it is being deleted.
    public var terminating: Bool { bool("terminating") }
}

/// One port of the endpoints.
public struct EndpointPort: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The name of the port of the service.
    public var name: String { string("name") }
    /// `TCP`, `UDP` or `SCTP`.
    public var `protocol`: String { json["protocol"]?.string ?? "TCP" }
    /// The number; absent means all.
    public var port: Int? { int("port") }
    /// The protocol above it.
    public var appProtocol: String? { json["appProtocol"]?.string }
}
