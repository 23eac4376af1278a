import APIServer
import KubernetesAPI
import Serialization
import Testing

@Suite("Addresses of services")
struct ServiceAddressTests {
    @Test("a load balancer that asks for another address gets it when that is free, and keeps its own otherwise")
    func askedAddress() throws {
        let fixture = try Fixture()
        func address(_ name: String, asks: String, method: String = "PUT") throws -> String? {
            let spec: JSON = ["type": "LoadBalancer", "loadBalancerIP": .string(asks)]
            let path = method == "PUT" ? services + "/" + name : services
            let answer = try fixture.ask(method, path, Fixture.service(name, spec))
            return Service(json: answer.json).status.loadBalancer.ingress.first?.ip
        }
        #expect(try address("a", asks: "10.97.0.9", method: "POST") == "10.97.0.9")
        #expect(try address("b", asks: "", method: "POST") == "10.97.0.1")
        #expect(try address("b", asks: "10.97.0.9") == "10.97.0.1", "somebody else's")
        #expect(try address("b", asks: "192.0.2.1") == "10.97.0.1", "not of the pool")
        #expect(try address("b", asks: "10.97.0.7") == "10.97.0.7")
        #expect(try address("a", asks: "10.97.0.1") == "10.97.0.1", "given up before")
        #expect(try address("c", asks: "10.97.0.9", method: "POST") == "10.97.0.9")
        #expect(try address("a", asks: "") == "10.97.0.1", "any will do: what it has")
    }
}
