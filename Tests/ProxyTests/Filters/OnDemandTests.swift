import Testing

@testable import Proxy

@Suite("Filters: on_demand")
struct OnDemandTests {
    private static let name = "envoy.extensions.filters.http.on_demand.v3.OnDemand"

    @Test("where no virtual hosts can be asked for, requests pass at once")
    func passes() async throws {
        try await FilterScene.run(
            [("on_demand", FilterScene.any(Self.name))],
            routes: "[ { match: { prefix: \"/there\" }, route: { cluster: backend } } ]"
        ) { scene async throws in
            #expect(try await scene.client.get("/there").status == 200)
            #expect(try await scene.client.get("/else").status == 404)
        }
    }
}
