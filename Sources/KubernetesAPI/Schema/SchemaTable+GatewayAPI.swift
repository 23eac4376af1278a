extension SchemaTable {
    /// The kinds of the Gateway API with the fields of its experimental channel, and the types of GatewayClass and Gateway.
    static let gatewayAPI = """
        @io.k8s.networking.gateway.v1
        GatewayClass
          spec! GatewayAPISpec
          status GatewayAPIStatus
        GatewayAPIGateway
          spec! GatewayAPIGatewaySpec
          status GatewayAPIGatewayStatus
        GatewayHTTPRoute
          spec! GatewayAPIHTTPRouteSpec
          status GatewayAPIHTTPRouteStatus
        GatewayGRPCRoute
          spec! GatewayAPIGRPCRouteSpec
          status GatewayAPIGRPCRouteStatus
        GatewayTLSRoute
          spec! GatewayAPITLSRouteSpec
          status GatewayAPITLSRouteStatus
        GatewayTCPRoute
          spec! GatewayAPITCPRouteSpec
          status GatewayAPITCPRouteStatus
        GatewayUDPRoute
          spec! GatewayAPIUDPRouteSpec
          status GatewayAPIUDPRouteStatus
        ReferenceGrant
          spec! GatewayAPIReferenceGrantSpec
        BackendTLSPolicy
          spec! GatewayAPIBackendTLSPolicySpec
          status GatewayAPIBackendTLSPolicyStatus
        ListenerSet
          spec! GatewayAPIListenerSetSpec
          status GatewayAPIListenerSetStatus
        GatewayAPIParametersRef
          group! string
          kind! string
          name! string
          namespace string
        GatewayAPISpec
          controllerName! string
          description string
          parametersRef GatewayAPIParametersRef
        GatewayAPICondition
          lastTransitionTime! time
          message! string
          observedGeneration int64
          reason! string
          status! string enum=True|False|Unknown
          type! string
        GatewayAPISupportedFeature
          name! string
        GatewayAPIStatus
          conditions []GatewayAPICondition
          supportedFeatures []GatewayAPISupportedFeature
        GatewayAPIAddress
          type string default="IPAddress"
          value string
        GatewayAPIMatchExpression
          key! string
          operator! string
          values []string
        GatewayAPISelector
          matchExpressions []GatewayAPIMatchExpression
          matchLabels map(string)
        GatewayAPINamespaces
          from string default="None" enum=All|Selector|Same|None
          selector GatewayAPISelector
        GatewayAPIAllowedListeners
          namespaces GatewayAPINamespaces default={"from":"None"}
        GatewayAPIGatewayParametersRef
          group! string
          kind! string
          name! string
        GatewayAPIInfrastructure
          annotations map(string)
          labels map(string)
          parametersRef GatewayAPIGatewayParametersRef
        GatewayAPIKind
          group string default="gateway.networking.k8s.io"
          kind! string
        GatewayAPIGatewayNamespaces
          from string default="Same" enum=All|Selector|Same
          selector GatewayAPISelector
        GatewayAPIAllowedRoutes
          kinds []GatewayAPIKind count=..8
          namespaces GatewayAPIGatewayNamespaces default={"from":"Same"}
        GatewayAPICertificateRef
          group string default=""
          kind string default="Secret"
          name! string
          namespace string
        GatewayAPITLS
          certificateRefs []GatewayAPICertificateRef count=..64
          mode string default="Terminate" enum=Terminate|Passthrough
          options map(string) count=..16
        GatewayAPIListener
          allowedRoutes GatewayAPIAllowedRoutes default={"namespaces":{"from":"Same"}}
          hostname string
          name! string
          port! int32 value=1..65535
          protocol! string
          tls GatewayAPITLS
        GatewayAPIClientCertificateRef
          group string default=""
          kind string default="Secret"
          name! string
          namespace string
        GatewayAPIBackend
          clientCertificateRef GatewayAPIClientCertificateRef
        GatewayAPICACertificateRef
          group! string
          kind! string
          name! string
          namespace string
        GatewayAPIValidation
          caCertificateRefs! []GatewayAPICACertificateRef
          mode string default="AllowValidOnly" enum=AllowValidOnly|AllowInsecureFallback
        GatewayAPIDefault
          validation GatewayAPIValidation
        GatewayAPIGatewayTLS
          validation GatewayAPIValidation
        GatewayAPIPerPort
          port! int32 value=1..65535
          tls! GatewayAPIGatewayTLS
        GatewayAPIFrontend
          default! GatewayAPIDefault
          perPort []GatewayAPIPerPort
        GatewayAPIGatewayTLS2
          backend GatewayAPIBackend
          frontend GatewayAPIFrontend
        GatewayAPIGatewaySpec
          addresses []GatewayAPIAddress count=..16
          allowedListeners GatewayAPIAllowedListeners
          defaultScope string enum=All|None
          gatewayClassName! string
          infrastructure GatewayAPIInfrastructure
          listeners! []GatewayAPIListener count=..64
          tls GatewayAPIGatewayTLS2
        GatewayAPIGatewayAddress
          type string default="IPAddress"
          value! string
        GatewayAPISupportedKind
          group string default="gateway.networking.k8s.io"
          kind! string
        GatewayAPIGatewayListener
          attachedRoutes! int32
          conditions! []GatewayAPICondition
          name! string
          supportedKinds []GatewayAPISupportedKind
        GatewayAPIGatewayStatus
          addresses []GatewayAPIGatewayAddress
          attachedListenerSets int32
          conditions []GatewayAPICondition
          listeners []GatewayAPIGatewayListener
        """
}
