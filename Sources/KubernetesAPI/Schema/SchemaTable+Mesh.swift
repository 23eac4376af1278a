extension SchemaTable {
    /// Istio's other kinds.
    static let istioOthers = """
        @io.istio.mesh.v1
        ProxyConfig
          spec any
          status IstioStatus
        EnvoyFilter
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
        Telemetry
          spec any
          status IstioStatus
        """
}
