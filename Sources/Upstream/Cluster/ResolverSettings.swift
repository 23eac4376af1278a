/// How names are looked up, where a configuration says it (`typed_dns_resolver_config`, `dns_resolution_config`).
///
/// What it leaves out is as the machine's `resolv.conf` has it.
public struct ResolverSettings: Sendable, Hashable {
    /// The name servers, IP addresses with ports, the first one first; none: those of the machine.
    public var servers: [HostAddress] = []
    /// The servers are asked only where the machine names none itself.
    public var usesServersAsFallback = false
    /// Questions go by TCP alone.
    public var usesTCP = false
    /// Short names are looked for in the machine's search domains.
    public var searchesDomains = true
    /// Addresses of a family in which the machine has none itself (but loopback) are left out.
    public var onlyRoutable = false
    /// How long one server is waited for; nil is the machine's.
    public var timeout: Duration?
    /// How often the list of servers is gone through; nil is the machine's.
    public var tries: Int?
    /// Each question begins with another server.
    public var rotates = false
    /// How long an answer is kept at most, in seconds; nil is the resolver's own bound.
    public var ttlMax: UInt32?

    /// As the machine has it.
    public init() {}
}
