/// The protobuf field numbers of the types that kubectl creates by itself; a line is a type and its fields.
///
/// Types and shapes come from the schema table; only the numbers are here (Kubernetes' `generated.proto` files). A
/// field named `*` is a message whose fields belong to the outer object.
enum ProtobufNumbers {
    static let byType: [String: [Int: String]] = {
        var result: [String: [Int: String]] = [:]
        for line in table.split(separator: "\n") {
            let words = line.split(separator: " ")
            guard let type = words.first else { continue }
            for word in words.dropFirst() {
                let pair = word.split(separator: "=")
                guard pair.count == 2, let number = Int(pair[1]) else { preconditionFailure("protobuf table: \(line)") }
                result[String(type), default: [:]][number] = String(pair[0])
            }
        }
        return result
    }()

    /// Numbers where 0 says something else than absence.
    static let meaningfulZeros: Set<String> = [
        "replicas", "revisionHistoryLimit", "terminationGracePeriodSeconds", "enableServiceLinks",
        "automountServiceAccountToken", "completions", "parallelism", "backoffLimit", "partition",
    ]

    private static let table = """
        ObjectMeta name=1 generateName=2 namespace=3 selfLink=4 uid=5 resourceVersion=6 generation=7 creationTimestamp=8 deletionTimestamp=9 deletionGracePeriodSeconds=10 labels=11 annotations=12 ownerReferences=13 finalizers=14 managedFields=17
        OwnerReference kind=1 name=3 uid=4 apiVersion=5 controller=6 blockOwnerDeletion=7
        LabelSelector matchLabels=1 matchExpressions=2
        LabelSelectorRequirement key=1 operator=2 values=3
        Namespace metadata=1 spec=2 status=3
        NamespaceSpec finalizers=1
        ConfigMap metadata=1 data=2 binaryData=3 immutable=4
        Secret metadata=1 data=2 type=3 stringData=4 immutable=5
        ServiceAccount metadata=1 secrets=2 imagePullSecrets=3 automountServiceAccountToken=4
        LocalObjectReference name=1
        ObjectReference kind=1 namespace=2 name=3 uid=4 apiVersion=5 resourceVersion=6 fieldPath=7
        Service metadata=1 spec=2 status=3
        ServiceSpec ports=1 selector=2 clusterIP=3 type=4 externalIPs=5 sessionAffinity=7 loadBalancerIP=8 loadBalancerSourceRanges=9 externalName=10 externalTrafficPolicy=11 healthCheckNodePort=12 publishNotReadyAddresses=13 sessionAffinityConfig=14 ipFamilyPolicy=17 clusterIPs=18 ipFamilies=19 allocateLoadBalancerNodePorts=20 loadBalancerClass=21 internalTrafficPolicy=22 trafficDistribution=23
        SessionAffinityConfig clientIP=1
        ClientIPConfig timeoutSeconds=1
        ServicePort name=1 protocol=2 port=3 targetPort=4 nodePort=5 appProtocol=6
        Deployment metadata=1 spec=2 status=3
        DeploymentSpec replicas=1 selector=2 template=3 strategy=4 minReadySeconds=5 revisionHistoryLimit=6 paused=7 progressDeadlineSeconds=9
        DeploymentStrategy type=1 rollingUpdate=2
        RollingUpdateDeployment maxUnavailable=1 maxSurge=2
        StatefulSet metadata=1 spec=2 status=3
        StatefulSetSpec replicas=1 selector=2 template=3 serviceName=5 podManagementPolicy=6 updateStrategy=7 revisionHistoryLimit=8 minReadySeconds=9
        StatefulSetUpdateStrategy type=1 rollingUpdate=2
        RollingUpdateStatefulSetStrategy partition=1 maxUnavailable=2
        DaemonSet metadata=1 spec=2 status=3
        DaemonSetSpec selector=1 template=2 updateStrategy=3 minReadySeconds=4 revisionHistoryLimit=6
        DaemonSetUpdateStrategy type=1 rollingUpdate=2
        RollingUpdateDaemonSet maxUnavailable=1 maxSurge=2
        Job metadata=1 spec=2 status=3
        JobSpec parallelism=1 completions=2 activeDeadlineSeconds=3 selector=4 manualSelector=5 template=6 backoffLimit=7 ttlSecondsAfterFinished=8 completionMode=9 suspend=10 backoffLimitPerIndex=12 maxFailedIndexes=13 podReplacementPolicy=14 managedBy=15
        HorizontalPodAutoscaler metadata=1 spec=2 status=3
        HorizontalPodAutoscalerSpec scaleTargetRef=1 minReplicas=2 maxReplicas=3 metrics=4
        HorizontalPodAutoscalerV1 metadata=1 spec=2 status=3
        HorizontalPodAutoscalerSpecV1 scaleTargetRef=1 minReplicas=2 maxReplicas=3 targetCPUUtilizationPercentage=4
        CrossVersionObjectReference kind=1 name=2 apiVersion=3
        MetricSpec type=1 resource=4
        ResourceMetricSource name=1 target=2
        MetricTarget type=1 value=2 averageValue=3 averageUtilization=4
        Pod metadata=1 spec=2 status=3
        PodTemplateSpec metadata=1 spec=2
        PodSpec volumes=1 containers=2 restartPolicy=3 terminationGracePeriodSeconds=4 activeDeadlineSeconds=5 dnsPolicy=6 nodeSelector=7 serviceAccountName=8 serviceAccount=9 nodeName=10 hostNetwork=11 hostPID=12 hostIPC=13 securityContext=14 imagePullSecrets=15 hostname=16 subdomain=17 affinity=18 schedulerName=19 initContainers=20 automountServiceAccountToken=21 tolerations=22 hostAliases=23 priorityClassName=24 priority=25 dnsConfig=26 shareProcessNamespace=27 readinessGates=28 runtimeClassName=29 enableServiceLinks=30 preemptionPolicy=31 overhead=32 topologySpreadConstraints=33 setHostnameAsFQDN=35
        Container name=1 image=2 command=3 args=4 workingDir=5 ports=6 env=7 resources=8 volumeMounts=9 livenessProbe=10 readinessProbe=11 lifecycle=12 terminationMessagePath=13 imagePullPolicy=14 securityContext=15 stdin=16 stdinOnce=17 tty=18 envFrom=19 terminationMessagePolicy=20 volumeDevices=21 startupProbe=22 restartPolicy=24
        ContainerPort name=1 hostPort=2 containerPort=3 protocol=4 hostIP=5
        EnvVar name=1 value=2 valueFrom=3
        ResourceRequirements limits=1 requests=2
        VolumeMount name=1 readOnly=2 mountPath=3 subPath=4 mountPropagation=5 subPathExpr=6
        Ingress metadata=1 spec=2 status=3
        IngressSpec defaultBackend=1 tls=2 rules=3 ingressClassName=4
        IngressTLS hosts=1 secretName=2
        IngressRule host=1 *=2
        IngressRule* http=1
        HTTPIngressRuleValue paths=1
        HTTPIngressPath path=1 backend=2 pathType=3
        IngressBackend resource=3 service=4
        IngressServiceBackend name=1 port=2
        ServiceBackendPort name=1 number=2
        Role metadata=1 rules=2
        ClusterRole metadata=1 rules=2 aggregationRule=3
        AggregationRule clusterRoleSelectors=1
        PolicyRule verbs=1 apiGroups=2 resources=3 resourceNames=4 nonResourceURLs=5
        RoleBinding metadata=1 subjects=2 roleRef=3
        ClusterRoleBinding metadata=1 subjects=2 roleRef=3
        Subject kind=1 apiGroup=2 name=3 namespace=4
        RoleRef apiGroup=1 kind=2 name=3
        SelfSubjectAccessReview metadata=1 spec=2 status=3
        SelfSubjectAccessReviewSpec resourceAttributes=1 nonResourceAttributes=2
        SubjectAccessReview metadata=1 spec=2 status=3
        LocalSubjectAccessReview metadata=1 spec=2 status=3
        SubjectAccessReviewSpec resourceAttributes=1 nonResourceAttributes=2 user=3 groups=4 uid=6
        ResourceAttributes namespace=1 verb=2 group=3 version=4 resource=5 subresource=6 name=7
        NonResourceAttributes path=1 verb=2
        SelfSubjectRulesReview metadata=1 spec=2 status=3
        SelfSubjectRulesReviewSpec namespace=1
        SelfSubjectReview metadata=1 status=2
        TokenReview metadata=1 spec=2 status=3
        TokenReviewSpec token=1 audiences=2
        Lease metadata=1 spec=2
        LeaseSpec holderIdentity=1 leaseDurationSeconds=2 acquireTime=3 renewTime=4 leaseTransitions=5
        """
}
