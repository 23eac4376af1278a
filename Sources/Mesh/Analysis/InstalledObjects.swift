import KubernetesAPI
import Serialization

/// What every Skein has before anything is applied: namespaces, classes, the Service of its API, and the gateway.
///
/// Only what analyses look at; the objects themselves are made by the API server (`bootstrap`) and by `skein up`.
enum InstalledObjects {
    static let all: [KubernetesObject] = namespaces + classes + [kubernetes, gatewayService, gateway]

    private static let gatewayLabels: JSON = ["app": "istio-ingressgateway", "istio": "ingressgateway"]
    private static let gatewayPorts: [(name: String, number: Int64)] = [("http", 80), ("https", 443)]

    private static func object(
        _ version: String, _ kind: String, _ name: String, _ namespace: String = "", _ spec: JSON = .object([:])
    ) -> KubernetesObject {
        var object = KubernetesObject(json: ["apiVersion": .string(version), "kind": .string(kind), "spec": spec])
        object.metadata.name = name
        if !namespace.isEmpty { object.metadata.namespace = namespace }
        return object
    }

    private static let namespaces = ["default", "kube-system", Mesh.rootNamespace, Mesh.gatewayNamespace].map {
        object("v1", "Namespace", $0)
    }

    private static let classes = ["skein", "istio"].flatMap { name in
        var ingress = object(
            "networking.k8s.io/v1", "IngressClass", name, "", ["controller": .string(IngressClasses.controller)])
        if name == "skein" {
            ingress.metadata.annotations = ["ingressclass.kubernetes.io/is-default-class": "true"]
        }
        return [
            ingress,
            object(
                "gateway.networking.k8s.io/v1", "GatewayClass", name, "",
                ["controllerName": .string(Mesh.gatewayController)]),
        ]
    }

    private static let kubernetes = object(
        "v1", "Service", "kubernetes", "default", ["ports": [["name": "https", "port": 443, "targetPort": 6443]]])

    private static let gatewayService = object(
        "v1", "Service", "istio-ingressgateway", Mesh.gatewayNamespace,
        [
            "type": "LoadBalancer", "selector": gatewayLabels,
            "ports": .array(
                gatewayPorts.map {
                    ["name": .string($0.name), "port": .integer($0.number), "targetPort": .integer($0.number)]
                }),
        ])

    private static let gateway = object(
        "apps/v1", "Deployment", "istio-ingressgateway", Mesh.gatewayNamespace,
        [
            "selector": ["matchLabels": gatewayLabels],
            "template": [
                "metadata": ["labels": gatewayLabels, "annotations": ["skein.dev/gateway": "true"]],
                "spec": [
                    "containers": [
                        [
                            "name": "istio-proxy",
                            "ports": .array(
                                gatewayPorts.map {
                                    ["name": .string($0.name), "containerPort": .integer($0.number)]
                                }),
                        ]
                    ]
                ],
            ],
        ])
}
