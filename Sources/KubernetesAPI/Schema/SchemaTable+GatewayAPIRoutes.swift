extension SchemaTable {
    /// The types of the Gateway API's routes, grants, policies and listener sets.
    static let gatewayAPIRoutes = """
        @io.k8s.networking.gateway.v1
        GatewayAPIParentRef
          group string default="gateway.networking.k8s.io"
          kind string default="Gateway"
          name! string
          namespace string
          port int32
          sectionName string
        GatewayAPICORS
          allowCredentials bool
          allowHeaders []string
          allowMethods []string
          allowOrigins []string
          exposeHeaders []string
          maxAge int32 default=5
        GatewayAPIExtensionRef
          group! string
          kind! string
          name! string
        GatewayAPIBackendRef
          group string default=""
          kind string default="Service"
          name! string
          namespace string
          port int32
        GatewayAPIForwardBody
          maxSize int32
        GatewayAPIGRPC
          allowedHeaders []string
        GatewayAPIHTTP
          allowedHeaders []string
          allowedResponseHeaders []string
          path string
        GatewayAPIExternalAuth
          backendRef! GatewayAPIBackendRef
          forwardBody GatewayAPIForwardBody
          grpc GatewayAPIGRPC
          http GatewayAPIHTTP
          protocol! string enum=HTTP|GRPC
        GatewayAPIAdd
          name! string
          value! string
        GatewayAPISet
          name! string
          value! string
        GatewayAPIRequestHeaderModifier
          add []GatewayAPIAdd
          remove []string
          set []GatewayAPISet
        GatewayAPIFraction
          denominator int32 default=100
          numerator! int32
        GatewayAPIRequestMirror
          backendRef! GatewayAPIBackendRef
          fraction GatewayAPIFraction
          percent int32
        GatewayAPIPath
          replaceFullPath string
          replacePrefixMatch string
          type! string enum=ReplaceFullPath|ReplacePrefixMatch
        GatewayAPIRequestRedirect
          hostname string
          path GatewayAPIPath
          port int32
          scheme string enum=http|https
          statusCode int32 default=302 enum=301|302|303|307|308
        GatewayAPIResponseHeaderModifier
          add []GatewayAPIAdd
          remove []string
          set []GatewayAPISet
        GatewayAPIURLRewrite
          hostname string
          path GatewayAPIPath
        GatewayAPIFilter
          cors GatewayAPICORS
          extensionRef GatewayAPIExtensionRef
          externalAuth GatewayAPIExternalAuth
          requestHeaderModifier GatewayAPIRequestHeaderModifier
          requestMirror GatewayAPIRequestMirror
          requestRedirect GatewayAPIRequestRedirect
          responseHeaderModifier GatewayAPIResponseHeaderModifier
          type! string enum=RequestHeaderModifier|ResponseHeaderModifier|RequestMirror|RequestRedirect|URLRewrite|ExtensionRef|CORS|ExternalAuth
          urlRewrite GatewayAPIURLRewrite
        GatewayAPIHTTPRouteBackendRef
          filters []GatewayAPIFilter
          group string default=""
          kind string default="Service"
          name! string
          namespace string
          port int32
          weight int32 default=1
        GatewayAPIHeader
          name! string
          type string default="Exact" enum=Exact|RegularExpression
          value! string
        GatewayAPIHTTPRoutePath
          type string default="PathPrefix" enum=Exact|PathPrefix|RegularExpression
          value string default="/"
        GatewayAPIQueryParam
          name! string
          type string default="Exact" enum=Exact|RegularExpression
          value! string
        GatewayAPIMatch
          headers []GatewayAPIHeader
          method string enum=GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH
          path GatewayAPIHTTPRoutePath default={"type":"PathPrefix","value":"/"}
          queryParams []GatewayAPIQueryParam
        GatewayAPIRetry
          attempts int32
          backoff string
          codes []int32
        GatewayAPICookie
          lifetimeType string default="Session" enum=Permanent|Session
          name string
          path string default="/"
        GatewayAPIHTTPRouteHeader
          name! string
        GatewayAPISessionPersistence
          absoluteTimeout string
          cookie GatewayAPICookie
          header GatewayAPIHTTPRouteHeader
          type string default="Cookie" enum=Cookie|Header
        GatewayAPITimeouts
          backendRequest string
          request string
        GatewayAPIRule
          backendRefs []GatewayAPIHTTPRouteBackendRef
          filters []GatewayAPIFilter
          matches []GatewayAPIMatch default=[{"path":{"type":"PathPrefix","value":"/"}}]
          name string
          retry GatewayAPIRetry
          sessionPersistence GatewayAPISessionPersistence
          timeouts GatewayAPITimeouts
        GatewayAPIHTTPRouteSpec
          hostnames []string
          parentRefs []GatewayAPIParentRef
          rules []GatewayAPIRule default=[{"matches":[{"path":{"type":"PathPrefix","value":"/"}}]}]
          useDefaultGateways string enum=All|None
        GatewayAPIParent
          conditions! []GatewayAPICondition
          controllerName! string
          parentRef! GatewayAPIParentRef
        GatewayAPIHTTPRouteStatus
          parents! []GatewayAPIParent
        GatewayAPIGRPCRouteFilter
          extensionRef GatewayAPIExtensionRef
          requestHeaderModifier GatewayAPIRequestHeaderModifier
          requestMirror GatewayAPIRequestMirror
          responseHeaderModifier GatewayAPIResponseHeaderModifier
          type! string enum=ResponseHeaderModifier|RequestHeaderModifier|RequestMirror|ExtensionRef
        GatewayAPIGRPCRouteBackendRef
          filters []GatewayAPIGRPCRouteFilter
          group string default=""
          kind string default="Service"
          name! string
          namespace string
          port int32
          weight int32 default=1
        GatewayAPIMethod
          method string
          service string
          type string default="Exact" enum=Exact|RegularExpression
        GatewayAPIGRPCRouteMatch
          headers []GatewayAPIHeader
          method GatewayAPIMethod
        GatewayAPIGRPCRouteHeader
          name! string
        GatewayAPIGRPCRouteSessionPersistence
          absoluteTimeout string
          cookie GatewayAPICookie
          header GatewayAPIGRPCRouteHeader
          type string default="Cookie" enum=Cookie|Header
        GatewayAPIGRPCRouteRule
          backendRefs []GatewayAPIGRPCRouteBackendRef
          filters []GatewayAPIGRPCRouteFilter
          matches []GatewayAPIGRPCRouteMatch
          name string
          sessionPersistence GatewayAPIGRPCRouteSessionPersistence
        GatewayAPIGRPCRouteSpec
          hostnames []string
          parentRefs []GatewayAPIParentRef
          rules []GatewayAPIGRPCRouteRule
          useDefaultGateways string enum=All|None
        GatewayAPIGRPCRouteStatus
          parents! []GatewayAPIParent
        GatewayAPITLSRouteBackendRef
          group string default=""
          kind string default="Service"
          name! string
          namespace string
          port int32
          weight int32 default=1
        GatewayAPITLSRouteRule
          backendRefs! []GatewayAPITLSRouteBackendRef
          name string
        GatewayAPITLSRouteSpec
          hostnames! []string
          parentRefs []GatewayAPIParentRef
          rules! []GatewayAPITLSRouteRule
          useDefaultGateways string enum=All|None
        GatewayAPITLSRouteStatus
          parents! []GatewayAPIParent
        GatewayAPITCPRouteBackendRef
          group string default=""
          kind string default="Service"
          name! string
          namespace string
          port int32
          weight int32 default=1
        GatewayAPITCPRouteRule
          backendRefs! []GatewayAPITCPRouteBackendRef
          name string
        GatewayAPITCPRouteSpec
          parentRefs []GatewayAPIParentRef
          rules! []GatewayAPITCPRouteRule
          useDefaultGateways string enum=All|None
        GatewayAPITCPRouteStatus
          parents! []GatewayAPIParent
        GatewayAPIUDPRouteBackendRef
          group string default=""
          kind string default="Service"
          name! string
          namespace string
          port int32
          weight int32 default=1
        GatewayAPIUDPRouteRule
          backendRefs! []GatewayAPIUDPRouteBackendRef
          name string
        GatewayAPIUDPRouteSpec
          parentRefs []GatewayAPIParentRef
          rules! []GatewayAPIUDPRouteRule
          useDefaultGateways string enum=All|None
        GatewayAPIUDPRouteStatus
          parents! []GatewayAPIParent
        GatewayAPIFrom
          group! string
          kind! string
          namespace! string
        GatewayAPITo
          group! string
          kind! string
          name string
        GatewayAPIReferenceGrantSpec
          from! []GatewayAPIFrom
          to! []GatewayAPITo
        GatewayAPITargetRef
          group! string
          kind! string
          name! string
          sectionName string
        GatewayAPIBackendTLSPolicyCACertificateRef
          group! string
          kind! string
          name! string
        GatewayAPISubjectAltName
          hostname string
          type! string enum=Hostname|URI
          uri string
        GatewayAPIBackendTLSPolicyValidation
          caCertificateRefs []GatewayAPIBackendTLSPolicyCACertificateRef
          hostname! string
          subjectAltNames []GatewayAPISubjectAltName
          wellKnownCACertificates string
        GatewayAPIBackendTLSPolicySpec
          options map(string)
          targetRefs! []GatewayAPITargetRef
          validation! GatewayAPIBackendTLSPolicyValidation
        GatewayAPIAncestorRef
          group string default="gateway.networking.k8s.io"
          kind string default="Gateway"
          name! string
          namespace string
          port int32
          sectionName string
        GatewayAPIAncestor
          ancestorRef! GatewayAPIAncestorRef
          conditions! []GatewayAPICondition
          controllerName! string
        GatewayAPIBackendTLSPolicyStatus
          ancestors! []GatewayAPIAncestor
        GatewayAPIListenerSetNamespaces
          from string default="Same" enum=All|Selector|Same
          selector GatewayAPISelector
        GatewayAPIListenerSetAllowedRoutes
          kinds []GatewayAPIKind
          namespaces GatewayAPIListenerSetNamespaces default={"from":"Same"}
        GatewayAPIListenerSetListener
          allowedRoutes GatewayAPIListenerSetAllowedRoutes default={"namespaces":{"from":"Same"}}
          hostname string
          name! string
          port! int32
          protocol! string
          tls GatewayAPITLS
        GatewayAPIListenerSetParentRef
          group string default="gateway.networking.k8s.io"
          kind string default="Gateway"
          name! string
          namespace string
        GatewayAPIListenerSetSpec
          listeners! []GatewayAPIListenerSetListener
          parentRef! GatewayAPIListenerSetParentRef
        GatewayAPIListenerSetListener2
          attachedRoutes! int32
          conditions! []GatewayAPICondition
          name! string
          supportedKinds []GatewayAPISupportedKind
        GatewayAPIListenerSetStatus
          conditions []GatewayAPICondition
          listeners []GatewayAPIListenerSetListener2
        """
}
