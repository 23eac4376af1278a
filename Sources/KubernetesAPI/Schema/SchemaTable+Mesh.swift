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
        ProxyConfig
          spec any
          status IstioStatus
        EnvoyFilter
          spec any
          status IstioStatus
        Telemetry
          spec any
          status IstioStatus
        """
}
