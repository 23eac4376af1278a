extension SchemaTable {
    /// Istio's `ServiceEntry`, `WorkloadEntry`, `WorkloadGroup` and `Sidecar`.
    static let istioServices = """
        @io.istio.networking.v1
        ServiceEntry
          spec! ServiceEntrySpec
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
          hosts! []string count=..256
          addresses []string count=..256 length=..64
          ports []IstioServicePort count=..256
          location string enum=MESH_EXTERNAL|MESH_INTERNAL
          resolution string enum=NONE|STATIC|DNS|DNS_ROUND_ROBIN|DYNAMIC_DNS
          endpoints []WorkloadEntrySpec count=..4096
          workloadSelector IstioWorkloadSelector
          exportTo []string
          subjectAltNames []string
        IstioServicePort
          number! uint32
          protocol string length=..256
          name! string length=..256
          targetPort uint32
        IstioWorkloadSelector
          labels map(string) count=..256 length=..63
        WorkloadEntry
          spec! WorkloadEntrySpec
          status IstioStatus
        WorkloadEntrySpec
          address string length=..256
          ports map(uint32) count=..128 value=1..65535
          labels map(string) count=..256
          network string length=..2048
          locality string length=..2048
          weight uint32
          serviceAccount string length=..253
        WorkloadGroup
          spec! WorkloadGroupSpec
          status IstioStatus
        WorkloadGroupSpec
          metadata WorkloadGroupObjectMeta
          template! WorkloadEntrySpec
          probe WorkloadGroupProbe
        WorkloadGroupObjectMeta
          labels map(string)
          annotations map(string)
        WorkloadGroupProbe
          initialDelaySeconds int32 value=0..
          timeoutSeconds int32 value=0..
          periodSeconds int32 value=0..
          successThreshold int32 value=0..
          failureThreshold int32 value=0..
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
