import KubernetesAPI
import Mesh
import Testing

/// What is refused because of what other fields or objects say, as Istio's validation refuses it.
@Suite("What the analysis refuses as Istio does")
struct RefusalTests {
    private func errors(_ kind: String, _ spec: String) throws -> [String] {
        let yaml = "apiVersion: networking.istio.io/v1\nkind: \(kind)\nmetadata: {name: a}\nspec: \(spec)\n"
        return try Repository.findings(yaml).filter { $0.severity == .error }.map { "\($0.code.id) \($0.field)" }
    }

    @Test(
        "VirtualServices",
        arguments: [
            (
                "{hosts: ['*.example', shop.example], http: [{route: [{destination: {host: web}}]}]}",
                "SKN0311 spec.hosts[1]"
            ),
            (
                "{hosts: ['*'], gateways: [mesh, edge], http: [{route: [{destination: {host: web}}]}]}",
                "SKN0312 spec.hosts[0]"
            ),
            (
                "{hosts: [web], http: [{retries: {attempts: 0, retryOn: 5xx}, route: [{destination: {host: web}}]}]}",
                "SKN0326 spec.http[0].retries"
            ),
            ("{hosts: [web], http: [{retries: {attempts: 0}, route: [{destination: {host: web}}]}]}", ""),
            ("{hosts: [web], http: [{redirect: {uri: /a, redirectCode: 0}}]}", ""),
            // As long as Envoy takes it when it is told to: unless it is, 4 KiB.
            (
                "{hosts: [web], http: [{directResponse: {status: 200, body: {string: \(String(repeating: "a", count: 102_400))}}}]}",
                ""
            ),
            (
                "{hosts: [web], http: [{redirect: {uri: /a, redirectCode: 299}}]}",
                "SKN0318 spec.http[0].redirect.redirectCode"
            ),
            (
                "{hosts: [web], http: [{directResponse: {status: 200, body: {bytes: \(String(repeating: "QUJD", count: 349_526))}}}]}",
                "SKN0319 spec.http[0].directResponse.body"
            ),
            (
                "{hosts: [shop.example], tls: [{match: [{sniHosts: [192.0.2.7]}], route: [{destination: {host: web}}]}]}",
                ""
            ),
        ])
    func rules(spec: String, error: String) throws {
        #expect(try errors("VirtualService", spec) == [error].filter { !$0.isEmpty })
    }

    private static let tls = "spec.trafficPolicy.tls"

    @Test(
        "DestinationRules",
        arguments: [
            ("tls: {mode: SIMPLE, credentialName: a, insecureSkipVerify: true}", "SKN0416 \(tls).insecureSkipVerify"),
            (
                "tls: {mode: SIMPLE, subjectAltNames: [a], insecureSkipVerify: true}",
                "SKN0416 \(tls).insecureSkipVerify"
            ),
            ("tls: {mode: MUTUAL, credentialName: a, insecureSkipVerify: true}", ""),
            ("tls: {mode: MUTUAL, credentialName: a, caCertificates: /b}", "SKN0416 \(tls).caCertificates"),
            ("tls: {mode: SIMPLE, credentialName: a, caCrl: /b}", "SKN0416 \(tls).caCrl"),
            (
                "connectionPool: {http: {useClientProtocol: true, h2UpgradePolicy: UPGRADE}}",
                "SKN0410 spec.trafficPolicy.connectionPool.http.h2UpgradePolicy"
            ),
            (
                "loadBalancer: {localityLbSetting: {}, zoneAwareLbSetting: {}}",
                "SKN0102 spec.trafficPolicy.loadBalancer.zoneAwareLbSetting"
            ),
            (
                "tunnel: {targetHost: a.example, targetPort: 80, protocol: connect}",
                "SKN0406 spec.trafficPolicy.tunnel.protocol"
            ),
            ("tunnel: {targetHost: a.example, targetPort: 80, protocol: ''}", ""),
        ])
    func policies(policy: String, error: String) throws {
        #expect(
            try errors("DestinationRule", "{host: web, trafficPolicy: {\(policy)}}") == [error].filter { !$0.isEmpty })
    }

    @Test("an endpoint in another network needs no address, and is none")
    func networks() throws {
        func spec(_ resolution: String) -> String {
            "{hosts: [pay.example], resolution: \(resolution), ports: [{number: 80, name: http, protocol: HTTP}], "
                + "endpoints: [{network: far}]}"
        }
        #expect(try errors("ServiceEntry", spec("STATIC")).isEmpty)
        #expect(try errors("ServiceEntry", spec("DNS")) == ["SKN0705 spec.endpoints[0].address"])
    }
}
