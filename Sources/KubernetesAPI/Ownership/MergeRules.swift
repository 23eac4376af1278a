/// Where server-side apply sees lists and objects otherwise than strategic merge patches do.
///
/// From the `x-kubernetes-list-map-keys`, `-list-type` and `-map-type` of Kubernetes' and the Gateway API's published
/// schemas.
enum MergeRules {
    /// Lists whose elements are told apart by other fields than the patch's merge key, or that no patch merges.
    static let listKeys: [String: [String]] = [
        "Container.ports": ["containerPort", "protocol"],
        "ServiceSpec.ports": ["port", "protocol"],
        "PodSpec.topologySpreadConstraints": ["topologyKey", "whenUnsatisfiable"],
        "GatewayAPIGatewaySpec.listeners": ["name"],
        "GatewayAPIListenerSetSpec.listeners": ["name"],
        "GatewayClassStatus.conditions": ["type"],
        "GatewayAPIStatus.conditions": ["type"],
        "GatewayAPIGatewayStatus.conditions": ["type"],
        "GatewayAPIGatewayStatus.listeners": ["name"],
        "IstioStatus.conditions": ["type"],
    ]

    /// Fields that are replaced whole though their type has parts.
    static let atomicFields: Set<String> = [
        "ServiceSpec.selector", "PodSpec.nodeSelector", "NodeSpec.podCIDRs",
    ]

    /// Types that are replaced whole wherever they stand.
    static let atomicTypes: Set<String> = [
        "LabelSelector", "RoleRef", "ObjectReference", "LocalObjectReference", "TypedLocalObjectReference",
        "KeySelector",
        "ObjectFieldSelector", "ResourceFieldSelector",
    ]
}
