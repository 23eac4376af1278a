internal import IO
internal import TLS
internal import Telemetry
internal import Upstream

/// One cluster on one loop: its hosts, their pools, what of its limits is in use.
final class ClusterRuntime {
    let worker: Worker
    let name: String
    private(set) var config: ClusterConfig
    /// Nothing of a request but its hash and its former tries counts for the choice of a host.
    private(set) var choosesByItself: Bool
    /// Its balancer goes by how long hosts take.
    private(set) var measuresLatency: Bool
    /// It has hash policies of its own.
    private(set) var hashesRequests: Bool
    private(set) var rules: RequestRules
    /// Requests that one connection carries in its life.
    private(set) var requestsPerConnectionMax: Int
    /// Its hosts are its own and known: no aggregate, no ORIGINAL_DST, no names that requests bring.
    var hasOwnHosts: Bool { discovery == .members }
    /// How hosts are found, as far as each request asks.
    private(set) var discovery: Discovery
    let metrics: ClusterMetrics
    /// This loop's row of `metrics` once something was counted.
    private var row: MetricRow?
    let hostSet: HostSet
    private(set) var balancer: LoadBalancer
    /// Shared with the other loops.
    let normalUse: ResourceUse
    let highUse: ResourceUse
    private(set) var outlier: OutlierSweep?
    /// Hosts that ORIGINAL_DST connections made, by address.
    private var originalHosts: [SocketAddress: Host] = [:]
    /// Why a host took no connection, the last time that one did not, unless it has since; it stays when the host is forgotten.
    var trouble: ConnectionTrouble?
    /// When a connection came about last.
    private(set) var connected: MonotonicTime?
    private(set) var isRemoved = false
    /// Hosts that requests have named, by name and port (dynamic_forward_proxy).
    var dynamicHosts: [String: Host] = [:]
    /// HTTP filters between router and hosts; nil is none.
    private(set) var upstreamFilters: UpstreamFilterChain?
    /// The transport sockets; nil is plain text for all.
    private(set) var transport: UpstreamTransport? { didSet { tellsClients = transport?.hasPrefaces ?? false } }
    /// What its connections begin with depends on the client.
    private(set) var tellsClients = false

    /// What each request asks of the configuration: to ask that itself would count a reference each time.
    struct RequestRules {
        let codec: ClusterConfig.Codec
        let countsBytes: Bool
        /// TLS asks for a name that follows requests (`auto_sni`).
        let followsServerNames: Bool
        let passesTrailers: Bool
        /// Bytes that wait for one of its hosts before clients are read no further.
        let bufferBytes: Int
        /// Names of fields are written with capitals, where nobody says how they were written.
        let capitalizesNames: Bool
        let connectionDurationMax: Duration?
        let streamDurationMax: Duration?
        /// Its hosts tell their load or health in response fields.
        let learnsFromResponses: Bool

        init(_ config: ClusterConfig) {
            codec = config.codec
            countsBytes = config.countsBytes
            followsServerNames = config.serverNames.followRequests
            passesTrailers = config.passesTrailers
            bufferBytes = BufferLimits.wire(cluster: config.bufferBytes)
            capitalizesNames = config.fieldNames == .properCase
            connectionDurationMax = config.maxConnectionDuration
            streamDurationMax = config.maxStreamDuration
            learnsFromResponses = config.reportedWeights != nil || !config.healthChecks.isEmpty
        }
    }

    /// `ClusterConfig.Discovery` without its settings, which a look at the case alone would copy.
    enum Discovery {
        /// Its own endpoints, wherever they come from.
        case members
        case aggregate
        case original
        case dynamic

        init(_ discovery: ClusterConfig.Discovery) {
            self =
                switch discovery {
                case .staticEndpoints, .eds, .strictDNS, .logicalDNS: .members
                case .aggregate: .aggregate
                case .originalDestination: .original
                case .dynamicForwardProxy: .dynamic
                }
        }
    }

    init(_ config: ClusterConfig, metrics: ClusterMetrics, worker: Worker) {
        self.config = config
        choosesByItself = config.choosesByItself
        measuresLatency = config.measuresLatency
        hashesRequests = !config.hashPolicies.isEmpty
        rules = RequestRules(config)
        requestsPerConnectionMax = Int(config.maxRequestsPerConnection ?? .max)
        discovery = Discovery(config.discovery)
        self.metrics = metrics
        normalUse = metrics.normalUse
        highUse = metrics.highUse
        self.worker = worker
        name = config.name
        let transport = config.transport as? UpstreamTransport
        self.transport = transport
        tellsClients = transport?.hasPrefaces ?? false
        upstreamFilters = config.httpFilters as? UpstreamFilterChain
        hostSet = HostSet(panicThresholdPercent: config.panicThresholdPercent)
        hostSet.startsUnchecked = !config.healthChecks.isEmpty
        hostSet.outlierLedger = metrics.outlierLedger
        balancer = LoadBalancer(config, hostSet: hostSet, place: worker.place)
        metrics.normalUse.thresholds = config.limits.normal
        metrics.highUse.thresholds = config.limits.high
        outlier = config.outlierDetection.map { OutlierSweep($0, cluster: self) }
    }

    /// Takes a changed configuration; hosts, counts and connections stay.
    ///
    /// Connections under another transport socket than the present one finish what they serve: their peers were judged by
    /// what counted before (ATK-28).
    func update(_ newConfig: ClusterConfig) {
        let fingerprint = transport?.fingerprint
        config = newConfig
        choosesByItself = newConfig.choosesByItself
        measuresLatency = newConfig.measuresLatency
        hashesRequests = !newConfig.hashPolicies.isEmpty
        rules = RequestRules(newConfig)
        requestsPerConnectionMax = Int(newConfig.maxRequestsPerConnection ?? .max)
        discovery = Discovery(newConfig.discovery)
        transport = newConfig.transport as? UpstreamTransport
        upstreamFilters = newConfig.httpFilters as? UpstreamFilterChain
        if transport?.fingerprint != fingerprint { retireConnections() }
        hostSet.panicThresholdPercent = newConfig.panicThresholdPercent
        hostSet.startsUnchecked = !newConfig.healthChecks.isEmpty
        balancer = LoadBalancer(newConfig, hostSet: hostSet, place: worker.place)
        normalUse.thresholds = newConfig.limits.normal
        highUse.thresholds = newConfig.limits.high
        outlier?.cancel()
        if newConfig.outlierDetection == nil, outlier != nil { outlierSwitchedOff() }
        outlier = newConfig.outlierDetection.map { OutlierSweep($0, cluster: self) }
    }

    /// Takes new endpoints; pools of hosts that left drain.
    func apply(_ endpoints: EndpointTable) {
        let change = hostSet.apply(endpoints, now: worker.loop.now.nanoseconds)
        for host in change.removed {
            // Counted once for all loops.
            if hostSet.outlierLedger.forget(host) { uncount(.outlier_ejections_active) }
            (host.attachment as? HostPool)?.drain()
        }
        if config.closesConnectionsOnHostSetChange, !change.added.isEmpty || !change.removed.isEmpty {
            for host in hostSet.hosts { (host.attachment as? HostPool)?.renew() }
        }
        // What others have decided before this loop knew the host.
        if outlier != nil { for host in change.added { _ = OutlierDetector.follow(host, in: hostSet) } }
    }

    /// Nobody would ever take back who is ejected.
    private func outlierSwitchedOff() {
        hostSet.clear(.ejected)
        guard worker.index == 0 else { return }
        for _ in 0..<hostSet.outlierLedger.clear() { uncount(.outlier_ejections_active) }
    }

    /// Another loop has ejected a host, or taken it back.
    func outlierChanged(_ address: HostAddress) {
        guard let host = hostSet.host(at: address) else { return }
        if OutlierDetector.follow(host, in: hostSet) { hostFailed(host) }
    }

    /// The cluster is no longer configured: what is under way finishes, nothing new begins.
    func remove() {
        isRemoved = true
        outlier?.cancel()
        outlier = nil
        for host in hostSet.hosts { (host.attachment as? HostPool)?.drain() }
        for host in originalHosts.values { (host.attachment as? HostPool)?.drain() }
        originalHosts = [:]
        for host in dynamicHosts.values { (host.attachment as? HostPool)?.drain() }
        dynamicHosts = [:]
    }

    // MARK: Choosing

    /// The cluster that really serves: itself, or for an aggregate the first of its clusters that can (each takes what it is
    /// able to, the next takes what is left).
    func member() -> ClusterRuntime {
        guard discovery == .aggregate, case .aggregate(let names) = config.discovery else { return self }
        let members = names.compactMap { worker.cluster(named: $0) }.filter { !$0.isRemoved }
        let shares = members.map { UInt64($0.hostSet.availability) }
        let total = min(shares.reduce(0, +), 100)
        guard total > 0 else { return members.first { $0.hostSet.count > 0 } ?? self }
        var draws = SplitMix64(seed: worker.random.next())
        var point = draws.next() % total
        for (index, share) in shares.enumerated() {
            if point < share { return members[index].config.isAggregate ? members[index].member() : members[index] }
            point -= share
        }
        return members.last ?? self
    }

    /// The host for a request; nil is 503 UH.
    ///
    /// - Parameter named: The address that the request itself names, for ORIGINAL_DST.
    func choose(_ request: LoadBalancer.Request, connection: ConnectionInfo?, named: String? = nil) -> Host? {
        if discovery != .members {
            if case .originalDestination(let settings) = config.discovery {
                return originalHost(settings, connection, named)
            }
            if let settings = config.dnsCache { return dynamicHost(settings, connection, named) }
        }
        let host = balancer.choose(request, random: worker.random.next())
        if balancer.hasNotes { countNotes() }
        return host
    }

    /// What balancers come across and few clusters ever see.
    private func countNotes() {
        let notes = balancer.takeNotes()
        count(.lb_healthy_panic, notes.panics)
        count(.lb_subsets_selected, notes.subsets)
        count(.lb_subsets_fallback, notes.fallbacks)
    }

    /// ORIGINAL_DST: the host is wherever the connection wanted to go, or where the request says.
    private func originalHost(
        _ settings: ClusterConfig.OriginalDestination, _ connection: ConnectionInfo?, _ named: String?
    ) -> Host? {
        let target: (ip: IPAddress, port: UInt16)
        if let named {
            guard case .ip(let ip, let port)? = SocketAddress(parsing: named) else {
                count(.original_dst_host_invalid)
                return nil
            }
            target = (ip, port)
        } else {
            guard let connection, connection.isRedirected, case .ip(let ip, let port) = connection.localAddress else {
                return nil
            }
            target = (ip, port)
        }
        let port = settings.portOverride ?? target.port
        let address = SocketAddress.ip(target.ip, port: port)
        if let known = originalHosts[address] { return known }
        let host = Host(EndpointTable.Endpoint(address: .ip("\(target.ip)", port: port)))
        originalHosts[address] = host
        metrics.add(.membership_change, row: worker.index)
        return host
    }

    /// The host was ejected, or its active check failed.
    func hostFailed(_ host: Host) {
        guard config.closesConnectionsOnHostHealthFailure else { return }
        (host.attachment as? HostPool)?.renew()
    }

    /// A connection has come about: nothing is wrong with the host any more.
    func hasConnected(_ host: Host) {
        connected = worker.loop.now
        if let trouble, trouble.address == host.address { self.trouble = nil }
    }

    /// Nothing is open to the host and nobody waits for it, or one that used it has let go.
    ///
    /// Forgets an ORIGINAL_DST host that nobody uses: addresses come from the network, so they must not pile up. Host and
    /// pool hold each other, which ends here too, also for a host that was removed.
    func released(_ host: Host) {
        guard host.activeRequests == 0, host.activeConnections == 0, !hasOwnHosts || host.conditions.contains(.removed),
            (host.attachment as? HostPool)?.isEmpty ?? true
        else { return }
        if discovery == .dynamic {
            forgetDynamic(host)
        } else if discovery == .original {
            if let address = SocketAddress(host.address), originalHosts[address] === host {
                originalHosts[address] = nil
            }
            host.attachment = nil
        } else if host.conditions.contains(.removed) {
            host.attachment = nil
        }
    }

    /// The pool of a host, made at first use.
    ///
    /// - Parameters:
    ///   - name: what its TLS connections ask for, where that follows requests.
    ///   - protocols: what they offer by ALPN, where that follows requests.
    ///   - connection: on whose behalf; nil is our own.
    ///   - source: where its connections come from (original_src).
    func pool(
        of host: Host, named name: String? = nil, speaking protocols: String? = nil,
        for connection: ConnectionInfo? = nil,
        from source: UpstreamSource? = nil
    ) -> HostPool? {
        if name == nil, protocols == nil, source == nil, connection == nil || transport?.hasPrefaces != true,
            let pool = host.attachment as? HostPool
        {
            return pool
        }
        var key = HostPool.Key(serverName: name, source: source)
        // Plain text offers nothing: its connections serve everybody.
        if let protocols, transport?.socket(for: host).context != nil { key.applicationProtocols = protocols }
        if let transport, transport.hasPrefaces, let connection, let preface = transport.socket(for: host).preface {
            guard let header = preface.header(for: connection) else { return nil }
            key.preface = header
        }
        if key != HostPool.Key() { return pool(of: host)?.pool(key) }
        if let pool = host.attachment as? HostPool { return pool }
        guard let address = SocketAddress(host.address) else { return nil }
        let pool = HostPool(host: host, address: address, cluster: self)
        host.attachment = pool
        return pool
    }

    /// Makes what a connection for a client begins with; false when its addresses allow none.
    func makePreface(_ host: Host, for connection: ConnectionInfo, _ header: inout [UInt8]?) -> Bool {
        guard let transport, transport.hasPrefaces, let preface = transport.socket(for: host).preface else {
            return true
        }
        header = preface.header(for: connection)
        return header != nil
    }

    /// What a connection to a host begins with, before any TLS; nil is nothing.
    ///
    /// - Parameter made: what was made for the client already.
    func preface(_ host: Host, _ made: [UInt8]?, _ socket: Socket, to address: SocketAddress) -> [UInt8]? {
        if let made { return made }
        guard let transport, transport.hasPrefaces, let preface = transport.socket(for: host).preface else {
            return nil
        }
        return preface.ownHeader(local: socket.localAddress, remote: address)
    }

    /// The local address for connections to a host; nil lets the kernel choose.
    func source(for address: SocketAddress) -> SocketAddress? {
        guard case .ip(let ip, _) = address else { return nil }
        for text in [config.bindAddress].compactMap({ $0 }) + config.extraBindAddresses {
            if let source = IPAddress(text), source.isV6 == ip.isV6 { return .ip(source, port: 0) }
        }
        return nil
    }

    /// A socket on its way to a host, set up as the cluster says.
    ///
    /// - Parameter client: where it comes from instead of the cluster's own addresses.
    func openSocket(
        to address: SocketAddress, of host: Host, from client: UpstreamSource? = nil
    ) throws(SystemError) -> Socket {
        if case .listener(let name, _) = host.endpoint.address {
            let metadata = transport?.passedMetadata(of: host, in: config) ?? [:]
            return try worker.connect(toListener: name, metadata: metadata)
        }
        let socket: Socket
        do throws(SystemError) {
            if let client, case .ip(let ip, _) = client.address, case .ip(let other, _) = address, ip.isV6 == other.isV6
            {
                socket = try Socket.connect(to: address, from: client.address, transparent: true, mark: client.mark)
            } else {
                socket = try Socket.connect(to: address, from: source(for: address), mark: client?.mark ?? 0)
            }
        } catch {
            if error.operation.hasPrefix("bind ") || client != nil { count(.bind_errors) }
            throw error
        }
        if let settings = config.keepAlive, case .ip = address {
            // What is not set stays Linux's own: 2 h, 75 s, 9 probes.
            try? socket.setKeepAlive(
                idleSeconds: Int32(clamping: settings.timeSeconds ?? 7200),
                intervalSeconds: Int32(clamping: settings.intervalSeconds ?? 75),
                probes: Int32(clamping: settings.probes ?? 9))
        }
        return socket
    }

    /// Made at the first count; most clusters never need them.
    private(set) lazy var retryScope = worker.metrics.scope("cluster", config.observedName, "retry")
    private(set) lazy var canaryScope = worker.metrics.scope("cluster", config.observedName, "canary")
    private(set) lazy var authorizationScope = worker.metrics.scope("cluster", config.observedName, "ext_authz")
    private(set) lazy var rateLimitScope = worker.metrics.scope("cluster", config.observedName, "ratelimit")

    // MARK: TLS

    private lazy var tlsMetrics = worker.metrics.tls("cluster", config.observedName)

    /// The TLS of a new connection to a host; nil for plain text.
    func beginTLS(_ host: Host, _ key: HostPool.Key = HostPool.Key()) throws(SystemError) -> TLSTransport? {
        guard let transport else { return nil }
        let socket = transport.socket(for: host)
        guard socket.context != nil else { return nil }
        do throws(TLSError) {
            return try socket.begin(
                host, pool: worker.blocks, serverName: key.serverName, isChecked: config.serverNames.areChecked,
                offering: key.applicationProtocols)
        } catch {
            tlsMetrics.count(
                socket.context?.current == nil ? .context_secrets_not_ready : .connection_error, row: worker.index)
            throw SystemError(Self.protocolError, "TLS: \(error.reason)")
        }
    }
    private static let protocolError: Int32 = 71  // EPROTO

    /// Connections under these contexts serve what they serve, and nothing further.
    func retireConnections(of contexts: Set<ObjectIdentifier>) {
        guard let transport,
            transport.contexts.contains(where: { contexts.contains(ObjectIdentifier($0)) })
        else { return }
        retireConnections()
    }

    private func retireConnections() {
        // What a handshake failed by counts no more.
        if case .handshakeFailed = trouble?.failure { trouble = nil }
        for host in hostSet.hosts + originalHosts.values + dynamicHosts.values {
            guard let pool = host.attachment as? HostPool else { continue }
            host.attachment = nil
            pool.drain()
        }
    }

    func handshakeFinished(_ engine: TLSEngine) { tlsMetrics.finished(engine, row: worker.index) }

    func handshakeFailed(_ engine: TLSEngine) { tlsMetrics.failed(engine, row: worker.index) }

    // MARK: Limits

    func acquire(_ resource: ResourceUse.Resource, _ priority: ResourcePriority) -> Bool {
        switch priority {
        case .normal: normalUse.acquire(resource)
        case .high: highUse.acquire(resource)
        }
    }

    /// One beyond the limit: released like any other.
    func exceed(_ resource: ResourceUse.Resource, _ priority: ResourcePriority) {
        switch priority {
        case .normal: normalUse.exceed(resource)
        case .high: highUse.exceed(resource)
        }
    }

    func release(_ resource: ResourceUse.Resource, _ priority: ResourcePriority) {
        switch priority {
        case .normal: normalUse.release(resource)
        case .high: highUse.release(resource)
        }
    }

    func count(_ cell: ClusterMetrics.Cell, _ amount: UInt64 = 1) {
        let index = cell.rawValue &- ClusterMetrics.firstOfData
        if index >= 0, let row { return row.add(index, amount) }
        metrics.add(cell, amount, row: worker.index)
        if index >= 0 { row = metrics.dataRow(worker.index) }
    }

    func uncount(_ cell: ClusterMetrics.Cell) { count(cell, 0 &- 1) }
}

extension ClusterConfig {
    fileprivate var measuresLatency: Bool {
        if case .peakEWMA = self.balancing { return true }
        return false
    }

    fileprivate var choosesByItself: Bool {
        self.balancingOptions.subsets == nil && self.balancingOptions.overrideSources.isEmpty
    }
}

extension SocketAddress {
    /// The socket address of a configured host; nil while a name is unresolved.
    init?(_ address: HostAddress) {
        switch address {
        case .ip(let text, let port):
            guard let ip = IPAddress(text) else { return nil }
            self = .ip(ip, port: port)
        case .pipe(let path): self = .unix(path)
        case .listener: self = .unix(address.description)
        case .name: return nil
        }
    }
}

extension SocketAddress {
    /// `1.2.3.4:80`, `[::1]:80`; nil when it is no address with a port.
    init?(parsing text: String) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
            return nil
        }
        var host = text[..<colon]
        if host.first == "[", host.last == "]" { host = host.dropFirst().dropLast() }
        guard let ip = IPAddress(String(host)) else { return nil }
        self = .ip(ip, port: port)
    }
}
