import Mesh
import Serialization
import Testing

@testable import ControlPlane

@Suite("Statuses that are written (I-16)")
struct StatusTests {
    private func condition(_ type: String, _ status: String, time: String? = nil, generation: Int? = nil) -> JSON {
        var condition: JSON = ["type": .string(type), "status": .string(status), "reason": "R", "message": ""]
        condition["lastTransitionTime"] = time.map { .string($0) }
        condition["observedGeneration"] = generation.map { .integer(Int64($0)) }
        return condition
    }

    private func merged(_ computed: JSON, _ old: JSON?, generation: Int = 2, keepsOthers: Bool = false) -> JSON {
        StatusMerge.merged(
            computed, into: old, generation: generation, now: "now", controller: "ours", keepsOthers: keepsOthers)
    }

    @Test("I-16 a condition that stays keeps its time, one that turns gets a new one; both observe the generation")
    func times() {
        let old: JSON = ["conditions": [condition("A", "True", time: "then"), condition("B", "True", time: "then")]]
        let new = merged(["conditions": [condition("A", "True"), condition("B", "False")]], old)
        #expect(
            new == [
                "conditions": [
                    condition("A", "True", time: "then", generation: 2),
                    condition("B", "False", time: "now", generation: 2),
                ]
            ])
        #expect(merged(["conditions": [condition("A", "True"), condition("B", "False")]], new) == new)
    }

    @Test("I-16 what other controllers said about a route stays")
    func others() {
        let foreign: JSON = ["parentRef": ["name": "x"], "controllerName": "theirs", "conditions": []]
        let old: JSON = [
            "parents": [
                foreign,
                [
                    "parentRef": ["name": "gw"], "controllerName": "ours",
                    "conditions": [condition("Accepted", "True", time: "then", generation: 1)],
                ],
                ["parentRef": ["name": "left"], "controllerName": "ours", "conditions": []],
            ]
        ]
        let new = merged(
            [
                "parents": [
                    [
                        "parentRef": ["name": "gw"], "controllerName": "ours",
                        "conditions": [condition("Accepted", "True")],
                    ]
                ]
            ], old)
        #expect(new["parents"]?.array?.count == 2)
        #expect(new["parents"]?.array?.first == foreign)
        #expect(
            new["parents"]?.array?.last?["conditions"]
                == [condition("Accepted", "True", time: "then", generation: 2)])
    }

    @Test("I-16 listeners are told apart by name; conditions of others stay where they may")
    func listeners() {
        let old: JSON = [
            "conditions": [condition("Theirs", "True", time: "then")],
            "listeners": [["name": "b", "conditions": [condition("A", "True", time: "then")]]],
        ]
        let computed: JSON = [
            "conditions": [condition("Ours", "True")],
            "listeners": [
                ["name": "a", "conditions": [condition("A", "True")]],
                ["name": "b", "conditions": [condition("A", "True")]],
            ],
        ]
        let new = merged(computed, old)
        #expect(
            new["listeners"]?.array?.map { $0["conditions"]?.array?.first?["lastTransitionTime"]?.string }
                == ["now", "then"])
        #expect(new["conditions"]?.array?.count == 1)
        #expect(merged(computed, old, keepsOthers: true)["conditions"]?.array?.count == 2)
    }

    @Test("GatewayPort8080 the gateway's Service gets the ports that are opened and gives up those that are not")
    func gatewayPorts() {
        let http: JSON = ["name": "http", "port": 80, "targetPort": 80, "nodePort": 30080]
        let kept: JSON = ["name": "opened-8080", "port": 8080, "targetPort": 8080, "protocol": "TCP", "nodePort": 1]
        let gone: JSON = ["name": "opened-9000", "port": 9000, "targetPort": 9000, "protocol": "TCP"]
        let opened: Set = [
            OpenedPort(number: 80), OpenedPort(number: 8080), OpenedPort(number: 53, isDatagram: true),
        ]
        let datagrams: JSON = ["name": "opened-53-udp", "port": 53, "targetPort": 53, "protocol": "UDP"]
        let written = GatewayPorts.decide([http, kept, gone], opened: opened)
        #expect(written == [http, datagrams, kept])
        #expect(GatewayPorts.decide(written, opened: opened) == nil)
        #expect(GatewayPorts.decide([http], opened: []) == nil)
        #expect(GatewayPorts.decide([http, gone], opened: [OpenedPort(number: 80)]) == [http])
    }
}
