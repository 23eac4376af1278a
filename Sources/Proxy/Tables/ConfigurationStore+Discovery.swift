internal import EnvoyAPI
internal import Serialization
internal import Upstream

/// An update of a resource that was refused.
struct ResourceFailure: Sendable {
    var details: String
    var version: String
    var attempted: (seconds: Int64, nanoseconds: Int32)
    var resource: AnyMessage?
}

// What the configuration in force needs from management servers and files.
extension ConfigurationStore {
    /// Names by source and type.
    func wanted() -> [DiscoverySource: [String: Set<String>]] {
        var result: [DiscoverySource: [String: Set<String>]] = [:]
        func add(_ wants: some Sequence<Want>) {
            for want in wants { result[want.source, default: [:]][want.typeURL, default: []].insert(want.name) }
        }
        for entry in clusters.values { add(entry.wants) }
        for entry in listeners.values { add(entry.wants) }
        for entry in routes.values { add(entry.wants) }
        add(
            hostDemand.wanted.map {
                Want(source: $0.source, typeURL: EnvoyAPI.VirtualHost.typeURL, name: $0.name)
            })
        for chain in listeners.values.flatMap(\.config.allChains) where chain.scopesSource != nil {
            guard let source = chain.manager?.rdsSource else { continue }
            add(scopeRoutes.map { Want(source: source, typeURL: RouteConfiguration.typeURL, name: $0) })
        }
        add(clusterDemand.wanted.map { Want(source: $0.source, typeURL: Cluster.typeURL, name: $0.name) })
        add(context.secrets.wantedByFilters.flatMap { want(Secret.typeURL, $0.name, $0.source) })
        add(extraWants)
        add(wantedWorkloads)
        return result
    }

    func wants(of message: Cluster) -> [Want] {
        var wants: [Want] = []
        if let eds = message.edsClusterConfig, case .type(.eds) = message.clusterDiscoveryType {
            let name = eds.serviceName.isEmpty ? message.name : eds.serviceName
            wants += want(ClusterLoadAssignment.typeURL, name, eds.edsConfig)
        }
        for socket in [message.transportSocket] + message.transportSocketMatches.map(\.transportSocket) {
            wants += secrets(of: socket)
        }
        return wants
    }

    func wants(of config: ListenerConfig) -> [Want] {
        var wants: [Want] = []
        for chain in config.allChains {
            if let source = chain.manager?.rdsSource {
                wants += chain.rdsNames.map {
                    Want(source: source, typeURL: RouteConfiguration.typeURL, name: $0)
                }
            }
            if let source = chain.scopesSource {
                // All of them: `*` is no name but the wish for every name.
                wants.append(Want(source: source, typeURL: ScopedRouteConfiguration.typeURL, name: "*"))
            }
            wants += chain.discoveredFilters.map {
                Want(source: $0.source, typeURL: TypedExtensionConfig.typeURL, name: $0.name)
            }
            wants += secrets(of: chain.transportSocket)
        }
        return wants
    }

    func wants(of message: RouteConfiguration) -> [Want] {
        guard let vhds = message.vhds else { return [] }
        return want(EnvoyAPI.VirtualHost.typeURL, message.name, vhds.configSource)
    }

    private func secrets(of socket: TransportSocket?) -> [Want] {
        SecretReferences.of(socket).flatMap { reference in
            want(Secret.typeURL, reference.name, reference.sdsConfig).filter {
                // Files of secrets are read, and watched, with all other files of certificates.
                if case .file = $0.source { false } else { true }
            }
        }
    }

    /// None where the source is missing (a static secret) or wrong (which the compiler has said).
    private func want(_ typeURL: String, _ name: String, _ source: ConfigSource?) -> [Want] {
        guard let source,
            let compiled = try? context.implicitClusters.compiling({
                try DiscoverySource(compiling: source, at: "", hasADS: context.hasADS)
            })
        else { return [] }
        return [Want(source: compiled, typeURL: typeURL, name: name)]
    }

    // MARK: Secrets

    /// Takes a secret from SDS; what the TLS contexts refuse is not kept.
    func setSecret(
        _ message: Secret, name: String, version: String, at path: String
    ) throws(ConfigurationError) {
        try context.secrets.set(message, name: name, version: version, at: path)
        failures[Secret.typeURL]?[name] = nil
    }

    func removeSecret(_ name: String) { context.secrets.remove(name) }

    // MARK: Virtual hosts

    /// Takes a route configuration, with the virtual hosts that VHDS has added to it.
    func setRoutes(_ message: RouteConfiguration, name: String, version: String, at path: String)
        throws(ConfigurationError)
    {
        if let vhds = message.vhds {
            let source = try DiscoverySource(
                compiling: vhds.configSource, at: path + ".vhds.config_source", hasADS: context.hasADS)
            if case .grpc(let grpc) = source, !grpc.isDelta {
                throw ConfigurationError(
                    at: path + ".vhds.config_source.api_config_source.api_type", "VHDS needs DELTA_GRPC")
            }
        } else {
            forgetHosts(of: name)
        }
        let compiled = try compile(merged(message, discoveredHosts[name] ?? [:]), at: path)
        routeMessages[name] = message
        set(compiled, name: name, version: version)
    }

    private func compile(_ message: RouteConfiguration, at path: String) throws(ConfigurationError) -> CompiledRoutes {
        try compiling { () throws(ConfigurationError) in try CompiledRoutes(message, at: path, context: context)
        }
    }

    private func merged(_ message: RouteConfiguration, _ hosts: [String: EnvoyAPI.VirtualHost]) -> RouteConfiguration {
        var merged = message
        merged.vhds = nil
        let own = Set(message.virtualHosts.map(\.name))
        for name in hosts.keys.sorted() {
            if let host = hosts[name], !own.contains(host.name) { merged.virtualHosts.append(host) }
        }
        return merged
    }

    /// Adds and removes virtual hosts of VHDS, whose names begin with that of their route configuration.
    ///
    /// Who waits for one of them goes on, also when there is no such host.
    func changeHosts(
        set: [(resource: Resource, host: EnvoyAPI.VirtualHost)], removed: [String]
    ) -> (applied: [String], problems: [String]) {
        var applied: [String] = []
        var problems: [String] = []
        var changed: [String: [String: EnvoyAPI.VirtualHost]] = [:]
        func routeName(_ name: String) -> String? { routes.keys.first { name.hasPrefix($0 + "/") } }
        for (resource, host) in set {
            guard let route = routeName(resource.name) else {
                problems.append(
                    "virtual_hosts[\(resource.name)]: no route configuration has this name before the slash")
                continue
            }
            changed[route, default: discoveredHosts[route] ?? [:]][resource.name] = host
        }
        for name in removed {
            guard let route = routeName(name) else { continue }
            changed[route, default: discoveredHosts[route] ?? [:]][name] = nil
        }
        for (route, hosts) in changed {
            guard let message = routeMessages[route], let version = routes[route]?.version else { continue }
            do throws(ConfigurationError) {
                let compiled = try compile(merged(message, hosts), at: "routes[\(route)]")
                discoveredHosts[route] = hosts
                self.set(compiled, name: route, version: version)
                applied += set.map(\.resource.name).filter { $0.hasPrefix(route + "/") }
            } catch {
                problems.append("\(error)")
            }
        }
        for (resource, _) in set where applied.contains(resource.name) {
            hostAliases[resource.name] = Set([resource.name] + resource.aliases)
        }
        for name in removed { hostAliases[name] = nil }
        publish()
        var present: Set<String> = []
        var missing = removed
        for (resource, _) in set {
            let names = [resource.name] + resource.aliases
            if applied.contains(resource.name) { present.formUnion(names) } else { missing += names }
        }
        answerHosts(present, missing: missing.filter { !present.contains($0) })
        return (applied, problems)
    }
}

/// The secrets that transport sockets name.
enum SecretReferences {
    static func of(_ socket: TransportSocket?) -> [SdsSecretConfig] {
        guard case .typedConfig(let any) = socket?.configType else { return [] }
        switch any.name {
        case DownstreamTlsContext.schema.name:
            guard let context = try? any.unpack(as: DownstreamTlsContext.self) else { return [] }
            var names = of(context.commonTlsContext)
            if case .sessionTicketKeysSdsSecretConfig(let config) = context.sessionTicketKeysType {
                names.append(config)
            }
            return names
        case UpstreamTlsContext.schema.name:
            return of((try? any.unpack(as: UpstreamTlsContext.self))?.commonTlsContext)
        case ProxyProtocolUpstreamTransport.schema.name:
            return of((try? any.unpack(as: ProxyProtocolUpstreamTransport.self))?.transportSocket)
        default: return []
        }
    }

    static func of(_ context: CommonTlsContext?) -> [SdsSecretConfig] {
        guard let context else { return [] }
        var names = context.tlsCertificateSdsSecretConfigs
        switch context.validationContextType {
        case .validationContextSdsSecretConfig(let config): names.append(config)
        case .combinedValidationContext(let combined):
            if let config = combined.validationContextSdsSecretConfig { names.append(config) }
        default: break
        }
        return names
    }
}
