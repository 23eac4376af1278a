import Serialization
import Testing

@testable import Insight

@Suite("What the dashboard shows")
struct MeshPictureTests {
    /// Two samples of a counter, so that it has grown by `by` in the last 60 seconds.
    private static func grow(_ store: inout SeriesStore, _ name: String, _ labels: [String: String], by: Double) {
        store.append(Labels(name, labels), .counter, tick: 100, 1000)
        store.append(Labels(name, labels), .counter, tick: 106, 1000 + by)
    }

    private static func labels(_ source: String, _ service: String, subset: String = "", code: String = "200")
        -> [String: String]
    {
        [
            "reporter": "source", "source_workload": source, "source_workload_namespace": "shop",
            "destination_service": "\(service).shop.svc.cluster.local", "destination_subset": subset,
            "response_code": code,
        ]
    }

    private static func bookstore() -> SeriesStore {
        var store = SeriesStore()
        grow(&store, "skein_edge_requests_total", labels("gateway", "web"), by: 594)
        grow(&store, "skein_edge_requests_total", labels("gateway", "web", code: "503"), by: 6)
        grow(&store, "skein_edge_requests_total", labels("web", "reviews", subset: "v1"), by: 540)
        grow(&store, "skein_edge_requests_total", labels("web", "reviews", subset: "v2"), by: 60)
        grow(&store, "skein_edge_requests_total", labels("web", "catalog"), by: 1200)
        grow(&store, "skein_edge_requests_total", labels("web", "elsewhere"), by: 60)
        return store
    }

    private static func behind(_ host: String, _ subset: String) -> [String: Int] {
        switch host.prefix(while: { $0 != "." }) {
        case "web": ["shop/web": 2]
        case "reviews": ["shop/reviews-\(subset)": subset == "v1" ? 2 : 1]
        case "catalog": ["shop/catalog-blue": 1, "shop/catalog-green": 3]
        default: [:]
        }
    }

    private static let picture = MeshPicture(bookstore(), now: 106, ticks: 6, behind: behind)

    @Test("an edge leads to the workload behind a host or a subset, to the host when there are several or none")
    func nodes() {
        let kinds = Dictionary(uniqueKeysWithValues: Self.picture.nodes.map { ($0.id, $0.kind) })
        #expect(
            kinds == [
                "shop/gateway": .workload, "shop/web": .workload, "shop/reviews-v1": .workload,
                "shop/reviews-v2": .workload, "catalog.shop.svc.cluster.local": .service,
                "shop/catalog-blue": .workload, "shop/catalog-green": .workload,
                "elsewhere.shop.svc.cluster.local": .outside,
            ])
        let inside = Self.picture.edges.filter { $0.traffic == nil }
        #expect(inside.map(\.target) == ["shop/catalog-blue", "shop/catalog-green"])
        #expect(Self.picture.nodes.first { $0.id == "shop/web" }?.pods == 2)
    }

    @Test("the share of an edge is that of all that its sender asks of the host; without a choice there is none")
    func shares() throws {
        let edges = Dictionary(uniqueKeysWithValues: Self.picture.edges.map { ("\($0.source) \($0.target)", $0) })
        #expect(try #require(edges["shop/web shop/reviews-v1"]?.share) == 0.9)
        #expect(try #require(edges["shop/web shop/reviews-v2"]?.share) == 0.1)
        #expect(try #require(edges["shop/gateway shop/web"]).share == nil)
        #expect(edges["shop/gateway shop/web"]?.figures.rate == 10)
    }

    @Test("what comes in is what workloads send that nobody asks")
    func entering() {
        #expect(Self.picture.entering.requests == 600 && Self.picture.entering.failed == 6)
        #expect(Self.picture.entering.rate == 10)
    }

    @Test("nodes and edges are the same whatever the numbers are")
    func still() {
        var store = Self.bookstore()
        Self.grow(&store, "skein_edge_requests_total", Self.labels("web", "catalog", code: "500"), by: 7)
        let later = MeshPicture(store, now: 106, ticks: 6, behind: Self.behind)
        #expect(later.nodes == Self.picture.nodes)
        #expect(
            later.edges.map { [$0.source, $0.target] } == Self.picture.edges.map { [$0.source, $0.target] })
    }

    @Test(
        "what is wrong: failing hosts, silent proxies, hosts without a healthy endpoint that are asked, ejected endpoints, alerts"
    )
    func problems() {
        var store = Self.bookstore()
        let catalog = ["destination_service": "catalog.shop.svc.cluster.local", "destination_subset": ""]
        let idle = ["destination_service": "idle.shop.svc.cluster.local", "destination_subset": ""]
        store.append(Labels("skein_edge_endpoints_healthy", catalog), .gauge, tick: 106, 0)
        store.append(Labels("skein_edge_endpoints_healthy", idle), .gauge, tick: 106, 0)
        store.append(Labels("skein_edge_endpoints_ejected", catalog), .gauge, tick: 106, 2)
        store.append(Labels("up", ["job": "proxies", "namespace": "shop", "pod": "web-1"]), .gauge, tick: 106, 0)
        let alert = Alert(
            labels: Labels(["alertname": "Slow", "severity": "critical"]), annotations: ["summary": "it is slow"],
            state: .firing, value: 1, activeAt: 0, lastSeen: 0)
        let found = MeshProblem.find(
            MeshPicture(store, now: 106, ticks: 6, behind: Self.behind), store, alerts: [alert], now: 106)
        #expect(
            found.map { "\($0.code.rawValue) \($0.subject) \($0.detail)" } == [
                "alert Slow it is slow", "errors web.shop.svc.cluster.local 1.0", "silent shop/web-1 ",
                "noHealthyEndpoint catalog.shop.svc.cluster.local ", "ejected catalog.shop.svc.cluster.local 2",
            ])
        let told = MeshProblem.json(found).array ?? []
        #expect(told.map { $0["severity"]?.string } == ["critical", "critical", "warning", "warning", "warning"])
    }

    @Test("ATK-19 of very many problems the worst are told")
    func many() {
        let all = (0..<500).map { MeshProblem($0 == 499 ? .critical : .warning, .errors, "host-\($0)") }
        let told = MeshProblem.json(all).array ?? []
        #expect(told.count == MeshProblem.problemsMax && told.first?["subject"]?.string == "host-499")
    }
}

@Suite("The planner's page")
struct PlanViewTests {
    private static let observed = [
        WorkloadObservation(
            name: "web", rate: 10, requests: 6000, response: 20, p99: 60, demand: 5,
            calls: ["catalog": .init(count: 1, time: 8)]),
        WorkloadObservation(name: "catalog", rate: 10, requests: 6000, response: 8, p99: 20, demand: 4),
    ]

    @Test("has the table and, up to saturation, how times grow with load")
    func curve() throws {
        let json = PlanView.json(
            Self.observed, earlier: Self.observed, later: Self.observed, changes: ["add 50ms catalog"])
        let rows = try #require(json["workloads"]?.array)
        let names = rows.compactMap { $0["name"]?.string }
        #expect(names.sorted() == ["catalog", "web"])
        for row in rows {
            let (now, then) = (row["nowMilliseconds"]?.double ?? 0, row["meanMilliseconds"]?.double ?? 0)
            #expect(then > now + 49)
        }
        for line in try #require(json["curve"]?.array) {
            let times = (line["points"]?.array ?? []).compactMap { $0[1]?.double }
            #expect(times.count > 5 && times == times.sorted())
        }
    }

    @Test("says why there is no prediction")
    func refusal() {
        let unknown = PlanView.json(Self.observed, earlier: [], later: [], changes: ["add 50ms nobody"])
        #expect(unknown["refusal"]?.string?.contains("nobody") == true)
        #expect(PlanView.json([], earlier: [], later: [], changes: ["no sense"])["refusal"]?.string != nil)
    }
}
