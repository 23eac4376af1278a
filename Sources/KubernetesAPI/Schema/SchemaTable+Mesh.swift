extension SchemaTable {
    /// Istio's other kinds.
    static let istioOthers = """
        @io.istio.mesh.v1
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
