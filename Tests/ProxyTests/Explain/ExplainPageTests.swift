import IO
import Serialization
import Testing
import Upstream

@testable import Proxy

/// `/explain` on a running proxy.
struct ExplainPageTests {
    private static func ask(_ scene: FilterScene, _ query: String) async throws -> (status: Int, json: JSON) {
        guard let admin = scene.proxy.admin else { throw Wire.Closed() }
        let wire = try await Wire.connect(to: admin, on: scene.loop)
        defer { wire.close() }
        let response = try await wire.get("/explain" + query)
        return (response.status, (try? JSON.parse(response.body)) ?? .string(response.body))
    }

    @Test func `The page explains with what the running proxy has, and real requests notice nothing`() async throws {
        let limit = FilterScene.any(
            "envoy.extensions.filters.http.fault.v3.HTTPFault",
            "max_active_faults: 1, abort: { http_status: 418, percentage: { numerator: 100 } }, headers: [ { name: x-tea, present_match: true } ]"
        )
        try await FilterScene.run([("fault", limit)]) { scene in
            _ = try await scene.client.get("/a")
            let before = try await scene.stat("http.ingress.downstream_rq_total")
            let faults = try await scene.stat("http.ingress.fault.aborts_injected")
            let good = try await Self.ask(scene, "?listener=ingress&url=http://test/a&format=json")
            #expect(good.status == 200)
            #expect(good.json["outcome"]?.string == "forwarded")
            #expect(good.json["cluster"]?.string == "backend")
            #expect(good.json["host"]?.string == "127.0.0.1:\(scene.upstream.port)")
            let tea = try await Self.ask(
                scene, "?listener=ingress&url=http://test/a&header=x-tea:%20green&format=json")
            #expect(tea.json["outcome"]?.string == "refused")
            #expect(tea.json["status"]?.int == 418)
            #expect(tea.json["flags"]?.string == "FI")
            #expect(try await scene.stat("http.ingress.downstream_rq_total") == before)
            #expect(try await scene.stat("http.ingress.fault.aborts_injected") == faults)
            #expect(scene.upstream.requests == 1)
        }
    }

    @Test func `Wrong questions are answered with how to ask, and with the listeners there are`() async throws {
        try await FilterScene.run([]) { scene in
            #expect(try await Self.ask(scene, "").status == 400)
            let missing = try await Self.ask(scene, "?listener=nowhere&url=http://a/")
            #expect(missing.status == 400)
            #expect(
                missing.json.string?.contains("nothing listens at \"nowhere\"; listeners: ingress (127.0.0.1:") == true)
            #expect(try await Self.ask(scene, "?what=1").status == 400)
            #expect(try await Self.ask(scene, "?url=http://a/&worker=7").status == 400)
        }
    }

    @Test func `A host that is out shows with the reason, and the next question finds it so`() async throws {
        try await FilterScene.run([]) { scene in
            let port = scene.upstream.port
            _ = await scene.proxy.server.workers[0].ask { worker in
                worker.cluster(named: "backend").map { cluster in
                    for host in cluster.hostSet.hosts { cluster.hostSet.set(.ejected, of: host, to: true) }
                }
            }
            let page = try await Self.ask(scene, "?url=http://a/&format=json")
            let texts = (page.json["steps"]?.array ?? []).compactMap { $0["text"]?.string }
            #expect(texts.contains { $0.contains("127.0.0.1:\(port)") && $0.contains("failed_outlier_check") })
            // All hosts are out: panic lets requests through all the same.
            #expect(page.json["outcome"]?.string == "forwarded")
            #expect(texts.contains { $0.contains("in panic") })
        }
    }
}
