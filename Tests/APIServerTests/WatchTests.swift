import APIServer
import KubernetesAPI
import Serialization
import Store
import Testing

@Suite("watches of many clients")
struct WatchTests {
    private static func map(_ name: String, text: String = "x") -> JSON {
        ["metadata": ["name": .string(name)], "data": ["text": .string(text)]]
    }
    private let table = "application/json;as=Table;v=v1;g=meta.k8s.io"

    @Test("watches of one kind show a change alike, each in its form, and a table says its columns once")
    func alike() throws {
        let fixture = try Fixture()
        let target = maps + "?watch=1&resourceVersion=\(fixture.registry.store.revision)"
        let plain = try [fixture.watch(target), fixture.watch(target)]
        let tables = try [fixture.watch(target, accept: table), fixture.watch(target, accept: table)]
        try fixture.ask("POST", maps, Self.map("one"))
        let texts = try plain.map { try #require($0.next()) }
        #expect(texts[0] == texts[1])
        #expect(try JSON.parse(texts[0].dropLast())["object"]?["data"]?["text"] == "x")
        let first = try tables.map { try #require(try $0.events().first) }
        #expect(first[0] == first[1])
        #expect(first[0]["object"]?["columnDefinitions"]?.array?.isEmpty == false)
        try fixture.ask("PATCH", maps + "/one", ["data": ["text": "y"]], type: "application/merge-patch+json")
        // One that has come later begins with its columns, beside others that have had them.
        let late = try fixture.watch(
            maps + "?watch=1&resourceVersion=\(fixture.registry.store.revision - 1)", accept: table)
        #expect(try tables[0].events().first?["object"]?["columnDefinitions"] == .null)
        #expect(try late.events().first?["object"]?["columnDefinitions"]?.array?.isEmpty == false)
        #expect(try tables[1].events().first?["object"]?["columnDefinitions"] == .null)
        #expect(try plain[0].events().first?["type"] == "MODIFIED")
        try fixture.ask("DELETE", maps + "/one")
        #expect(try plain[0].events().first?["type"] == "DELETED")
    }

    @Test("the old paths with /watch/ are watches of a kind, of a namespace and of one object")
    func oldPaths() throws {
        let fixture = try Fixture()
        for name in ["one", "two"] { try fixture.ask("POST", maps, Self.map(name)) }
        func names(_ target: String) throws -> [String] {
            try fixture.watch(target).events().compactMap { $0["object"]?["metadata"]?["name"]?.string }
        }
        #expect(try names("/api/v1/watch/namespaces/default/configmaps") == ["one", "two"])
        #expect(try names("/api/v1/watch/configmaps?fieldSelector=metadata.name=two") == ["two"])
        #expect(try names("/api/v1/watch/namespaces/default/configmaps/one") == ["one"])
        #expect(try names("/api/v1/watch/namespaces/default/configmaps/one?fieldSelector=metadata.name!=one") == [])
        #expect(try names("/api/v1/watch/namespaces").contains("kube-system"))
        #expect(try names("/api/v1/watch/namespaces/default") == ["default"])
        try fixture.ask("POST", "/apis/apps/v1/namespaces/default/deployments", Fixture.deployment())
        #expect(try names("/apis/apps/v1/watch/deployments") == ["web"])
        #expect(try fixture.ask("GET", "/api/v1/watch/namespaces/default/nothing").status == 404)
        #expect(try fixture.ask("POST", "/api/v1/watch/namespaces/default/configmaps", Self.map("x")).status == 404)
    }

    @Test("the present state of a large kind is sent in pieces, whole and in order, before what follows")
    func pieces() throws {
        let fixture = try Fixture()
        let long = String(repeating: "long ", count: 400)
        let names = (100..<300).map { "map-\($0)" }
        for name in names { try fixture.ask("POST", maps, Self.map(name, text: long)) }
        let watch = try fixture.watch(
            maps
                + "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&labelSelector=!none"
        )
        try fixture.ask("POST", maps, Self.map("new"))
        var pieces = 0
        var seen: [String] = []
        while true {
            let events = try watch.events()
            if events.isEmpty { break }
            pieces += 1
            seen += events.map { $0["object"]?["metadata"]?["name"]?.string ?? $0["type"]?.string ?? "" }
        }
        #expect(pieces > 3)
        #expect(seen == names + ["BOOKMARK", "new"])
        #expect(!watch.hasMore)
    }

    @Test("/metrics is for who may read it: system:monitoring, not everybody")
    func metrics() throws {
        let fixture = try Fixture()
        #expect(try fixture.ask("GET", "/metrics").status == 404)
        fixture.router.metrics = { "skein_control_proxies 0\n" }
        let answer = try fixture.ask("GET", "/metrics")
        #expect(answer.status == 200 && answer.contentType == "text/plain; version=0.0.4")
        #expect(answer.bytes == Array("skein_control_proxies 0\n".utf8))
        let somebody = APIUser(name: "somebody", groups: ["system:authenticated"])
        #expect(try fixture.ask("GET", "/metrics", user: somebody).status == 403)
        #expect(try fixture.ask("GET", "/metrics", user: nil).status == 401)
        let binding: JSON = [
            "metadata": ["name": "scraper"],
            "roleRef": ["apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:monitoring"],
            "subjects": [["apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "somebody"]],
        ]
        try fixture.ask("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
        #expect(try fixture.ask("GET", "/metrics", user: somebody).status == 200)
        #expect(try fixture.ask("POST", "/metrics").status == 405)
    }

    @Test(
        "connections follow the descriptors, watches the connections, and 10,000 fit where 20,000 files may be open",
        arguments: [(1024, 768, 612), (4096, 3072, 2456), (20_000, 15_000, 12_000), (1_048_576, 786_432, 12_000)])
    func capacity(descriptors: Int, connections: Int, watches: Int) {
        let capacity = APICapacity(descriptors: descriptors)
        #expect(capacity.connections == connections && capacity.watches == watches)
        #expect(APICapacity(descriptors: descriptors, watches: 100).watches == 100)
    }
}

private let maps = "/api/v1/namespaces/default/configmaps"
