import EnvoyAPI
import KubernetesAPI
import Mesh
import Serialization
import Testing

@Suite("Pods with addresses of both families")
struct DualStackTests {
    private static let yaml = """
        apiVersion: v1
        kind: Service
        metadata: {name: web, namespace: default}
        spec:
          clusterIP: FIRST
          clusterIPs: [FIRST, SECOND]
          ipFamilies: FAMILIES
          selector: {app: web}
          ports: [{name: http, port: 80, targetPort: 8080}]
        ---
        apiVersion: v1
        kind: Pod
        metadata: {name: web, namespace: default, labels: {app: web}}
        spec: {containers: [{name: c}]}
        status: {podIP: 10.244.0.5, podIPs: [{ip: 10.244.0.5}, {ip: "fd00::5"}]}
        ---
        apiVersion: discovery.k8s.io/v1
        kind: EndpointSlice
        metadata: {name: web-4, namespace: default, labels: {kubernetes.io/service-name: web}}
        addressType: IPv4
        ports: [{name: http, port: 8080}]
        endpoints: [{addresses: [10.244.0.5], targetRef: {kind: Pod, name: web}}]
        ---
        apiVersion: discovery.k8s.io/v1
        kind: EndpointSlice
        metadata: {name: web-6, namespace: default, labels: {kubernetes.io/service-name: web}}
        addressType: IPv6
        ports: [{name: http, port: 8080}]
        endpoints: [{addresses: ["fd00::5"], targetRef: {kind: Pod, name: web}}]
        """

    private func snapshot(isV6First: Bool, isDualStack: Bool = true) throws -> ProxySnapshot {
        var text = Self.yaml
        for (name, value) in [
            ("FIRST", isV6First ? "\"fd00:96::9\"" : "10.96.0.9"),
            ("SECOND", isV6First ? "10.96.0.9" : "\"fd00:96::9\""),
            ("FAMILIES", isV6First ? "[IPv6, IPv4]" : "[IPv4, IPv6]"),
        ] { text = text.replacing(name, with: value) }
        var objects = MeshObjects()
        for document in try YAML.parse(text, file: "test") { objects.set(KubernetesObject(json: document.json)) }
        var translator = MeshTranslator(MeshModel(objects, isDualStack: isDualStack))
        return translator.snapshot(
            for: ProxyIdentity(pod: NamespacedName(namespace: "default", name: "web"), role: .sidecar))
    }

    @Test("a pod counts once, by its address of its service's first family", arguments: [false, true])
    func once(isV6First: Bool) throws {
        let snapshot = try snapshot(isV6First: isV6First)
        let endpoints = try snapshot.hosts("outbound|80||web.default.svc.cluster.local")
        #expect(endpoints == [(isV6First ? "fd00::5" : "10.244.0.5") + ":8080"])
        let domains = try snapshot.route("80").virtualHosts.flatMap(\.domains)
        #expect(domains.contains("10.96.0.9") && domains.contains("[fd00:96::9]"))
    }

    @Test("sidecars listen on both families in one socket, and reach their application by either")
    func listeners() throws {
        for isDualStack in [true, false] {
            let snapshot = try snapshot(isV6First: false, isDualStack: isDualStack)
            for name in ["virtualInbound", "virtualOutbound"] {
                guard case .socketAddress(let socket)? = try snapshot.listener(name).address?.address else {
                    Issue.record("\(name) has no address")
                    continue
                }
                #expect(socket.address == (isDualStack ? "::" : "0.0.0.0") && socket.ipv4Compat == isDualStack)
            }
            let bind = try snapshot.cluster("inbound|8080||").upstreamBindConfig
            #expect(bind?.sourceAddress?.address == "127.0.0.6")
            #expect(bind?.extraSourceAddresses.map { $0.address?.address } == (isDualStack ? ["::6"] : []))
        }
    }
}
