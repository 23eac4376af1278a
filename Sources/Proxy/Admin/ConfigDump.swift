internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Upstream

/// `/config_dump`, in Envoy's shape.
struct ConfigDump {
    /// Why there is no page.
    struct Failure: Error {
        var status: UInt16
        var text: String
    }

    private static let prefix = "type.googleapis.com/envoy.admin.v3."

    private let proxy: ProxyServer
    private var store: ConfigurationStore { proxy.store }

    init(_ proxy: ProxyServer) { self.proxy = proxy }

    /// The page: everything, or the elements of one list.
    func page(
        resource: String?, mask: String?, nameRegex: String?, includesEndpoints: Bool
    ) throws(Failure) -> JSON {
        var expression: RegularExpression?
        if let nameRegex {
            do throws(RegularExpressionError) {
                expression = try RegularExpression(nameRegex)
            } catch {
                throw Failure(status: 400, text: "Error while parsing name_regex from \(nameRegex): \(error)\n")
            }
        }
        var parts = sections()
        if !includesEndpoints && resource == nil { parts.removeAll { $0.type == "EndpointsConfigDump" } }
        if let expression {
            for part in parts.indices {
                parts[part].lists = parts[part].lists.mapValues { list in
                    var list = list
                    list.elements.removeAll { !expression.matches(Array($0.name.utf8).span) }
                    return list
                }
            }
        }
        let fieldMask = mask.map { FieldMask($0) }
        var configs: [JSON] = []
        if let resource {
            guard let list = parts.lazy.compactMap({ $0.lists[resource] }).first else {
                throw Failure(status: 404, text: "\(resource) not found in config dump")
            }
            configs = list.elements.map { element in
                guard case .object(var members) = fieldMask?.kept(element.json) ?? element.json else { return .null }
                members["@type"] = .string(Self.prefix + list.type)
                return .object(members)
            }
        } else {
            configs = parts.compactMap { part in
                var members = part.single
                for (name, list) in part.lists where !list.elements.isEmpty {
                    members[name] = .array(list.elements.map(\.json))
                }
                if expression != nil, members.isEmpty || part.lists.isEmpty { return nil }
                members["@type"] = .string(Self.prefix + part.type)
                return fieldMask?.kept(.object(members)) ?? .object(members)
            }
        }
        return Redaction.redacted(.object(["configs": .array(configs)]))
    }

    private struct Element {
        var name: String
        var json: JSON
    }

    /// Elements of one kind, and what each is called when it stands alone.
    private struct List {
        var type: String
        var elements: [Element] = []
    }

    private struct Section {
        var type: String
        var single: [String: JSON] = [:]
        var lists: [String: List] = [:]
    }

    private func sections() -> [Section] {
        var bootstrap = Section(type: "BootstrapConfigDump")
        bootstrap.single = [
            "bootstrap": proxy.bootstrap.message(proxy.store).json(names: .proto),
            "last_updated": Self.time(proxy.startedAt),
        ]
        let scopes = Section(type: "ScopedRoutesConfigDump", lists: [:])
        return [bootstrap, clusters(), endpoints(), listeners(), scopes, routes(), secrets()]
    }

    private static func time(_ time: (seconds: Int64, nanoseconds: Int32)) -> JSON {
        var update = UpdateFailureState()
        update.lastUpdateAttempt = Timestamp(seconds: time.seconds, nanoseconds: time.nanoseconds)
        guard case .object(let members) = update.json(names: .proto) else { return .null }
        return members["last_update_attempt"] ?? .null
    }

    private func typed<M: Message>(_ message: M) -> JSON {
        guard case .object(var members) = message.json(names: .proto) else { return .null }
        members["@type"] = .string(M.typeURL)
        return .object(members)
    }

    private func errorState(_ typeURL: String, _ name: String) -> JSON? {
        guard let failure = store.failures[typeURL]?[name] else { return nil }
        var state = UpdateFailureState()
        state.details = failure.details
        state.versionInfo = failure.version
        state.lastUpdateAttempt = Timestamp(
            seconds: failure.attempted.seconds, nanoseconds: failure.attempted.nanoseconds)
        state.failedConfiguration = failure.resource
        return state.json(names: .proto)
    }

    private func dynamic(
        _ typeURL: String, _ name: String, _ field: String, _ message: JSON, version: String,
        updated: (seconds: Int64, nanoseconds: Int32)?
    ) -> Element {
        var members: [String: JSON] = ["version_info": .string(version), field: message]
        if let updated { members["last_updated"] = Self.time(updated) }
        if let error = errorState(typeURL, name) { members["error_state"] = error }
        return Element(name: name, json: .object(members))
    }

    private func clusters() -> Section {
        var fixed = List(type: "ClustersConfigDump.StaticCluster")
        var active = List(type: "ClustersConfigDump.DynamicCluster")
        var warming = active
        for (name, entry) in store.clusters.sorted(by: { $0.key < $1.key }) {
            guard let message = store.clusterMessages[name]?.message else { continue }
            if entry.isStatic {
                fixed.elements.append(
                    Element(
                        name: name,
                        json: .object(["cluster": typed(message), "last_updated": Self.time(entry.updated)])))
            } else {
                let element = dynamic(
                    Cluster.typeURL, name, "cluster", typed(message), version: entry.version, updated: entry.updated)
                if entry.isWarm { active.elements.append(element) } else { warming.elements.append(element) }
            }
        }
        for name in failedOnly(Cluster.typeURL, store.clusters.keys) {
            warming.elements.append(
                Element(name: name, json: .object(["error_state": errorState(Cluster.typeURL, name) ?? .null])))
        }
        return Section(
            type: "ClustersConfigDump", single: version(Cluster.typeURL),
            lists: [
                "static_clusters": fixed, "dynamic_active_clusters": active, "dynamic_warming_clusters": warming,
            ])
    }

    /// Names of which only refused versions exist.
    private func failedOnly(_ typeURL: String, _ known: some Collection<String>) -> [String] {
        (store.failures[typeURL] ?? [:]).keys.filter { !known.contains($0) }.sorted()
    }

    private func version(_ typeURL: String) -> [String: JSON] {
        guard let version = proxy.discovery?.statistics[typeURL]?.version, !version.isEmpty else { return [:] }
        return ["version_info": .string(version)]
    }

    private func endpoints() -> Section {
        var fixed = List(type: "EndpointsConfigDump.StaticEndpointConfig")
        var list = List(type: "EndpointsConfigDump.DynamicEndpointConfig")
        for (name, message) in store.endpointMessages.sorted(by: { $0.key < $1.key }) {
            list.elements.append(
                dynamic(
                    ClusterLoadAssignment.typeURL, name, "endpoint_config", typed(message),
                    version: store.endpointVersions[name] ?? "", updated: nil))
        }
        for (name, packed) in store.clusterMessages.sorted(by: { $0.key < $1.key }) {
            let message = packed.message
            guard let assignment = message.loadAssignment else { continue }
            fixed.elements.append(Element(name: name, json: .object(["endpoint_config": typed(assignment)])))
        }
        return Section(
            type: "EndpointsConfigDump",
            lists: ["static_endpoint_configs": fixed, "dynamic_endpoint_configs": list])
    }

    private func listeners() -> Section {
        var fixed = List(type: "ListenersConfigDump.StaticListener")
        var list = List(type: "ListenersConfigDump.DynamicListener")
        for (name, entry) in store.listeners.sorted(by: { $0.key < $1.key }) {
            let message = typed(entry.config.message)
            let updated = Self.time(entry.updated)
            if entry.isStatic {
                fixed.elements.append(
                    Element(name: name, json: .object(["listener": message, "last_updated": updated])))
            } else {
                var members: [String: JSON] = [
                    "name": .string(name),
                    entry.isWarm ? "active_state" : "warming_state": .object([
                        "version_info": .string(entry.version), "listener": message, "last_updated": updated,
                    ]),
                ]
                if let error = errorState(Listener.typeURL, name) { members["error_state"] = error }
                list.elements.append(Element(name: name, json: .object(members)))
            }
        }
        for name in failedOnly(Listener.typeURL, store.listeners.keys) {
            list.elements.append(
                Element(
                    name: name,
                    json: .object([
                        "name": .string(name), "error_state": errorState(Listener.typeURL, name) ?? .null,
                    ])))
        }
        return Section(
            type: "ListenersConfigDump", single: version(Listener.typeURL),
            lists: ["static_listeners": fixed, "dynamic_listeners": list])
    }

    private func routes() -> Section {
        var fixed = List(type: "RoutesConfigDump.StaticRouteConfig")
        var list = List(type: "RoutesConfigDump.DynamicRouteConfig")
        for (name, entry) in store.routes.sorted(by: { $0.key < $1.key }) {
            list.elements.append(
                dynamic(
                    RouteConfiguration.typeURL, name, "route_config", typed(entry.config.message),
                    version: entry.version, updated: entry.updated))
        }
        for (_, entry) in store.listeners.sorted(by: { $0.key < $1.key }) {
            for case .inline(let routes) in entry.config.allChains.compactMap({ $0.manager?.routes }) {
                fixed.elements.append(
                    Element(
                        name: routes.message.name,
                        json: .object([
                            "route_config": typed(routes.message), "last_updated": Self.time(entry.updated),
                        ])))
            }
        }
        return Section(
            type: "RoutesConfigDump", lists: ["static_route_configs": fixed, "dynamic_route_configs": list])
    }

    private func secrets() -> Section {
        var fixed = List(type: "SecretsConfigDump.StaticSecret")
        var active = List(type: "SecretsConfigDump.DynamicSecret")
        var warming = active
        for (name, entry) in store.context.secrets.secrets.sorted(by: { $0.key < $1.key }) {
            var members: [String: JSON] = [
                "name": .string(name), "secret": typed(entry.secret), "last_updated": Self.time(entry.updated),
            ]
            if entry.isStatic {
                fixed.elements.append(Element(name: name, json: .object(members)))
            } else {
                members["version_info"] = .string(entry.version)
                if let error = errorState(Secret.typeURL, name) { members["error_state"] = error }
                active.elements.append(Element(name: name, json: .object(members)))
            }
        }
        for names in store.wanted().values {
            for name in names[Secret.typeURL] ?? [] where store.context.secrets.secrets[name] == nil {
                warming.elements.append(
                    Element(name: name, json: .object(["name": .string(name), "version_info": "uninitialized"])))
            }
        }
        return Section(
            type: "SecretsConfigDump",
            lists: ["static_secrets": fixed, "dynamic_active_secrets": active, "dynamic_warming_secrets": warming])
    }
}
