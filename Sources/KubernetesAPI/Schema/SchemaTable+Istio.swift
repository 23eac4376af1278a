extension SchemaTable {
    /// Istio's `VirtualService`.
    static let istioVirtualService = """
        @io.istio.networking.v1
        VirtualService
          spec VirtualServiceSpec
          status IstioStatus
        IstioStatus
          conditions []IstioCondition
          validationMessages any
          observedGeneration intstr
        IstioCondition
          type string
          status string
          lastProbeTime time
          lastTransitionTime time
          reason string
          message string
          observedGeneration intstr
        VirtualServiceSpec
          hosts []string
          gateways []string
          http []HTTPRoute
          tls []TLSRoute
          tcp []TCPRoute
          exportTo []string
        HTTPRoute
          name string
          match []HTTPMatchRequest
          route []HTTPRouteDestination
          redirect HTTPRedirect
          directResponse HTTPDirectResponse
          delegate Delegate
          rewrite HTTPRewrite
          timeout duration
          retries HTTPRetry
          fault HTTPFaultInjection
          mirror Destination
          mirrors []HTTPMirrorPolicy
          mirrorPercent uint32
          mirror_percent uint32
          mirrorPercentage Percent
          corsPolicy CorsPolicy
          headers Headers
        Delegate
          name string
          namespace string
        Headers
          request HeaderOperations
          response HeaderOperations
        HeaderOperations
          set map(string)
          add map(string)
          remove []string
        TLSRoute
          match! []TLSMatchAttributes
          route []RouteDestination
        TCPRoute
          match []L4MatchAttributes
          route []RouteDestination
        HTTPMatchRequest
          name string
          uri StringMatch
          scheme StringMatch
          method StringMatch
          authority StringMatch
          headers map(StringMatch)
          port uint32
          sourceLabels map(string)
          gateways []string
          queryParams map(StringMatch)
          ignoreUriCase bool
          withoutHeaders map(StringMatch)
          sourceNamespace string
          statPrefix string
        StringMatch
          exact string
          prefix string
          regex string
        HTTPRouteDestination
          destination! Destination
          weight int32
          headers Headers
        RouteDestination
          destination! Destination
          weight int32
        Destination
          host! string
          subset string
          port PortSelector
        PortSelector
          number uint32
        L4MatchAttributes
          destinationSubnets []string
          port uint32
          sourceSubnet string
          sourceLabels map(string)
          gateways []string
          sourceNamespace string
        TLSMatchAttributes
          sniHosts! []string
          destinationSubnets []string
          port uint32
          sourceLabels map(string)
          gateways []string
          sourceNamespace string
        HTTPRedirect
          uri string
          prefixRewrite string
          authority string
          port uint32
          derivePort string enum=FROM_PROTOCOL_DEFAULT|FROM_REQUEST_PORT
          scheme string
          redirectCode uint32
        HTTPDirectResponse
          status! uint32
          body HTTPBody
          headers any
        HTTPBody
          string string
          bytes bytes
        HTTPRewrite
          uri string
          authority string
          uriRegexRewrite RegexRewrite
        RegexRewrite
          match string
          rewrite string
        HTTPRetry
          attempts int32
          perTryTimeout duration
          retryOn string
          retryRemoteLocalities bool
          retryIgnorePreviousHosts bool
          backoff duration
        CorsPolicy
          allowOrigin []string
          allowOrigins []StringMatch
          allowMethods []string
          allowHeaders []string
          exposeHeaders []string
          maxAge duration
          allowCredentials bool
          unmatchedPreflights string enum=UNSPECIFIED|FORWARD|IGNORE
        HTTPFaultInjection
          delay FaultDelay
          abort FaultAbort
        FaultDelay
          percent int32
          fixedDelay duration
          exponentialDelay duration
          percentage Percent
        FaultAbort
          httpStatus int32
          grpcStatus string
          http2Error string
          percentage Percent
        HTTPMirrorPolicy
          destination! Destination
          percentage Percent
        Percent
          value number
        """

    /// Istio's `DestinationRule` and `Gateway`.
    static let istioTraffic = """
        @io.istio.networking.v1
        DestinationRule
          spec DestinationRuleSpec
          status IstioStatus
        DestinationRuleSpec
          host! string
          trafficPolicy TrafficPolicy
          subsets []Subset
          exportTo []string
          workloadSelector WorkloadSelector
        Subset
          name! string
          labels map(string)
          trafficPolicy TrafficPolicy
        TrafficPolicy
          loadBalancer LoadBalancerSettings
          connectionPool ConnectionPoolSettings
          outlierDetection OutlierDetection
          tls ClientTLSSettings
          portLevelSettings []PortTrafficPolicy
          tunnel TunnelSettings
          proxyProtocol ProxyProtocolSettings
          retryBudget RetryBudget
        TunnelSettings
          protocol string
          targetHost! string
          targetPort! uint32
        ProxyProtocolSettings
          version string enum=V1|V2
        RetryBudget
          percent Percent
          minRetryConcurrency uint32
          budgetInterval duration
        PortTrafficPolicy
          port PortSelector
          loadBalancer LoadBalancerSettings
          connectionPool ConnectionPoolSettings
          outlierDetection OutlierDetection
          tls ClientTLSSettings
        LoadBalancerSettings
          simple string enum=UNSPECIFIED|LEAST_CONN|RANDOM|PASSTHROUGH|ROUND_ROBIN|LEAST_REQUEST
          consistentHash ConsistentHashLB
          backendUtilization BackendUtilization
          localityLbSetting LocalityLoadBalancerSetting
          zoneAwareLbSetting ZoneAwareLoadBalancerSetting
          warmupDurationSecs duration
          warmup WarmupConfiguration
        BackendUtilization
          weightStabilizationPeriod duration
          weightExpirationPeriod duration
          weightUpdatePeriod duration
          errorUtilizationPenaltyPercent uint32
          metricNamesForComputingUtilization []string
        ZoneAwareLoadBalancerSetting
          enabled bool
          minClusterSize uint32 value=1..
          failover []LocalityFailover
          failoverPriority []string
        WarmupConfiguration
          duration! duration
          minimumPercent number value=0..100
          aggression number value=0..
        ConsistentHashLB
          httpHeaderName string
          httpCookie HTTPCookie
          useSourceIp bool
          httpQueryParameterName string
          ringHash RingHash
          maglev MagLev
          minimumRingSize int64
        HTTPCookie
          name! string
          path string
          ttl duration
          attributes any
        RingHash
          minimumRingSize int64
        MagLev
          tableSize int64
        LocalityLoadBalancerSetting
          distribute []LocalityDistribute
          failover []LocalityFailover
          failoverPriority []string
          enabled bool
        LocalityDistribute
          from string
          to map(uint32)
        LocalityFailover
          from string
          to string
        ConnectionPoolSettings
          tcp TCPSettings
          http HTTPSettings
        TCPSettings
          maxConnections int32
          connectTimeout duration
          tcpKeepalive TcpKeepalive
          maxConnectionDuration duration
          idleTimeout duration
        TcpKeepalive
          probes uint32
          time duration
          interval duration
        HTTPSettings
          http1MaxPendingRequests int32
          http2MaxRequests int32
          maxRequestsPerConnection int32
          maxRetries int32
          idleTimeout duration
          h2UpgradePolicy string enum=DEFAULT|DO_NOT_UPGRADE|UPGRADE
          useClientProtocol bool
          maxConcurrentStreams int32
          http2KeepAlive HTTP2KeepAlive
        HTTP2KeepAlive
          interval duration
          timeout duration
        OutlierDetection
          consecutiveErrors int32
          splitExternalLocalOriginErrors bool
          consecutiveLocalOriginFailures uint32
          consecutiveGatewayErrors uint32
          consecutive5xxErrors uint32
          interval duration
          baseEjectionTime duration
          maxEjectionPercent int32
          minHealthPercent int32
          outlierDetectionHttpErrorCodes []uint32 value=100..599
        ClientTLSSettings
          mode string enum=DISABLE|SIMPLE|MUTUAL|ISTIO_MUTUAL
          clientCertificate string
          privateKey string
          caCertificates string
          credentialName string
          subjectAltNames []string
          sni string
          insecureSkipVerify bool
          caCrl string
        IstioGateway
          spec GatewaySpec
          status IstioStatus
        GatewaySpec
          servers []Server
          selector map(string)
        Server
          port! ServerPort
          bind string
          hosts! []string
          tls ServerTLSSettings
          defaultEndpoint string
          name string
        ServerPort
          number! uint32
          protocol! string
          name! string
          targetPort uint32
        ServerTLSSettings
          httpsRedirect bool
          mode string enum=PASSTHROUGH|SIMPLE|MUTUAL|AUTO_PASSTHROUGH|ISTIO_MUTUAL|OPTIONAL_MUTUAL
          serverCertificate string
          privateKey string
          caCertificates string
          caCrl string
          credentialName string
          credentialNames []string count=1..2
          caCertCredentialName string
          tlsCertificates any
          subjectAltNames []string
          verifyCertificateSpki []string
          verifyCertificateHash []string
          minProtocolVersion string
          maxProtocolVersion string
          cipherSuites []string
          ecdhCurves []string
          insecureSkipVerify bool
        """
}
