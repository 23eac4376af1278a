public import EnvoyAPI
internal import Serialization

extension ResolverSettings {
    /// Bounds of what a configuration may say of one try, in seconds, and of the number of tries.
    private static let timeoutMax: UInt64 = 300
    private static let triesMax: UInt32 = 20
    /// More servers than anybody waits for.
    private static let serversMax = 16

    /// Compiles what a message says in its several ways of how names are looked up, the newest one first (as Envoy); nil where it says nothing.
    ///
    /// - Parameters:
    ///   - typed: `typed_dns_resolver_config`.
    ///   - config: `dns_resolution_config`.
    ///   - servers: `dns_resolvers`.
    ///   - usesTCP: `use_tcp_for_dns_lookups`.
    ///   - path: the path of the message.
    public static func compile(
        typed: TypedExtensionConfig?, config: DnsResolutionConfig?, servers: [Address] = [], usesTCP: Bool = false,
        at path: String
    ) throws(ConfigurationError) -> ResolverSettings? {
        let path = FieldPath(path)
        if let typed { return try compile(typed, path / "typed_dns_resolver_config") }
        if let config {
            let place = path / "dns_resolution_config"
            try FieldCheck.check(config, place, handles: "resolvers dns_resolver_options")
            var settings = ResolverSettings()
            settings.servers = try addresses(config.resolvers, place / "resolvers")
            try settings.take(config.dnsResolverOptions, place / "dns_resolver_options")
            return settings
        }
        guard !servers.isEmpty || usesTCP else { return nil }
        var settings = ResolverSettings()
        settings.servers = try addresses(servers, path / "dns_resolvers")
        settings.usesTCP = usesTCP
        return settings
    }

    private static func compile(
        _ typed: TypedExtensionConfig, _ path: FieldPath
    ) throws(ConfigurationError) -> ResolverSettings {
        let place = path / "typed_config"
        guard let any = typed.typedConfig else { throw place.error("is missing") }
        if any.holds(CaresDnsResolverConfig.self) {
            return try ResolverSettings(compiling: Unpacked.message(any, as: CaresDnsResolverConfig.self, place), place)
        }
        guard any.holds(GetAddrInfoDnsResolverConfig.self) else {
            throw place.unsupported("\(any.name); known: cares, getaddrinfo")
        }
        // The machine's own resolver: its servers and its hosts file, asked by ours.
        let message = try Unpacked.message(any, as: GetAddrInfoDnsResolverConfig.self, place)
        try FieldCheck.check(message, place, handles: "")
        return ResolverSettings()
    }

    private init(compiling message: CaresDnsResolverConfig, _ path: FieldPath) throws(ConfigurationError) {
        self.init()
        try FieldCheck.check(
            message, path,
            handles:
                "resolvers use_resolvers_as_fallback filter_unroutable_families dns_resolver_options query_timeout_seconds query_tries rotate_nameservers qcache_max_ttl"
        )
        servers = try Self.addresses(message.resolvers, path / "resolvers")
        usesServersAsFallback = message.useResolversAsFallback
        onlyRoutable = message.filterUnroutableFamilies
        rotates = message.rotateNameservers
        try take(message.dnsResolverOptions, path / "dns_resolver_options")
        if let seconds = message.queryTimeoutSeconds {
            guard (1...Self.timeoutMax).contains(seconds) else {
                throw (path / "query_timeout_seconds").error("\(seconds) is not 1 to \(Self.timeoutMax)")
            }
            timeout = .seconds(Int64(seconds))
        }
        if let count = message.queryTries {
            guard (1...Self.triesMax).contains(count) else {
                throw (path / "query_tries").error("\(count) is not 1 to \(Self.triesMax)")
            }
            tries = Int(count)
        }
        ttlMax = message.qcacheMaxTtl
    }

    private mutating func take(_ options: DnsResolverOptions?, _ path: FieldPath) throws(ConfigurationError) {
        guard let options else { return }
        try FieldCheck.check(options, path, handles: "use_tcp_for_dns_lookups no_default_search_domain")
        usesTCP = options.useTcpForDnsLookups
        searchesDomains = !options.noDefaultSearchDomain
    }

    private static func addresses(_ list: [Address], _ path: FieldPath) throws(ConfigurationError) -> [HostAddress] {
        guard list.count <= serversMax else { throw path.error("more than \(serversMax) name servers") }
        var servers: [HostAddress] = []
        for (index, address) in list.enumerated() {
            let place = path[index]
            guard case .socketAddress(let socket)? = address.address else {
                throw place.error("a name server has an IP address: socket_address is needed")
            }
            try FieldCheck.check(socket, place / "socket_address", handles: "protocol address port_value")
            guard HostAddress.isIPAddress(socket.address) else {
                throw (place / "socket_address.address").error("\(socket.address): is no IP address")
            }
            var port: UInt32 = 0
            if case .portValue(let value)? = socket.portSpecifier { port = value }
            guard let number = UInt16(exactly: port) else {
                throw (place / "socket_address.port_value").error("\(port) is above 65535")
            }
            servers.append(.ip(socket.address, port: number == 0 ? 53 : number))
        }
        return servers
    }
}
