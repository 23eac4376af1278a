extension SchemaTable {
    /// The kinds of the Gateway API.
    static let gatewayAPI = """
        @io.k8s.networking.gateway.v1
        GatewayClass
          spec any
          status any
        GatewayAPIGateway
          spec any
          status any
        GatewayHTTPRoute
          spec any
          status any
        GatewayGRPCRoute
          spec any
          status any
        GatewayTLSRoute
          spec any
          status any
        GatewayTCPRoute
          spec any
          status any
        GatewayUDPRoute
          spec any
          status any
        ReferenceGrant
          spec any
          status any
        BackendTLSPolicy
          spec any
          status any
        ListenerSet
          spec any
          status any
        """
}
