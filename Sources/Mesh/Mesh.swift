/// The mesh translation: Kubernetes and Istio objects in, one consistent Envoy configuration per proxy out.
///
/// Pure: no socket, clock, random source or lock. The way of a change through the folders:
///
/// 1. `MeshObjects` holds the objects as they came from the watch.
/// 2. `Model/` reads them once into `MeshModel`, and afterwards edit by edit: services of Kubernetes and ServiceEntries
///    with port protocols, endpoints, rules in their order. Whoever asks it something is noted (`Fact`).
/// 3. `MeshTranslator` asks for one proxy at a time: `Outbound/` and `Inbound/` for sidecars, `Gateways/` for gateways,
///    `Security/` says who may call whom and how (mutual TLS, policies, tokens), `Routing/` turns VirtualServices and
///    Ingresses into routes, `Policy/` DestinationRules into clusters, `Observation/` says what proxies log and trace, `Patches/` lays EnvoyFilters over the result, `Incremental/` keeps
///    what was made until a fact differs that it was made from.
/// 4. The result is a `ProxySnapshot`: layers of named resources with a content hash as version, and provenance in each.
/// 5. `Analysis/` finds what is accepted but does not do what its author hopes, for warnings and refusals at admission
///    (`MeshModel.analyze`) and for many objects together (`MeshAnalysis`, `skein analyze`). Each finding has a code.
public enum Mesh {
    /// The domain of all cluster names.
    public static let clusterDomain = "cluster.local"
    /// The name under which the cluster's DNS gives the real addresses of a host that has others in the mesh.
    static func origin(of host: String) -> String { "\(host).origin.\(clusterDomain)" }
    /// The namespace whose configuration is valid for the whole mesh.
    public static let rootNamespace = "istio-system"
    /// The word for "all sidecars" in `gateways`.
    static let meshGateway = "mesh"
    /// The ingress and gateway classes that we answer to.
    static let ingressClasses: Set<String> = ["skein", "istio"]
    /// The controller that our GatewayClasses name.
    public static let gatewayController = "skein.dev/gateway-controller"
    /// The label with the name of the Gateway (Gateway API) that something was made for.
    public static let gatewayNameLabel = "gateway.networking.k8s.io/gateway-name"
    /// The namespace of the gateway that is there from the start.
    static let gatewayNamespace = "skein-system"
    /// The host name of the Service that leads to that gateway's own ports.
    static let gatewayServiceHost = "istio-ingressgateway.\(gatewayNamespace).svc.\(clusterDomain)"
    /// The labels of the gateway pod that serves Ingresses and Gateways of the Gateway API.
    public static let ingressGatewayLabels = ["istio": "ingressgateway"]
    /// Where captured outbound connections arrive.
    static let outboundPort: UInt32 = 15001
    /// Where captured inbound connections arrive.
    static let inboundPort: UInt32 = 15006
}
