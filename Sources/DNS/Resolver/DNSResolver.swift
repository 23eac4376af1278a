public import IO

/// Which addresses are wanted.
public enum AddressFamily: Hashable, Sendable {
    /// IPv4 only.
    case v4
    /// IPv6 only.
    case v6
    /// Both; IPv4 first.
    case both
}

/// The addresses of a host.
public struct Resolution: Hashable, Sendable {
    /// The addresses, each once.
    public var addresses: [IPAddress]
    /// For how long they hold.
    public var ttl: Duration

    /// Addresses and how long they hold.
    public init(addresses: [IPAddress], ttl: Duration) {
        self.addresses = addresses
        self.ttl = ttl
    }
}

/// Finds the addresses of hosts: literal addresses, the hosts file, then DNS with the search domains.
///
/// Owned by its loop (hence unchecked): the form with a callback is to be called there; the async one anywhere.
public final class DNSResolver: @unchecked Sendable {
    /// How long a literal address or one of the hosts file holds.
    public static let staticTTL = Duration.seconds(60)

    private let configuration: ResolverConfiguration
    private let forwarder: Forwarder
    private let loop: EventLoop
    private var hosts: HostsFile
    private var hostsRead: MonotonicTime?
    private let readsHostsFile: Bool

    /// A resolver on that loop; without configuration it does what this machine's `/etc/resolv.conf` and `/etc/hosts`
    /// say.
    public init(on loop: EventLoop, configuration: ResolverConfiguration? = nil, hosts: HostsFile? = nil) {
        self.loop = loop
        self.configuration = configuration ?? .host()
        self.hosts = hosts ?? HostsFile(text: "")
        readsHostsFile = hosts == nil
        forwarder = Forwarder(self.configuration, on: loop)
    }

    /// Finds the addresses of a host; on the loop, where the answer comes too, perhaps at once.
    public func resolve(
        _ host: String, _ family: AddressFamily = .both,
        _ completion: @escaping (Result<Resolution, LookupFailure>) -> Void
    ) {
        assert(loop.isOnLoop)
        if let address = IPAddress(host) {
            let fits = family == .both || (family == .v6) == address.isV6
            return completion(
                fits ? .success(Resolution(addresses: [address], ttl: Self.staticTTL)) : .failure(.noAddress))
        }
        let candidates = configuration.candidates(host)
        guard !candidates.isEmpty else { return completion(.failure(.badName)) }
        refreshHosts()
        if let name = Name(host) {
            let addresses = hosts[name].filter { family == .both || (family == .v6) == $0.isV6 }
            if !addresses.isEmpty {
                return completion(.success(Resolution(addresses: addresses, ttl: Self.staticTTL)))
            }
        }
        guard !configuration.servers.isEmpty else { return completion(.failure(.timedOut)) }
        guard configuration.onlyRoutable else { return attempt(candidates[...], family, .noSuchName, completion) }
        attempt(candidates[...], family, .noSuchName) { completion($0.flatMap(Self.routable)) }
    }

    /// Leaves out addresses that nothing leads to.
    private static func routable(_ found: Resolution) -> Result<Resolution, LookupFailure> {
        let families = AddressFamilies.ofMachine()
        var found = found
        found.addresses.removeAll { !families.contains($0) }
        return found.addresses.isEmpty ? .failure(.noAddress) : .success(found)
    }

    /// Finds the addresses of a host, from any task.
    public func resolve(_ host: String, _ family: AddressFamily = .both) async throws(LookupFailure) -> Resolution {
        let result = await withCheckedContinuation { continuation in
            loop.execute { self.resolve(host, family) { continuation.resume(returning: $0) } }
        }
        return try result.get()
    }

    /// The hosts file is small and seldom read; a change counts after five seconds.
    private func refreshHosts() {
        guard readsHostsFile else { return }
        if let hostsRead, loop.now - hostsRead < .seconds(5) { return }
        hosts = .host()
        hostsRead = loop.now
    }

    private func attempt(
        _ names: ArraySlice<Name>, _ family: AddressFamily, _ failure: LookupFailure,
        _ completion: @escaping (Result<Resolution, LookupFailure>) -> Void
    ) {
        guard let name = names.first else { return completion(.failure(failure)) }
        lookUp(name, family) { [self] result in
            switch result {
            case .success: completion(result)
            case .failure(.noSuchName): attempt(names.dropFirst(), family, failure, completion)
            // The name exists, without such an address: that is remembered, but a later candidate may have one.
            case .failure(.noAddress): attempt(names.dropFirst(), family, .noAddress, completion)
            case .failure: completion(result)
            }
        }
    }

    private func lookUp(
        _ name: Name, _ family: AddressFamily, _ completion: @escaping (Result<Resolution, LookupFailure>) -> Void
    ) {
        let types: [RecordType] =
            switch family {
            case .v4: [.a]
            case .v6: [.aaaa]
            case .both: [.a, .aaaa]
            }
        var results: [RecordType: Result<Resolution, LookupFailure>] = [:]
        for type in types {
            let question = Question(name: name, type: type)
            forwarder.ask(question) { answer in
                results[type] = answer.flatMap { Self.addresses(in: $0.bytes, question) }
                if results.count == types.count { completion(Self.combined(types.compactMap { results[$0] })) }
            }
        }
    }

    /// The addresses that an answer gives: those of the name, or of what it is an alias of.
    static func addresses(in bytes: [UInt8], _ question: Question) -> Result<Resolution, LookupFailure> {
        guard let message = try? DNSMessage(parsing: bytes) else { return .failure(.refused(.formatError)) }
        guard message.code == .success else {
            return .failure(message.code == .nameError ? .noSuchName : .refused(message.code))
        }
        var owners: Set<Name> = [question.name]
        var ttl = UInt32.max
        var hasGrown = true
        while hasGrown {  // Aliases may come in any order; each round finds at least one more.
            hasGrown = false
            for record in message.answers where owners.contains(record.name) {
                guard case .cname(let target) = record.value else { continue }
                ttl = min(ttl, record.ttl)
                if owners.insert(target).inserted { hasGrown = true }
            }
        }
        var addresses: [IPAddress] = []
        for record in message.answers where owners.contains(record.name) && record.type == question.type {
            guard case .address(let address) = record.value else { continue }
            if !addresses.contains(address) { addresses.append(address) }
            ttl = min(ttl, record.ttl)
        }
        guard !addresses.isEmpty else { return .failure(.noAddress) }
        return .success(Resolution(addresses: addresses, ttl: .seconds(Int64(ttl))))
    }

    /// One family's success is enough.
    private static func combined(_ results: [Result<Resolution, LookupFailure>]) -> Result<Resolution, LookupFailure> {
        let found = results.compactMap { try? $0.get() }
        guard let ttl = found.map(\.ttl).min() else {
            // A failure of the servers says more than that one family has no address.
            let failures = results.compactMap { result -> LookupFailure? in
                if case .failure(let failure) = result { failure } else { nil }
            }
            let isKnown: (LookupFailure) -> Bool = { $0 == .noAddress || $0 == .noSuchName }
            return .failure(failures.first { !isKnown($0) } ?? failures.first ?? .noAddress)
        }
        return .success(Resolution(addresses: found.flatMap(\.addresses), ttl: ttl))
    }
}
