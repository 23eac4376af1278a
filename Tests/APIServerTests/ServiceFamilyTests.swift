import APIServer
import IO
import KubernetesAPI
import Serialization
import Testing

@Suite("Families of services")
struct ServiceFamilyTests {
    private let services = "/api/v1/namespaces/default/services"

    private func fixture(_ cluster: [String] = ["10.96.0.0/16", "fd00:96::/112"]) throws -> Fixture {
        let balancers = ["10.97.0.0/24", "fd00:97::/120"].compactMap { Prefix($0) }
        return try Fixture(
            serviceRanges: try #require(
                ServiceRanges(cluster: cluster.compactMap { Prefix($0) }, balancers: balancers)))
    }

    private func make(
        _ fixture: Fixture, _ name: String, _ spec: JSON
    ) throws -> (spec: JSON, status: Int, message: String) {
        let answer = try fixture.ask("POST", services, Fixture.service(name, spec))
        return (answer.json["spec"] ?? .null, answer.status, answer.message)
    }

    @Test("N-16 a service has an address of each family that its policy asks for, in the order of its families")
    func policies() throws {
        let fixture = try fixture()
        let single = try make(fixture, "a", [:]).spec
        #expect(single["clusterIPs"] == ["10.96.0.2"] && single["ipFamilies"] == ["IPv4"])
        let preferred = try make(fixture, "b", ["ipFamilyPolicy": "PreferDualStack"]).spec
        #expect(preferred["clusterIPs"] == ["10.96.0.3", "fd00:96::1"] && preferred["ipFamilies"] == ["IPv4", "IPv6"])
        let turned = try make(fixture, "c", ["ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"]]).spec
        #expect(turned["clusterIPs"] == ["fd00:96::2", "10.96.0.4"] && turned["clusterIP"] == "fd00:96::2")
        let other = try make(fixture, "d", ["ipFamilies": ["IPv6"]]).spec
        #expect(other["clusterIPs"] == ["fd00:96::3"] && other["ipFamilyPolicy"] == "SingleStack")
        let asked = try make(fixture, "e", ["clusterIP": "fd00:96::77"]).spec
        #expect(asked["clusterIPs"] == ["fd00:96::77"] && asked["ipFamilies"] == ["IPv6"])
        let headless = try make(fixture, "f", ["clusterIP": "None", "selector": [:]]).spec
        #expect(headless["clusterIPs"] == ["None"] && headless["ipFamilies"] == ["IPv4", "IPv6"])
        #expect(headless["ipFamilyPolicy"] == "RequireDualStack")
        let outside = try fixture.ask(
            "POST", services,
            Fixture.service("g", ["type": "LoadBalancer", "ipFamilyPolicy": "PreferDualStack"]))
        let ingress = outside.json["status"]?["loadBalancer"]?["ingress"]
        #expect(ingress?[0]?["ip"] == "10.97.0.1" && ingress?[1]?["ip"] == "fd00:97::1")
    }

    @Test("N-16 a cluster whose first range is IPv6 gives such addresses to services that name no family")
    func firstFamily() throws {
        let fixture = try fixture(["fd00:96::/112", "10.96.0.0/16"])
        #expect(try make(fixture, "a", [:]).spec["clusterIPs"] == ["fd00:96::2"])
        let answer = try fixture.ask("GET", services + "/kubernetes")
        #expect(answer.json["spec"]?["clusterIP"] == "fd00:96::1")
    }

    @Test("N-16 families and addresses that contradict each other are refused, and nothing is taken")
    func contradictions() throws {
        let fixture = try fixture()
        let cases: [(JSON, String)] = [
            (
                ["ipFamilies": ["IPv6"], "clusterIP": "10.96.0.9"],
                "spec.clusterIPs[0]: Invalid value: \"10.96.0.9\": expected an IPv6 value"
            ),
            (
                ["ipFamilies": ["IPv4", "IPv6"]],
                "must be RequireDualStack or PreferDualStack when multiple `ipFamilies`"
            ),
            (["ipFamilies": ["IPv4", "IPv4"], "ipFamilyPolicy": "PreferDualStack"], "spec.ipFamilies[1]: Duplicate"),
            (["clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.8"]], "first value must match `clusterIP`"),
            (
                ["clusterIPs": ["10.96.0.9", "fd00:1::1"], "ipFamilyPolicy": "PreferDualStack"],
                "failed to allocate IP fd00:1::1: the provided IP is not in the valid range"
            ),
        ]
        for (index, (spec, message)) in cases.enumerated() {
            let answer = try make(fixture, "bad-\(index)", spec)
            #expect(answer.status == 422 && answer.message.contains(message), "\(answer.message)")
        }
        #expect(try make(fixture, "good", ["clusterIP": "10.96.0.9"]).status == 201)
    }

    @Test("N-16 a service gets a second family, and gives it back, by its policy alone; its first family stays")
    func changes() throws {
        let fixture = try fixture()
        _ = try make(fixture, "web", [:])
        func patch(_ spec: JSON) throws -> Fixture.Answer {
            try fixture.ask("PATCH", services + "/web", ["spec": spec], type: "application/merge-patch+json")
        }
        let both = try patch(["ipFamilyPolicy": "PreferDualStack"]).json["spec"]
        #expect(both?["clusterIPs"] == ["10.96.0.2", "fd00:96::1"] && both?["ipFamilies"] == ["IPv4", "IPv6"])
        let one = try patch(["ipFamilyPolicy": "SingleStack"]).json["spec"]
        #expect(one?["clusterIPs"] == ["10.96.0.2"] && one?["ipFamilies"] == ["IPv4"])
        #expect(try make(fixture, "heir", ["clusterIP": "fd00:96::1"]).status == 201)
        let turned = try patch(["ipFamilies": ["IPv6"], "clusterIPs": .null, "clusterIP": .null])
        #expect(turned.status == 422 && turned.message.contains("expected an IPv6 value"), "\(turned.message)")
    }

    @Test("a range of services has two to twenty bits to count with, and there is one of a family")
    func ranges() throws {
        func ranges(_ texts: String...) -> ServiceRanges? {
            ServiceRanges(cluster: texts.compactMap { Prefix($0) }, balancers: [])
        }
        #expect(ranges("10.0.0.0/8") == nil && ranges("fd00::/64") == nil && ranges("10.0.0.0/31") == nil)
        #expect(ranges() == nil && ranges("10.0.0.0/16", "10.1.0.0/16") == nil)
        #expect(ranges("fd00::/108")?.kubernetes == IPAddress("fd00::1"))
    }
}
