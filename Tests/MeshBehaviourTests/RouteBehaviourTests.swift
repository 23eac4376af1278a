import Testing

@Suite("VirtualServices through a running proxy")
struct RouteBehaviourTests {
    private let web = World.service("web", ip: 1) + World.pod("web-1", "web", ip: 11)

    @Test("H-1 H-3 the first match wins and a prefix is a plain one", .timeLimit(.minutes(1)))
    func order() async throws {
        let rule = World.rule(
            "r",
            """
            hosts: [web]
            http:
            - {match: [{uri: {prefix: /foo}}], route: [{destination: {host: other}}]}
            - {route: [{destination: {host: web}}]}
            """)
        try await MeshScene.run(
            [web, World.service("other", ip: 2), World.pod("other-1", "other", ip: 12), rule],
            pods: [.init("web-1", ip: 11), .init("other-1", ip: 12)]
        ) { scene in
            let other = try await scene.get("/foobar", host: "web")
            #expect(other.body.hasPrefix("other-1"))
            let own = try await scene.get("/bar", host: "web")
            #expect(own.body.hasPrefix("web-1"))
        }
    }

    @Test("H-10 H-11 an unknown subset is answered with 503, never by the whole service", .timeLimit(.minutes(1)))
    func unknownSubset() async throws {
        let rule = World.rule("r", "hosts: [web]\nhttp: [{route: [{destination: {host: web, subset: v9}}]}]")
        try await MeshScene.run([web, rule], pods: [.init("web-1", ip: 11)]) { scene in
            let response = try await scene.get("/", host: "web")
            #expect(response.head.contains(" 503 "))
        }
    }
}
