import Serialization
import Store
import Testing

@testable import Registry

@Suite("Registry: what follows for the mesh")
struct MeshTests {
    private static func entry(_ scene: Scene, _ name: String) -> JSON? {
        scene.state.view(trustDomain: "cluster.local").objects.first { $0.name == "registered-\(name)" }?.spec
    }

    @Test(
        "a service becomes a ServiceEntry: every instance's address, the healthy ones as endpoints, each at its own port"
    )
    func entries() throws {
        let scene = try Scene()
        for (id, port) in [("a", 80), ("b", 81)] as [(String, JSON)] {
            scene.put(
                "agent/service/register",
                [
                    "Name": "Web", "ID": .string(id), "Port": port, "Address": .string("192.0.2.\(id == "a" ? 5 : 6)"),
                    "Check": ["TTL": "1m"], "Meta": ["protocol": "http"],
                ])
        }
        #expect(Self.entry(scene, "web")?["endpoints"] == nil)
        scene.put("agent/check/pass/service:a")
        let spec = try #require(Self.entry(scene, "web"))
        #expect(spec["hosts"] == ["web.service.consul"])
        #expect(spec["addresses"] == ["192.0.2.5", "192.0.2.6"])
        #expect(
            spec["ports"] == [
                ["number": 80, "name": "p80", "protocol": "HTTP"], ["number": 81, "name": "p81", "protocol": "HTTP"],
            ])
        #expect(spec["endpoints"]?.array?.count == 1)
        #expect(spec["endpoints"]?[0]?["ports"] == ["p80": 80, "p81": 80])
        scene.put("agent/check/warn/service:a")
        #expect(Self.entry(scene, "web")?["endpoints"]?.array?.count == 1)
        scene.put("agent/maintenance?enable=true")
        #expect(Self.entry(scene, "web")?["endpoints"] == nil)
    }

    @Test(
        "what cannot be in the mesh is named with the reason",
        arguments: [
            (["Name": "a_b", "Port": 1], "no label"), (["Name": "a"], "no instance has a port"),
            (["Name": "a", "Port": 1, "Address": "127.0.0.1"], "address that pods can reach"),
            (["Name": "a", "Port": 1, "Address": "host.example"], "address that pods can reach"),
            (["Name": "a", "Port": 1, "Meta": ["protocol": "smtp"]], "protocol is none of"),
        ] as [(JSON, String)])
    func unmeshed(body: JSON, reason: String) throws {
        let scene = try Scene()
        #expect(scene.put("agent/service/register", body).status == 200)
        let view = scene.state.view(trustDomain: "cluster.local")
        #expect(view.objects.isEmpty)
        #expect(view.unmeshed.first?.value.contains(reason) == true)
    }

    // MARK: Intentions

    /// What AuthorizationPolicies decide, as semantics S-… of Istio have it: a DENY that matches, else some ALLOW if there is any.
    private static func allows(_ policies: [OwnedObject], source: String, destination: String) -> Bool {
        let principal = JSON.string("cluster.local/ns/default/sa/\(source)")
        func matches(_ policy: OwnedObject) -> Bool {
            (policy.spec["rules"]?.array ?? []).contains { rule in
                guard let from = rule["from"]?[0]?["source"] else { return true }
                if let list = from["principals"]?.array { return list.contains(principal) }
                return !(from["notPrincipals"]?.array ?? []).contains(principal)
            }
        }
        let selected = policies.filter { policy in
            policy.spec["selector"].map { $0["matchLabels"]?["app"] == .string(destination) } ?? true
        }
        if selected.contains(where: { $0.spec["action"] == "DENY" && matches($0) }) { return false }
        let allowing = selected.filter { $0.spec["action"] == "ALLOW" }
        return allowing.isEmpty || allowing.contains(where: matches)
    }

    @Test(
        "policies decide as the intentions' precedence does, for every set of intentions of a source, two destinations and all"
    )
    func precedence() throws {
        let pairs = ["a", "*"].flatMap { source in ["b", "c", "*"].map { (source, $0) } }
        var wrong: [String] = []
        // Each pair says nothing, allow or deny: 3^6 sets.
        for number in 0..<729 {
            var (rest, intentions): (Int, [Intention]) = (number, [])
            for (source, destination) in pairs {
                if rest % 3 > 0 {
                    intentions.append(Intention(source: source, destination: destination, isAllowed: rest % 3 == 1))
                }
                rest /= 3
            }
            let sorted = intentions.sorted { $0.precedence > $1.precedence }
            let policies = IntentionPolicies.policies(intentions, trustDomain: "cluster.local")
            for source in ["a", "x"] {
                for destination in ["b", "c", "d"] {
                    let first = sorted.first { $0.matches(source: .init(source), destination: .init(destination)) }
                    if Self.allows(policies, source: source, destination: destination) != first?.isAllowed ?? true {
                        wrong.append("\(intentions.map { "\($0.name) \($0.isAllowed)" }): \(source) to \(destination)")
                    }
                }
            }
        }
        #expect(wrong.isEmpty, "\(wrong.prefix(3))")
    }

    @Test("intentions are made, changed, matched, checked and removed as Consul's clients do it")
    func intentions() throws {
        let scene = try Scene()
        let made = scene.ask(
            "POST", "connect/intentions",
            ["SourceName": "web", "DestinationName": "db", "SourceType": "consul", "Action": "deny"])
        let id = try #require(made.json["ID"]?.string)
        #expect(
            scene.ask("POST", "connect/intentions", ["SourceName": "web", "DestinationName": "db", "Action": "allow"])
                .status == 500)
        #expect(scene.get("connect/intentions/\(id)")["Precedence"] == 9)
        #expect(scene.get("connect/intentions/check?source=web&destination=db") == ["Allowed": false])
        #expect(scene.get("connect/intentions/match?by=destination&name=db")["db"]?.array?.count == 1)
        #expect(scene.put("connect/intentions/\(id)", ["Action": "allow"]).status == 200)
        #expect(scene.get("connect/intentions/check?source=web&destination=db") == ["Allowed": true])
        #expect(scene.put("connect/intentions/exact?source=*&destination=db", ["Action": "deny"]).json == true)
        #expect(scene.get("connect/intentions/check?source=other&destination=db") == ["Allowed": false])
        #expect(scene.get("connect/intentions/exact?source=*&destination=db")["Precedence"] == 8)
        #expect(scene.ask("DELETE", "connect/intentions/exact?source=*&destination=db").json == true)
        #expect(scene.ask("DELETE", "connect/intentions/\(id)").json == true)
        #expect(scene.get("connect/intentions") == [])
        #expect(scene.ask("GET", "connect/intentions/\(id)").status == 404)
        for (body, text) in [
            (["SourceName": "a", "DestinationName": "b", "Action": "maybe"], "Action must be"),
            (["SourceName": "a", "Action": "deny"], "DestinationName must be set"),
            (["SourceName": "A B", "DestinationName": "b", "Action": "deny"], "neither '*' nor a name"),
            (
                ["SourceName": "a", "DestinationName": "b", "Action": "deny", "Permissions": [[:]]],
                "Permissions are not supported"
            ),
        ] as [(JSON, String)] {
            #expect(scene.ask("POST", "connect/intentions", body).text.contains(text))
        }
    }
}
