import IO
import KubernetesAPI
import Serialization
import Store

extension ObjectRegistry {
    /// What the system adds to a new object of some kinds.
    func prepareNew(_ object: inout JSON, _ kind: ResourceKind) {
        switch kind {
        case .namespace:
            var metadata = object["metadata"] ?? .object([:])
            var labels = metadata["labels"] ?? .object([:])
            labels["kubernetes.io/metadata.name"] = metadata["name"]
            metadata["labels"] = labels
            object["metadata"] = metadata
            object["spec"] = ["finalizers": ["kubernetes"]]
            object["status"] = ["phase": "Active"]
        case .pod: preparePod(&object)
        case .persistentVolumeClaim: prepareClaim(&object)
        case .persistentVolume: prepareVolume(&object)
        case .ingress:
            var spec = object["spec"] ?? .object([:])
            if spec["ingressClassName"] == nil,
                object["metadata"]?["annotations"]?["kubernetes.io/ingress.class"] == nil,
                let name = defaultIngressClass
            {
                spec["ingressClassName"] = .string(name)
            }
            object["spec"] = spec
            object["status"] = ["loadBalancer": [:]]
        case .replicaSet, .replicationController: object["status"] = object["status"] ?? ["replicas": 0]
        case .deployment, .service: object["status"] = object["status"] ?? .object([:])
        case .statefulSet: object["status"] = ["replicas": 0, "availableReplicas": 0]
        case .daemonSet:
            object["status"] = [
                "currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0,
            ]
        case .horizontalPodAutoscaler: object["status"] = ["currentMetrics": .null, "desiredReplicas": 0]
        case .job: prepareJob(&object)
        case .cronJob, .podDisruptionBudget, .resourceQuota: object["status"] = object["status"] ?? .object([:])
        default: break
        }
    }

    /// A Job's pods are known by its identity, unless its owner has chosen labels on purpose.
    private func prepareJob(_ object: inout JSON) {
        object["status"] = [:]
        var spec = object["spec"] ?? .object([:])
        guard spec["manualSelector"] != true, var template = spec["template"] else { return }
        let uid = object["metadata"]?["uid"] ?? ""
        let name = object["metadata"]?["name"] ?? ""
        var metadata = template["metadata"] ?? .object([:])
        var labels = metadata["labels"] ?? .object([:])
        for (label, value) in [
            ("batch.kubernetes.io/controller-uid", uid), ("controller-uid", uid),
            ("batch.kubernetes.io/job-name", name),
            ("job-name", name),
        ] { labels[label] = value }
        metadata["labels"] = labels
        template["metadata"] = metadata
        spec["template"] = template
        // What somebody has chosen besides is seen by validation, which refuses it.
        var selector = spec["selector"] ?? .object([:])
        var wanted = selector["matchLabels"] ?? .object([:])
        wanted["controller-uid"] = nil
        wanted["batch.kubernetes.io/controller-uid"] = uid
        selector["matchLabels"] = wanted
        spec["selector"] = selector
        object["spec"] = spec
        if object["metadata"]?["labels"] == nil { object["metadata"]?["labels"] = labels }
    }

    private var defaultIngressClass: String? {
        store.list(ResourceKind.ingressClass.storeResource, namespace: nil).first {
            $0.object["metadata"]?["annotations"]?["ingressclass.kubernetes.io/is-default-class"] == "true"
        }?.key.name
    }

    private func preparePod(_ object: inout JSON) {
        var spec = object["spec"] ?? .object([:])
        if spec["serviceAccountName"] == nil {
            spec["serviceAccountName"] = "default"
            spec["serviceAccount"] = "default"
        }
        var status: JSON = ["phase": "Pending", "qosClass": .string(qosClass(PodSpec(json: spec)))]
        // There is one node beside this API server; who scheduled the pod elsewhere has said so in the spec, or its volume does.
        let namespace = object["metadata"]?["namespace"]?.string ?? ""
        if spec["nodeName"] == nil,
            let node = nodeOfClaims(PodSpec(json: spec), namespace: namespace) ?? defaultNodeName
        {
            spec["nodeName"] = .string(node)
        }
        if spec["nodeName"] != nil {
            status["conditions"] = [
                ["type": "PodScheduled", "status": "True", "lastTransitionTime": .string(now().secondsText)]
            ]
        }
        object["spec"] = spec
        object["status"] = status
    }

    private func qosClass(_ spec: PodSpec) -> String {
        let resources = (spec.containers + spec.initContainers).map(\.resources)
        if resources.allSatisfy({ $0.limits.isEmpty && $0.requests.isEmpty }) { return "BestEffort" }
        let isGuaranteed = resources.allSatisfy { resource in
            ["cpu", "memory"].allSatisfy { name in
                resource.limits[name] != nil
                    && resource.limits[name] == (resource.requests[name] ?? resource.limits[name])
            }
        }
        return isGuaranteed ? "Guaranteed" : "Burstable"
    }

    /// What every namespace has.
    func createDefaults(in namespace: String) throws(StatusError) {
        _ = try create(
            ["apiVersion": "v1", "kind": "ServiceAccount", "metadata": ["name": "default"]], .serviceAccount,
            namespace: namespace)
    }

    /// Makes what is there from the start and missing: namespaces, the service `kubernetes`, ingress and gateway classes.
    public func bootstrap() throws(StatusError) {
        for name in ["default", "kube-system", "istio-system", "skein-system"]
        where store.get(key(.namespace, "", name)) == nil {
            _ = try create(["metadata": ["name": .string(name)]], .namespace)
        }
        try createDefaultRoles()
        try createStorageClass()
        if store.get(key(.service, "default", "kubernetes")) == nil {
            try createKubernetesService()
        }
        for (name, value) in [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)]
            as [(String, Int64)]
        where store.get(key(.priorityClass, "", name)) == nil {
            let what =
                name == "system-node-critical"
                ? "Used for system critical pods that must not be moved from their current node."
                : "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary."
            _ = try create(
                ["metadata": ["name": .string(name)], "value": .integer(value), "description": .string(what)],
                .priorityClass)
        }
        for (name, isDefault) in [("skein", true), ("istio", false)]
        where store.get(key(.ingressClass, "", name)) == nil {
            let annotations: JSON = isDefault ? ["ingressclass.kubernetes.io/is-default-class": "true"] : [:]
            _ = try create(
                [
                    "metadata": ["name": .string(name), "annotations": annotations],
                    "spec": ["controller": "skein.dev/ingress-controller"],
                ], .ingressClass)
        }
        for name in ["skein", "istio"] where store.get(key(.gatewayClass, "", name)) == nil {
            _ = try create(
                [
                    "metadata": ["name": .string(name)],
                    "spec": [
                        "controllerName": "skein.dev/gateway-controller",
                        "description": "All Gateways of this class are served by the gateway of Skein",
                    ],
                ], .gatewayClass)
        }
        collectGarbage()
    }

    private func createKubernetesService() throws(StatusError) {
        addresses.openReserved()
        _ = try create(
            [
                "metadata": [
                    "name": "kubernetes", "labels": ["component": "apiserver", "provider": "kubernetes"],
                ],
                "spec": [
                    "clusterIP": .string(addresses.ranges.kubernetes.description),
                    "ports": [["name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443]],
                ],
            ], .service, namespace: "default")
    }
}
