extension ResourceKind {
    /// Every kind we serve.
    ///
    /// A kind that nobody would act on is not here: kubectl then says that there is no such kind.
    public static let standard: [ResourceKind] =
        [
            namespace, pod, service, endpoints, configMap, secret, serviceAccount, node, event, deployment, replicaSet,
            endpointSlice, ingress, ingressClass, lease, virtualService, destinationRule, gateway,
        ] + istio + gatewayAPI

    /// `namespaces`.
    public static let namespace = ResourceKind(
        "", ["v1"], "Namespace", "namespaces", short: ["ns"], isNamespaced: false, subresources: ["status"],
        verbs: standardVerbs.filter { $0 != "deletecollection" })
    /// `pods`.
    public static let pod = ResourceKind(
        "", ["v1"], "Pod", "pods", short: ["po"], categories: ["all"], subresources: ["log", "status"])
    /// `services`.
    public static let service = ResourceKind(
        "", ["v1"], "Service", "services", short: ["svc"], categories: ["all"], subresources: ["status"])
    /// `endpoints`.
    public static let endpoints = ResourceKind("", ["v1"], "Endpoints", "endpoints", short: ["ep"])
    /// `configmaps`.
    public static let configMap = ResourceKind("", ["v1"], "ConfigMap", "configmaps", short: ["cm"])
    /// `secrets`.
    public static let secret = ResourceKind("", ["v1"], "Secret", "secrets")
    /// `serviceaccounts`.
    public static let serviceAccount = ResourceKind("", ["v1"], "ServiceAccount", "serviceaccounts", short: ["sa"])
    /// `nodes`.
    public static let node = ResourceKind(
        "", ["v1"], "Node", "nodes", short: ["no"], isNamespaced: false, subresources: ["status"])
    /// `events`.
    public static let event = ResourceKind("", ["v1"], "Event", "events", short: ["ev"])
    /// `deployments`.
    public static let deployment = ResourceKind(
        "apps", ["v1"], "Deployment", "deployments", short: ["deploy"], categories: ["all"],
        subresources: ["scale", "status"])
    /// `replicasets`.
    public static let replicaSet = ResourceKind(
        "apps", ["v1"], "ReplicaSet", "replicasets", short: ["rs"], categories: ["all"],
        subresources: ["scale", "status"])
    /// `endpointslices`.
    public static let endpointSlice = ResourceKind("discovery.k8s.io", ["v1"], "EndpointSlice", "endpointslices")
    /// `ingresses`.
    public static let ingress = ResourceKind(
        "networking.k8s.io", ["v1"], "Ingress", "ingresses", short: ["ing"], subresources: ["status"])
    /// `ingressclasses`.
    public static let ingressClass = ResourceKind(
        "networking.k8s.io", ["v1"], "IngressClass", "ingressclasses", isNamespaced: false)
    /// `leases`.
    public static let lease = ResourceKind("coordination.k8s.io", ["v1"], "Lease", "leases")
    /// Istio's `virtualservices`.
    public static let virtualService = ResourceKind(
        "networking.istio.io", ["v1", "v1beta1", "v1alpha3"], "VirtualService", "virtualservices", short: ["vs"],
        categories: ["istio-io", "networking-istio-io"], subresources: ["status"])
    /// Istio's `destinationrules`.
    public static let destinationRule = ResourceKind(
        "networking.istio.io", ["v1", "v1beta1", "v1alpha3"], "DestinationRule", "destinationrules", short: ["dr"],
        categories: ["istio-io", "networking-istio-io"], subresources: ["status"])
    /// Istio's `gateways`.
    public static let gateway = ResourceKind(
        "networking.istio.io", ["v1", "v1beta1", "v1alpha3"], "Gateway", "gateways", short: ["gw"],
        categories: ["istio-io", "networking-istio-io"], subresources: ["status"], schema: "IstioGateway")
}
