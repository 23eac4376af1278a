import Serialization
import Store
import Telemetry
import Testing

@testable import Registry

@Suite("Registry: keys")
struct KeyTests {
    @Test("a key has its value in base64, its flags and the revisions of its first and last write")
    func write() throws {
        let scene = try Scene()
        #expect(scene.put("kv/a/b?flags=7", text: "one").json == true)
        let first = scene.get("kv/a/b")[0] ?? .null
        #expect(first["Value"] == "b25l")
        #expect(first["Flags"] == 7)
        #expect(first["CreateIndex"] == first["ModifyIndex"])
        #expect(scene.put("kv/a/b", text: "two").json == true)
        let second = scene.get("kv/a/b")[0] ?? .null
        #expect(second["CreateIndex"] == first["CreateIndex"])
        #expect(second["ModifyIndex"]?.int ?? 0 > first["ModifyIndex"]?.int ?? 0)
        #expect(second["Flags"] == 0)
    }

    @Test(
        "names of keys may have any characters, and mean themselves",
        arguments: ["a/b c", "ü/%", "..", "a//b", "/a", "x?y"])
    func names(name: String) throws {
        let scene = try Scene()
        let path = RegistryState.escape(name)
        #expect(scene.put("kv/\(path)", text: "x").json == true)
        #expect(scene.get("kv/\(path)")[0]?["Key"] == .string(name))
        #expect(scene.get("kv/?keys") == [.string(name)])
    }

    @Test("what is written again as it was is no change")
    func unchanged() throws {
        let scene = try Scene()
        scene.put("kv/a", text: "one")
        let revision = scene.store.revision
        #expect(scene.put("kv/a", text: "one").json == true)
        #expect(scene.store.revision == revision)
    }

    @Test("cas writes at the right index only, and 0 only what is not there")
    func cas() throws {
        let scene = try Scene()
        #expect(scene.put("kv/a?cas=1", text: "x").json == false)
        #expect(scene.put("kv/a?cas=0", text: "x").json == true)
        #expect(scene.put("kv/a?cas=0", text: "y").json == false)
        let index = scene.get("kv/a")[0]?["ModifyIndex"]?.int ?? 0
        #expect(scene.ask("DELETE", "kv/a?cas=\(index - 1)").json == false)
        #expect(scene.ask("DELETE", "kv/a?cas=\(index)").json == true)
        #expect(scene.ask("GET", "kv/a").status == 404)
        #expect(scene.ask("DELETE", "kv/a?cas=5").json == true)
    }

    @Test("a tree is listed in the order of its names' bytes, and folders once")
    func trees() throws {
        let scene = try Scene()
        for name in ["b", "a/z", "a/b/c", "a/b/d", "a-1", "a0"] { scene.put("kv/\(name)", text: "x") }
        #expect(scene.get("kv/?keys") == ["a-1", "a/b/c", "a/b/d", "a/z", "a0", "b"])
        #expect(scene.get("kv/a/?keys&separator=/") == ["a/b/", "a/z"])
        #expect((scene.get("kv/a/b/?recurse").array ?? []).map { $0["Key"] } == ["a/b/c", "a/b/d"])
        #expect(scene.ask("GET", "kv/none?recurse").status == 404)
        #expect(scene.ask("DELETE", "kv/a/?recurse").json == true)
        #expect(scene.get("kv/?keys") == ["a-1", "a0", "b"])
    }

    @Test("a large tree is removed in several steps")
    func largeTree() throws {
        let scene = try Scene { $0.limits.stepWrites = 10 }
        for number in 0..<35 { scene.put("kv/t/\(number)", text: "x") }
        scene.put("kv/u", text: "x")
        #expect(scene.ask("DELETE", "kv/t/?recurse").json == true)
        #expect(scene.get("kv/?keys") == ["u"])
    }

    @Test("raw brings the bytes, and an empty value is null")
    func raw() throws {
        let scene = try Scene()
        scene.put("kv/a", text: "one")
        guard case .bytes(let bytes) = scene.ask("GET", "kv/a?raw").body else { return #expect(Bool(false)) }
        #expect(bytes == Array("one".utf8))
        scene.put("kv/b", text: "")
        #expect(scene.get("kv/b")[0]?["Value"] == .null)
    }

    @Test(
        "what cannot be is refused in Consul's words",
        arguments: [
            ("PUT", "kv/", 400, "Missing key name"), ("GET", "kv/", 400, "Missing key name"),
            ("PUT", "kv/a?cas=1&acquire=x", 400, "Conflicting flags: cas, acquire"),
            ("PUT", "kv/a?flags=-1", 400, "Invalid value for flags"), ("POST", "kv/a", 405, "method POST not allowed"),
            ("PUT", "kv/a?acquire=x", 500, "invalid session \"x\""),
            ("GET", "kv/a?dc=other", 500, "No path to datacenter"),
            ("GET", "kv/a?token=x", 400, "X-Consul-Token"),
            ("GET", "kv/a?stale&consistent", 400, "conflicting semantics"),
            ("GET", "kv/%ff", 400, "UTF-8"), ("DELETE", "kv/a?cas=1&recurse", 400, "Conflicting flags"),
        ])
    func refusals(method: String, target: String, status: UInt16, text: String) throws {
        let answer = try Scene().ask(method, target)
        #expect(answer.status == status)
        #expect(answer.text.contains(text))
    }

    @Test("a value above the limit is 413, and no key is made beyond the limit of keys; both are counted")
    func limits() throws {
        let scene = try Scene {
            $0.limits.bodyBytes = 8
            $0.limits.keys = 2
        }
        let answer = scene.put("kv/a", text: "123456789")
        #expect(answer.status == 413)
        #expect(answer.text.hasPrefix("Request body(9 bytes) too large, max size: 8 bytes."))
        #expect(scene.state.counters.largeBodies.value == 1)
        #expect(scene.put("kv/a", text: "12345678").json == true)
        scene.put("kv/b")
        #expect(scene.put("kv/c").status == 429)
        #expect(scene.state.counters.refused == ["keys": 1])
        #expect(scene.put("kv/b", text: "again").json == true)
        #expect(scene.put("kv/" + String(repeating: "k", count: 1025)).status == 400)
    }

    @Test("a transaction does everything or nothing, and says which operation did not fit")
    func transactions() throws {
        let scene = try Scene()
        func operation(_ verb: String, _ key: String, _ more: JSON = [:]) -> JSON {
            var json = more
            json["Verb"] = .string(verb)
            json["Key"] = .string(key)
            return ["KV": json]
        }
        let done = scene.put(
            "txn", [operation("set", "a", ["Value": "eA=="]), operation("get", "a"), operation("get-tree", "")])
        #expect(done.status == 200)
        #expect((done.json["Results"]?.array ?? []).count == 3)
        #expect(done.json["Results"]?[0]?["KV"]?["Value"] == .null)
        #expect(done.json["Results"]?[1]?["KV"]?["Value"] == "eA==")
        let index = scene.get("kv/a")[0]?["ModifyIndex"] ?? 0
        let refused = scene.put(
            "txn",
            [
                operation("set", "b", ["Value": "eA=="]), operation("check-index", "a", ["Index": 1]),
                operation("check-not-exists", "a"),
            ])
        #expect(refused.status == 409)
        #expect((refused.json["Errors"]?.array ?? []).map { $0["OpIndex"] } == [1, 2])
        #expect(scene.ask("GET", "kv/b").status == 404)
        #expect(scene.put("txn", [operation("cas", "a", ["Index": index, "Value": "eQ=="])]).status == 200)
        #expect(scene.put("txn", [operation("delete-cas", "a", ["Index": index])]).status == 409)
        #expect(scene.put("txn", [operation("delete-tree", "")]).status == 200)
        #expect(scene.put("txn", [operation("grow", "a")]).status == 409)
        #expect(scene.put("txn", [["Node": [:]]]).status == 400)
        #expect(scene.put("txn", .array(Array(repeating: operation("get", "a"), count: 65))).status == 413)
    }

    @Test(
        "who may write one key may not write another, nor read the tree; what he may is asked before anything is told")
    func rights() throws {
        let scene = try Scene()
        scene.put("kv/a/secret", text: "x")
        let may: (RegistryWish) -> Bool = { $0.resource == "keys" && $0.name == "a/own" }
        #expect(scene.ask("PUT", "kv/a/own", text: "x", may: may).status == 200)
        for (method, target) in [
            ("GET", "kv/a/secret"), ("GET", "kv/a/missing"), ("GET", "kv/a/?recurse"), ("GET", "kv/?keys"),
            ("PUT", "kv/a/secret"), ("DELETE", "kv/a/?recurse"), ("DELETE", "kv/a/secret"), ("GET", "catalog/services"),
            ("PUT", "session/create"), ("GET", "session/list"), ("GET", "connect/intentions"), ("GET", "agent/self"),
            ("PUT", "agent/maintenance?enable=true"), ("GET", "health/state/any"), ("GET", "status/leader"),
        ] {
            #expect(scene.ask(method, target, may: may).status == 403, "\(method) \(target)")
        }
        let body: JSON = [["KV": ["Verb": "delete-tree", "Key": "a/"]]]
        #expect(scene.ask("PUT", "txn", body, may: may).status == 403)
        #expect(scene.get("kv/a/secret")[0]?["Value"] == "eA==")
    }
}
