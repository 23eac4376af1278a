import EnvoyAPI
import IO
import KubernetesAPI
import Mesh
import Serialization
import Testing
import XDS

@testable import ControlPlane

@Suite("gRPC without a proxy")
struct ProxylessTests {
    private static let server = "grpc/server?xds.resource.listening_address=10.244.0.41:7071"
    private static let cluster = "outbound|7071||hello.default.svc.cluster.local"
    private let start = MonotonicTime(nanoseconds: 1)

    /// A service with two pods that are gRPC servers, and what `more` adds.
    private func publisher(_ more: String = "", second: String = #"{skein.dev/proxyless: "true"}"#) throws
        -> SnapshotPublisher
    {
        var publisher = SnapshotPublisher()
        let text = """
            apiVersion: v1
            kind: Service
            metadata: {name: hello, namespace: default}
            spec: {clusterIP: 10.96.0.71, selector: {app: hello}, ports: [{name: grpc, port: 7071, targetPort: 7071}]}
            ---
            apiVersion: v1
            kind: Pod
            metadata: {name: hello-1, namespace: default, uid: u1, labels: {app: hello}, annotations: {inject.istio.io/templates: grpc-agent}}
            spec: {serviceAccountName: hello, containers: [{name: c, image: i}]}
            status: {podIP: 10.244.0.41}
            ---
            apiVersion: v1
            kind: Pod
            metadata: {name: hello-2, namespace: default, uid: u2, labels: {app: hello}, annotations: \(second)}
            spec: {serviceAccountName: hello, containers: [{name: c, image: i}]}
            status: {podIP: 10.244.0.42}
            ---
            apiVersion: discovery.k8s.io/v1
            kind: EndpointSlice
            metadata: {name: hello, namespace: default, labels: {kubernetes.io/service-name: hello}}
            addressType: IPv4
            ports: [{name: grpc, port: 7071}]
            endpoints:
            - {addresses: [10.244.0.41], conditions: {ready: true}, targetRef: {kind: Pod, name: hello-1}}
            - {addresses: [10.244.0.42], conditions: {ready: true}, targetRef: {kind: Pod, name: hello-2}}
            \(more.isEmpty ? "" : "---\n" + more)
            """
        for document in try YAML.parse(text, file: "test") where !document.json.isNull {
            publisher.set(KubernetesObject(json: document.json), now: start)
        }
        return publisher
    }

    private static let strict = """
        apiVersion: security.istio.io/v1
        kind: PeerAuthentication
        metadata: {name: default, namespace: default}
        spec: {mtls: {mode: STRICT}}
        """

    /// What a gRPC program gets that asks for one resource; with certificates unless told otherwise.
    private func ask<M: Message>(
        _ publisher: SnapshotPublisher, _ name: String, as type: M.Type, certificates: String? = "files"
    ) throws -> M? {
        var publisher = publisher
        let pod = NamespacedName(namespace: "default", name: "hello-1")
        let stream = publisher.open(ProxyIdentity(pod: pod, role: .sidecar), .stateOfTheWorld)
        var request = DiscoveryRequest()
        request.typeUrl = M.typeURL
        request.resourceNames = [name]
        var node = EnvoyAPI.Node()
        node.userAgentName = "gRPC C-core"
        if let certificates { node.metadata = ["skein.certificates": .string(certificates)] }
        request.node = node
        let messages = try publisher.received(.stateOfTheWorld(request), on: stream)
        let resources = try messages.flatMap { try DiscoveryResponse(serialized: $0.bytes).resources }
        return try resources.first?.unpack(as: M.self)
    }

    private func manager(_ listener: Listener?) throws -> HttpConnectionManager {
        guard case .typedConfig(let config)? = listener?.filterChains.first?.filters.first?.configType else {
            throw ControlPlaneError("no manager")
        }
        return try config.unpack(as: HttpConnectionManager.self)
    }

    @Test("A server's listener has the address that it asked for, plain text in PERMISSIVE, and mutual TLS in STRICT")
    func servers() throws {
        let permissive = try ask(try publisher(), Self.server, as: Listener.self)
        #expect(permissive?.filterChains.count == 1 && permissive?.filterChains.first?.transportSocket == nil)
        guard case .socketAddress(let address)? = permissive?.address?.address else {
            return #expect(Bool(false), "no address")
        }
        #expect(address.address == "10.244.0.41" && address.portSpecifier == .portValue(7071))
        let manager = try manager(permissive)
        #expect(manager.httpFilters.map(\.name) == ["envoy.filters.http.router"])
        let strict = try publisher(Self.strict)
        guard
            case .typedConfig(let config)? = try ask(strict, Self.server, as: Listener.self)?.filterChains.first?
                .transportSocket?.configType
        else { return #expect(Bool(false), "STRICT is TLS") }
        let context = try config.unpack(as: DownstreamTlsContext.self)
        #expect(context.requireClientCertificate == true)
        #expect(context.commonTlsContext?.tlsCertificateProviderInstance?.instanceName == "files")
        let istio = "xds.istio.io/grpc/lds/inbound/0.0.0.0:7071"
        #expect(try ask(strict, istio, as: Listener.self)?.name == istio)
    }

    @Test(
        "A server has no listener where it may not serve: no certificates, no such port, a policy that gRPC cannot hold"
    )
    func refusedServers() throws {
        let strict = try publisher(Self.strict)
        #expect(try ask(strict, Self.server, as: Listener.self, certificates: nil) == nil)
        for name in ["10.244.0.41:7072", "10.244.0.41", ":7071", "10.244.0.41:0", "10.244.0.41:99999"] {
            let asked = "grpc/server?xds.resource.listening_address=\(name)"
            #expect(try ask(strict, asked, as: Listener.self) == nil, "\(name)")
        }
        let tokens = try publisher(
            """
            apiVersion: security.istio.io/v1
            kind: RequestAuthentication
            metadata: {name: tokens, namespace: default}
            spec: {jwtRules: [{issuer: me, jwks: '{"keys":[]}'}]}
            """)
        #expect(try ask(tokens, Self.server, as: Listener.self) == nil)
    }

    @Test("A-1 an AuthorizationPolicy becomes the server's RBAC filter")
    func policies() throws {
        let publisher = try publisher(
            """
            apiVersion: security.istio.io/v1
            kind: AuthorizationPolicy
            metadata: {name: hello, namespace: default}
            spec: {action: DENY, rules: [{from: [{source: {principals: [cluster.local/ns/default/sa/eve]}}]}]}
            """)
        let filters = try manager(try ask(publisher, Self.server, as: Listener.self)).httpFilters
        #expect(filters.map(\.name) == ["envoy.filters.http.rbac", "envoy.filters.http.router"])
    }

    @Test(
        "A-14 a client has mutual TLS where all endpoints speak it and it has certificates, for the servers' identities"
    )
    func clients() throws {
        let strict = try publisher(Self.strict)
        guard
            case .typedConfig(let config)? = try ask(strict, Self.cluster, as: EnvoyAPI.Cluster.self)?.transportSocket?
                .configType
        else { return #expect(Bool(false), "all endpoints are STRICT") }
        let context = try config.unpack(as: UpstreamTlsContext.self)
        let common = try #require(context.commonTlsContext)
        #expect(common.tlsCertificateProviderInstance?.instanceName == "files")
        #expect(common.tlsParams == nil && common.tlsCertificateSdsSecretConfigs.isEmpty, "gRPC refuses these")
        guard case .combinedValidationContext(let combined)? = common.validationContextType,
            let validation = combined.defaultValidationContext
        else { return #expect(Bool(false), "no validation") }
        #expect(validation.caCertificateProviderInstance?.instanceName == "files")
        #expect(
            validation.matchSubjectAltNames.map(\.matchPattern)
                == [.exact("spiffe://cluster.local/ns/default/sa/hello")])
        func isPlain(_ publisher: SnapshotPublisher, certificates: String? = "files") throws -> Bool {
            let cluster = try #require(
                try ask(publisher, Self.cluster, as: EnvoyAPI.Cluster.self, certificates: certificates))
            return cluster.transportSocket == nil
        }
        #expect(try isPlain(strict, certificates: nil))
        #expect(try isPlain(try publisher()), "PERMISSIVE servers take plain text alone")
        #expect(
            try isPlain(try publisher(Self.strict, second: #"{sidecar.istio.io/inject: "false"}"#)), "not all speak it")
    }

    @Test(
        "MeshClusterIPMatching a gRPC program has a service's routes by its target's name: no connection says where it went"
    )
    func addressed() throws {
        let publisher = try publisher(
            """
            apiVersion: gateway.networking.k8s.io/v1
            kind: GRPCRoute
            metadata: {name: r, namespace: default}
            spec:
              parentRefs: [{group: "", kind: Service, name: hello}]
              rules: [{matches: [{method: {service: a.B}}], backendRefs: [{name: hello, port: 7071}]}]
            """)
        let routes = try #require(try ask(publisher, Self.cluster, as: RouteConfiguration.self)).virtualHosts[0].routes
        #expect(!routes.isEmpty && routes.allSatisfy { $0.match?.filterState.isEmpty == true })
        #expect(!routes.contains { $0.name == "another_address" })
    }

    @Test("D-5 a cluster whose TLS cannot be had does not exist, rather than in plain text")
    func impossible() throws {
        for mode in ["{mode: SIMPLE, caCertificates: /a}", "{mode: ISTIO_MUTUAL}"] {
            let publisher = try publisher(
                """
                apiVersion: networking.istio.io/v1
                kind: DestinationRule
                metadata: {name: hello, namespace: default}
                spec: {host: hello, trafficPolicy: {tls: \(mode)}}
                """)
            #expect(try ask(publisher, Self.cluster, as: EnvoyAPI.Cluster.self, certificates: nil) == nil, "\(mode)")
        }
    }
}
