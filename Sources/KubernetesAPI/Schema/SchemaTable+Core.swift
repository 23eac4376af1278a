extension SchemaTable {
    /// `metadata` and what several groups share.
    static let meta = """
        @io.k8s.apimachinery.pkg.apis.meta.v1
        ObjectMeta
          name string
          generateName string
          namespace string
          selfLink string
          uid string
          resourceVersion string
          generation int64
          creationTimestamp time
          deletionTimestamp time
          deletionGracePeriodSeconds int64
          labels map(string)
          annotations map(string)
          ownerReferences []OwnerReference merge=uid
          finalizers []string merge
          managedFields any
        OwnerReference
          apiVersion! string
          kind! string
          name! string
          uid! string
          controller bool
          blockOwnerDeletion bool
        LabelSelector
          matchLabels map(string)
          matchExpressions []LabelSelectorRequirement
        LabelSelectorRequirement
          key! string
          operator! string enum=In|NotIn|Exists|DoesNotExist
          values []string
        Condition
          type! string
          status! string
          observedGeneration int64
          lastTransitionTime time
          lastUpdateTime time
          lastProbeTime time
          lastHeartbeatTime time
          reason string
          message string
        """

    /// Small kinds of the core group.
    static let core = """
        @io.k8s.api.core.v1
        Namespace
          spec NamespaceSpec
          status NamespaceStatus
        NamespaceSpec
          finalizers []string
        NamespaceStatus
          phase string
          conditions []Condition merge=type
        ConfigMap
          data map(string)
          binaryData map(bytes)
          immutable bool
        Secret
          data map(bytes)
          stringData map(string)
          type string
          immutable bool
        ServiceAccount
          secrets []ObjectReference merge=name
          imagePullSecrets []LocalObjectReference
          automountServiceAccountToken bool
        LocalObjectReference
          name string
        ObjectReference
          kind string
          namespace string
          name string
          uid string
          apiVersion string
          resourceVersion string
          fieldPath string
        TypedLocalObjectReference
          apiGroup string
          kind! string
          name! string
        Event
          involvedObject! ObjectReference
          reason string
          message string
          source EventSource
          firstTimestamp time
          lastTimestamp time
          count int32
          type string
          eventTime time
          series any
          action string
          related ObjectReference
          reportingComponent string
          reportingInstance string
        EventV1
          eventTime! time
          series EventSeriesV1
          reportingController string
          reportingInstance string
          action string
          reason string
          regarding ObjectReference
          related ObjectReference
          note string
          type string
          deprecatedSource EventSource
          deprecatedFirstTimestamp time
          deprecatedLastTimestamp time
          deprecatedCount int32
        EventSeriesV1
          count! int32
          lastObservedTime! time
        EventSource
          component string
          host string
        Node
          spec NodeSpec
          status NodeStatus
        NodeSpec
          podCIDR string
          podCIDRs []string merge
          providerID string
          unschedulable bool
          taints []Taint
          configSource any
          externalID string
        Taint
          key! string
          value string
          effect! string
          timeAdded time
        NodeStatus
          capacity map(quantity)
          allocatable map(quantity)
          phase string
          conditions []Condition merge=type
          addresses []NodeAddress merge=type
          daemonEndpoints any
          nodeInfo NodeSystemInfo
          images any
          volumesInUse []string
          volumesAttached any
          config any
          runtimeHandlers any
          features any
        NodeAddress
          type! string
          address! string
        NodeSystemInfo
          machineID string
          systemUUID string
          bootID string
          kernelVersion string
          osImage string
          containerRuntimeVersion string
          kubeletVersion string
          kubeProxyVersion string
          operatingSystem string
          architecture string
        Service
          spec ServiceSpec
          status ServiceStatus
        ServiceSpec
          ports []ServicePort merge=port
          selector map(string)
          clusterIP string
          clusterIPs []string
          type string default="ClusterIP" enum=ClusterIP|ExternalName|LoadBalancer|NodePort
          externalIPs []string
          sessionAffinity string default="None" enum=ClientIP|None
          loadBalancerIP string
          loadBalancerSourceRanges []string
          externalName string
          externalTrafficPolicy string enum=Cluster|Local
          healthCheckNodePort int32
          publishNotReadyAddresses bool
          sessionAffinityConfig SessionAffinityConfig
          ipFamilies []string
          ipFamilyPolicy string enum=PreferDualStack|RequireDualStack|SingleStack
          allocateLoadBalancerNodePorts bool
          loadBalancerClass string
          internalTrafficPolicy string default="Cluster" enum=Cluster|Local
          trafficDistribution string
        SessionAffinityConfig
          clientIP ClientIPConfig
        ClientIPConfig
          timeoutSeconds int32
        ServicePort
          name string
          protocol string default="TCP" enum=SCTP|TCP|UDP
          appProtocol string
          port! int32
          targetPort intstr
          nodePort int32
        ServiceStatus
          loadBalancer LoadBalancerStatus
          conditions []Condition merge=type
        LoadBalancerStatus
          ingress []LoadBalancerIngress
        LoadBalancerIngress
          ip string
          hostname string
          ipMode string
          ports any
        Endpoints
          subsets []EndpointSubset
        EndpointSubset
          addresses []EndpointAddress
          notReadyAddresses []EndpointAddress
          ports []EndpointPort
        EndpointAddress
          ip! string
          hostname string
          nodeName string
          targetRef ObjectReference
        EndpointPort
          name string
          port int32
          protocol string default="TCP" enum=SCTP|TCP|UDP
          appProtocol string
        """
}
