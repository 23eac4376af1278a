extension ResourceKind {
    /// Every kind we serve.
    ///
    /// A kind that nobody would act on is not here: kubectl then says that there is no such kind.
    public static let standard: [ResourceKind] =
        [
            namespace, pod, service, endpoints, configMap, secret, serviceAccount, node, event, replicationController,
            deployment, replicaSet,
            statefulSet, daemonSet, controllerRevision, job, cronJob, horizontalPodAutoscaler, eventView, endpointSlice,
            ingress,
            ingressClass, networkPolicy, adminNetworkPolicy, baselineAdminNetworkPolicy, lease, persistentVolumeClaim,
            persistentVolume, storageClass,
            customResourceDefinition, validatingAdmissionPolicy,
            validatingAdmissionPolicyBinding, virtualService, destinationRule, gateway,
        ] + budgets.filter { $0 != cronJob } + access + measured + istio + gatewayAPI

    /// `namespaces`.
    public static let namespace = ResourceKind(
        "", ["v1"], "Namespace", "namespaces", short: ["ns"], isNamespaced: false, subresources: ["status"],
        verbs: standardVerbs.filter { $0 != "deletecollection" })
    /// `pods`.
    public static let pod = ResourceKind(
        "", ["v1"], "Pod", "pods", short: ["po"], categories: ["all"],
        subresources: ["attach", "ephemeralcontainers", "eviction", "exec", "log", "portforward", "proxy", "status"])
    /// `services`.
    public static let service = ResourceKind(
        "", ["v1"], "Service", "services", short: ["svc"], categories: ["all"], subresources: ["proxy", "status"])
    /// `endpoints`.
    public static let endpoints = ResourceKind("", ["v1"], "Endpoints", "endpoints", short: ["ep"])
    /// `configmaps`.
    public static let configMap = ResourceKind("", ["v1"], "ConfigMap", "configmaps", short: ["cm"])
    /// `secrets`.
    public static let secret = ResourceKind("", ["v1"], "Secret", "secrets")
    /// `serviceaccounts`.
    public static let serviceAccount = ResourceKind(
        "", ["v1"], "ServiceAccount", "serviceaccounts", short: ["sa"], subresources: ["token"])
    /// `persistentvolumeclaims`.
    public static let persistentVolumeClaim = ResourceKind(
        "", ["v1"], "PersistentVolumeClaim", "persistentvolumeclaims", short: ["pvc"], subresources: ["status"])
    /// `persistentvolumes`.
    public static let persistentVolume = ResourceKind(
        "", ["v1"], "PersistentVolume", "persistentvolumes", short: ["pv"], isNamespaced: false,
        subresources: ["status"])
    /// `storageclasses`.
    public static let storageClass = ResourceKind(
        "storage.k8s.io", ["v1"], "StorageClass", "storageclasses", short: ["sc"], isNamespaced: false)
    /// `nodes`.
    public static let node = ResourceKind(
        "", ["v1"], "Node", "nodes", short: ["no"], isNamespaced: false, subresources: ["proxy", "status"])
    /// `events`.
    public static let event = ResourceKind("", ["v1"], "Event", "events", short: ["ev"])
    /// `events` of `events.k8s.io`: another form of the same objects.
    public static let eventView = ResourceKind(
        "events.k8s.io", ["v1"], "Event", "events", short: ["ev"], schema: "EventV1", viewOf: "core/events")
    /// `deployments`.
    public static let deployment = ResourceKind(
        "apps", ["v1"], "Deployment", "deployments", short: ["deploy"], categories: ["all"],
        subresources: ["scale", "status"])
    /// `replicationcontrollers`: what ReplicaSets have followed, with a selector of equal labels only.
    public static let replicationController = ResourceKind(
        "", ["v1"], "ReplicationController", "replicationcontrollers", short: ["rc"], categories: ["all"],
        subresources: ["scale", "status"])
    /// `replicasets`.
    public static let replicaSet = ResourceKind(
        "apps", ["v1"], "ReplicaSet", "replicasets", short: ["rs"], categories: ["all"],
        subresources: ["scale", "status"])
    /// `statefulsets`.
    public static let statefulSet = ResourceKind(
        "apps", ["v1"], "StatefulSet", "statefulsets", short: ["sts"], categories: ["all"],
        subresources: ["scale", "status"])
    /// `daemonsets`.
    public static let daemonSet = ResourceKind(
        "apps", ["v1"], "DaemonSet", "daemonsets", short: ["ds"], categories: ["all"], subresources: ["status"])
    /// `controllerrevisions`: the templates that a StatefulSet or DaemonSet has had.
    public static let controllerRevision = ResourceKind("apps", ["v1"], "ControllerRevision", "controllerrevisions")
    /// `jobs`.
    public static let job = ResourceKind(
        "batch", ["v1"], "Job", "jobs", categories: ["all"], subresources: ["status"])
    /// `horizontalpodautoscalers`.
    public static let horizontalPodAutoscaler = ResourceKind(
        "autoscaling", ["v2", "v1"], "HorizontalPodAutoscaler", "horizontalpodautoscalers", short: ["hpa"],
        categories: ["all"], subresources: ["status"])
    /// `endpointslices`.
    public static let endpointSlice = ResourceKind("discovery.k8s.io", ["v1"], "EndpointSlice", "endpointslices")
    /// `ingresses`.
    public static let ingress = ResourceKind(
        "networking.k8s.io", ["v1"], "Ingress", "ingresses", short: ["ing"], subresources: ["status"])
    /// `ingressclasses`.
    public static let ingressClass = ResourceKind(
        "networking.k8s.io", ["v1"], "IngressClass", "ingressclasses", isNamespaced: false)
    /// `networkpolicies`.
    public static let networkPolicy = ResourceKind(
        "networking.k8s.io", ["v1"], "NetworkPolicy", "networkpolicies", short: ["netpol"])
    /// `adminnetworkpolicies`: the administrator's, before NetworkPolicies.
    public static let adminNetworkPolicy = ResourceKind(
        "policy.networking.k8s.io", ["v1alpha1"], "AdminNetworkPolicy", "adminnetworkpolicies", short: ["anp"],
        isNamespaced: false, subresources: ["status"])
    /// `baselineadminnetworkpolicies`: the administrator's, where no NetworkPolicy isolates.
    public static let baselineAdminNetworkPolicy = ResourceKind(
        "policy.networking.k8s.io", ["v1alpha1"], "BaselineAdminNetworkPolicy", "baselineadminnetworkpolicies",
        short: ["banp"], isNamespaced: false, subresources: ["status"])
    /// `leases`.
    public static let lease = ResourceKind("coordination.k8s.io", ["v1"], "Lease", "leases")
    /// `customresourcedefinitions`.
    public static let customResourceDefinition = ResourceKind(
        "apiextensions.k8s.io", ["v1"], "CustomResourceDefinition", "customresourcedefinitions",
        short: ["crd", "crds"], categories: ["api-extensions"], isNamespaced: false, subresources: ["status"])
    /// `validatingadmissionpolicies`: kept, and not evaluated; who installs the Gateway API brings one.
    public static let validatingAdmissionPolicy = ResourceKind(
        "admissionregistration.k8s.io", ["v1"], "ValidatingAdmissionPolicy", "validatingadmissionpolicies",
        categories: ["api-extensions"], isNamespaced: false, subresources: ["status"])
    /// `validatingadmissionpolicybindings`: kept, and not evaluated.
    public static let validatingAdmissionPolicyBinding = ResourceKind(
        "admissionregistration.k8s.io", ["v1"], "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings",
        categories: ["api-extensions"], isNamespaced: false)
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
