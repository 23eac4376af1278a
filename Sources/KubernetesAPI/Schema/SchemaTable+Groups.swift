extension SchemaTable {
    /// `apps`.
    static let apps = """
        @io.k8s.api.apps.v1
        Deployment
          spec! DeploymentSpec
          status DeploymentStatus
        DeploymentSpec
          replicas int32 default=1
          selector! LabelSelector
          template! PodTemplateSpec
          strategy DeploymentStrategy default={} retain
          minReadySeconds int32
          revisionHistoryLimit int32 default=10
          paused bool
          progressDeadlineSeconds int32 default=600
        DeploymentStrategy
          type string default="RollingUpdate" enum=Recreate|RollingUpdate
          rollingUpdate RollingUpdateDeployment
        RollingUpdateDeployment
          maxUnavailable intstr default="25%"
          maxSurge intstr default="25%"
        DeploymentStatus
          observedGeneration int64
          replicas int32
          updatedReplicas int32
          readyReplicas int32
          availableReplicas int32
          unavailableReplicas int32
          terminatingReplicas int32
          conditions []Condition merge=type
          collisionCount int32
        ReplicaSet
          spec! ReplicaSetSpec
          status ReplicaSetStatus
        ReplicaSetSpec
          replicas int32 default=1
          minReadySeconds int32
          selector! LabelSelector
          template PodTemplateSpec
        ReplicaSetStatus
          replicas int32
          fullyLabeledReplicas int32
          readyReplicas int32
          availableReplicas int32
          terminatingReplicas int32
          observedGeneration int64
          conditions []Condition merge=type
        @io.k8s.api.autoscaling.v1
        Scale
          spec ScaleSpec
          status ScaleStatus
        ScaleSpec
          replicas int32
        ScaleStatus
          replicas int32
          selector string
        """

    /// `discovery.k8s.io`, `networking.k8s.io`, `coordination.k8s.io`.
    static let networking = """
        @io.k8s.api.discovery.v1
        EndpointSlice
          addressType! string enum=FQDN|IPv4|IPv6
          endpoints []Endpoint
          ports []EndpointPort
        Endpoint
          addresses! []string
          conditions EndpointConditions
          hostname string
          targetRef ObjectReference
          deprecatedTopology map(string)
          nodeName string
          zone string
          hints any
        EndpointConditions
          ready bool
          serving bool
          terminating bool
        @io.k8s.api.networking.v1
        Ingress
          spec IngressSpec
          status IngressStatus
        IngressSpec
          ingressClassName string
          defaultBackend IngressBackend
          tls []IngressTLS
          rules []IngressRule
        IngressBackend
          service IngressServiceBackend
          resource TypedLocalObjectReference
        IngressServiceBackend
          name! string
          port ServiceBackendPort
        ServiceBackendPort
          name string
          number int32
        IngressTLS
          hosts []string
          secretName string
        IngressRule
          host string
          http HTTPIngressRuleValue
        HTTPIngressRuleValue
          paths! []HTTPIngressPath
        HTTPIngressPath
          path string
          pathType! string enum=Exact|ImplementationSpecific|Prefix
          backend! IngressBackend
        IngressStatus
          loadBalancer LoadBalancerStatus
        IngressClass
          spec IngressClassSpec
        IngressClassSpec
          controller! string
          parameters IngressClassParameters
        IngressClassParameters
          apiGroup string
          kind! string
          name! string
          scope string default="Cluster" enum=Cluster|Namespace
          namespace string
        @io.k8s.api.coordination.v1
        Lease
          spec LeaseSpec
        LeaseSpec
          holderIdentity string
          leaseDurationSeconds int32
          acquireTime time
          renewTime time
          leaseTransitions int32
          strategy string
          preferredHolder string
        """
}
