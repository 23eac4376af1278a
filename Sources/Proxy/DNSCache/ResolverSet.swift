internal import DNS
internal import IO
internal import Upstream

/// The resolvers of one loop: one for each way of asking that is in use.
///
/// Whoever uses one holds it; what it has kept of answers goes with the last who does.
final class ResolverSet {
    private struct Known {
        weak var resolver: DNSResolver?
    }

    private let loop: EventLoop
    private var known: [ResolverSettings: Known] = [:]
    /// How names are looked up where nobody says otherwise (the bootstrap).
    var standard = ResolverSettings()

    init(on loop: EventLoop) { self.loop = loop }

    /// The resolver that asks so; nil is as the bootstrap says.
    func resolver(_ settings: ResolverSettings?) -> DNSResolver {
        let settings = settings ?? standard
        if let resolver = known[settings]?.resolver { return resolver }
        known = known.filter { $0.value.resolver != nil }
        let resolver = DNSResolver(on: loop, configuration: ResolverConfiguration(settings, machine: .host()))
        known[settings] = Known(resolver: resolver)
        return resolver
    }
}

extension ResolverConfiguration {
    /// What settings say, and for the rest the machine.
    init(_ settings: ResolverSettings, machine: ResolverConfiguration) {
        self = machine
        let own = settings.servers.compactMap { IO.SocketAddress($0) }
        if !own.isEmpty, !settings.usesServersAsFallback || !machine.namesServers { servers = own }
        if !settings.searchesDomains { search = [] }
        usesStreams = settings.usesTCP
        rotates = settings.rotates
        onlyRoutable = settings.onlyRoutable
        if let timeout = settings.timeout { self.timeout = timeout }
        if let tries = settings.tries { attempts = tries }
        ttlMax = settings.ttlMax
    }
}
