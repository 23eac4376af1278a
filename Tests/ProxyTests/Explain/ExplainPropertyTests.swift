import IO
import Synchronization
import Testing
import Upstream

@testable import Proxy

/// For random requests on random configurations, an explanation equals what the access log of a running proxy says.
///
/// `SKEIN_EXPLAIN_CASES` says how many requests (default 1,000), `SKEIN_EXPLAIN_SEED` where to begin: docs/explain.md.
struct ExplainPropertyTests {
    private static let casesPerScenario = 50

    private static func number(_ name: String) -> UInt64? { Environment.variable(name).flatMap { UInt64($0) } }

    @Test func `An explanation equals the access log: chain, route, cluster, flags, status, details`() async throws {
        let cases = Self.number("SKEIN_EXPLAIN_CASES") ?? 1_000
        let first = Self.number("SKEIN_EXPLAIN_SEED") ?? UInt64.random(in: 0..<1_000_000)
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(
                on: loop, isEverywhere: true, answering: { _, _ in ScriptedUpstream.ok("") })
            var done: UInt64 = 0
            var seed = first
            var kinds: [String: Int] = [:]
            while done < cases {
                var random = SplitMix64(seed: seed)
                let scenario = RandomScenario(&random)
                var requests: [RandomScenario.Request] = []
                for _ in 0..<Self.casesPerScenario { requests.append(RandomScenario.Request(&random)) }
                guard let results = try await Comparison.run(scenario, requests, upstream.port, loop) else {
                    seed &+= 1
                    continue
                }
                for result in results { kinds[result.kind, default: 0] += 1 }
                if let bad = results.first(where: { $0.live != $0.explained }) {
                    let shrunk = await Comparison.shrink(scenario, bad.request, upstream.port, loop)
                    Issue.record(
                        "SKEIN_EXPLAIN_SEED=\(seed): \(bad.request)\nlive      \(bad.live)\nexplained \(bad.explained)\nshrunk to \(shrunk)"
                    )
                    return
                }
                done += UInt64(results.count)
                seed &+= 1
            }
            if Environment.variable("SKEIN_EXPLAIN_KINDS") != nil { print(kinds.sorted { $0.value > $1.value }) }
            // A generator that makes one kind of answer alone proves nothing.
            #expect(kinds.count >= 8 || cases < 1_000, "\(kinds) from SKEIN_EXPLAIN_SEED=\(first)")
        }
    }
}

/// One configuration, run and explained.
private enum Comparison {
    struct Result: Sendable {
        var request: RandomScenario.Request
        var live: String
        var explained: String

        /// Flags and status.
        var kind: String { live.split(separator: "|").dropFirst(3).prefix(2).joined(separator: " ") }
    }

    private static let counter = Atomic<Int>(0)

    /// Nil when the configuration is refused.
    static func run(
        _ scenario: RandomScenario, _ requests: [RandomScenario.Request], _ port: UInt16, _ loop: EventLoop
    ) async throws -> [Result]? {
        let number = counter.add(1, ordering: .relaxed).newValue
        let log = "/tmp/skein-explain-\(Environment.processID)-\(number).log"
        defer { try? File.remove(log) }
        let yaml = scenario.yaml(port: port, log: log)
        var options = Options()
        options.configYAML = yaml
        let world: ExplainWorld
        do throws(ProxyError) {
            let bootstrap: BootstrapConfig
            do throws(ConfigurationError) {
                bootstrap = try BootstrapConfig(options)
            } catch {
                throw ProxyError(nil, error)
            }
            world = try ExplainWorld(bootstrap, seed: 0)
        } catch {
            if Environment.variable("SKEIN_EXPLAIN_KINDS") != nil { print("refused: \(error)") }
            return nil
        }
        let proxy = try await RunningProxy.start(yaml)
        var live: [Int: String] = [:]
        var answered = 0
        var paged: [String] = []
        do {
            defer { proxy.stop() }
            answered = try await send(requests, to: proxy, on: loop)
            // The page's way, on what the running proxy has.
            for request in requests.prefix(3) {
                let question = try question(request, port: proxy.address.port ?? 0)
                let server = proxy.server
                paged.append(
                    try await Task(executorPreference: server.loop) {
                        let world = try ExplainWorld(server, question)
                        defer { world.close() }
                        if let cluster = try Explainer.explain(question, in: world).cluster {
                            await world.takeHealth(ofCluster: cluster, from: server.workers[0])
                        }
                        return text(try Explainer.explain(question, in: world))
                    }.value)
            }
        }
        for line in try await lines(log, count: answered, on: loop) {
            guard let blank = line.firstIndex(of: " "), let index = Int(line[..<blank]) else { continue }
            live[index] = String(line[line.index(after: blank)...])
        }
        var results: [Result] = []
        for (index, request) in requests.enumerated() {
            let question = try question(request, port: proxy.address.port ?? 0)
            let explained = text(try Explainer.explain(question, in: world))
            // What no chain takes has no request that could be logged.
            results.append(Result(request: request, live: live[index] ?? "closed", explained: explained))
            if paged.indices.contains(index) {
                results.append(Result(request: request, live: live[index] ?? "closed", explained: paged[index]))
            }
        }
        return results
    }

    /// The answer is how many were answered.
    private static func send(
        _ requests: [RandomScenario.Request], to proxy: RunningProxy, on loop: EventLoop
    ) async throws -> Int {
        var answered = 0
        var wires: [Int: Wire] = [:]
        for (index, request) in requests.enumerated() {
            let key = request.source * 8 + request.destination
            for attempt in 0..<2 {
                let wire: Wire
                if let known = wires[key] {
                    wire = known
                } else {
                    let socket = try Socket.connect(
                        to: .ip(.v4(0x7F00_0000 + UInt32(request.destination)), port: proxy.address.port ?? 0),
                        from: .ip(.v4(0x7F00_0000 + UInt32(request.source)), port: 0))
                    let stream = try SocketStream(socket, on: loop)
                    if let error = await stream.connected() { throw error }
                    wire = Wire(stream)
                    wires[key] = wire
                    // The connection is accepted, and its draws are drawn, before the seed is set.
                    try? await wire.write("GET /warm-up HTTP/1.1\r\nHost: warm-up\r\nx-case: warm-up\r\n\r\n")
                    guard let response = try? await wire.response() else { break }
                    if response.field("connection") == "close" { wires[key] = nil }
                }
                _ = await proxy.server.workers[0].ask { $0.random = SplitMix64(seed: request.seed) }
                let fields = (request.headers + ["x-case: \(index)"]).joined(separator: "\r\n")
                do {
                    try await wire.write(
                        "\(request.method) \(request.path) HTTP/1.1\r\nHost: \(request.authority)\r\n\(fields)\r\n\r\n")
                    let response = try await wire.response()
                    answered += 1
                    if response.field("connection") == "close" {
                        wire.close()
                        wires[key] = nil
                    }
                    break
                } catch {
                    wire.close()
                    wires[key] = nil
                    if attempt == 1 { throw error }
                }
            }
        }
        for wire in wires.values { wire.close() }
        return answered
    }

    /// The lines of a log, once there are enough of them or no more come.
    private static func lines(_ path: String, count: Int, on loop: EventLoop) async throws -> [Substring] {
        var text = ""
        for _ in 0..<200 {
            text = (try? File.read(path)).map { String(decoding: $0, as: UTF8.self) } ?? ""
            let cases = text.split(separator: "\n").filter { !$0.hasPrefix("warm-up") }
            if cases.count >= count { return cases }
            await withCheckedContinuation { continuation in
                loop.schedule(after: .milliseconds(10)) { continuation.resume() }
            }
        }
        return text.split(separator: "\n")
    }

    private static func question(
        _ request: RandomScenario.Request, port: UInt16
    ) throws -> ExplainQuestion {
        var question = ExplainQuestion()
        question.listener = "random"
        question.method = request.method
        question.authority = request.authority
        question.path = request.path
        for header in request.headers + ["x-case: 0"] { try question.take(header: header) }
        question.source = .ip(.v4(0x7F00_0000 + UInt32(request.source)), port: 40_000)
        question.destination = .ip(.v4(0x7F00_0000 + UInt32(request.destination)), port: port)
        question.seed = request.seed
        return question
    }

    /// What the access log says, from an explanation.
    private static func text(_ explanation: Explanation) -> String {
        if explanation.filterChain == nil { return "closed" }
        let isForwarded = explanation.outcome == .forwarded
        return [
            explanation.filterChain ?? "-", explanation.route ?? "-", explanation.cluster ?? "-",
            explanation.flags.text, isForwarded ? "200" : "\(explanation.status ?? 0)",
            isForwarded ? "via_upstream" : explanation.details ?? "-",
        ].joined(separator: "|")
    }

    // MARK: Shrinking

    /// The smallest scenario and request found for which both still differ.
    static func shrink(
        _ scenario: RandomScenario, _ request: RandomScenario.Request, _ port: UInt16, _ loop: EventLoop
    ) async -> String {
        var (scenario, request) = (scenario, request)
        var last = ""
        func differs(_ scenario: RandomScenario, _ request: RandomScenario.Request) async -> Bool {
            guard let result = try? await run(scenario, [request], port, loop)?.first else { return false }
            guard result.live != result.explained else { return false }
            last = "live \(result.live), explained \(result.explained)"
            return true
        }
        var hasShrunk = true
        while hasShrunk {
            hasShrunk = false
            for candidate in scenario.smaller where await differs(candidate, request) {
                scenario = candidate
                hasShrunk = true
                break
            }
            for index in request.headers.indices.reversed() {
                var candidate = request
                candidate.headers.remove(at: index)
                if await differs(scenario, candidate) {
                    request = candidate
                    hasShrunk = true
                }
            }
        }
        return "\(last)\n\(request)\n\(scenario.yaml(port: port, log: "/dev/null"))"
    }
}

extension RandomScenario {
    /// The same with one piece less.
    fileprivate var smaller: [RandomScenario] {
        var all: [RandomScenario] = []
        func add(_ change: (inout RandomScenario) -> Void) {
            var copy = self
            change(&copy)
            all.append(copy)
        }
        for chain in chains.indices {
            if chains.count > 1 {
                add {
                    $0.chains.remove(at: chain)
                    $0.tableMore.remove(at: chain)
                }
            }
            for host in chains[chain].hosts.indices {
                add { $0.chains[chain].hosts.remove(at: host) }
                for route in chains[chain].hosts[host].routes.indices {
                    add { $0.chains[chain].hosts[host].routes.remove(at: route) }
                }
                if !chains[chain].hosts[host].more.isEmpty { add { $0.chains[chain].hosts[host].more = "" } }
            }
            for filter in chains[chain].filters.indices { add { $0.chains[chain].filters.remove(at: filter) } }
            if !chains[chain].manager.isEmpty { add { $0.chains[chain].manager = "" } }
            if !tableMore[chain].isEmpty { add { $0.tableMore[chain] = "" } }
        }
        return all
    }
}
