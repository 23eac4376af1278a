import EnvoyAPI
import KubernetesAPI
import Mesh
import Serialization
import Testing

/// Objects of the Gateway API for `World`.
enum GatewayYAML {
    /// The class, the gateway pod and three namespaces.
    static let base =
        World.gatewayPod + """
            ---
            apiVersion: gateway.networking.k8s.io/v1
            kind: GatewayClass
            metadata: {name: skein}
            spec: {controllerName: skein.dev/gateway-controller}
            ---
            apiVersion: v1
            kind: Namespace
            metadata: {name: default, labels: {team: a}}
            ---
            apiVersion: v1
            kind: Namespace
            metadata: {name: other, labels: {team: b}}

            """

    /// A Gateway with those listeners (flow style, one per argument).
    static func gateway(
        named name: String = "gw", created: String = "2026-01-01T00:00:00Z", more: String = "", _ listeners: String...
    ) -> String {
        """
        ---
        apiVersion: gateway.networking.k8s.io/v1
        kind: Gateway
        metadata: {name: \(name), namespace: default, creationTimestamp: "\(created)"}
        spec:
          gatewayClassName: skein
        \(more.isEmpty ? "" : "  \(more)")
          listeners:
        \(listeners.map { "  - {\($0)}" }.joined(separator: "\n"))

        """
    }

    /// Any object of the API in one line.
    static func object(
        _ kind: String, _ name: String, namespace: String = "default", created: String = "2026-01-01T00:00:00Z",
        _ spec: String
    ) -> String {
        """
        ---
        apiVersion: gateway.networking.k8s.io/v1
        kind: \(kind)
        metadata: {name: \(name), namespace: \(namespace), creationTimestamp: "\(created)"}
        spec: {\(spec)}

        """
    }

    /// An HTTPRoute to `gw`.
    static func http(
        _ name: String, namespace: String = "default", created: String = "2026-01-01T00:00:00Z",
        parents: String = "{name: gw, namespace: default}", hosts: String = "", _ rules: String
    ) -> String {
        object(
            "HTTPRoute", name, namespace: namespace, created: created,
            "parentRefs: [\(parents)], hostnames: [\(hosts)], rules: [\(rules)]")
    }

    static let listener = "name: http, port: 80, protocol: HTTP"

    /// A text that has the frame of a certificate.
    static let certificate = "-----BEGIN CERTIFICATE-----\nMAMCAQA=\n-----END CERTIFICATE-----\n"
    static let key = "-----BEGIN PRIVATE KEY-----\nMAMCAQA=\n-----END PRIVATE KEY-----\n"

    static func secret(
        _ name: String, namespace: String = "default", authority: Bool = false, certificate: String = certificate
    ) -> String {
        """
        ---
        apiVersion: v1
        kind: Secret
        metadata: {name: \(name), namespace: \(namespace)}
        type: kubernetes.io/tls
        data:
          tls.crt: \(Base64.encode(certificate.utf8))
          tls.key: \(Base64.encode(key.utf8))
        \(authority ? "  ca.crt: \(Base64.encode(certificate.utf8))" : "")

        """
    }

    static func authorities(_ name: String, namespace: String = "default") -> String {
        """
        ---
        apiVersion: v1
        kind: ConfigMap
        metadata: {name: \(name), namespace: \(namespace)}
        data: {ca.crt: "\(certificate.replacing("\n", with: "\\n"))"}

        """
    }
}

extension World {
    /// A world with a service `web`, another `other`, and those Gateway API objects.
    static func gatewayAPI(_ yaml: String...) throws -> World {
        try World(
            GatewayYAML.base, service("web", ip: 1), service("other", ip: 2), service("third", ip: 3),
            service("far", ip: 4, namespace: "other"), yaml.joined())
    }

    private static let state = GatewayState(
        addresses: ["10.97.0.1"],
        ownAddresses: Dictionary(
            uniqueKeysWithValues: ["gw", "newer", "good"].enumerated().map { index, name in
                (NamespacedName(namespace: "default", name: name), ["10.97.0.\(index + 2)"])
            }), isProgrammed: true)

    func status(
        _ kind: MeshObjects.Kind, _ name: String, namespace: String = "default", _ state: GatewayState? = nil
    ) throws -> JSON {
        try #require(
            model.statuses(state ?? Self.state).first {
                $0.kind == kind && $0.object == NamespacedName(namespace: namespace, name: name)
            }, "no status"
        ).status
    }

    func hasStatus(_ kind: MeshObjects.Kind, _ name: String, namespace: String = "default") -> Bool {
        model.statuses(Self.state).contains {
            $0.kind == kind && $0.object == NamespacedName(namespace: namespace, name: name)
        }
    }

    /// `Accepted=True:Accepted …` of a list of conditions.
    static func outline(_ conditions: JSON?) -> [String] {
        (conditions?.array ?? []).map {
            "\($0["type"]?.string ?? "")=\($0["status"]?.string ?? ""):\($0["reason"]?.string ?? "")"
        }
    }

    /// The conditions of a listener of Gateway `gw`.
    func listener(_ name: String, gateway: String = "gw") throws -> [String] {
        let listeners = try status(.gatewayAPIGateway, gateway)["listeners"]?.array ?? []
        return Self.outline(try #require(listeners.first { $0["name"]?.string == name })["conditions"])
    }

    /// The conditions of a route for its first parent.
    func route(_ name: String, _ kind: MeshObjects.Kind = .httpRoute, namespace: String = "default") throws -> [String]
    {
        Self.outline(try status(kind, name, namespace: namespace)["parents"]?.array?.first?["conditions"])
    }
}
