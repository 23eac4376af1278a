extension ResourceKind {
    /// Istio's other kinds; all versions of a kind are aliases of one object.
    static let istio: [ResourceKind] = [
        serviceEntry, workloadEntry, workloadGroup, sidecar, proxyConfig, envoyFilter, peerAuthentication,
        requestAuthentication, authorizationPolicy, istioTelemetry,
    ]

    /// The kinds of the Gateway API, stable and experimental.
    static let gatewayAPI: [ResourceKind] = [
        gatewayClass, gatewayAPIGateway, httpRoute, grpcRoute, tlsRoute, tcpRoute, udpRoute, referenceGrant,
        backendTLSPolicy, listenerSet,
    ]

    private static func networking(
        _ kind: String, _ plural: String, short: [String] = [], versions: [String] = ["v1", "v1beta1", "v1alpha3"],
        schema: String? = nil
    ) -> ResourceKind {
        ResourceKind(
            "networking.istio.io", versions, kind, plural, short: short,
            categories: ["istio-io", "networking-istio-io"], subresources: ["status"], schema: schema)
    }

    private static func security(_ kind: String, _ plural: String, short: [String]) -> ResourceKind {
        ResourceKind(
            "security.istio.io", ["v1", "v1beta1"], kind, plural, short: short,
            categories: ["istio-io", "security-istio-io"], subresources: ["status"])
    }

    private static func gatewayKind(
        _ kind: String, _ plural: String, _ versions: [String], short: [String] = [], isNamespaced: Bool = true,
        schema: String? = nil
    ) -> ResourceKind {
        ResourceKind(
            "gateway.networking.k8s.io", versions, kind, plural, short: short, categories: ["gateway-api"],
            isNamespaced: isNamespaced, subresources: ["status"], schema: schema)
    }

    /// Istio's `serviceentries`.
    public static let serviceEntry = networking("ServiceEntry", "serviceentries", short: ["se"])
    /// Istio's `workloadentries`.
    public static let workloadEntry = networking("WorkloadEntry", "workloadentries", short: ["we"])
    /// Istio's `workloadgroups`.
    public static let workloadGroup = networking("WorkloadGroup", "workloadgroups", short: ["wg"])
    /// Istio's `sidecars`.
    public static let sidecar = networking("Sidecar", "sidecars")
    /// Istio's `proxyconfigs`.
    public static let proxyConfig = networking("ProxyConfig", "proxyconfigs", versions: ["v1beta1"])
    /// Istio's `envoyfilters`.
    public static let envoyFilter = networking("EnvoyFilter", "envoyfilters", versions: ["v1alpha3"])
    /// Istio's `peerauthentications`.
    public static let peerAuthentication = security("PeerAuthentication", "peerauthentications", short: ["pa"])
    /// Istio's `requestauthentications`.
    public static let requestAuthentication = security(
        "RequestAuthentication", "requestauthentications", short: ["ra"])
    /// Istio's `authorizationpolicies`.
    public static let authorizationPolicy = security("AuthorizationPolicy", "authorizationpolicies", short: ["ap"])
    /// Istio's `telemetries`.
    public static let istioTelemetry = ResourceKind(
        "telemetry.istio.io", ["v1", "v1alpha1"], "Telemetry", "telemetries", short: ["telemetry"],
        categories: ["istio-io", "telemetry-istio-io"], subresources: ["status"])

    /// The Gateway API's `gatewayclasses`.
    public static let gatewayClass = gatewayKind(
        "GatewayClass", "gatewayclasses", ["v1", "v1beta1"], short: ["gc"], isNamespaced: false)
    /// The Gateway API's `gateways`.
    public static let gatewayAPIGateway = gatewayKind(
        "Gateway", "gateways", ["v1", "v1beta1"], short: ["gtw"], schema: "GatewayAPIGateway")
    /// The Gateway API's `httproutes`.
    public static let httpRoute = gatewayKind("HTTPRoute", "httproutes", ["v1", "v1beta1"], schema: "GatewayHTTPRoute")
    /// The Gateway API's `grpcroutes`.
    public static let grpcRoute = gatewayKind("GRPCRoute", "grpcroutes", ["v1"], schema: "GatewayGRPCRoute")
    /// The Gateway API's `tlsroutes`.
    public static let tlsRoute = gatewayKind(
        "TLSRoute", "tlsroutes", ["v1", "v1alpha3", "v1alpha2"], schema: "GatewayTLSRoute")
    /// The Gateway API's `tcproutes`.
    public static let tcpRoute = gatewayKind("TCPRoute", "tcproutes", ["v1alpha2"], schema: "GatewayTCPRoute")
    /// The Gateway API's `udproutes`.
    public static let udpRoute = gatewayKind("UDPRoute", "udproutes", ["v1alpha2"], schema: "GatewayUDPRoute")
    /// The Gateway API's `referencegrants`.
    public static let referenceGrant = gatewayKind(
        "ReferenceGrant", "referencegrants", ["v1", "v1beta1"], short: ["refgrant"])
    /// The Gateway API's `backendtlspolicies`.
    public static let backendTLSPolicy = gatewayKind(
        "BackendTLSPolicy", "backendtlspolicies", ["v1", "v1alpha3"], short: ["btlspolicy"])
    /// The Gateway API's `listenersets`.
    public static let listenerSet = gatewayKind("ListenerSet", "listenersets", ["v1"], short: ["lset"])
}
