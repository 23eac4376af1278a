import KubernetesAPI
import Mesh
import Serialization
import Testing

@testable import ControlPlane

@Suite("Services of Gateways (I-16)")
struct GatewayServiceTests {
    private let owner = KubernetesObject(json: [
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": ["name": "gw", "namespace": "shop", "uid": "u1"],
    ])
    private func address(port: Int = 80, target: Int = 20_000, asks: String? = nil) -> GatewayAddress {
        GatewayAddress(
            gateway: NamespacedName(namespace: "shop", name: "gw"), className: "skein",
            ports: [.init(port: OpenedPort(number: port), target: target, name: "http-\(port)")], address: asks,
            labels: ["team": "a", GatewayServices.gatewayLabel: "forged"], annotations: ["note": "b"])
    }
    private func pod(_ name: String, ip: String, ready: Bool = true) -> KubernetesObject {
        KubernetesObject(json: [
            "kind": "Pod", "metadata": ["name": .string(name), "namespace": "skein-system"],
            "spec": ["nodeName": "n1"],
            "status": [
                "phase": "Running", "podIP": .string(ip),
                "conditions": [["type": "Ready", "status": ready ? "True" : "False"]],
            ],
        ])
    }
    private func created(_ decision: Decision) -> KubernetesObject? {
        guard case .create(_, var object) = decision.changes.first else { return nil }
        object.json["metadata"]?["uid"] = "u2"
        object.json["status"] = ["loadBalancer": ["ingress": [["ip": "10.97.0.7"]]]]
        return object
    }

    @Test("a Gateway gets a Service that is its own, with its labels, and an address once that leads where it should")
    func service() throws {
        let decision = GatewayServices.decide(
            address(asks: "10.97.0.7"), owner: owner, service: nil, slice: nil, pods: [])
        #expect(decision.changes.count == 1, "the endpoints are the Service's own, which has no identity yet")
        let service = try #require(created(decision))
        #expect(service.name == "gw-skein" && service.namespace == "shop")
        #expect(service.controllerUID == "u1")
        #expect(service.metadata.labels["team"] == "a" && service.metadata.annotations["note"] == "b")
        #expect(service.metadata.labels[GatewayServices.gatewayLabel] == "gw", "whatever its author wrote")
        #expect(service.spec["type"] == "LoadBalancer" && service.spec["loadBalancerIP"] == "10.97.0.7")
        #expect(
            service.spec["ports"] == [["name": "http-80", "port": 80, "targetPort": 20_000, "protocol": "TCP"]])
        #expect(
            GatewayServices.addresses(address(asks: "10.97.0.7"), owner: owner, service: service) == ["10.97.0.7"])
        #expect(GatewayServices.addresses(address(port: 81), owner: owner, service: service).isEmpty, "not yet")
        #expect(GatewayServices.addresses(address(), owner: owner, service: nil).isEmpty)
    }

    @Test("its endpoints are the gateway's pods at the Gateway's ports, kept in step")
    func endpoints() throws {
        let service = try #require(
            created(GatewayServices.decide(address(), owner: owner, service: nil, slice: nil, pods: [])))
        let pods = [pod("b", ip: "10.244.0.3", ready: false), pod("a", ip: "10.244.0.2")]
        let decision = GatewayServices.decide(address(), owner: owner, service: service, slice: nil, pods: pods)
        let slice = try #require(created(decision))
        #expect(slice.controllerUID == "u2" && slice.metadata.labels["kubernetes.io/service-name"] == "gw-skein")
        #expect(slice.json["ports"] == [["name": "http-80", "port": 20_000, "protocol": "TCP"]])
        let endpoints = slice.json["endpoints"]?.array ?? []
        #expect(endpoints.map { $0["addresses"]?.array?.first?.string } == ["10.244.0.2", "10.244.0.3"])
        #expect(endpoints.map { $0["conditions"]?["ready"]?.bool } == [true, false])
        #expect(
            GatewayServices.decide(address(), owner: owner, service: service, slice: slice, pods: pods).changes
                .isEmpty)
        let fewer = GatewayServices.decide(address(), owner: owner, service: service, slice: slice, pods: [pods[1]])
        guard case .update(.endpointSlice, let changed) = fewer.changes.first else {
            Issue.record("the slice stays as it was")
            return
        }
        #expect(changed.json["endpoints"]?.array?.count == 1)
    }

    @Test("a changed port keeps its node port and what others wrote; a Service of somebody else is left alone")
    func others() throws {
        var service = try #require(
            created(GatewayServices.decide(address(), owner: owner, service: nil, slice: nil, pods: [])))
        service.json["spec"]?["ports"] = [
            ["name": "http-80", "port": 80, "targetPort": 1, "protocol": "TCP", "nodePort": 30_001]
        ]
        service.json["metadata"]?["annotations"]?["theirs"] = "x"
        let decision = GatewayServices.decide(address(), owner: owner, service: service, slice: nil, pods: [])
        guard case .update(.service, let changed) = decision.changes.first else {
            Issue.record("the Service stays as it was")
            return
        }
        #expect(changed.spec["ports"]?.array?.first?["nodePort"] == 30_001)
        #expect(changed.spec["ports"]?.array?.first?["targetPort"] == 20_000)
        #expect(changed.metadata.annotations == ["theirs": "x", "note": "b"])
        service.json["metadata"]?["ownerReferences"] = nil
        #expect(
            GatewayServices.decide(address(), owner: owner, service: service, slice: nil, pods: []).changes.isEmpty)
        #expect(GatewayServices.addresses(address(), owner: owner, service: service).isEmpty)
    }

    @Test("the Service of a Gateway that is to have none any more goes, and nobody else's")
    func left() throws {
        let service = try #require(
            created(GatewayServices.decide(address(), owner: owner, service: nil, slice: nil, pods: [])))
        #expect(GatewayServices.isLeft(service, wanted: []))
        #expect(!GatewayServices.isLeft(service, wanted: [service.key]))
        var foreign = service
        foreign.json["metadata"]?["labels"]?["app.kubernetes.io/managed-by"] = "helm"
        #expect(!GatewayServices.isLeft(foreign, wanted: []))
    }

    @Test("names are those of Istio, and shortened with a hash where a Service may not have them")
    func names() {
        #expect(GatewayServices.name("gw", className: "skein") == "gw-skein")
        let long = String(repeating: "a", count: 63)
        let short = GatewayServices.name(long, className: "skein")
        #expect(short.utf8.count <= 63 && short.hasPrefix("aaaa"))
        #expect(short != GatewayServices.name(long, className: "istio"))
        let dots = GatewayServices.name("a.b", className: "skein")
        #expect(!dots.contains(".") && dots != GatewayServices.name("a-b", className: "skein"))
        #expect(GatewayServices.name("1", className: "skein").hasPrefix("gateway-1-skein-"))
    }
}
