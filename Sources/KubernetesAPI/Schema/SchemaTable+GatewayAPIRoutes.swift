extension SchemaTable {
    /// The types of the Gateway API's routes, grants, policies and listener sets.
    static let gatewayAPIRoutes = """
        @io.k8s.networking.gateway.v1
        GatewayAPIParentRef
          group string default="gateway.networking.k8s.io"
          kind string default="Gateway"
          name! string
          namespace string
          port int32 value=1..65535
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
          port int32 value=1..65535
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
          name! string length=1..256
          value! string length=1..4096
        GatewayAPISet
          name! string length=1..256
          value! string length=1..4096
        GatewayAPIRequestHeaderModifier
          add []GatewayAPIAdd count=..16
          remove []string count=..16
          set []GatewayAPISet count=..16
        GatewayAPIFraction
          denominator int32 default=100 value=1..
          numerator! int32 value=0..
        GatewayAPIRequestMirror
          backendRef! GatewayAPIBackendRef
          fraction GatewayAPIFraction
          percent int32 value=0..100
        GatewayAPIPath
          replaceFullPath string
          replacePrefixMatch string
          type! string enum=ReplaceFullPath|ReplacePrefixMatch
        GatewayAPIRequestRedirect
          hostname string
          path GatewayAPIPath
          port int32 value=1..65535
          scheme string enum=http|https
          statusCode int32 default=302 enum=301|302|303|307|308
        GatewayAPIResponseHeaderModifier
          add []GatewayAPIAdd count=..16
          remove []string count=..16
          set []GatewayAPISet count=..16
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
          filters []GatewayAPIFilter count=..16
          group string default=""
          kind string default="Service"
          name! string
          namespace string
          port int32 value=1..65535
          weight int32 default=1 value=0..1000000
        GatewayAPIHeader
          name! string length=1..256
          type string default="Exact" enum=Exact|RegularExpression
          value! string length=1..4096
        GatewayAPIHTTPRoutePath
          type string default="PathPrefix" enum=Exact|PathPrefix|RegularExpression
          value string default="/" length=..1024
        GatewayAPIQueryParam
          name! string length=1..256
          type string default="Exact" enum=Exact|RegularExpression
          value! string length=1..1024
        GatewayAPIMatch
          headers []GatewayAPIHeader count=..16
          method string enum=GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH
          path GatewayAPIHTTPRoutePath default={"type":"PathPrefix","value":"/"}
          queryParams []GatewayAPIQueryParam count=..16
        GatewayAPIRetry
          attempts int32
          backoff string
          codes []int32 value=400..599
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
          backendRefs []GatewayAPIHTTPRouteBackendRef count=..16
          filters []GatewayAPIFilter count=..16
          matches []GatewayAPIMatch default=[{"path":{"type":"PathPrefix","value":"/"}}] count=..64
          name string
          retry GatewayAPIRetry
          sessionPersistence GatewayAPISessionPersistence
          timeouts GatewayAPITimeouts
        GatewayAPIHTTPRouteSpec
          hostnames []string count=..16
          parentRefs []GatewayAPIParentRef count=..32
          rules []GatewayAPIRule default=[{"matches":[{"path":{"type":"PathPrefix","value":"/"}}]}] count=1..16
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
          filters []GatewayAPIGRPCRouteFilter count=..16
          group string default=""
          kind string default="Service"
          name! string
          namespace string
          port int32 value=1..65535
          weight int32 default=1 value=0..1000000
        GatewayAPIMethod
          method string
          service string
          type string default="Exact" enum=Exact|RegularExpression
        GatewayAPIGRPCRouteMatch
          headers []GatewayAPIHeader count=..16
          method GatewayAPIMethod
        GatewayAPIGRPCRouteHeader
          name! string
        GatewayAPIGRPCRouteSessionPersistence
          absoluteTimeout string
          cookie GatewayAPICookie
          header GatewayAPIGRPCRouteHeader
          type string default="Cookie" enum=Cookie|Header
        GatewayAPIGRPCRouteRule
          backendRefs []GatewayAPIGRPCRouteBackendRef count=..16
          filters []GatewayAPIGRPCRouteFilter count=..16
          matches []GatewayAPIGRPCRouteMatch count=..64
          name string
          sessionPersistence GatewayAPIGRPCRouteSessionPersistence
        GatewayAPIGRPCRouteSpec
          hostnames []string count=..16
          parentRefs []GatewayAPIParentRef count=..32
          rules []GatewayAPIGRPCRouteRule count=1..16
          useDefaultGateways string enum=All|None
        GatewayAPIGRPCRouteStatus
          parents! []GatewayAPIParent
        GatewayAPITLSRouteBackendRef
          group string default=""
          kind string default="Service"
          name! string
          namespace string
          port int32 value=1..65535
          weight int32 default=1 value=0..1000000
        GatewayAPITLSRouteRule
          backendRefs! []GatewayAPITLSRouteBackendRef count=..16
          name string
        GatewayAPITLSRouteSpec
          hostnames! []string count=..16
          parentRefs []GatewayAPIParentRef count=..32
          rules! []GatewayAPITLSRouteRule count=1..16
          useDefaultGateways string enum=All|None
        GatewayAPITLSRouteStatus
          parents! []GatewayAPIParent
        GatewayAPITCPRouteBackendRef
          group string default=""
          kind string default="Service"
          name! string
          namespace string
          port int32 value=1..65535
          weight int32 default=1 value=0..1000000
        GatewayAPITCPRouteRule
          backendRefs! []GatewayAPITCPRouteBackendRef count=..16
          name string
        GatewayAPITCPRouteSpec
          parentRefs []GatewayAPIParentRef count=..32
          rules! []GatewayAPITCPRouteRule count=1..16
          useDefaultGateways string enum=All|None
        GatewayAPITCPRouteStatus
          parents! []GatewayAPIParent
        GatewayAPIUDPRouteBackendRef
          group string default=""
          kind string default="Service"
          name! string
          namespace string
          port int32 value=1..65535
          weight int32 default=1 value=0..1000000
        GatewayAPIUDPRouteRule
          backendRefs! []GatewayAPIUDPRouteBackendRef count=..16
          name string
        GatewayAPIUDPRouteSpec
          parentRefs []GatewayAPIParentRef count=..32
          rules! []GatewayAPIUDPRouteRule count=1..16
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
          from! []GatewayAPIFrom count=..16
          to! []GatewayAPITo count=..16
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
          caCertificateRefs []GatewayAPIBackendTLSPolicyCACertificateRef count=..8
          hostname! string
          subjectAltNames []GatewayAPISubjectAltName count=..5
          wellKnownCACertificates string
        GatewayAPIBackendTLSPolicySpec
          options map(string)
          targetRefs! []GatewayAPITargetRef count=..16
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
          kinds []GatewayAPIKind count=..8
          namespaces GatewayAPIListenerSetNamespaces default={"from":"Same"}
        GatewayAPIListenerSetListener
          allowedRoutes GatewayAPIListenerSetAllowedRoutes default={"namespaces":{"from":"Same"}}
          hostname string
          name! string
          port! int32 value=1..65535
          protocol! string
          tls GatewayAPITLS
        GatewayAPIListenerSetParentRef
          group string default="gateway.networking.k8s.io"
          kind string default="Gateway"
          name! string
          namespace string
        GatewayAPIListenerSetSpec
          listeners! []GatewayAPIListenerSetListener count=..64
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
