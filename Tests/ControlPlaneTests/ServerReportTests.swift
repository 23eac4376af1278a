import Mesh
import Serialization
import Testing

@testable import ControlPlane

@Suite("what several control planes tell each other of their proxies")
struct ServerReportTests {
    private func report() -> ServerReport {
        var report = ServerReport()
        report.latest = 120
        report.proxies = 3
        report.least = 90
        report.behind = ["shop/slow": 90, "shop/later": 110]
        report.gateways = [
            ServerReport.Gateway(
                pod: NamespacedName(namespace: "skein-system", name: "gateway-1"), isSettled: true,
                rejected: ["t": "no"])
        ]
        report.refused = [
            ["pod": "shop/slow", "sources": [["kind": "VirtualService", "namespace": "shop", "name": "web"]]]
        ]
        report.rows = [["pod": "slow"]]
        return report
    }

    @Test("a report is read as it was written, and what is none is not")
    func reading() {
        #expect(ServerReport(report().json.bytes) == report())
        #expect(ServerReport(Array("{}".utf8)) == nil)
        #expect(ServerReport(Array("{\"latest\":1,\"proxies\":-1,\"least\":1}".utf8)) == nil)
        #expect(ServerReport([0xff]) == nil)
    }

    @Test("a revision is acknowledged when every proxy has it; who has not is named")
    func waiting() {
        let report = report()
        #expect(report.hasReached(90) && report.waiting(for: 90).isEmpty)
        #expect(!report.hasReached(100) && report.waiting(for: 100) == ["shop/slow"])
        #expect(report.waiting(for: 115) == ["shop/later", "shop/slow"])
        // The server itself has not come so far: nobody is behind, nobody has it.
        var settled = report
        settled.least = 120
        settled.behind = [:]
        #expect(settled.hasReached(120) && !settled.hasReached(121))
        #expect(settled.waiting(for: 121) == ["(a proxy of another control plane)"])
        settled.proxies = 0
        #expect(settled.hasReached(121))
    }

    @Test("a gateway's proxy of a server that has not translated the change has not acknowledged it")
    func gateways() {
        #expect(report().gateways(since: 120).map(\.isSettled) == [true])
        #expect(report().gateways(since: 121).map(\.isSettled) == [false])
    }

    @Test("what several have sent is added up; a change that all translated is one")
    func traffic() {
        var report = report()
        report.traffic = ["proxies": 2, "generations": 7, "total": ["responses": 5], "floods": 1]
        #expect(ServerReport(report.json.bytes)?.traffic == report.traffic)
        let own: JSON = ["proxies": 1, "generations": 9, "total": ["responses": 4, "resources": 3], "violations": 2]
        #expect(
            ServerReport.total([own, report.traffic, [:]]) == [
                "proxies": 3, "generations": 9, "total": ["responses": 9, "resources": 3], "floods": 1,
                "violations": 2,
            ])
        let most: JSON = ["n": .integer(.max)]
        #expect(ServerReport.total([most, ["n": 1]]) == ["n": .integer(.min)])
    }

    @Test("of what others refuse, what an object is the reason of")
    func refusals() {
        let web = NamespacedName(namespace: "shop", name: "web")
        #expect(report().refusals(of: nil).count == 1)
        #expect(report().refusals(of: (kind: "VirtualService", name: web)).count == 1)
        #expect(report().refusals(of: (kind: "DestinationRule", name: web)).isEmpty)
    }
}
