import Serialization
import Store
import Testing

@testable import Registry

@Suite("Registry: services, nodes and checks")
struct CatalogTests {
    @Test("a service is registered with what Consul's clients send, whatever the letters of the names")
    func register() throws {
        let scene = try Scene()
        let answer = scene.put(
            "agent/service/register",
            [
                "name": "web", "id": "web1", "address": "192.0.2.9", "port": 80, "tags": ["a"], "meta": ["k": "v"],
                "enable_tag_override": true, "weights": ["passing": 3], "check": ["ttl": "10s"],
            ])
        #expect(answer.status == 200)
        let own = scene.get("agent/services")["web1"] ?? .null
        #expect(own["Service"] == "web")
        #expect(own["Weights"] == ["Passing": 3, "Warning": 1])
        #expect(own["EnableTagOverride"] == true)
        let found = scene.get("catalog/service/web")[0] ?? .null
        #expect(found["ServiceAddress"] == "192.0.2.9")
        #expect(found["Address"] == "192.0.2.1")
        #expect(found["ServiceTags"] == ["a"])
        #expect(scene.get("agent/checks")["service:web1"]?["Name"] == "Service 'web' check")
        #expect(scene.get("agent/checks")["service:web1"]?["Status"] == "critical")
        #expect(scene.get("agent/checks")["service:web1"]?["how"] == nil)
    }

    @Test(
        "what is wrong or unknown is refused, nothing is ignored",
        arguments: [
            (["Port": 80], "Missing service name"), (["Name": "a", "Port": 70000], "Port must be"),
            (["Name": "a", "Colour": "red"], "unknown field \"Colour\""),
            (["Name": "a", "Kind": "connect-proxy"], "connect-proxy is not supported"),
            (["Name": "a", "Connect": ["Native": true]], "Connect is not supported"),
            (["Name": "a", "Meta": ["a b": "c"]], "invalid characters"),
            (["Name": "a", "Check": ["HTTP": "http://x/"]], "Interval must be > 0"),
            (["Name": "a", "Check": ["TTL": "0s"]], "TTL must be > 0"),
            (["Name": "a", "Check": ["TTL": "1s", "TCP": "x:1", "Interval": "1s"]], "one kind"),
            (["Name": "a", "Check": ["HTTP": "ftp://x/", "Interval": "1s"]], "no URL"),
            (["Name": "a", "Check": ["HTTP": "http://u@x/", "Interval": "1s"]], "no URL"),
            (["Name": "a", "Check": ["HTTP": "http://x/", "Method": "BREW", "Interval": "1s"]], "Method BREW"),
            (["Name": "a", "Check": ["TCP": "x", "Interval": "1s"]], "no HOST:PORT"),
            (["Name": "a", "Check": ["TCP": "x:1", "Interval": "1s", "Method": "GET"]], "are for HTTP checks"),
            (
                ["Name": "a", "Check": ["DockerContainerID": "x", "Interval": "1s"]],
                "DockerContainerID is not supported"
            ),
            (["Name": "a", "Check": ["Args": ["/bin/true"], "Interval": "1s"]], "Scripts are disabled"),
            (["Name": "a", "Check": ["TTL": "1s", "Status": "great"]], "Status for checks must"),
            (["Name": "a", "name": "b"], "is there twice"), (["Name": "a\u{1}"], "control character"),
        ] as [(JSON, String)])
    func refusals(body: JSON, text: String) throws {
        let scene = try Scene()
        let answer = scene.put("agent/service/register", body)
        #expect(answer.status == 400)
        #expect(answer.text.contains(text), "\(answer.text)")
        #expect(scene.get("agent/services") == [:])
    }

    @Test("an instance is passing only while none of its checks, and none of its node's, is anything else")
    func health() throws {
        let scene = try Scene()
        scene.put("agent/service/register", ["Name": "web", "Checks": [["TTL": "1m"], ["TTL": "1m"]]])
        #expect(scene.passing("web") == [])
        scene.put("agent/check/pass/service:web:1")
        #expect(scene.passing("web") == [])
        scene.put("agent/check/pass/service:web:2?note=fine")
        #expect(scene.passing("web") == ["web"])
        #expect(scene.get("health/checks/web")[1]?["Output"] == "fine")
        #expect(scene.ask("GET", "agent/health/service/id/web").status == 200)
        scene.put("agent/check/warn/service:web:2")
        #expect(scene.passing("web") == [])
        #expect(scene.ask("GET", "agent/health/service/id/web").status == 429)
        scene.put("agent/check/update/service:web:2", ["Status": "passing", "Output": "again"])
        #expect(scene.passing("web") == ["web"])
        scene.put("agent/check/register", ["Name": "disk", "TTL": "1m"])
        #expect(scene.passing("web") == [])
        #expect(scene.ask("GET", "agent/health/service/name/web").status == 503)
        scene.put("agent/check/deregister/disk")
        scene.put("agent/service/maintenance/web?enable=true")
        #expect(scene.passing("web") == [])
        #expect(
            scene.get("agent/checks")["_service_maintenance:web"]?["Notes"]?.string?.contains("for this service")
                == true)
        scene.put("agent/service/maintenance/web?enable=false")
        scene.put("agent/maintenance?enable=true&reason=tea")
        #expect(scene.get("agent/checks")["_node_maintenance"]?["Notes"] == "tea")
        #expect(scene.passing("web") == [])
        scene.put("agent/maintenance?enable=false")
        #expect(scene.passing("web") == ["web"])
    }

    @Test("registering again keeps the state of checks that are the same, and removes others when it is asked to")
    func again() throws {
        let scene = try Scene()
        let body: JSON = [
            "Name": "web", "Checks": [["CheckID": "one", "TTL": "1m"], ["CheckID": "two", "TTL": "1m"]],
        ]
        scene.put("agent/service/register", body)
        scene.put("agent/check/pass/one")
        scene.put("agent/service/register", body)
        #expect(scene.get("agent/checks")["one"]?["Status"] == "passing")
        scene.put("agent/service/register", ["Name": "web", "Check": ["CheckID": "one", "TTL": "2m"]])
        #expect(scene.get("agent/checks")["one"]?["Status"] == "critical")
        #expect(scene.get("agent/checks")["two"] != nil)
        scene.put(
            "agent/service/register?replace-existing-checks=true",
            ["Name": "web", "Check": ["CheckID": "one", "TTL": "2m"]])
        #expect(scene.get("agent/checks")["two"] == nil)
    }

    @Test("the catalog takes nodes elsewhere with services and checks, and removes them one by one or all together")
    func catalog() throws {
        let scene = try Scene()
        let body: JSON = [
            "Node": "there", "Address": "192.0.2.7", "NodeMeta": ["rack": "1"],
            "Service": ["Service": "db", "ID": "db1", "Port": 5432, "Tags": ["Primary"]],
            "Check": ["Name": "up", "Status": "passing", "ServiceID": "db1"],
        ]
        #expect(scene.put("catalog/register", body).json == true)
        #expect(scene.get("catalog/services") == ["db": ["Primary"]])
        #expect(scene.get("catalog/service/db?tag=primary").array?.count == 1)
        #expect(scene.get("catalog/service/db?tag=other") == [])
        #expect(scene.get("catalog/service/db?node-meta=rack:1").array?.count == 1)
        #expect(scene.get("catalog/service/db?node-meta=rack:2") == [])
        #expect(scene.get("catalog/node/there")["Services"]?["db1"]?["Port"] == 5432)
        #expect(scene.get("catalog/node/nobody") == .null)
        #expect(scene.passing("db") == ["db1"])
        #expect(scene.get("agent/services") == [:])
        #expect(scene.put("catalog/register", ["Node": "x"]).text == "Must provide node and address")
        #expect(scene.put("catalog/deregister", [:]).text == "Must provide node")
        #expect(scene.put("catalog/deregister", ["Node": "there", "CheckID": "up"]).json == true)
        #expect(scene.get("health/node/there") == [])
        #expect(scene.put("catalog/deregister", ["Node": "there", "ServiceID": "db1"]).json == true)
        #expect(scene.get("catalog/services") == [:])
        #expect(scene.put("catalog/deregister", ["Node": "there"]).json == true)
        #expect(scene.get("catalog/nodes") == [])
    }

    @Test("removing an instance removes its checks and leaves those of others")
    func deregister() throws {
        let scene = try Scene()
        for id in ["a", "b"] {
            scene.put("agent/service/register", ["Name": "web", "ID": .string(id), "Check": ["TTL": "1m"]])
        }
        #expect(scene.put("agent/service/deregister/a").status == 200)
        #expect(scene.put("agent/service/deregister/a").status == 404)
        #expect(Set(scene.get("agent/checks").object?.keys ?? [:].keys) == ["serfHealth", "service:b"])
    }

    @Test("a long output is cut at its beginning, and says so")
    func output() throws {
        let scene = try Scene()
        scene.put("agent/check/register", ["Name": "c", "TTL": "1m"])
        scene.put(
            "agent/check/update/c", ["Status": "passing", "Output": .string(String(repeating: "x", count: 5_000))])
        let output = scene.get("agent/checks")["c"]?["Output"]?.string ?? ""
        #expect(output.hasPrefix("Captured 4096 of 5000 bytes\n...\nxxx"))
    }

    @Test("what touches a question is what changes its answer")
    func topics() throws {
        let scene = try Scene()
        scene.put("agent/service/register", ["Name": "web", "Check": ["TTL": "1m"]])
        scene.put("agent/service/register", ["Name": "other"])
        func touched(by body: () -> Void) throws -> Set<Topic> {
            var watches: [StoreWatch] = []
            for table in RegistryState.Table.allCases {
                watches.append(try scene.store.watch(table.resource, from: scene.store.revision) {})
            }
            body()
            return watches.flatMap { $0.take() }.reduce(into: []) { $0.formUnion(scene.state.topics(of: $1)) }
        }
        let passed = try touched { scene.put("agent/check/pass/service:web") }
        #expect(passed == [.checks, .node("here"), .service("web")])
        let kept = try touched { scene.put("agent/maintenance?enable=true") }
        #expect(kept.isSuperset(of: [.service("web"), .service("other")]))
        #expect(try touched { scene.put("kv/a/b", text: "x") } == [.key("a/b")])
        #expect(RegistryIndex.wakes(.keys(prefix: "a/"), [.key("a/b")]))
        #expect(!RegistryIndex.wakes(.keys(prefix: "b/"), [.key("a/b")]))
    }

    @Test("everything is there again when the store is opened again")
    func restart() throws {
        let store = try SQLiteStore(path: ":memory:")
        let first = try Scene(store)
        first.put("agent/service/register", ["Name": "web", "Port": 80, "Check": ["TTL": "1m"]])
        first.put("agent/check/pass/service:web")
        let session = first.session()
        first.put("kv/l?acquire=\(session)", text: "x")
        let second = try Scene(store)
        #expect(second.passing("web") == ["web"])
        #expect(second.get("kv/l")[0]?["Session"] == .string(session))
    }

    @Test(
        "what Consul has and this registry has not is said in so many words",
        arguments: [
            ("PUT", "event/fire/x", 501), ("GET", "query", 501), ("GET", "coordinate/nodes", 501),
            ("GET", "snapshot", 501),
            ("GET", "operator/raft/configuration", 501), ("GET", "config/x", 501), ("GET", "connect/ca/roots", 501),
            ("PUT", "agent/join/x", 501), ("GET", "acl/list", 401), ("GET", "nothing", 404),
            ("GET", "agent/nothing", 404),
            ("GET", "catalog/service/x?near=_agent", 400), ("GET", "health/service/x?filter=a", 400),
            ("DELETE", "catalog/nodes", 405), ("GET", "agent/service/register", 405),
            ("GET", "health/state/great", 400),
        ] as [(String, String, UInt16)])
    func unsupported(method: String, target: String, status: UInt16) throws {
        let answer = try Scene().ask(method, target)
        #expect(answer.status == status)
        #expect(!answer.text.isEmpty)
    }

    @Test("who may change a service may report and maintain it, and may not take an identifier of another one")
    func rights() throws {
        let scene = try Scene()
        scene.put("agent/service/register", ["Name": "web", "ID": "one", "Check": ["TTL": "1m"]])
        let may: (RegistryWish) -> Bool = { $0.resource == "registrations" && $0.name == "web" }
        for target in [
            "agent/check/pass/service:one", "agent/service/maintenance/one?enable=false",
            "agent/service/deregister/one",
        ] {
            #expect(scene.ask("PUT", target, may: may).status == 200, "\(target)")
        }
        scene.put("agent/service/register", ["Name": "db", "ID": "two", "Check": ["TTL": "1m"]])
        #expect(scene.ask("PUT", "agent/check/pass/service:two", may: may).status == 403)
        #expect(scene.ask("PUT", "agent/service/deregister/two", may: may).status == 403)
        scene.put("agent/service/register", ["Name": "same"])
        for body: JSON in [
            ["Name": "web", "ID": "two"], ["Name": "web", "ID": "same"],
            ["Name": "web", "ID": "new", "Check": ["CheckID": "service:two", "TTL": "1m"]],
        ] {
            #expect(scene.ask("PUT", "agent/service/register", body, may: may).status == 403)
        }
        #expect(scene.get("agent/services")["two"]?["Service"] == "db")
    }
}
