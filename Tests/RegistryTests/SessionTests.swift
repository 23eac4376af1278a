import Serialization
import Store
import Telemetry
import Testing

@testable import Registry

@Suite("Registry: sessions and locks")
struct SessionTests {
    @Test(
        "a lock belongs to one session, is counted once for each time it is taken, and is given back by its holder only"
    )
    func locks() throws {
        let scene = try Scene()
        let (one, two) = (scene.session(), scene.session())
        #expect(scene.put("kv/l?acquire=\(one)", text: "1").json == true)
        #expect(scene.put("kv/l?acquire=\(one)", text: "2").json == true)
        #expect(scene.get("kv/l")[0]?["LockIndex"] == 1)
        #expect(scene.put("kv/l?acquire=\(two)", text: "3").json == false)
        #expect(scene.put("kv/l?release=\(two)", text: "3").json == false)
        #expect(scene.put("kv/l", text: "written by others").json == true)
        #expect(scene.get("kv/l")[0]?["Session"] == .string(one))
        #expect(scene.put("kv/l?release=\(one)", text: "4").json == true)
        #expect(scene.get("kv/l")[0]?["Session"] == nil)
        #expect(scene.put("kv/l?acquire=\(two)", text: "5").json == true)
        #expect(scene.get("kv/l")[0]?["LockIndex"] == 2)
    }

    @Test("a session that is destroyed gives its keys back, or removes them; for the lock delay nobody takes them")
    func ends() throws {
        let scene = try Scene()
        let keeps = scene.session(["LockDelay": "5s"])
        let deletes = scene.session(["Behavior": "delete", "LockDelay": "0s"])
        scene.put("kv/a?acquire=\(keeps)", text: "1")
        scene.put("kv/b?acquire=\(deletes)", text: "1")
        #expect(scene.put("session/destroy/\(keeps)").json == true)
        #expect(scene.put("session/destroy/\(deletes)").json == true)
        #expect(scene.put("session/destroy/\(deletes)").json == true)
        #expect(scene.get("kv/a")[0]?["Session"] == nil)
        #expect(scene.ask("GET", "kv/b").status == 404)
        let next = scene.session()
        #expect(scene.put("kv/a?acquire=\(next)", text: "2").json == false)
        #expect(scene.put("kv/b?acquire=\(next)", text: "2").json == true)
        scene.now += 4_999
        #expect(scene.put("kv/a?acquire=\(next)", text: "2").json == false)
        scene.now += 1
        #expect(scene.put("kv/a?acquire=\(next)", text: "2").json == true)
        try scene.state.forgetDelays(scene.moment)
        #expect(scene.state.rows(.delays).isEmpty)
    }

    @Test(
        "a session ends when nobody renews it, never before its time, and a server that was away gives all of it anew")
    func ttl() throws {
        let scene = try Scene()
        let since = scene.now
        let id = scene.session(["TTL": "10s", "LockDelay": 0])
        scene.put("kv/a?acquire=\(id)", text: "1")
        scene.now += 9_999
        try scene.state.endExpired(since: since, scene.moment)
        #expect(scene.put("session/renew/\(id)").status == 200)
        scene.now += 9_999
        try scene.state.endExpired(since: since, scene.moment)
        #expect(scene.get("session/info/\(id)").array?.count == 1)
        // Over now, but this server has only been there for a second.
        scene.now += 1
        try scene.state.endExpired(since: scene.now - 1_000, scene.moment)
        #expect(scene.get("session/info/\(id)").array?.count == 1)
        try scene.state.endExpired(since: since, scene.moment)
        #expect(scene.get("session/info/\(id)") == [])
        #expect(scene.get("kv/a")[0]?["Session"] == nil)
        #expect(scene.put("session/renew/\(id)").status == 404)
        #expect(scene.state.counters.endedSessions.value == 1)
    }

    @Test("a session ends with what it rests on: its node, its checks, and when one of them is critical")
    func checks() throws {
        let scene = try Scene()
        scene.put("agent/service/register", ["Name": "db", "Check": ["CheckID": "alive", "TTL": "1m"]])
        #expect(scene.put("session/create", ["Checks": ["alive"]]).text == "Check 'alive' is in critical state")
        #expect(scene.put("session/create", ["Checks": ["none"]]).text == "Missing check 'none' registration")
        #expect(scene.put("session/create", ["Node": "nobody"]).text == "Missing node registration")
        scene.put("agent/check/pass/alive")
        let first = scene.session(["Checks": ["alive"]])
        let other = scene.session()
        scene.put("agent/check/fail/alive")
        #expect(scene.get("session/info/\(first)") == [])
        #expect(scene.get("session/info/\(other)").array?.count == 1)
        scene.put("agent/check/pass/alive")
        let second = scene.session(["Checks": ["alive"]])
        scene.put("agent/service/deregister/db")
        #expect(scene.get("session/info/\(second)") == [])
        scene.put("catalog/deregister", ["Node": "here"])
        #expect(scene.get("session/list") == [])
    }

    @Test("a session with more keys than fit in a step gives all of them back")
    func manyKeys() throws {
        let scene = try Scene { $0.limits.stepWrites = 10 }
        let id = scene.session()
        for number in 0..<23 { scene.put("kv/k/\(number)?acquire=\(id)", text: "x") }
        scene.put("session/destroy/\(id)")
        #expect((scene.get("kv/k/?recurse").array ?? []).count { $0["Session"] == nil } == 23)
    }

    @Test("times have Consul's bounds and forms")
    func bounds() throws {
        let scene = try Scene()
        #expect(scene.put("session/create", ["TTL": "5s"]).text.hasPrefix("Invalid Session TTL '5000000000'"))
        #expect(scene.put("session/create", ["TTL": "25h"]).status == 500)
        #expect(scene.put("session/create", ["TTL": "soon"]).status == 500)
        #expect(scene.put("session/create", ["Behavior": "explode"]).text == "Invalid Behavior setting 'explode'")
        for (written, nanoseconds) in [("20s", 20), ("5m", 60)] as [(JSON, Int64)] {
            let id = scene.session(["LockDelay": written])
            #expect(scene.get("session/info/\(id)")[0]?["LockDelay"] == .integer(nanoseconds * 1_000_000_000))
        }
        #expect(scene.put("session/create", ["LockDelay": .integer(.min)]).status == 400)
        let id = scene.session(["LockDelay": 7])
        #expect(scene.get("session/info/\(id)")[0]?["LockDelay"] == 7_000_000_000)
        #expect(GoDuration.milliseconds("1h2m3.5s") == 3_723_500)
        #expect(GoDuration.text(3_723_500) == "1h2m3.5s")
        for wrong in ["", "s", "1", "-1s", "1x", "1e999h", "999999999999h"] {
            #expect(GoDuration.milliseconds(wrong) == nil)
        }
    }
}
