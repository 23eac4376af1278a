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
          portLevelMtls map(MutualTLSMode)
        WorkloadSelector
          matchLabels map(string)
        MutualTLSMode
          mode string enum=UNSET|DISABLE|PERMISSIVE|STRICT
        RequestAuthentication
          spec RequestAuthenticationSpec
          status IstioStatus
        RequestAuthenticationSpec
          selector WorkloadSelector
          targetRef PolicyTargetReference
          targetRefs []PolicyTargetReference
          jwtRules []JWTRule
        PolicyTargetReference
          group string
          kind! string
          name! string
          namespace string
        JWTRule
          issuer string
          audiences []string
          jwksUri string
          jwks_uri string
          jwks string
          fromHeaders []JWTHeader
          fromParams []string
          fromCookies []string
          outputPayloadToHeader string
          outputClaimToHeaders []ClaimToHeader
          forwardOriginalToken bool
          timeout duration
          spaceDelimitedClaims []string
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
          targetRefs []PolicyTargetReference
          rules []AuthorizationRule
          action string enum=ALLOW|DENY|AUDIT|CUSTOM
          provider AuthorizationProvider
        AuthorizationProvider
          name string
        AuthorizationRule
          from []AuthorizationFrom
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
          serviceAccounts []string
          notServiceAccounts []string
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
