internal import DNS
internal import IO
internal import Telemetry
internal import Upstream

/// Who waits for a name.
protocol DNSCacheClient: AnyObject {
    /// The look-up is over; `DNSCache.address(of:)` says what came of it.
    func nameLoaded()
}

/// The addresses of names that requests bring, on one loop.
///
/// A name is looked up when it is first asked for, again and again as long as somebody asks, and forgotten after that. Names, and requests
/// that wait, are bounded.
final class DNSCache {
    /// What came of asking for a name.
    enum Load {
        /// `address(of:)` knows: an address, or that there is none.
        case ready
        /// The client will be told.
        case loading
        /// As many names as may be are known.
        case overflow
        /// As many requests as may be wait.
        case pendingOverflow
    }

    private final class Entry {
        var addresses: [IPAddress] = []
        /// The first look-up has ended.
        var isLoaded = false
        var lastUsed: MonotonicTime
        var clients: [any DNSCacheClient] = []
        var timer: LoopTimer?
        var timeout: LoopTimer?
        /// The number of the look-up under way: a late answer of one that was given up is not looked at.
        var lookUp = 0
        var failures: UInt32 = 0
        /// Addresses taken, where they take turns.
        var turn = 0

        init(_ now: MonotonicTime) { lastUsed = now }
    }

    private struct Counters {
        let attempt: MetricCounter
        let success: MetricCounter
        let failure: MetricCounter
        let timeout: MetricCounter
        let hostAdded: MetricCounter
        let hostRemoved: MetricCounter
        let addressChanged: MetricCounter
        let hostOverflow: MetricCounter
        let pendingOverflow: MetricCounter
        let hosts: MetricGauge

        init(_ scope: MetricScope) {
            attempt = scope.counter("dns_query_attempt")
            success = scope.counter("dns_query_success")
            failure = scope.counter("dns_query_failure")
            timeout = scope.counter("dns_query_timeout")
            hostAdded = scope.counter("host_added")
            hostRemoved = scope.counter("host_removed")
            addressChanged = scope.counter("host_address_changed")
            hostOverflow = scope.counter("host_overflow")
            pendingOverflow = scope.counter("dns_rq_pending_overflow")
            hosts = scope.gauge("num_hosts")
        }
    }

    var settings: DNSCacheSettings {
        didSet { if settings.resolver != oldValue.resolver { resolver = worker.resolvers.resolver(settings.resolver) } }
    }
    private unowned let worker: Worker
    private var resolver: DNSResolver
    private let counters: Counters
    private var entries: [DNSCacheName: Entry] = [:]
    private var pending = 0

    init(_ settings: DNSCacheSettings, worker: Worker) {
        self.settings = settings
        self.worker = worker
        resolver = worker.resolvers.resolver(settings.resolver)
        counters = Counters(worker.metrics.scope("dns_cache", settings.name))
        for text in settings.preresolved {
            if let name = DNSCacheName(authority: text, defaultPort: 0) { _ = add(name) }
        }
    }

    /// The address to connect to; nil where none is known.
    func address(of name: DNSCacheName) -> IPAddress? {
        // What is an address already needs no asking.
        if let address = IPAddress(name.host) { return address }
        guard let entry = entries[name] else { return nil }
        entry.lastUsed = worker.loop.now
        return entry.addresses.first
    }

    /// All addresses of a name.
    func addresses(of name: DNSCacheName) -> [IPAddress] {
        if let address = IPAddress(name.host) { return [address] }
        guard let entry = entries[name] else { return [] }
        entry.lastUsed = worker.loop.now
        return entry.addresses
    }

    /// How often addresses have been taken of a name, one after the other.
    func nextTurn(of name: DNSCacheName) -> Int {
        guard let entry = entries[name] else { return 0 }
        entry.turn &+= 1
        return entry.turn
    }

    /// Makes sure that a name is known.
    func load(_ name: DNSCacheName, for client: any DNSCacheClient) -> Load {
        if IPAddress(name.host) != nil { return .ready }
        if let known = entries[name], known.isLoaded {
            known.lastUsed = worker.loop.now
            return .ready
        }
        guard pending < settings.pendingMax else {
            counters.pendingOverflow.add(row: worker.index)
            return .pendingOverflow
        }
        guard let entry = entries[name] ?? add(name) else {
            counters.hostOverflow.add(row: worker.index)
            return .overflow
        }
        // The hosts file answers at once.
        if entry.isLoaded { return .ready }
        entry.clients.append(client)
        pending += 1
        return .loading
    }

    /// A client no longer waits.
    func cancel(_ client: any DNSCacheClient, _ name: DNSCacheName) {
        guard let entry = entries[name], let index = entry.clients.firstIndex(where: { $0 === client }) else { return }
        entry.clients.remove(at: index)
        pending -= 1
    }

    private func add(_ name: DNSCacheName) -> Entry? {
        guard entries.count < settings.hostsMax else { return nil }
        let entry = Entry(worker.loop.now)
        entries[name] = entry
        counters.hostAdded.add(row: worker.index)
        counters.hosts.add(row: worker.index)
        lookUp(name, entry)
        return entry
    }

    // MARK: Looking up

    private func lookUp(_ name: DNSCacheName, _ entry: Entry) {
        counters.attempt.add(row: worker.index)
        entry.lookUp += 1
        let number = entry.lookUp
        if let timeout = settings.queryTimeout {
            entry.timeout = worker.schedule(after: timeout) { [weak self, weak entry] in
                guard let self, let entry, entry.lookUp == number else { return }
                self.counters.timeout.add(row: self.worker.index)
                self.finish(name, entry, nil)
            }
        }
        let families: [AddressFamily] =
            switch settings.family {
            case .v4Only: [.v4]
            case .v6Only: [.v6]
            case .auto: [.v6, .v4]
            case .v4Preferred: [.v4, .v6]
            case .all: [.both]
            }
        ask(name, entry, number, families[...])
    }

    private func ask(
        _ name: DNSCacheName, _ entry: Entry, _ number: Int, _ families: ArraySlice<AddressFamily>
    ) {
        guard let family = families.first else {
            counters.failure.add(row: worker.index)
            return finish(name, entry, nil)
        }
        resolver.resolve(name.host, family) { [weak self, weak entry] result in
            guard let self, let entry, entry.lookUp == number else { return }
            if case .success(let resolution) = result, !resolution.addresses.isEmpty {
                self.counters.success.add(row: self.worker.index)
                self.finish(name, entry, resolution)
            } else {
                self.ask(name, entry, number, families.dropFirst())
            }
            self.worker.endTurn()
        }
    }

    private func finish(_ name: DNSCacheName, _ entry: Entry, _ resolution: Resolution?) {
        entry.lookUp += 1
        entry.timeout?.cancel()
        entry.timeout = nil
        var wait = settings.refreshRate
        if let resolution {
            entry.failures = 0
            // The order is the server's whim: an address that is still there stays in use.
            if entry.addresses.first.map({ !resolution.addresses.contains($0) }) ?? true {
                entry.addresses = resolution.addresses
                counters.addressChanged.add(row: worker.index)
            }
            wait = max(resolution.ttl, settings.shortestRefresh)
        } else {
            // What was known stays: DNS being away takes no name down.
            entry.failures &+= 1
            if let backOff = settings.failureBackOff {
                wait = backOff.wait(beforeRetry: entry.failures, random: worker.random.next())
            }
        }
        entry.timer = worker.schedule(after: max(wait, Self.shortestWait)) { [weak self, weak entry] in
            guard let self, let entry else { return }
            self.refresh(name, entry)
        }
        entry.isLoaded = true
        let clients = entry.clients
        entry.clients = []
        pending -= clients.count
        for client in clients { client.nameLoaded() }
    }

    private static let shortestWait: Duration = .milliseconds(1)

    private func refresh(_ name: DNSCacheName, _ entry: Entry) {
        guard entry.lastUsed + settings.hostTTL <= worker.loop.now else { return lookUp(name, entry) }
        entries[name] = nil
        counters.hostRemoved.add(row: worker.index)
        counters.hosts.subtract(row: worker.index)
    }
}
