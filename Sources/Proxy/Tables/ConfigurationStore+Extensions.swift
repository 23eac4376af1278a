internal import EnvoyAPI
internal import Serialization
internal import Upstream

// Scopes (SRDS) and configurations of single filters (ECDS).
extension ConfigurationStore {
    // MARK: Scopes

    /// The route configurations that discovered scopes name.
    var scopeRoutes: Set<String> {
        Set(scopes.values.compactMap { if case .named(let name) = $0.routes { name } else { nil } })
    }

    func setScope(_ message: ScopedRouteConfiguration, at path: String) throws(ConfigurationError) {
        let scope = try compiling { () throws(ConfigurationError) in
            try ScopedRouting.Scope(compiling: message, at: path, context: context)
        }
        if let other = scopes.values.first(where: { $0.key == scope.key && $0.name != scope.name }) {
            throw ConfigurationError(at: path + ".key", "the scope \"\(other.name)\" has this key")
        }
        scopes[scope.name] = scope
        failures[ScopedRouteConfiguration.typeURL]?[scope.name] = nil
    }

    /// Scopes have come or gone: their routes are wanted, and requests find them.
    func scopesChanged() {
        hasScopes = true
        wantsChanged()
        warmComplete()
        publish()
    }

    // MARK: Filters

    private var discoveredFilters: [DiscoveredFilterConfig] {
        listeners.values.flatMap { $0.config.allChains.flatMap(\.discoveredFilters) }
    }

    func setExtension(_ message: TypedExtensionConfig, at path: String) throws(ConfigurationError) {
        for filter in discoveredFilters where filter.name == message.name {
            try take(message, by: filter, at: path)
        }
        extensions[message.name] = message
        failures[TypedExtensionConfig.typeURL]?[message.name] = nil
        warmComplete()
    }

    private func take(
        _ message: TypedExtensionConfig, by filter: DiscoveredFilterConfig, at path: String
    ) throws(ConfigurationError) {
        guard let any = message.typedConfig else {
            throw ConfigurationError(at: FieldCheck.join(path, "typed_config"), "is missing")
        }
        try compiling { () throws(ConfigurationError) in
            try filter.set(any, at: FieldCheck.join(path, "typed_config"))
        }
    }

    func removeExtension(_ name: String) {
        extensions[name] = nil
        for filter in discoveredFilters where filter.name == name { filter.remove() }
    }

    /// A new listener's filters take what is known already.
    func giveExtensions(to config: ListenerConfig) {
        for filter in config.allChains.flatMap(\.discoveredFilters) where !filter.isReady {
            guard let known = extensions[filter.name] else { continue }
            try? take(known, by: filter, at: "extensions[\(known.name)]")
        }
    }
}
