import KubernetesAPI
import Serialization
import Testing

@testable import APIServer

@Suite("Quotas, ranges, priorities and disruption budgets")
struct LimitTests {
    private let quotas = "/api/v1/namespaces/default/resourcequotas"
    private let ranges = "/api/v1/namespaces/default/limitranges"
    private let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    private let classes = "/apis/scheduling.k8s.io/v1/priorityclasses"

    private func pod(_ name: String, _ resources: JSON = [:], labels: JSON = [:]) -> JSON {
        [
            "metadata": ["name": .string(name), "labels": labels],
            "spec": ["containers": [["name": "c", "image": "x:1", "resources": resources]]],
        ]
    }

    @Test("a quota refuses what is one too many, in the words of Kubernetes, and takes it again when there is room")
    func quota() throws {
        let fixture = try Fixture()
        try fixture.ask(
            "POST", quotas, ["metadata": ["name": "few"], "spec": ["hard": ["pods": "1", "services": "2"]]])
        #expect(try fixture.ask("POST", pods, pod("a")).status == 201)
        let refused = try fixture.ask("POST", pods, pod("b"))
        #expect(refused.status == 403)
        #expect(
            refused.message
                == "pods \"b\" is forbidden: exceeded quota: few, requested: pods=1, used: pods=1, limited: pods=1")
        // One that has ended takes no place.
        try fixture.ask(
            "PATCH", pods + "/a/status", ["status": ["phase": "Succeeded"]], type: "application/merge-patch+json")
        #expect(try fixture.ask("POST", pods, pod("b")).status == 201)
        #expect(try fixture.ask("POST", services, Fixture.service("s")).status == 201)
        #expect(try fixture.ask("POST", services, Fixture.service("t")).message.contains("requested: services=1"))
    }

    @Test("a quota of processors and memory counts what is asked for, and wants it to be told")
    func computed() throws {
        let fixture = try Fixture()
        try fixture.ask(
            "POST", quotas,
            ["metadata": ["name": "q"], "spec": ["hard": ["requests.cpu": "1", "requests.memory": "1Gi"]]])
        let silent = try fixture.ask("POST", pods, pod("a"))
        #expect(
            silent.message
                == "pods \"a\" is forbidden: failed quota: q: must specify requests.cpu for: c; requests.memory for: c")
        func asking(_ cpu: String, _ memory: String) -> JSON {
            ["requests": ["cpu": .string(cpu), "memory": .string(memory)]]
        }
        #expect(try fixture.ask("POST", pods, pod("a", asking("600m", "512Mi"))).status == 201)
        let refused = try fixture.ask("POST", pods, pod("b", asking("500m", "600Mi")))
        #expect(
            refused.message
                == "pods \"b\" is forbidden: exceeded quota: q, requested: requests.cpu=500m,requests.memory=600Mi, used: "
                + "requests.cpu=600m,requests.memory=512Mi, limited: requests.cpu=1,requests.memory=1Gi")
        let quota = try fixture.registry.get(.resourceQuota, "default", "q")
        #expect(fixture.registry.quotaStatus(quota).used == ["requests.cpu": "600m", "requests.memory": "512Mi"])
    }

    @Test("a quota with a scope counts only what is in it")
    func scopes() throws {
        let fixture = try Fixture()
        try fixture.ask(
            "POST", quotas,
            ["metadata": ["name": "q"], "spec": ["hard": ["pods": "1"], "scopes": ["BestEffort"]]])
        #expect(try fixture.ask("POST", pods, pod("a")).status == 201)
        #expect(try fixture.ask("POST", pods, pod("b")).status == 403)
        #expect(try fixture.ask("POST", pods, pod("c", ["requests": ["cpu": "1m"]])).status == 201)
    }

    @Test("a range fills in what a container does not say, before its class is told, and refuses the rest")
    func range() throws {
        let fixture = try Fixture()
        let made = try fixture.ask(
            "POST", ranges,
            [
                "metadata": ["name": "r"],
                "spec": [
                    "limits": [
                        [
                            "type": "Container", "max": ["cpu": "1"], "min": ["cpu": "100m"],
                            "maxLimitRequestRatio": ["cpu": "4"],
                        ]
                    ]
                ],
            ])
        #expect(made.json["spec"]?["limits"]?[0]?["default"] == ["cpu": "1"])
        #expect(made.json["spec"]?["limits"]?[0]?["defaultRequest"] == ["cpu": "1"])
        let filled = try fixture.ask("POST", pods, pod("a"))
        #expect(
            filled.json["spec"]?["containers"]?[0]?["resources"] == ["limits": ["cpu": "1"], "requests": ["cpu": "1"]])
        #expect(
            filled.json["metadata"]?["annotations"]?["kubernetes.io/limit-ranger"]
                == "LimitRanger plugin set: cpu request for container c; cpu limit for container c")
        for (resources, words) in [
            (
                ["requests": ["cpu": "50m"], "limits": ["cpu": "100m"]],
                "minimum cpu usage per Container is 100m, but request is 50m"
            ),
            (["limits": ["cpu": "2"]], "maximum cpu usage per Container is 1, but limit is 2"),
            (
                ["requests": ["cpu": "100m"], "limits": ["cpu": "500m"]],
                "cpu max limit to request ratio per Container is 4, but provided ratio is 5.000000"
            ),
        ] as [(JSON, String)] {
            let refused = try fixture.ask("POST", pods, pod("b", resources))
            #expect(refused.status == 403 && refused.message.contains(words), "\(refused.message)")
        }
        let odd = try fixture.ask(
            "POST", ranges,
            [
                "metadata": ["name": "s"],
                "spec": ["limits": [["type": "Container", "min": ["cpu": "2"], "max": ["cpu": "1"]]]],
            ])
        #expect(odd.status == 422 && odd.message.contains("min value 2 is greater than max value 1"))
    }

    @Test("a pod has the priority of its class, of the default one, or none; nobody chooses the number")
    func priorities() throws {
        let fixture = try Fixture()
        try fixture.ask("POST", classes, ["metadata": ["name": "high"], "value": 7])
        var wanted = pod("a")
        wanted["spec"]?["priorityClassName"] = "high"
        #expect(try fixture.ask("POST", pods, wanted).json["spec"]?["priority"] == 7)
        #expect(try fixture.ask("POST", pods, pod("b")).json["spec"]?["priority"] == 0)
        wanted = pod("c")
        wanted["spec"]?["priorityClassName"] = "nosuch"
        #expect(
            try fixture.ask("POST", pods, wanted).message
                == "pods \"c\" is forbidden: no PriorityClass with name nosuch was found")
        try fixture.ask("POST", classes, ["metadata": ["name": "usual"], "value": 3, "globalDefault": true])
        #expect(try fixture.ask("POST", pods, pod("d")).json["spec"]?["priorityClassName"] == "usual")
        let second = try fixture.ask(
            "POST", classes, ["metadata": ["name": "other"], "value": 4, "globalDefault": true])
        #expect(
            second.message.hasSuffix("PriorityClass usual is already marked as default. Only one default can exist"))
        let changed = try fixture.ask("PATCH", classes + "/high", ["value": 8], type: "application/merge-patch+json")
        #expect(changed.status == 422 && changed.message.contains("may not be changed in an update."))
        let large = try fixture.ask("POST", classes, ["metadata": ["name": "x"], "value": 1_000_000_001])
        #expect(large.message.contains("maximum allowed value of a user defined priority is 1000000000"))
        let own = try fixture.ask("POST", classes, ["metadata": ["name": "system-mine"], "value": 1])
        #expect(own.message.contains("reserved for system use only"))
    }

    @Test("an eviction asks the budget, writes down that a pod leaves, and is answered 429 when no more may")
    func eviction() throws {
        let fixture = try Fixture()
        try fixture.ask(
            "POST", budgets,
            ["metadata": ["name": "web"], "spec": ["minAvailable": 1, "selector": ["matchLabels": ["app": "web"]]]])
        let ready: JSON = ["status": ["phase": "Running", "conditions": [["type": "Ready", "status": "True"]]]]
        for name in ["a", "b"] {
            try fixture.ask("POST", pods, pod(name, labels: ["app": "web"]))
            try fixture.ask("PATCH", "\(pods)/\(name)/status", ready, type: "application/merge-patch+json")
        }
        func evict(_ name: String) throws -> Fixture.Answer {
            try fixture.ask("POST", "\(pods)/\(name)/eviction", ["metadata": ["name": .string(name)]])
        }
        let early = try evict("a")
        #expect(early.status == 429 && early.json["details"]?["retryAfterSeconds"] == 10)
        try fixture.ask(
            "PATCH", budgets + "/web/status",
            ["status": ["observedGeneration": 1, "currentHealthy": 2, "desiredHealthy": 1, "disruptionsAllowed": 1]],
            type: "application/merge-patch+json")
        #expect(try evict("a").status == 201)
        let budget = try fixture.ask("GET", budgets + "/web").json
        #expect(budget["status"]?["disruptionsAllowed"] == 0 && budget["status"]?["disruptedPods"]?["a"] != nil)
        let late = try evict("b")
        #expect(late.status == 429 && late.reason == "TooManyRequests")
        #expect(late.message == "Cannot evict pod as it would violate the pod's disruption budget.")
        #expect(
            late.json["details"]?["causes"]?[0]?["message"]
                == "The disruption budget web needs 1 healthy pods and has 2 currently")
        try fixture.ask(
            "POST", budgets, ["metadata": ["name": "more"], "spec": ["minAvailable": 1, "selector": [:]]])
        #expect(try evict("b").status == 500)
    }
}
