import EnvoyAPI
import Mesh
import Testing

@Suite("Tenants")
struct TenantTests {
    private static let host = "web.shop.svc.cluster.local"
    private static let cluster = "outbound|80||web.shop.svc.cluster.local"
    private static let shop =
        World.service("web", ip: 1, namespace: "shop") + World.pod("web-1", "web", ip: 11, namespace: "shop")

    /// An object of the namespace `default`, which is not the host's.
    private static func object(_ kind: String, _ spec: String) -> String {
        """
        ---
        apiVersion: networking.istio.io/v1
        kind: \(kind)
        metadata: {name: taken, namespace: default, creationTimestamp: "2020-01-01T00:00:00Z"}
        spec: \(spec)

        """
    }

    @Test(
        "ATK-31 what a namespace says of another one's host, exactly or with a wildcard, changes nothing for anybody else",
        arguments: [host, "*.shop.svc.cluster.local"])
    func foreign(claim: String) throws {
        let alone = try World(Self.shop).snapshot("shop/caller")
        let attacks = [
            Self.object(
                "VirtualService",
                "{hosts: ['\(claim)'], http: [{name: taken, route: [{destination: {host: evil.example}}]}]}"),
            Self.object(
                "DestinationRule",
                "{host: '\(claim)', trafficPolicy: {tls: {mode: SIMPLE, sni: evil.example}, connectionPool: {tcp: {connectTimeout: 77s}}}}"
            ),
            Self.object(
                "ServiceEntry",
                "{hosts: ['\(claim)'], ports: [{number: 80, name: http, protocol: HTTP}], resolution: \(claim.hasPrefix("*") ? "NONE" : "STATIC, endpoints: [{address: 192.0.2.66}]")}"
            ),
        ]
        for attack in attacks + [attacks.joined()] {
            let world = try World(Self.shop, attack)
            for caller in ["shop/caller", "other/caller"] {
                let snapshot = world.snapshot(caller)
                #expect(try snapshot.virtualHost("80", Self.host).outline == alone.virtualHost("80", Self.host).outline)
                #expect(try snapshot.cluster(Self.cluster).connectTimeout == alone.cluster(Self.cluster).connectTimeout)
                #expect(
                    try (snapshot.cluster(Self.cluster).transportSocket == nil)
                        == (alone.cluster(Self.cluster).transportSocket == nil))
                #expect(try snapshot.hosts(Self.cluster) == alone.hosts(Self.cluster))
            }
        }
    }
}
