extension SchemaTable {
    /// Istio's `ServiceEntry`, `WorkloadEntry`, `WorkloadGroup` and `Sidecar`.
    static let istioServices = """
        @io.istio.networking.v1
        ServiceEntry
          spec ServiceEntrySpec
          status ServiceEntryStatus
        ServiceEntryStatus
          conditions []IstioCondition
          validationMessages any
          observedGeneration intstr
          addresses []ServiceEntryAddress
        ServiceEntryAddress
          value string
          host string
        ServiceEntrySpec
          hosts! []string
          addresses []string
          ports []IstioServicePort
          location string enum=MESH_EXTERNAL|MESH_INTERNAL
          resolution string enum=NONE|STATIC|DNS|DNS_ROUND_ROBIN|DYNAMIC_DNS
          endpoints []WorkloadEntrySpec
          workloadSelector IstioWorkloadSelector
          exportTo []string
          subjectAltNames []string
        IstioServicePort
          number! uint32
          protocol string
          name! string
          targetPort uint32
        IstioWorkloadSelector
          labels map(string)
        WorkloadEntry
          spec WorkloadEntrySpec
          status IstioStatus
        WorkloadEntrySpec
          address string
          ports map(uint32)
          labels map(string)
          network string
          locality string
          weight uint32
          serviceAccount string
        WorkloadGroup
          spec WorkloadGroupSpec
          status IstioStatus
        WorkloadGroupSpec
          metadata WorkloadGroupObjectMeta
          template! WorkloadEntrySpec
          probe WorkloadGroupProbe
        WorkloadGroupObjectMeta
          labels map(string)
          annotations map(string)
        WorkloadGroupProbe
          initialDelaySeconds int32
          timeoutSeconds int32
          periodSeconds int32
          successThreshold int32
          failureThreshold int32
          httpGet any
          tcpSocket any
          exec any
          grpc any
        Sidecar
          spec SidecarSpec
          status IstioStatus
        SidecarSpec
          workloadSelector IstioWorkloadSelector
          ingress []IstioIngressListener
          egress []IstioEgressListener
          outboundTrafficPolicy SidecarOutboundTrafficPolicy
          inboundConnectionPool ConnectionPoolSettings
        IstioIngressListener
          port! SidecarPort
          bind string
          captureMode string enum=DEFAULT|IPTABLES|NONE
          defaultEndpoint string
          tls ServerTLSSettings
          connectionPool ConnectionPoolSettings
        IstioEgressListener
          port SidecarPort
          bind string
          captureMode string enum=DEFAULT|IPTABLES|NONE
          hosts! []string
        SidecarPort
          number uint32
          protocol string
          name string
          targetPort uint32
        SidecarOutboundTrafficPolicy
          mode string enum=REGISTRY_ONLY|ALLOW_ANY
          egressProxy Destination
        """
}
