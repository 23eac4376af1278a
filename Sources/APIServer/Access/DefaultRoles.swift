import KubernetesAPI
import Serialization

/// The roles and bindings that are there from the start, with the names that people know from Kubernetes.
enum DefaultRoles {
    /// The annotation of roles that get what they lack at each start.
    static let autoupdate = "rbac.authorization.kubernetes.io/autoupdate"
    private static let all = ["*"]
    private static let reading = ["get", "list", "watch"]
    private static let writing = ["create", "delete", "deletecollection", "patch", "update"]
    private static let mesh: [JSON] = [
        "networking.istio.io", "security.istio.io", "telemetry.istio.io", "extensions.istio.io",
        "gateway.networking.k8s.io",
    ]
    private static let core: [JSON] = [
        "configmaps", "endpoints", "persistentvolumeclaims", "pods", "replicationcontrollers",
        "replicationcontrollers/scale", "serviceaccounts", "services",
    ]
    private static let apps: [JSON] = [
        "daemonsets", "deployments", "deployments/scale", "replicasets", "replicasets/scale", "statefulsets",
        "statefulsets/scale",
    ]

    private static func rule(_ verbs: [String], _ groups: [JSON], _ resources: [JSON]) -> JSON {
        [
            "verbs": .array(verbs.map { .string($0) }), "apiGroups": .array(groups), "resources": .array(resources),
        ]
    }

    private static func paths(_ verbs: [String], _ paths: [JSON]) -> JSON {
        ["verbs": .array(verbs.map { .string($0) }), "nonResourceURLs": .array(paths)]
    }

    private static func role(_ name: String, _ rules: [JSON], labels: JSON = [:], aggregates: String? = nil) -> JSON {
        var labels = labels
        labels["kubernetes.io/bootstrapping"] = "rbac-defaults"
        var role: JSON = [
            "metadata": [
                "name": .string(name), "labels": labels,
                "annotations": .object([autoupdate: "true"]),
            ], "rules": .array(rules),
        ]
        if let aggregates {
            role["aggregationRule"] = [
                "clusterRoleSelectors": [
                    ["matchLabels": .object(["rbac.authorization.k8s.io/aggregate-to-\(aggregates)": "true"])]
                ]
            ]
        }
        return role
    }

    /// `viewing` is for everybody who works in a namespace, `editing` for who changes it, `administering` for its owner.
    private static let viewing = [
        rule(
            reading, [""],
            core + [
                "limitranges", "resourcequotas", "events", "namespaces", "persistentvolumeclaims/status", "pods/log",
                "replicationcontrollers/status",
                "pods/status", "services/status",
            ]),
        rule(reading, ["apps"], apps + ["deployments/status", "replicasets/status"]),
        rule(reading, ["batch"], ["jobs", "cronjobs"]), rule(reading, ["policy"], ["poddisruptionbudgets"]),
        rule(reading, ["autoscaling"], ["horizontalpodautoscalers"]),
        rule(reading, ["networking.k8s.io"], ["ingresses", "networkpolicies"]),
        rule(reading, ["discovery.k8s.io"], ["endpointslices"]), rule(reading, mesh, ["*"]),
    ]
    private static let editing = [
        rule(
            writing, [""],
            core + [
                "secrets", "events", "pods/eviction", "pods/exec", "pods/attach", "pods/portforward", "pods/proxy",
                "services/proxy",
            ]),
        rule(
            reading, [""],
            ["secrets", "pods/exec", "pods/attach", "pods/portforward", "pods/proxy", "services/proxy"]),
        rule(["create"], [""], ["serviceaccounts/token"]), rule(writing, ["apps"], apps),
        rule(writing, ["batch"], ["jobs", "cronjobs"]), rule(writing, ["policy"], ["poddisruptionbudgets"]),
        rule(writing, ["autoscaling"], ["horizontalpodautoscalers"]),
        rule(writing, ["networking.k8s.io"], ["ingresses", "networkpolicies"]), rule(writing, mesh, ["*"]),
        rule(reading + writing, ["coordination.k8s.io"], ["leases"]),
    ]
    private static let administering = [
        rule(["create"], ["authorization.k8s.io"], ["localsubjectaccessreviews"]),
        rule(reading + writing, ["rbac.authorization.k8s.io"], ["roles", "rolebindings"]),
    ]

    /// Every role; those that are put together of others have no rules yet.
    static let clusterRoles: [JSON] = [
        role("cluster-admin", [rule(all, ["*"], ["*"]), paths(all, ["*"])]),
        role("admin", [], aggregates: "admin"),
        role("edit", [], labels: ["rbac.authorization.k8s.io/aggregate-to-admin": "true"], aggregates: "edit"),
        role("view", [], labels: ["rbac.authorization.k8s.io/aggregate-to-edit": "true"], aggregates: "view"),
        role(
            "system:aggregate-to-admin", administering, labels: ["rbac.authorization.k8s.io/aggregate-to-admin": "true"]
        ),
        role("system:aggregate-to-edit", editing, labels: ["rbac.authorization.k8s.io/aggregate-to-edit": "true"]),
        role("system:aggregate-to-view", viewing, labels: ["rbac.authorization.k8s.io/aggregate-to-view": "true"]),
        role(
            "system:basic-user",
            [
                rule(["create"], ["authorization.k8s.io"], ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]),
                rule(["create"], ["authentication.k8s.io"], ["selfsubjectreviews"]),
            ]),
        role(
            "system:discovery",
            [
                paths(
                    ["get"],
                    [
                        "/", "/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*",
                        "/readyz", "/version",
                    ])
            ]),
        role("system:public-info-viewer", [paths(["get"], ["/healthz", "/livez", "/readyz", "/version"])]),
        role(
            "system:auth-delegator",
            [
                rule(["create"], ["authentication.k8s.io"], ["tokenreviews"]),
                rule(["create"], ["authorization.k8s.io"], ["subjectaccessreviews"]),
            ]),
        role(
            "system:node",
            [
                rule(
                    reading, [""],
                    [
                        "configmaps", "endpoints", "namespaces", "nodes", "persistentvolumeclaims", "persistentvolumes",
                        "pods", "secrets", "services",
                    ]), rule(["patch"], [""], ["persistentvolumes"]),
                rule(reading, ["discovery.k8s.io"], ["endpointslices"]),
                rule(reading, ["networking.k8s.io"], ["networkpolicies"]),
                rule(reading, ["policy.networking.k8s.io"], ["adminnetworkpolicies", "baselineadminnetworkpolicies"]),
                rule(["patch", "update"], [""], ["nodes", "nodes/status", "pods/status"]),
                rule(["delete"], [""], ["pods"]), rule(["create", "patch"], [""], ["events"]),
                rule(["create", "get", "patch", "update"], ["coordination.k8s.io"], ["leases"]),
                rule(reading + ["create", "delete", "patch"], ["networking.istio.io"], ["workloadentries"]),
            ]),
        role(
            "system:aggregated-metrics-reader", [rule(reading, ["metrics.k8s.io"], ["nodes", "pods"])],
            labels: [
                "rbac.authorization.k8s.io/aggregate-to-admin": "true",
                "rbac.authorization.k8s.io/aggregate-to-edit": "true",
                "rbac.authorization.k8s.io/aggregate-to-view": "true",
            ]),
        role("system:monitoring", [paths(["get"], ["/metrics", "/healthz", "/livez", "/readyz"])]),
    ]

    /// Every binding.
    static let clusterBindings: [JSON] = [
        binding("cluster-admin", "system:masters"), binding("system:basic-user", "system:authenticated"),
        binding("system:discovery", "system:authenticated"),
        binding("system:public-info-viewer", "system:authenticated"),
        binding("system:monitoring", "system:monitoring"), binding("system:node", "system:nodes"),
    ]

    private static func binding(_ role: String, _ group: String) -> JSON {
        [
            "metadata": [
                "name": .string(role), "labels": ["kubernetes.io/bootstrapping": "rbac-defaults"],
                "annotations": .object([autoupdate: "true"]),
            ], "roleRef": ["apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": .string(role)],
            "subjects": [["apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": .string(group)]],
        ]
    }
}
