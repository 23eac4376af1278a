import EnvoyAPI
import HTTP
import IO
import Serialization
import Synchronization
import TLS
import Testing

@testable import Proxy

@Suite("Load reports out of band (ORCA)")
struct OutOfBandReportTests {
    private static let path = "/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics"

    /// The policy of a cluster of HTTP/2 hosts.
    private static func policy(_ fields: String = "") -> String {
        """
        \(Yaml.http2)
            load_balancing_policy:
              policies:
              - typed_extension_config:
                  name: p
                  typed_config:
                    "@type": type.googleapis.com/envoy.extensions.load_balancing_policies.client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin
                    enable_oob_load_report: true
                    oob_reporting_period: 1s
                    blackout_period: 0s
                    weight_update_period: 0.1s
                    \(fields)
        """
    }

    private static func report(cpu: Double, rate: Double) -> [UInt8] {
        var report = OrcaLoadReport()
        report.cpuUtilization = cpu
        report.rpsFractional = rate
        return GRPCMessageDecoder.frame(report.serialized())
    }

    /// A host that reports so, and says its name to everybody else.
    private static func host(
        on loop: EventLoop, _ name: String, asked: @escaping @Sendable (HTTP2Exchange) async throws -> Void
    ) async throws -> HTTP2Upstream {
        try await HTTP2Upstream(on: loop) { exchange in
            if exchange.request.pathText == Self.path {
                try await exchange.finished()
                return try await asked(exchange)
            }
            try exchange.respond(200)
            try exchange.send(name)
            try exchange.finish()
        }
    }

    private static func proxy(_ ports: [UInt16], _ fields: String = "") async throws -> RunningProxy {
        try await RunningProxy.start(
            Yaml.bootstrap(
                listeners: Yaml.listener(routes: Yaml.forward()),
                clusters: Yaml.cluster("backend", ports, policy(fields)), admin: true))
    }

    private static func stat(_ proxy: RunningProxy, _ name: String, on loop: EventLoop) async throws -> Int? {
        try await Admin.stat(proxy, "cluster.backend.lb_orca_oob." + name, on: loop)
    }

    @Test("hosts get requests by what they report on a stream of their own, which says whose it is and how often")
    func weights() async throws {
        try await onLoop { loop in
            let asked = Mutex<[(authority: String, message: [UInt8])]>([])
            let streams: @Sendable (Double) -> (@Sendable (HTTP2Exchange) async throws -> Void) = { cpu in
                { exchange in
                    asked.withLock { $0.append((exchange.request.authorityText, exchange.message)) }
                    try exchange.respond(200, [("content-type", "application/grpc")])
                    while true {
                        try exchange.send(Self.report(cpu: cpu, rate: 100))
                        try await Task.sleep(for: .milliseconds(200))
                    }
                }
            }
            let idle = try await Self.host(on: loop, "idle", asked: streams(0.1))
            let busy = try await Self.host(on: loop, "busy", asked: streams(1))
            let proxy = try await Self.proxy(
                [idle.port, busy.port], #"oob_reporting_config: { authority: orca.test }"#)
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await until("weights of ten to one") {
                var counts: [String: Int] = [:]
                for _ in 0..<110 { counts[try await client.get("/").body, default: 0] += 1 }
                return (90...109).contains(counts["idle", default: 0])
            }
            #expect(try await Self.stat(proxy, "active_sessions", on: loop) == 2)
            #expect(try await Self.stat(proxy, "reports_received", on: loop) ?? 0 >= 2)
            #expect(try await Self.stat(proxy, "stream_terminated", on: loop) == 0)
            #expect(asked.withLock { $0.allSatisfy { $0.authority == "orca.test" } })
            let request = try OrcaLoadReportRequest(serialized: asked.withLock { $0.first?.message ?? [0xFF] })
            #expect(request.reportInterval == .seconds(1))
        }
    }

    @Test("a host without the service is asked once, one whose stream breaks again and again")
    func endings() async throws {
        try await onLoop { loop in
            let questions = Mutex<[String: Int]>([:])
            let without = try await Self.host(on: loop, "without") { exchange in
                questions.withLock { $0["without", default: 0] += 1 }
                try exchange.respond(200, [("content-type", "application/grpc"), ("grpc-status", "12")], isEnd: true)
            }
            let broken = try await Self.host(on: loop, "broken") { exchange in
                let count = questions.withLock {
                    $0["broken", default: 0] += 1
                    return $0["broken", default: 0]
                }
                try exchange.respond(200, [("content-type", "application/grpc")])
                switch count {
                case 1: try exchange.finish(trailers: [("grpc-status", "14")])
                case 2: try exchange.send(GRPCMessageDecoder.frame([0x08]))
                default: try exchange.send(Self.report(cpu: 1, rate: 0))
                }
            }
            let proxy = try await Self.proxy([without.port, broken.port])
            defer { proxy.stop() }
            try await until("a report that says nothing") {
                try await Self.stat(proxy, "report_errors", on: loop) ?? 0 > 0
            }
            #expect(try await Self.stat(proxy, "stream_failures", on: loop) ?? 0 >= 2)
            try await until("the end of one") { try await Self.stat(proxy, "stream_terminated", on: loop) == 1 }
            #expect(try await Self.stat(proxy, "active_sessions", on: loop) == 1)
            #expect(questions.withLock { $0["without"] } == 1)
        }
    }

    @Test("a host that says nothing is asked again, and one that does not listen is no trouble")
    func silence() async throws {
        try await onLoop { loop in
            let questions = Atomic<Int>(0)
            let silent = try await Self.host(on: loop, "silent") { exchange in
                questions.add(1, ordering: .relaxed)
                try exchange.respond(200, [("content-type", "application/grpc")])
            }
            // Nobody listens at port 9, and no other test ever gets it.
            let proxy = try await Self.proxy([silent.port, 9])
            defer { proxy.stop() }
            try await until("a second stream") { questions.load(ordering: .relaxed) > 1 }
            #expect(try await Self.stat(proxy, "stream_failures", on: loop) ?? 0 > 0)
            #expect(try await Self.stat(proxy, "active_sessions", on: loop) == 2)
        }
    }

    @Test("the stream of a host ends when the host goes")
    func departure() async throws {
        try await onLoop { loop in
            let ended = Atomic<Int>(0)
            let host = try await Self.host(on: loop, "host") { exchange in
                try exchange.respond(200, [("content-type", "application/grpc")])
                try exchange.send(Self.report(cpu: 1, rate: 1))
                _ = await exchange.closed()
                ended.add(1, ordering: .relaxed)
            }
            let file = "/tmp/skein-oob-\(Environment.processID).json"
            defer { try? File.remove(file) }
            func write(_ ports: [UInt16]) throws {
                let hosts = ports.map {
                    #"{"endpoint":{"address":{"socket_address":{"address":"127.0.0.1","port_value":\#($0)}}}}"#
                }.joined(separator: ",")
                let text =
                    #"{"resources":[{"@type":"type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment","cluster_name":"backend","endpoints":[{"lb_endpoints":[\#(hosts)]}]}]}"#
                try File.write(file + ".new", Array(text.utf8))
                try File.rename(file + ".new", file)
            }
            try write([host.port])
            let cluster = """
                  - name: backend
                    type: EDS
                    connect_timeout: 5s
                    eds_cluster_config: { eds_config: { path_config_source: { path: "\(file)" } } }
                    \(Self.policy())

                """
            let proxy = try await RunningProxy.start(
                "node: { id: x, cluster: x }\n"
                    + Yaml.bootstrap(
                        listeners: Yaml.listener(routes: Yaml.forward()), clusters: cluster, admin: true))
            defer { proxy.stop() }
            try await until("a report") { try await Self.stat(proxy, "reports_received", on: loop) ?? 0 > 0 }
            try write([])
            try await until("the end of the stream") { ended.load(ordering: .relaxed) > 0 }
            try await until("no session") { try await Self.stat(proxy, "active_sessions", on: loop) == 0 }
        }
    }

    @Test("the stream has the transport socket that the policy chooses, and asks for HTTP/2 by ALPN")
    func security() async throws {
        try await onLoop { loop in
            let authority = try TestIdentity.authority()
            let identity = try TestIdentity(authority, "server", [.dns("orca.test")])
            var configuration = identity.configuration(trusting: authority)
            configuration.applicationProtocols = ["h2"]
            configuration.peerCertificate = .notVerified
            let context = try TLSContext(configuration, role: .server)
            let server = try SecureGRPCServer(on: loop, context, path: Self.path) { stream throws(GRPCStatus) in
                guard try await stream.next() != nil else { return }
                try await stream.send([UInt8](Self.report(cpu: 1, rate: 1).dropFirst(5)))
                await loop.sleep(for: .seconds(30))
            }
            let trust = "trusted_ca: { inline_string: \(TestIdentity.quoted(authority.certificate.pem)) }"
            let tls = Yaml.upstreamTLS(
                "sni: orca.test, common_tls_context: { validation_context: { \(trust) } }")
            let matches = """
                transport_socket_matches:
                    - name: secure
                      match: { way: secure }
                      \(tls)
                """
            let policy = Self.policy(
                "oob_reporting_config: { port_value: \(server.port), transport_socket_match_criteria: { way: secure } }"
            )
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward()),
                    clusters: Yaml.cluster("backend", [9], policy + "\n    " + matches), admin: true))
            defer { proxy.stop() }
            try await until("a report") { try await Self.stat(proxy, "reports_received", on: loop) ?? 0 > 0 }
            #expect(server.agreed.withLock { $0.first } == "h2")
        }
    }
}
