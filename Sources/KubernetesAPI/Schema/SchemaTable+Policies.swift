extension SchemaTable {
    /// NetworkPolicy of `networking.k8s.io`, and `policy.networking.k8s.io`.
    static let policies = """
        @io.k8s.api.networking.v1
        NetworkPolicy
          spec NetworkPolicySpec
        NetworkPolicySpec
          podSelector LabelSelector
          ingress []NetworkPolicyIngressRule
          egress []NetworkPolicyEgressRule
          policyTypes []string enum=Egress|Ingress
        NetworkPolicyIngressRule
          from []NetworkPolicyPeer
          ports []NetworkPolicyPort
        NetworkPolicyEgressRule
          to []NetworkPolicyPeer
          ports []NetworkPolicyPort
        NetworkPolicyPeer
          podSelector LabelSelector
          namespaceSelector LabelSelector
          ipBlock IPBlock
        IPBlock
          cidr! string
          except []string
        NetworkPolicyPort
          protocol string default="TCP" enum=SCTP|TCP|UDP
          port intstr
          endPort int32
        @io.k8s.networking.policy.v1alpha1
        AdminNetworkPolicy
          spec! AdminNetworkPolicySpec
          status AdminNetworkPolicyStatus
        AdminNetworkPolicySpec
          priority! int32 value=0..1000
          subject! AdminNetworkPolicySubject
          ingress []AdminNetworkPolicyIngressRule count=..100
          egress []AdminNetworkPolicyEgressRule count=..100
        AdminNetworkPolicySubject
          namespaces LabelSelector
          pods NamespacedPod
        NamespacedPod
          namespaceSelector! LabelSelector
          podSelector! LabelSelector
        AdminNetworkPolicyIngressRule
          name string length=..100
          action! string enum=Allow|Deny|Pass
          from! []AdminNetworkPolicyPeer count=1..100
          ports []AdminNetworkPolicyPort count=..100
        AdminNetworkPolicyEgressRule
          name string length=..100
          action! string enum=Allow|Deny|Pass
          to! []AdminNetworkPolicyPeer count=1..100
          ports []AdminNetworkPolicyPort count=..100
        AdminNetworkPolicyPeer
          namespaces LabelSelector
          pods NamespacedPod
          nodes LabelSelector
          networks []string count=1..25
          domainNames []string
        AdminNetworkPolicyPort
          portNumber AdminNetworkPolicyPortNumber
          namedPort string
          portRange AdminNetworkPolicyPortRange
        AdminNetworkPolicyPortNumber
          protocol! string enum=SCTP|TCP|UDP
          port! int32 value=1..65535
        AdminNetworkPolicyPortRange
          protocol! string enum=SCTP|TCP|UDP
          start! int32 value=1..65535
          end! int32 value=1..65535
        AdminNetworkPolicyStatus
          conditions []Condition merge=type
        BaselineAdminNetworkPolicy
          spec! BaselineAdminNetworkPolicySpec
          status AdminNetworkPolicyStatus
        BaselineAdminNetworkPolicySpec
          subject! AdminNetworkPolicySubject
          ingress []BaselineAdminNetworkPolicyIngressRule count=..100
          egress []BaselineAdminNetworkPolicyEgressRule count=..100
        BaselineAdminNetworkPolicyIngressRule
          name string length=..100
          action! string enum=Allow|Deny
          from! []AdminNetworkPolicyPeer count=1..100
          ports []AdminNetworkPolicyPort count=..100
        BaselineAdminNetworkPolicyEgressRule
          name string length=..100
          action! string enum=Allow|Deny
          to! []AdminNetworkPolicyPeer count=1..100
          ports []AdminNetworkPolicyPort count=..100
        """
}
