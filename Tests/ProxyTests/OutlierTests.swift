import IO
import Testing

@testable import Proxy

@Suite("Outlier detection of several workers")
struct SharedOutlierTests {
    @Test("O-2 workers count together, and a host that one ejects is away for all")
    func together() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(
                on: loop, answering: { _, _ in "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n" })
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward()),
                    clusters: Yaml.cluster(
                        "backend", [upstream.port],
                        "outlier_detection: { consecutive_5xx: 40, interval: 0.05s, base_ejection_time: 300s, max_ejection_percent: 100, enforcing_success_rate: 0 }\n    common_lb_config: { healthy_panic_threshold: { value: 0 } }"
                    ), admin: true), concurrency: 4)
            defer { proxy.stop() }
            var asked = 0
            while asked < 1_000, try await Wire.connect(to: proxy.address, on: loop).get("/").status == 500 {
                asked += 1
            }
            // A connection's worker is drawn by the kernel; what is on its way to the others does not count.
            #expect((40...70).contains(asked), "\(asked) failures")
            let active = try await Admin.get(
                proxy, "/stats?filter=outlier_detection.ejections_(active|enforced_total)", on: loop)
            #expect(active.contains("ejections_active: 1\n") && active.contains("ejections_enforced_total: 1\n"))
            for _ in 0..<20 {
                #expect(try await Wire.connect(to: proxy.address, on: loop).get("/").status == 503)
            }
        }
    }
}
