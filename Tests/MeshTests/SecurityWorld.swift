import EnvoyAPI
import Mesh
import Serialization
import Testing

/// What tests ask about transport sockets and policies.
enum Security {
    static let web = "outbound|80||web.default.svc.cluster.local"

    /// A mesh with a service `web` of one pod with a sidecar, and whatever else.
    static func world(_ more: String..., port: String = "{name: http, port: 80, targetPort: 8080}") throws -> World {
        var texts = [World.service("web", ip: 1, port: port), World.pod("web-1", "web", ip: 5)]
        texts += more
        return try World(texts.joined(separator: "\n---\n"))
    }

    /// An object of `security.istio.io`.
    static func policy(
        _ kind: String, _ name: String, _ spec: String, namespace: String = "default", annotations: String = "{}",
        created: String = "2026-01-01T00:00:00Z"
    ) -> String {
        """
        ---
        apiVersion: security.istio.io/v1
        kind: \(kind)
        metadata: {name: \(name), namespace: \(namespace), annotations: \(annotations), creationTimestamp: "\(created)"}
        spec: {\(spec)}

        """
    }

    static func meshConfig(_ text: String) -> String {
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: |\n"
            + text.split(separator: "\n").map { "    \($0)\n" }.joined()
    }

    /// The chains of the inbound listener of `default/web-1`.
    static func chains(_ world: World) throws -> [FilterChain] {
        try world.snapshot("default/web-1").listener("virtualInbound").filterChains
    }

    static func chain(_ world: World, _ name: String) throws -> FilterChain {
        try #require(try chains(world).first { $0.name == name })
    }

    static func upstream(_ socket: TransportSocket?) throws -> UpstreamTlsContext {
        guard case .typedConfig(let config) = socket?.configType else { throw Absent() }
        return try config.unpack(as: UpstreamTlsContext.self)
    }

    struct Absent: Error {}

    /// The identities that a TLS context accepts.
    static func identities(_ context: UpstreamTlsContext) -> [String] {
        guard case .combinedValidationContext(let combined) = context.commonTlsContext?.validationContextType else {
            return []
        }
        return (combined.defaultValidationContext?.matchTypedSubjectAltNames ?? []).compactMap { name in
            guard name.sanType == .uri, case .exact(let text) = name.matcher?.matchPattern else { return nil }
            return text
        }
    }

    /// The RBAC filters of the plain HTTP chain of `default/web-1`, in order.
    static func rbac(_ world: World, chain name: String = "0.0.0.0_8080") throws -> [HTTPRBACFilter] {
        try Chains.manager(try chain(world, name)).httpFilters.compactMap { filter in
            guard case .typedConfig(let config) = filter.configType, config.typeURL == HTTPRBACFilter.typeURL else {
                return nil
            }
            return try config.unpack(as: HTTPRBACFilter.self)
        }
    }

    static func networkRBAC(_ world: World, chain name: String) throws -> [NetworkRBACFilter] {
        try chain(world, name).filters.compactMap { filter in
            guard case .typedConfig(let config) = filter.configType, config.typeURL == NetworkRBACFilter.typeURL
            else { return nil }
            return try config.unpack(as: NetworkRBACFilter.self)
        }
    }
}

extension ProxySnapshot {
    func assignment(_ name: String) throws -> ClusterLoadAssignment {
        try #require(endpoints[name], "no endpoints \(name)").message.unpack()
    }
}
