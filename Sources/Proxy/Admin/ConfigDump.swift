internal import EnvoyAPI
internal import Serialization
internal import Upstream

/// `/config_dump`, in Envoy's shape.
enum ConfigDump {
    private static let type = "type.googleapis.com/envoy.admin.v3."

    static func of(_ proxy: ProxyServer) -> JSON {
        let store = proxy.store
        return .object([
            "configs": .array([
                .object([
                    "@type": .string(type + "BootstrapConfigDump"),
                    "bootstrap": proxy.bootstrap.message.json(names: .proto),
                ]),
                clusters(store), endpoints(store), listeners(store), routes(store),
            ])
        ])
    }

    /// The message with its type, as `Any` has it.
    private static func typed<M: Message>(_ message: M) -> JSON {
        guard case .object(var members) = message.json(names: .proto) else { return .null }
        members["@type"] = .string(M.typeURL)
        return .object(members)
    }

    private static func clusters(_ store: ConfigurationStore) -> JSON {
        var fixed: [JSON] = []
        var active: [JSON] = []
        for (name, entry) in store.clusters.sorted(by: { $0.key < $1.key }) {
            guard let message = store.clusterMessages[name] else { continue }
            if entry.isStatic {
                fixed.append(.object(["cluster": typed(message)]))
            } else {
                active.append(.object(["version_info": .string(entry.version), "cluster": typed(message)]))
            }
        }
        return .object([
            "@type": .string(type + "ClustersConfigDump"), "static_clusters": .array(fixed),
            "dynamic_active_clusters": .array(active),
        ])
    }

    private static func endpoints(_ store: ConfigurationStore) -> JSON {
        let dynamic = store.endpointMessages.sorted { $0.key < $1.key }.map { name, message in
            JSON.object([
                "version_info": .string(store.endpointVersions[name] ?? ""), "endpoint_config": typed(message),
            ])
        }
        return .object([
            "@type": .string(type + "EndpointsConfigDump"), "dynamic_endpoint_configs": .array(dynamic),
        ])
    }

    private static func listeners(_ store: ConfigurationStore) -> JSON {
        var fixed: [JSON] = []
        var dynamic: [JSON] = []
        for (name, entry) in store.listeners.sorted(by: { $0.key < $1.key }) {
            if entry.isStatic {
                fixed.append(.object(["listener": typed(entry.config.message)]))
            } else {
                let state = entry.isWarm ? "active_state" : "warming_state"
                dynamic.append(
                    .object([
                        "name": .string(name),
                        state: .object([
                            "version_info": .string(entry.version), "listener": typed(entry.config.message),
                        ]),
                    ]))
            }
        }
        return .object([
            "@type": .string(type + "ListenersConfigDump"), "static_listeners": .array(fixed),
            "dynamic_listeners": .array(dynamic),
        ])
    }

    private static func routes(_ store: ConfigurationStore) -> JSON {
        let dynamic = store.routes.sorted { $0.key < $1.key }.map { _, entry in
            JSON.object([
                "version_info": .string(entry.version), "route_config": typed(entry.config.message),
            ])
        }
        var fixed: [JSON] = []
        for entry in store.listeners.values {
            for chain in entry.config.allChains {
                if case .http(let manager) = chain.terminal, case .inline(let routes) = manager.routes {
                    fixed.append(.object(["route_config": typed(routes.message)]))
                }
            }
        }
        return .object([
            "@type": .string(type + "RoutesConfigDump"), "static_route_configs": .array(fixed),
            "dynamic_route_configs": .array(dynamic),
        ])
    }
}
