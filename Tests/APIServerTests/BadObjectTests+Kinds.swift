// What is wrong with services (a fragment) and with objects of other kinds (path and object), and what is said of it.
extension BadObjectTests {
    static let badServices: [(String, String)] = [
        (#"{"ports": []}"#, #"ports: Required value"#),
        (#"{"ports": [{"port": 1}, {"port": 2}]}"#, #"ports[0].name: Required value"#),
        (#"{"ports": [{"port": 1, "name": "a"}, {"port": 2, "name": "a"}]}"#, #"ports[1].name: Duplicate value: "a""#),
        (
            #"{"ports": [{"port": 1, "name": "a"}, {"port": 1, "name": "b"}]}"#,
            #"ports[1]: Duplicate value: {"port":1,"protocol":"TCP"}"#
        ),
        (#"{"ports": [{"port": 0}]}"#, #"ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"#),
        (
            #"{"ports": [{"port": 1, "targetPort": "A_"}]}"#,
            #"ports[0].targetPort: Invalid value: "A_": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"#
        ),
        (
            #"{"type": "x"}"#,
            #"type: Unsupported value: "x": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort""#
        ),
        (
            #"{"sessionAffinity": "x"}"#,
            #"sessionAffinity: Unsupported value: "x": supported values: "ClientIP", "None""#
        ),
        (#"{"type": "ExternalName", "ports": null}"#, #"externalName: Required value"#),
        (
            #"{"externalIPs": ["127.0.0.1"]}"#,
            #"externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)"#
        ),
        (
            #"{"ports": [{"port": 1, "nodePort": 30001}]}"#,
            #"ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"#
        ),
        (
            #"{"type": "LoadBalancer", "clusterIP": "None"}"#,
            #"clusterIPs[0]: Invalid value: "None": may not be set to 'None' for LoadBalancer services"#
        ),
        (
            #"{"loadBalancerSourceRanges": ["1.2.3.4/8"]}"#,
            #"loadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'"#
        ),
        (
            #"{"internalTrafficPolicy": "x"}"#,
            #"internalTrafficPolicy: Unsupported value: "x": supported values: "Cluster", "Local""#
        ),
        (#"{"selector": {"a": "b c"}}"#, #"selector: Invalid value: "b c": a valid label must"#),
        (
            #"{"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 0}}}"#,
            #"sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be greater than 0 and less than or equal to 86400"#
        ),
        (
            #"{"ipFamilyPolicy": "x"}"#,
            #"ipFamilyPolicy: Unsupported value: "x": supported values: "PreferDualStack", "RequireDualStack", "SingleStack""#
        ),
        (
            #"{"ports": [{"port": 1, "appProtocol": "a b"}]}"#,
            #"ports[0].appProtocol: Invalid value: "a b": name part must"#
        ),
    ]

    static let badObjects: [(String, String, String)] = [
        (
            #"/api/v1/namespaces/default/pods"#,
            #"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "A"}, "spec": {"containers": [{"name": "c", "image": "x"}]}}"#,
            #"metadata.name: Invalid value: "A": a lowercase RFC 1123 subdomain must"#
        ),
        (
            #"/api/v1/namespaces/default/pods"#,
            #"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"a": "b c"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}"#,
            #"metadata.labels: Invalid value: "b c": a valid label must"#
        ),
        (
            #"/api/v1/namespaces/default/pods"#,
            #"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"a b": "c"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}"#,
            #"metadata.labels: Invalid value: "a b": name part must"#
        ),
        (
            #"/api/v1/namespaces/default/pods"#,
            #"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "annotations": {"a b": "c"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}"#,
            #"metadata.annotations: Invalid value: "a b": name part must"#
        ),
        (
            #"/api/v1/namespaces/default/pods"#,
            #"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "finalizers": ["x y"]}, "spec": {"containers": [{"name": "c", "image": "x"}]}}"#,
            #"metadata.finalizers[0]: Invalid value: "x y": name part must"#
        ),
        (
            #"/api/v1/namespaces/default/services"#,
            #"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "1a"}, "spec": {"ports": [{"port": 80}]}}"#,
            #"metadata.name: Invalid value: "1a": a DNS-1035 label must"#
        ),
        (
            #"/apis/apps/v1/namespaces/default/deployments"#,
            #"{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "c"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}}}"#,
            #"spec.template.metadata.labels: Invalid value: {"a":"b"}: `selector` does not match template `labels`"#
        ),
        (
            #"/apis/apps/v1/namespaces/default/deployments"#,
            #"{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}}}"#,
            #"spec.selector: Required value"#
        ),
        (
            #"/apis/apps/v1/namespaces/default/deployments"#,
            #"{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}, "replicas": -1}}"#,
            #"spec.replicas: Invalid value: -1: must be greater than or equal to 0"#
        ),
        (
            #"/apis/apps/v1/namespaces/default/deployments"#,
            #"{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}}}}"#,
            #"spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always""#
        ),
        (
            #"/apis/apps/v1/namespaces/default/deployments"#,
            #"{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}, "strategy": {"type": "x"}}}"#,
            #"spec.strategy.type: Unsupported value: "x": supported values: "Recreate", "RollingUpdate""#
        ),
        (
            #"/apis/apps/v1/namespaces/default/deployments"#,
            #"{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}, "strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}}}"#,
            #"spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"#
        ),
        (
            #"/apis/apps/v1/namespaces/default/deployments"#,
            #"{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}, "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}}}"#,
            #"spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"#
        ),
        (
            #"/apis/apps/v1/namespaces/default/deployments"#,
            #"{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}, "strategy": {"rollingUpdate": {"maxSurge": "x%"}}}}"#,
            #"spec.strategy.rollingUpdate.maxSurge: Invalid value: "x%": a valid percent string must"#
        ),
        (
            #"/apis/apps/v1/namespaces/default/deployments"#,
            #"{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}, "strategy": {"rollingUpdate": {"maxUnavailable": "101%"}}}}"#,
            #"spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%"#
        ),
        (
            #"/apis/apps/v1/namespaces/default/deployments"#,
            #"{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}, "progressDeadlineSeconds": 5, "minReadySeconds": 10}}"#,
            #"spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds"#
        ),
        (
            #"/apis/apps/v1/namespaces/default/daemonsets"#,
            #"{"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}}}}"#,
            #"spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always""#
        ),
        (
            #"/apis/batch/v1/namespaces/default/jobs"#,
            #"{"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "x"}]}}}}"#,
            #"spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never""#
        ),
        (
            #"/apis/batch/v1/namespaces/default/jobs"#,
            #"{"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}}, "completions": -1}}"#,
            #"spec.completions: Invalid value: -1: must be greater than or equal to 0"#
        ),
        (
            #"/apis/batch/v1/namespaces/default/jobs"#,
            #"{"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}}, "selector": {"matchLabels": {"a": "b"}}}}"#,
            #"spec.selector: Invalid value:"#
        ),
        (
            #"/apis/batch/v1/namespaces/default/jobs"#,
            #"{"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}}, "completionMode": "x"}}"#,
            #"spec.completionMode: Unsupported value: "x": supported values: "Indexed", "NonIndexed""#
        ),
        (
            #"/api/v1/namespaces/default/configmaps"#,
            #"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "n"}, "data": {"a b": "c"}}"#,
            #"data[a b]: Invalid value: "a b": a valid config key must"#
        ),
        (
            #"/api/v1/namespaces/default/configmaps"#,
            #"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "n"}, "data": {"a": "c"}, "binaryData": {"a": "eA=="}}"#,
            #"data[a]: Invalid value: "a": duplicate of key present in binaryData"#
        ),
        (
            #"/api/v1/namespaces/default/secrets"#,
            #"{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "n"}, "type": "kubernetes.io/tls", "data": {}}"#,
            #"data[tls.crt]: Required value"#
        ),
        (
            #"/api/v1/namespaces/default/secrets"#,
            #"{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "n"}, "type": "kubernetes.io/dockerconfigjson", "data": {}}"#,
            #"data[.dockerconfigjson]: Required value"#
        ),
        (
            #"/api/v1/namespaces/default/secrets"#,
            #"{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "n"}, "type": "kubernetes.io/basic-auth", "data": {}}"#,
            #"data[username]: Required value"#
        ),
        (
            #"/api/v1/namespaces/default/secrets"#,
            #"{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "n"}, "type": "kubernetes.io/service-account-token", "data": {}}"#,
            #"metadata.annotations[kubernetes.io/service-account.name]: Required value"#
        ),
        (
            #"/api/v1/namespaces"#, #"{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a.b"}}"#,
            #"metadata.name: Invalid value: "a.b": a lowercase RFC 1123 label must"#
        ),
        (
            #"/apis/networking.k8s.io/v1/namespaces/default/ingresses"#,
            #"{"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "n"}, "spec": {"rules": [{"http": {"paths": [{"path": "x", "pathType": "Prefix", "backend": {"service": {"name": "a", "port": {"number": 1}}}}]}}]}}"#,
            #"spec.rules[0].http.paths[0].path: Invalid value: "x": must be an absolute path"#
        ),
        (
            #"/apis/networking.k8s.io/v1/namespaces/default/ingresses"#,
            #"{"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "n"}, "spec": {}}"#,
            #"spec: Invalid value: {}: either `defaultBackend` or `rules` must be specified"#
        ),
        (
            #"/apis/networking.k8s.io/v1/namespaces/default/ingresses"#,
            #"{"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "n"}, "spec": {"rules": [{"host": "1.2.3.4"}]}}"#,
            #"spec.rules[0].host: Invalid value: "1.2.3.4": must be a DNS name, not an IP address"#
        ),
        (
            #"/apis/networking.k8s.io/v1/namespaces/default/ingresses"#,
            #"{"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "n"}, "spec": {"rules": [{"host": "*.*.a"}]}}"#,
            #"spec.rules[0].host: Invalid value: "*.*.a": a wildcard DNS-1123 subdomain must"#
        ),
        (
            #"/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"#,
            #"{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "n"}, "spec": {"podSelector": {}, "ingress": [{"ports": [{"port": 0}]}]}}"#,
            #"spec.ingress[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"#
        ),
        (
            #"/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"#,
            #"{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "n"}, "spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "x"}}]}]}}"#,
            #"spec.ingress[0].from[0].ipBlock.cidr: Invalid value: "x": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"#
        ),
        (
            #"/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"#,
            #"{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "n"}, "spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}]}]}}"#,
            #"spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "11.0.0.0/16": must be a strict subset of `cidr`"#
        ),
        (
            #"/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"#,
            #"{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "n"}, "spec": {"podSelector": {}, "ingress": [{"from": [{}]}]}}"#,
            #"spec.ingress[0].from[0]: Required value: must specify a peer"#
        ),
        (
            #"/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"#,
            #"{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "n"}, "spec": {"podSelector": {}, "policyTypes": ["x"]}}"#,
            #"spec.policyTypes[0]: Unsupported value: "x": supported values: "Egress", "Ingress""#
        ),
        (
            #"/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"#,
            #"{"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "n"}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "a", "apiVersion": "apps/v1"}, "minReplicas": 0, "maxReplicas": 1}}"#,
            #"spec.minReplicas: Invalid value: 0: must be greater than or equal to 1"#
        ),
        (
            #"/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"#,
            #"{"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "n"}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "a", "apiVersion": "apps/v1"}, "minReplicas": 3, "maxReplicas": 1}}"#,
            #"spec.maxReplicas: Invalid value: 1: must be greater than or equal to `minReplicas`"#
        ),
        (
            #"/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"#,
            #"{"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "n"}, "spec": {"scaleTargetRef": {"kind": "", "name": ""}, "maxReplicas": 1}}"#,
            #"spec.scaleTargetRef.kind: Required value"#
        ),
        (
            #"/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles"#,
            #"{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "n"}, "rules": [{"nonResourceURLs": ["/a"], "verbs": ["get"]}]}"#,
            #"rules[0].nonResourceURLs: Invalid value: ["/a"]: namespaced rules cannot apply to non-resource URLs"#
        ),
        (
            #"/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles"#,
            #"{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "n"}, "rules": [{"apiGroups": [""], "resources": [], "verbs": ["get"]}]}"#,
            #"rules[0].resources: Required value: resource rules must supply at least one resource"#
        ),
        (
            #"/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings"#,
            #"{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "n"}, "roleRef": {"apiGroup": "x", "kind": "y", "name": ""}}"#,
            #"roleRef.apiGroup: Unsupported value: "x": supported values: "rbac.authorization.k8s.io""#
        ),
        (
            #"/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings"#,
            #"{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "n"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "a"}, "subjects": [{"kind": "ServiceAccount", "name": "A_"}]}"#,
            #"subjects[0].name: Invalid value: "A_": a lowercase RFC 1123 subdomain must"#
        ),
        (
            #"/apis/coordination.k8s.io/v1/namespaces/default/leases"#,
            #"{"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "n"}, "spec": {"leaseDurationSeconds": 0}}"#,
            #"spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"#
        ),
        (
            #"/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"#,
            #"{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "n"}, "addressType": "x", "endpoints": []}"#,
            #"addressType: Unsupported value: "x": supported values: "FQDN", "IPv4", "IPv6""#
        ),
        (
            #"/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"#,
            #"{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "n"}, "addressType": "IPv4", "endpoints": [{"addresses": ["x"]}]}"#,
            #"endpoints[0].addresses[0]: Invalid value: "x": must be a valid IPv4 address"#
        ),
        (
            #"/api/v1/namespaces/default/persistentvolumeclaims"#,
            #"{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "n"}, "spec": {"accessModes": ["ReadWriteOnce"]}}"#,
            #"spec.resources[storage]: Required value"#
        ),
        (
            #"/api/v1/namespaces/default/persistentvolumeclaims"#,
            #"{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "n"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}}"#,
            #"spec.accessModes: Required value: at least 1 access mode is required"#
        ),
        (
            #"/api/v1/namespaces/default/persistentvolumeclaims"#,
            #"{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "n"}, "spec": {"accessModes": ["x"], "resources": {"requests": {"storage": "1Gi"}}}}"#,
            #"spec.accessModes: Unsupported value: "x": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod""#
        ),
        (
            #"/apis/storage.k8s.io/v1/storageclasses"#,
            #"{"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "x"}, "provisioner": ""}"#,
            #"provisioner: Required value"#
        ),
    ]
}
