extension SchemaTable {
    /// Istio's kinds that are about proxies themselves: `Telemetry`, `ProxyConfig` and `EnvoyFilter`.
    static let istioProxies = """
        @io.istio.telemetry.v1
        Telemetry
          spec TelemetrySpec
          status IstioStatus
        TelemetrySpec
          selector WorkloadSelector
          targetRef PolicyTargetReference
          targetRefs []PolicyTargetReference count=..16
          tracing []TelemetryTracing
          metrics []TelemetryMetrics
          accessLogging []TelemetryAccessLogging
        ProviderRef
          name! string
        TelemetryMode
          mode string enum=CLIENT_AND_SERVER|CLIENT|SERVER
        TelemetryTracing
          match TelemetryMode
          providers []ProviderRef
          randomSamplingPercentage number
          disableSpanReporting bool
          customTags map(TelemetryTag)
          useRequestIdForTraceSampling bool
          enableIstioTags bool
          disableContextPropagation bool
        TelemetryTag
          literal TelemetryTagLiteral
          environment TelemetryTagSource
          header TelemetryTagSource
          formatter TelemetryTagLiteral
        TelemetryTagLiteral
          value! string
        TelemetryTagSource
          name! string
          defaultValue string
        TelemetryMetrics
          providers []ProviderRef
          overrides []TelemetryMetricOverride
          reportingInterval duration
        TelemetryMetricOverride
          match TelemetryMetricSelector
          disabled bool
          tagOverrides map(TelemetryTagOverride)
        TelemetryMetricSelector
          metric string
          customMetric string length=1..
          mode string enum=CLIENT_AND_SERVER|CLIENT|SERVER
        TelemetryTagOverride
          operation string enum=UPSERT|REMOVE
          value string
        TelemetryAccessLogging
          match TelemetryMode
          providers []ProviderRef
          disabled bool
          filter TelemetryFilter
        TelemetryFilter
          expression! string
        @io.istio.networking.v1beta1
        ProxyConfig
          spec ProxyConfigSpec
          status IstioStatus
        ProxyConfigSpec
          selector WorkloadSelector
          concurrency int32 value=0..
          environmentVariables map(string) length=..2048
          image ProxyImage
        ProxyImage
          imageType string
        @io.istio.networking.v1alpha3
        EnvoyFilter
          spec EnvoyFilterSpec
          status IstioStatus
        EnvoyFilterSpec
          workloadSelector EnvoyFilterSelector
          targetRefs []PolicyTargetReference count=..16
          configPatches []EnvoyPatch
          priority int32
        EnvoyFilterSelector
          labels map(string) count=..256 length=..63
        EnvoyPatch
          applyTo! string enum=LISTENER|FILTER_CHAIN|NETWORK_FILTER|HTTP_FILTER|ROUTE_CONFIGURATION|VIRTUAL_HOST|HTTP_ROUTE|CLUSTER|EXTENSION_CONFIG|BOOTSTRAP|LISTENER_FILTER
          match EnvoyPatchMatch
          patch! EnvoyPatchValue
        EnvoyPatchMatch
          context string enum=ANY|SIDECAR_INBOUND|SIDECAR_OUTBOUND|GATEWAY|WAYPOINT
          proxy EnvoyProxyMatch
          listener EnvoyListenerMatch
          routeConfiguration EnvoyRouteMatch
          cluster EnvoyClusterMatch
          waypoint any
        EnvoyProxyMatch
          proxyVersion string
          metadata map(string)
        EnvoyListenerMatch
          portNumber uint32
          portName string
          filterChain EnvoyFilterChainMatch
          listenerFilter string
          name string
        EnvoyFilterChainMatch
          name string
          sni string
          transportProtocol string
          applicationProtocols string
          transportSocket string
          filter EnvoyFilterMatch
          destinationPort uint32
        EnvoyFilterMatch
          name string
          subFilter EnvoySubFilterMatch
        EnvoySubFilterMatch
          name string
        EnvoyRouteMatch
          portNumber uint32
          portName string
          gateway string
          vhost EnvoyVirtualHostMatch
          name string
        EnvoyVirtualHostMatch
          name string
          domainName string
          route EnvoyRouteOfHostMatch
        EnvoyRouteOfHostMatch
          name string
          action string enum=ANY|ROUTE|REDIRECT|DIRECT_RESPONSE
        EnvoyClusterMatch
          portNumber uint32
          service string
          subset string
          name string
        EnvoyPatchValue
          operation! string enum=MERGE|ADD|REMOVE|INSERT_BEFORE|INSERT_AFTER|INSERT_FIRST|REPLACE|MERGE_AND_REPLACE_LIST
          value any
          filterClass string enum=UNSPECIFIED|AUTHN|AUTHZ|STATS
        """
}
