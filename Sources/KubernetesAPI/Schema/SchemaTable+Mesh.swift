extension SchemaTable {
    /// Istio's other kinds.
    static let istioOthers = """
        @io.istio.mesh.v1
        ServiceEntry
          spec any
          status IstioStatus
        WorkloadEntry
          spec any
          status IstioStatus
        WorkloadGroup
          spec any
          status IstioStatus
        Sidecar
          spec any
          status IstioStatus
        PeerAuthentication
          spec any
          status IstioStatus
        RequestAuthentication
          spec any
          status IstioStatus
        AuthorizationPolicy
          spec any
          status IstioStatus
        """
}
