internal import DNS
internal import IO
internal import Telemetry
internal import Upstream

/// Resolves the names in a STRICT_DNS or LOGICAL_DNS cluster, again and again.
///
/// `@unchecked Sendable`: lives on the control loop alone. A name that cannot be resolved keeps its last addresses: DNS
/// being away must not take a service down that works.
final class NameDiscovery: @unchecked Sendable {
    private static let log = Logger("dns")
    /// Waits after a failure; the configured refresh rate may be minutes.
    private static let retryInterval: Duration = .seconds(1)

    private let config: ClusterConfig
    private let loop: EventLoop
    private let resolver: DNSResolver
    private let apply: (EndpointTable) -> Void
    private var answers: [String: [String]] = [:]
    private var timer: LoopTimer?
    private var isCancelled = false
    private var random = SystemRandomNumberGenerator()
    /// Rounds in which a look-up failed, in a row.
    private var failures: UInt32 = 0

    init(_ config: ClusterConfig, loop: EventLoop, resolver: DNSResolver, apply: @escaping (EndpointTable) -> Void) {
        self.config = config
        self.loop = loop
        self.resolver = resolver
        self.apply = apply
    }

    /// Begins, on the loop's next pass.
    func start() {
        loop.execute { self.resolve() }
    }

    func cancel() {
        isCancelled = true
        timer?.cancel()
    }

    private func resolve() {
        guard !isCancelled else { return }
        let table = config.endpoints ?? EndpointTable()
        var names: [String] = []
        for case .name(let name, _) in table.names where !names.contains(name) { names.append(name) }
        guard !names.isEmpty else { return apply(table) }
        var left = names.count
        var shortest: Duration?
        var hasFailed = false
        for name in names {
            lookUp(name) { [weak self] addresses, ttl in
                guard let self, !self.isCancelled else { return }
                if let addresses {
                    self.answers[name] = addresses
                    shortest = min(shortest ?? ttl, ttl)
                } else {
                    hasFailed = true
                }
                left -= 1
                guard left == 0 else { return }
                // As Envoy: the answers' own time takes the place of the configured one.
                let usual = self.config.respectsDNSTTL ? shortest : nil
                let wait = usual.map { max($0, Self.shortestTTL) } ?? self.config.dnsRefreshRate
                self.resolved(table, next: hasFailed ? self.waitAfterFailure() : self.jittered(wait), hasFailed)
            }
        }
    }

    /// Answers that want to be asked for more often are not.
    private static let shortestTTL: Duration = .seconds(1)

    private func waitAfterFailure() -> Duration {
        failures &+= 1
        guard let backOff = config.dnsFailureBackOff else { return min(config.dnsRefreshRate, Self.retryInterval) }
        // Between half of the range and all of it: never at once.
        let full = backOff.wait(beforeRetry: failures, random: .max)
        return full / 2 + backOff.wait(beforeRetry: failures, random: random.next()) / 2
    }

    private func jittered(_ wait: Duration) -> Duration {
        guard config.dnsJitter > .zero else { return wait }
        return wait + config.dnsJitter * (Double(random.next() >> 11) * 0x1p-53)
    }

    private func resolved(_ table: EndpointTable, next wait: Duration, _ hasFailed: Bool) {
        if !hasFailed { failures = 0 }
        let isLogical = if case .logicalDNS = config.discovery { true } else { false }
        apply(table.resolved(answers, onlyFirst: isLogical))
        timer = loop.schedule(after: wait) { [weak self] in self?.resolve() }
    }

    /// Asks for the families in the cluster's order.
    private func lookUp(_ name: String, _ completion: @escaping ([String]?, Duration) -> Void) {
        let families: [AddressFamily]
        switch config.dnsFamily {
        case .v4Only: families = [.v4]
        case .v6Only: families = [.v6]
        case .auto: families = [.v6, .v4]
        case .v4Preferred: families = [.v4, .v6]
        case .all: families = [.both]
        }
        ask(name, families[...], completion)
    }

    private func ask(
        _ name: String, _ families: ArraySlice<AddressFamily>, _ completion: @escaping ([String]?, Duration) -> Void
    ) {
        guard let family = families.first else { return completion(nil, .zero) }
        resolver.resolve(name, family) { [weak self] result in
            switch result {
            case .success(let resolution) where !resolution.addresses.isEmpty:
                completion(resolution.addresses.map(\.description), resolution.ttl)
            case .success: self?.ask(name, families.dropFirst(), completion)
            case .failure(let failure):
                if families.count == 1 {
                    Self.log.debug("\(name): \(failure)")
                    completion(nil, .zero)
                } else {
                    self?.ask(name, families.dropFirst(), completion)
                }
            }
        }
    }
}
