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
        Telemetry
          spec any
          status IstioStatus
        """
}
