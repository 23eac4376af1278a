public import EnvoyAPI
internal import Serialization

/// Which DNS resolver a configuration may name.
public enum ResolverCheck {
    /// Refuses name servers of a resolver's own.
    ///
    /// Every name is asked of the servers of resolv.conf: others would be passed over in silence. What a resolver says of
    /// how to ask is a matter of taste.
    public static func check(_ config: TypedExtensionConfig?, at path: String) throws(ConfigurationError) {
        guard let any = config?.typedConfig, any.holds(CaresDnsResolverConfig.self) else { return }
        let place = FieldPath(path) / "typed_config"
        let message = try Unpacked.message(any, as: CaresDnsResolverConfig.self, place)
        guard message.resolvers.isEmpty || message.useResolversAsFallback else {
            throw (place / "resolvers").unsupported("names are asked of the servers of resolv.conf")
        }
    }
}
