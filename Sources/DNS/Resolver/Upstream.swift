public import IO

/// Another name server, and how it is spoken to.
public struct Upstream: Hashable, Sendable {
    /// How queries travel.
    public enum Transport: Hashable, Sendable {
        /// In datagrams; by TCP what does not fit into one.
        case datagrams
        /// By TCP.
        case stream
        /// By TLS (RFC 7858); the server's certificate must be good for that name or address, and chain to an authority of
        /// that file, PEM; nil: those of the machine.
        case tls(serverName: String, authorities: String?)
    }

    /// Where it is.
    public var address: SocketAddress
    /// How it is spoken to.
    public var transport: Transport

    /// A server, by datagrams unless something else is said.
    public init(_ address: SocketAddress, _ transport: Transport = .datagrams) {
        self.address = address
        self.transport = transport
    }
}

/// The servers that are asked for some names, and how.
public struct UpstreamGroup: Hashable, Sendable {
    /// The servers, the first of those that have answered lately is asked first; none: nobody is asked, the answer is REFUSED.
    public var servers: [Upstream]
    /// How long to wait for one answer.
    public var timeout = Duration.seconds(2)
    /// How often the list of servers is gone through.
    public var attempts = 2
    /// Whether the first server is another one from question to question.
    public var rotates = false

    /// These servers.
    public init(_ servers: [Upstream]) { self.servers = servers }

    /// What a `resolv.conf` says.
    public init(_ configuration: ResolverConfiguration) {
        servers = configuration.servers.map { Upstream($0, configuration.usesStreams ? .stream : .datagrams) }
        timeout = configuration.timeout
        attempts = configuration.attempts
        rotates = configuration.rotates
    }
}

/// Who is asked for which name, and what is kept of the answers.
public struct ForwardingPlan: Hashable, Sendable {
    /// The servers of a domain and everything below it; the longest domain counts, the root is everything else.
    public var groups: [Name: UpstreamGroup]
    /// What is kept.
    public var cache = CacheSettings()

    /// One group for everything.
    public init(_ group: UpstreamGroup) { groups = [.root: group] }

    /// Groups by their domains.
    public init(_ groups: [Name: UpstreamGroup]) { self.groups = groups }

    /// Who is asked for a name.
    public func group(for name: Name) -> UpstreamGroup? {
        var rest: Name? = name
        while let domain = rest {
            if let group = groups[domain] { return group }
            rest = domain.parent
        }
        return nil
    }
}

/// What is kept of other servers' answers.
public struct CacheSettings: Hashable, Sendable {
    /// How long an answer is kept at most, in seconds.
    public var ttlMax: UInt32 = 300
    /// How long it is kept that there is no such name or record (RFC 2308), at most, in seconds.
    public var negativeTTLMax: UInt32 = 30
    /// For how long after its end an answer is still given where no server answers (RFC 8767); zero: not at all.
    public var staleMax = Duration.seconds(3600)
    /// For how long a question that nobody could answer is not asked again (RFC 9520).
    public var failureTTL = Duration.seconds(1)

    /// What is kept when nothing else is said.
    public init() {}
}
