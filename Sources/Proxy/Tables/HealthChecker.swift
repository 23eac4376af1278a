internal import HTTP
internal import IO
internal import Telemetry
internal import Upstream

/// Active health checks of one cluster, made on the control loop for all workers.
///
/// `@unchecked Sendable`: lives on the control loop alone. New hosts count as unhealthy until their first check (Envoy);
/// what has changed is reported, never what stays.
final class HealthChecker: @unchecked Sendable {
    private static let log = Logger("health")

    private let cluster: String
    private let loop: EventLoop
    private let report: (HostAddress, Bool) -> Void
    /// Tells workers that a host calls itself degraded, or no longer.
    private let reportDegraded: (HostAddress, Bool) -> Void
    /// How often hosts have said in an ordinary response that they want no more requests (all workers).
    private let passiveFailures: () -> UInt64
    /// Whether requests went to the cluster yet.
    private let hasTraffic: () -> Bool
    /// Counts on a worker.
    private let count: (ClusterMetrics.Cell) -> Void
    private var random = SystemRandomNumberGenerator()
    private var config: HealthCheckConfig?
    /// The cluster as it is now: its transport socket is spoken in checks too.
    private var clusterConfig: ClusterConfig?
    private var hosts: [HostAddress: Target] = [:]

    /// One host under examination.
    private final class Target {
        var endpoint: EndpointTable.Endpoint
        var state = HealthCheckState()
        var timer: LoopTimer?
        /// `x-envoy-degraded` of the latest answer, and what workers know of it.
        var isDegraded = false
        var reportsDegraded = false
        /// How many passive failures there were when its health was reported.
        var passiveFailures: UInt64 = 0

        init(_ endpoint: EndpointTable.Endpoint) { self.endpoint = endpoint }
    }

    init(
        cluster: String, loop: EventLoop, hasTraffic: @escaping () -> Bool,
        passiveFailures: @escaping () -> UInt64, count: @escaping (ClusterMetrics.Cell) -> Void,
        reportDegraded: @escaping (HostAddress, Bool) -> Void, report: @escaping (HostAddress, Bool) -> Void
    ) {
        self.passiveFailures = passiveFailures
        self.reportDegraded = reportDegraded
        self.hasTraffic = hasTraffic
        self.count = count
        self.cluster = cluster
        self.loop = loop
        self.report = report
    }

    /// Examines these hosts from now on; known ones go on as they were.
    func update(_ check: HealthCheckConfig, of cluster: ClusterConfig, endpoints: EndpointTable) {
        config = check
        clusterConfig = cluster
        var present: Set<HostAddress> = []
        for endpoint in endpoints.groups.flatMap(\.endpoints) {
            present.insert(endpoint.address)
            if let known = hosts[endpoint.address] {
                known.endpoint = endpoint
                continue
            }
            let target = Target(endpoint)
            hosts[endpoint.address] = target
            schedule(target, after: HealthCheckState.firstWait(check, random: random.next()))
        }
        for (address, target) in hosts where !present.contains(address) {
            target.timer?.cancel()
            hosts[address] = nil
        }
        // A worker that made a known host anew (its cluster had gone for a while) learns its state again.
        for target in hosts.values where target.state.isHealthy { report(target.endpoint.address, true) }
    }

    func cancel() {
        for target in hosts.values { target.timer?.cancel() }
        hosts = [:]
        config = nil
    }

    private func schedule(_ target: Target, after wait: Duration) {
        let address = target.endpoint.address
        target.timer = loop.schedule(after: wait) { [weak self] in self?.begin(address) }
    }

    private func begin(_ address: HostAddress) {
        guard let config, let target = hosts[address] else { return }
        let endpoint = target.endpoint
        guard !endpoint.skipsActiveChecks else { return }
        count(.health_check_attempt)
        Task(executorPreference: loop) {
            let result = await Self.withTimeout(config.timeout, on: self.loop) {
                await self.check(endpoint, config)
            }
            self.ended(address, result)
        }
    }

    private func ended(_ address: HostAddress, _ result: HealthCheckState.Result) {
        guard let config, let target = hosts[address] else { return }
        switch result {
        case .passed: count(.health_check_success)
        case .failed:
            count(.health_check_failure)
            count(.health_check_network_failure)
        case .refused: count(.health_check_failure)
        }
        let failures = passiveFailures()
        defer { target.passiveFailures = failures }
        if target.isDegraded != target.reportsDegraded, result == .passed {
            target.reportsDegraded = target.isDegraded
            reportDegraded(address, target.isDegraded)
        }
        switch target.state.record(result, config) {
        case .none:
            // A host that failed itself by a response is healthy again with the next check that passes.
            if result == .passed, target.state.isHealthy, failures != target.passiveFailures { report(address, true) }
        case .becameHealthy:
            Self.log.info("host is healthy", ["cluster": cluster, "host": "\(address)"])
            report(address, true)
        case .becameUnhealthy:
            Self.log.warning("host is unhealthy", ["cluster": cluster, "host": "\(address)"])
            report(address, false)
        }
        schedule(
            target, after: target.state.nextWait(config, hasTraffic: hasTraffic(), random: random.next()))
    }

    /// Fails when the check takes too long; the check's own task is cancelled then.
    private static func withTimeout(
        _ timeout: Duration, on loop: EventLoop, _ check: @escaping @Sendable () async -> HealthCheckState.Result
    ) async -> HealthCheckState.Result {
        await withTaskGroup(of: HealthCheckState.Result.self) { group in
            group.addTask(executorPreference: loop) { await check() }
            group.addTask(executorPreference: loop) {
                await loop.sleep(for: timeout)
                return .failed
            }
            let first = await group.next() ?? .failed
            group.cancelAll()
            return first
        }
    }

    private func check(_ endpoint: EndpointTable.Endpoint, _ config: HealthCheckConfig) async -> HealthCheckState.Result
    {
        guard var address = IO.SocketAddress(endpoint.address) else { return .failed }
        if let port = endpoint.healthCheckPort ?? config.port, case .ip(let ip, _) = address {
            address = .ip(ip, port: port)
        }
        switch config.kind {
        case .http(let http): return await check(http, address, endpoint)
        case .tcp(let send, let receive): return await check(send, receive, address, endpoint, config.timeout)
        case .grpc(let grpc): return await check(grpc, address, endpoint, config.timeout)
        }
    }

    /// A check has its own timeout; this one ends what that leaves behind.
    private static let connectTimeout: Duration = .seconds(30)

    private func connect(
        to address: IO.SocketAddress, _ endpoint: EndpointTable.Endpoint, _ timeout: Duration
    ) async throws(SystemError) -> any ByteStream {
        guard let clusterConfig else { return try await SocketStream.connect(to: address, on: loop, timeout: timeout) }
        return try await HostStream.connect(
            to: address, of: clusterConfig, metadata: endpoint.metadata,
            hostname: endpoint.hostname, on: loop, timeout: timeout)
    }

    private func check(
        _ check: HealthCheckConfig.HTTPCheck, _ address: IO.SocketAddress, _ endpoint: EndpointTable.Endpoint
    ) async -> HealthCheckState.Result {
        var authority = check.host
        if authority.isEmpty { authority = endpoint.healthCheckHostname }
        if authority.isEmpty { authority = endpoint.hostname.isEmpty ? cluster : endpoint.hostname }
        let client = HTTPClient(authority: authority, on: loop) { () throws(HTTPError) in
            do throws(SystemError) {
                return try await self.connect(to: address, endpoint, Self.connectTimeout)
            } catch {
                throw HTTPError.connection(error)
            }
        }
        defer { client.close() }
        let method = HTTPMethod.allCases.first { "\($0.name)" == check.method } ?? .get
        do throws(HTTPError) {
            var request = HTTPClientRequest(method, check.path, body: check.send)
            try? request.headers.append(.userAgent, "Envoy/HC")
            for mutation in check.requestMutations {
                guard let value = mutation.constantValue else {
                    request.headers.remove(named: mutation.name.bytes.span.bytes)
                    continue
                }
                switch mutation.operation {
                case .overwriteOrAdd, .overwriteIfPresent: request.headers.remove(named: mutation.name.bytes.span.bytes)
                default: break
                }
                try? request.headers.append(mutation.name.bytes.span.bytes, value.span.bytes)
            }
            let response = try await client.send(request)
            let status = response.status
            var body: [UInt8] = []
            if !check.receive.isEmpty {
                while body.count < check.bodyBytesMax, let piece = try await response.next() { body += piece }
                body = Array(body.prefix(check.bodyBytesMax))
            }
            response.close()
            hosts[endpoint.address]?.isDegraded = response.head.headers.contains(.xEnvoyDegraded)
            if let matcher = check.serviceName {
                count(.health_check_verify_cluster)
                let name = Array((response.head.headers["x-envoy-upstream-healthchecked-cluster"] ?? "").utf8)
                guard matcher.matches(name.span) else { return .refused }
            }
            var rest = body[...]
            for wanted in check.receive {
                guard let end = Self.end(of: wanted, in: rest) else { return .refused }
                rest = rest[end...]
            }
            let expected = check.expectedStatuses.isEmpty ? [200..<201] : check.expectedStatuses
            if expected.contains(where: { $0.contains(status) }) { return .passed }
            return check.retriableStatuses.contains { $0.contains(status) } ? .failed : .refused
        } catch {
            return .failed
        }
    }

    private func check(
        _ check: HealthCheckConfig.GRPCCheck, _ address: IO.SocketAddress, _ endpoint: EndpointTable.Endpoint,
        _ timeout: Duration
    ) async -> HealthCheckState.Result {
        var authority = check.authority
        if authority.isEmpty { authority = endpoint.healthCheckHostname }
        if authority.isEmpty { authority = endpoint.hostname.isEmpty ? cluster : endpoint.hostname }
        do {
            let stream = try await connect(to: address, endpoint, timeout)
            defer { stream.close() }
            let call = try GRPCClientStream(
                path: "/grpc.health.v1.Health/Check", authority: authority, messageBytesMax: Self.readBytes)
            // HealthCheckRequest: the name of the service is field 1.
            let name = Array(check.service.utf8.prefix(Self.nameBytesMax))
            try call.send(name.isEmpty ? [] : [0x0A, UInt8(truncatingIfNeeded: name.count)] + name)
            try call.finishSending()
            var isServing = false
            var output: [UInt8] = []
            while true {
                output.removeAll(keepingCapacity: true)
                call.takeOutput(into: &output)
                if !output.isEmpty { try await stream.write(output) }
                let bytes = try await stream.read(upTo: Self.readBytes)
                for event in bytes.isEmpty ? call.inputEnded() : call.receive(bytes.span.bytes) {
                    switch event {
                    // HealthCheckResponse: field 1 is the status, of which 1 is SERVING.
                    case .message(let message): isServing = message.starts(with: [0x08, 0x01])
                    case .closed(let status): return status.code == .ok && isServing ? .passed : .refused
                    case .opened, .pong, .drained: break
                    }
                }
                if bytes.isEmpty { return .failed }
            }
        } catch {
            return .failed
        }
    }

    /// The name's length is one byte.
    private static let nameBytesMax = 127

    private func check(
        _ send: [UInt8], _ receive: [[UInt8]], _ address: IO.SocketAddress, _ endpoint: EndpointTable.Endpoint,
        _ timeout: Duration
    ) async -> HealthCheckState.Result {
        do throws(SystemError) {
            let stream = try await connect(to: address, endpoint, timeout)
            defer { stream.close() }
            if !send.isEmpty { try await stream.write(send) }
            var got: [UInt8] = []
            for wanted in receive {
                while !Self.contains(got, wanted) {
                    let more = try await stream.read(upTo: Self.readBytes)
                    guard !more.isEmpty, got.count < Self.answerBytesMax else { return .failed }
                    got += more
                }
            }
            return .passed
        } catch {
            return .failed
        }
    }

    private static let readBytes = 4096
    private static let answerBytesMax = 65_536

    private static func contains(_ bytes: [UInt8], _ part: [UInt8]) -> Bool { end(of: part, in: bytes[...]) != nil }

    /// Where a text ends in another; nil when it is not in it.
    private static func end(of part: [UInt8], in bytes: ArraySlice<UInt8>) -> Int? {
        guard !part.isEmpty else { return bytes.startIndex }
        guard bytes.count >= part.count else { return nil }
        for start in bytes.startIndex...(bytes.endIndex - part.count)
        where bytes[start..<(start + part.count)].elementsEqual(part) {
            return start + part.count
        }
        return nil
    }
}
