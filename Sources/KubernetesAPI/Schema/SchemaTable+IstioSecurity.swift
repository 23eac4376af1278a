extension SchemaTable {
    /// Istio's kinds about identity and permission (`security.istio.io`).
    static let istioSecurity = """
        @io.istio.security.v1
        PeerAuthentication
          spec PeerAuthenticationSpec
          status IstioStatus
        PeerAuthenticationSpec
          selector WorkloadSelector
          mtls MutualTLSMode
          portLevelMtls map(MutualTLSMode) count=1..
        WorkloadSelector
          matchLabels map(string) count=..4096 length=..63
        MutualTLSMode
          mode string enum=UNSET|DISABLE|PERMISSIVE|STRICT
        RequestAuthentication
          spec RequestAuthenticationSpec
          status IstioStatus
        RequestAuthenticationSpec
          selector WorkloadSelector
          targetRef PolicyTargetReference
          targetRefs []PolicyTargetReference count=..16
          jwtRules []JWTRule count=..4096
        PolicyTargetReference
          group string length=..253
          kind! string length=1..63
          name! string length=1..253
          namespace string
        JWTRule
          issuer string
          audiences []string length=1..
          jwksUri string length=1..2048
          jwks_uri string length=1..2048
          jwks string
          fromHeaders []JWTHeader
          fromParams []string length=1..
          fromCookies []string length=1..
          outputPayloadToHeader string
          outputClaimToHeaders []ClaimToHeader
          forwardOriginalToken bool
          timeout duration
          spaceDelimitedClaims []string count=..64 length=1..
          presence string enum=OPTIONAL|REQUIRED
        JWTHeader
          name! string
          prefix string
        ClaimToHeader
          header! string
          claim! string
        AuthorizationPolicy
          spec AuthorizationPolicySpec
          status IstioStatus
        AuthorizationPolicySpec
          selector WorkloadSelector
          targetRef PolicyTargetReference
          targetRefs []PolicyTargetReference count=..16
          rules []AuthorizationRule count=..512
          action string enum=ALLOW|DENY|AUDIT|CUSTOM
          provider AuthorizationProvider
        AuthorizationProvider
          name string
        AuthorizationRule
          from []AuthorizationFrom count=..512
          to []AuthorizationTo
          when []AuthorizationCondition
        AuthorizationFrom
          source AuthorizationSource
        AuthorizationSource
          principals []string
          notPrincipals []string
          requestPrincipals []string
          notRequestPrincipals []string
          namespaces []string
          notNamespaces []string
          serviceAccounts []string count=..16 length=..320
          notServiceAccounts []string count=..16 length=..320
          trustDomains []string
          notTrustDomains []string
          ipBlocks []string
          notIpBlocks []string
          remoteIpBlocks []string
          notRemoteIpBlocks []string
        AuthorizationTo
          operation AuthorizationOperation
        AuthorizationOperation
          hosts []string
          notHosts []string
          ports []string
          notPorts []string
          methods []string
          notMethods []string
          paths []string
          notPaths []string
        AuthorizationCondition
          key! string
          values []string
          notValues []string
        """
}
