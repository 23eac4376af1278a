import EnvoyAPI
import KubernetesAPI
import Serialization
import Testing

@testable import Mesh

@Suite("Telemetry, ProxyConfig and the mesh configuration")
struct TelemetryTests {
    private func config(_ mesh: String) -> String {
        """
        ---
        apiVersion: v1
        kind: ConfigMap
        metadata: {name: istio, namespace: istio-system}
        data:
          mesh: |
        \(mesh.split(separator: "\n").map { "    " + $0 }.joined(separator: "\n"))

        """
    }

    private func telemetry(_ name: String, in namespace: String = "default", _ spec: String) -> String {
        """
        ---
        apiVersion: telemetry.istio.io/v1
        kind: Telemetry
        metadata: {name: \(name), namespace: \(namespace), creationTimestamp: "2026-01-01T00:00:00Z"}
        spec:
        \(spec.split(separator: "\n").map { "  " + $0 }.joined(separator: "\n"))

        """
    }

    private let caller = """
        ---
        apiVersion: v1
        kind: Pod
        metadata: {name: caller, namespace: default, labels: {app: caller}}
        spec: {containers: []}
        status: {podIP: 10.244.0.99}

        """

    private func manager(_ yaml: String...) throws -> HttpConnectionManager {
        let world = try World(World.service("web", ip: 1), caller, yaml.joined())
        let listener = try world.snapshot().listener("virtualOutbound")
        return try Chains.manager(listener.filterChains.first { $0.name == "0.0.0.0_80" })
    }

    private func paths(_ manager: HttpConnectionManager) throws -> [String] {
        try manager.accessLog.map { log in
            guard case .typedConfig(let any) = log.configType else { throw Chains.Missing() }
            return any.holds(FileAccessLog.self) ? try any.unpack(as: FileAccessLog.self).path : any.name
        }
    }

    private let providers = """
        accessLogFile: /dev/stdout
        extensionProviders:
        - {name: file, envoyFileAccessLog: {path: /tmp/a.log, logFormat: {labels: {status: "%RESPONSE_CODE%"}}}}
        - {name: als, envoyHttpAls: {service: als.default.svc.cluster.local, port: 9000}}
        - {name: otel, opentelemetry: {service: otel.default.svc.cluster.local, port: 4317}}
        """

    @Test("logs of the root namespace, the own namespace and the workload, each over the one before")
    func levels() throws {
        #expect(try paths(manager(config(providers))) == ["/dev/stdout"])
        let root = telemetry("root", in: "istio-system", "accessLogging: [{providers: [{name: file}]}]")
        #expect(try paths(manager(config(providers), root)) == ["/tmp/a.log"])
        let own = telemetry("own", "accessLogging: [{providers: [{name: envoy}, {name: file}]}]")
        #expect(try paths(manager(config(providers), root, own)) == ["/dev/stdout", "/tmp/a.log"])
        let workload = telemetry(
            "w", "selector: {matchLabels: {app: caller}}\naccessLogging: [{disabled: true}]")
        #expect(try paths(manager(config(providers), root, own, workload)).isEmpty)
        let other = telemetry("w", "selector: {matchLabels: {app: x}}\naccessLogging: [{disabled: true}]")
        #expect(try paths(manager(config(providers), root, other)) == ["/tmp/a.log"])
    }

    @Test("an entry counts for callers, for servers or for both")
    func modes() throws {
        let server = telemetry("s", "accessLogging: [{match: {mode: SERVER}, disabled: true}]")
        #expect(try paths(manager(config(providers), server)).count == 1)
        let client = telemetry("c", "accessLogging: [{match: {mode: CLIENT}, disabled: true}]")
        #expect(try paths(manager(config(providers), client)).isEmpty)
    }

    private func filter(_ expression: String) throws -> AccessLogFilter.FilterSpecifier? {
        try manager(
            config(providers), telemetry("f", "accessLogging: [{filter: {expression: \"\(expression)\"}}]")
        ).accessLog.first?.filter?.filterSpecifier
    }

    @Test("filter expressions become the proxy's filter for CEL, as they are written")
    func expressions() throws {
        for text in ["response.code >= 400 || !(connection.mtls)", "request.headers['x-a'].matches('^a+$')", "true"] {
            guard case .extensionFilter(let found) = try filter(text), case .typedConfig(let any)? = found.configType
            else { return #expect(Bool(false)) }
            #expect(found.name == "envoy.access_loggers.extension_filters.cel")
            #expect(try any.unpack(as: ExpressionFilter.self).expression == text)
        }
    }

    @Test(
        "an expression that cannot be a filter is refused with the reason, and then nothing is logged",
        arguments: [
            "", "response.code >=", "(response.code >= 400", "nothing(1)", "request.path.matches('(')",
            "request.headers['a' == 'b'", "response.code >= 400 response.code",
        ])
    func refusedExpressions(expression: String) throws {
        let world = try World(
            config(providers), telemetry("f", "accessLogging: [{filter: {expression: \"\(expression)\"}}]"))
        let found = world.objects.inOrder(.telemetry).flatMap(world.model.analyze)
        #expect(found.map(\.severity) == [.error] && found.first?.field == "spec.accessLogging[0].filter.expression")
        #expect(try filter(expression) == nil)
    }

    @Test("an expression nested too deeply is refused")
    func deepExpression() throws {
        let text = String(repeating: "(", count: 1000) + "response.code == 200"
        let world = try World(telemetry("f", "accessLogging: [{filter: {expression: \"\(text)\"}}]"))
        #expect(
            world.objects.inOrder(.telemetry).flatMap(world.model.analyze).first?.message.contains("nested") == true)
    }

    @Test("traces have a provider, a share and tags; without a provider there are none")
    func tracing() throws {
        #expect(try manager(config(providers)).tracing == nil)
        let rule = telemetry(
            "t",
            "tracing: [{providers: [{name: otel}], randomSamplingPercentage: 12.5, customTags: {a: {literal: {value: x}}, b: {header: {name: x-b, defaultValue: none}}}}]"
        )
        let tracing = try #require(try manager(config(providers), rule).tracing)
        #expect(tracing.randomSampling?.value == 12.5 && tracing.customTags.map(\.tag) == ["a", "b"])
        #expect(tracing.provider?.name == "envoy.tracers.opentelemetry")
        let disabled = telemetry(
            "w", "selector: {matchLabels: {app: caller}}\ntracing: [{disableSpanReporting: true}]")
        #expect(try manager(config(providers), rule, disabled).tracing == nil)
        let byDefault = config(
            providers + "\ndefaultProviders: {tracing: [otel]}\ndefaultConfig: {tracing: {sampling: 50}}")
        #expect(try manager(byDefault).tracing?.randomSampling?.value == 50)
    }

    @Test(
        "metrics are dropped, labels removed and computed, for one side or both; what proxies cannot compute is left out"
    )
    func metrics() throws {
        let world = try World(
            config(providers),
            telemetry(
                "t",
                """
                metrics:
                - providers: [{name: prometheus}]
                  overrides:
                  - {match: {metric: REQUEST_SIZE, mode: CLIENT}, disabled: true}
                  - {tagOverrides: {method: {value: request.method}, source_app: {operation: REMOVE}, x: {value: "size(y)"}}}
                """))
        let telemetry = ProxyTelemetry(model: world.model, namespace: "default", labels: [:])
        func metrics(_ side: ProxyTelemetry.Side) throws -> [IstioMetricConfig] {
            let filter = try #require(telemetry.metricFilters(side).first)
            guard case .typedConfig(let any) = filter.configType else { return [] }
            return try any.unpack(as: IstioStatsConfig.self).metrics
        }
        #expect(try metrics(.client).map(\.name) == ["request_bytes", ""])
        #expect(try metrics(.client).first?.drop == true)
        let all = try #require(try metrics(.server).first)
        #expect(all.dimensions == ["method": "request.method"] && all.tagsToRemove == ["source_app"])
        #expect(try metrics(.server).count == 1)
    }

    @Test("what a Telemetry cannot do is told with its field")
    func warnings() throws {
        let world = try World(
            config(providers),
            telemetry(
                "t",
                """
                metrics: [{providers: [{name: prometheus}], overrides: [{match: {metric: NOTHING}}, {tagOverrides: {x: {value: "size(y)"}}}]}]
                accessLogging: [{providers: [{name: nobody}, {name: otel}]}]
                tracing: [{randomSamplingPercentage: 120, enableIstioTags: false}]
                """))
        let found = world.objects.inOrder(.telemetry).flatMap(world.model.analyze)
        #expect(
            found.map(\.field).sorted() == [
                "spec.accessLogging[0].providers[0].name", "spec.accessLogging[0].providers[1].name",
                "spec.metrics[0].overrides[0].match", "spec.metrics[0].overrides[1].tagOverrides[x].value",
                "spec.tracing[0].enableIstioTags",
                "spec.tracing[0].randomSamplingPercentage",
            ])
        #expect(found.filter { $0.severity == .error }.count == 1)
    }

    @Test("the mesh configuration tells what it does not act on, and keeps going")
    func meshConfig() throws {
        let world = try World(
            config(
                """
                accessLogEncoding: XML
                connectTimeout: 3 s
                enablePrometheusMerge: true
                nonsense: 1
                rootNamespace: elsewhere
                extensionProviders: [{name: a, datadog: {service: x, port: 1}}, {name: b, zipkin: {service: z}}]
                skein: {retries: other}
                """))
        let fields = world.warnings(.configMap).map { $0.dropFirst("ConfigMap istio-system/istio: ".count) }
        for field in [
            "data.mesh: accessLogEncoding: XML is unknown", "data.mesh: connectTimeout: \"3 s\" is no duration",
            "data.mesh: enablePrometheusMerge: has no effect", "data.mesh: nonsense: has no effect: unknown field",
            "data.mesh: rootNamespace:", "data.mesh: extensionProviders[0].datadog: use opentelemetry",
            "data.mesh: extensionProviders[1].zipkin: service and port are needed", "data.mesh: skein.retries: other",
        ] { #expect(fields.contains { $0.hasPrefix(field) }, "\(field) in \(fields)") }
        #expect(world.model.config.connectTimeout == .seconds(10))
    }

    @Test("X-7 A-7 gateways decode and merge slashes, sidecars do not; both can be told otherwise")
    func paths() throws {
        let rule = World.rule(
            "g", "hosts: ['*']\ngateways: [my-gateway]\nhttp: [{route: [{destination: {host: web}}]}]")
        func atGateway(_ mesh: String) throws -> HttpConnectionManager {
            let world = try World(World.service("web", ip: 1), World.gateway, rule, mesh)
            return try Chains.manager(world.gatewaySnapshot().listener("0.0.0.0_80").filterChains.first)
        }
        let edge = try atGateway("")
        #expect(edge.mergeSlashes && edge.pathWithEscapedSlashesAction == .unescapeAndForward)
        #expect(try !atGateway(config("skein: {gatewayPaths: istio}")).mergeSlashes)
        #expect(try !manager("").mergeSlashes && manager("").normalizePath == true)
        #expect(try manager(config("pathNormalization: {normalization: NONE}")).normalizePath == false)
    }

    @Test("X-2 the default retry budget has a switch; keep-alive is the mesh's unless a policy has its own")
    func limits() throws {
        func cluster(_ mesh: String) throws -> Cluster {
            try World(World.service("web", ip: 1), mesh).snapshot().cluster(
                "outbound|80||web.default.svc.cluster.local")
        }
        #expect(try cluster("").circuitBreakers?.thresholds.first?.retryBudget?.minRetryConcurrency == 3)
        #expect(
            try cluster(config("skein: {retryBudget: istio}")).circuitBreakers?.thresholds.first?.retryBudget == nil)
        #expect(
            try cluster(config("tcpKeepalive: {time: 60s}")).upstreamConnectionOptions?.tcpKeepalive?.keepaliveTime
                == 60)
    }

    @Test("T-13 idle connections end after an hour, idle requests after five minutes")
    func idle() throws {
        let manager = try manager("")
        #expect(manager.commonHttpProtocolOptions?.idleTimeout == .seconds(3600))
        #expect(manager.streamIdleTimeout == .seconds(300))
        let listener = try World(World.service("db", ip: 1, port: "{name: tcp, port: 5432}")).snapshot().listener(
            "virtualOutbound")
        #expect(try Chains.proxy(listener.filterChains.first).idleTimeout == .seconds(3600))
    }

    @Test("X-3 S-3 sniffing waits for 100 ms, as long as is written, or with a switch without an end")
    func sniffing() throws {
        func timeout(_ mesh: String) throws -> Duration? {
            try World(World.service("any", ip: 1, port: "{port: 9000}"), mesh).snapshot().listener("virtualOutbound")
                .listenerFiltersTimeout
        }
        #expect(try timeout("") == .milliseconds(100))
        #expect(try timeout(config("protocolDetectionTimeout: 1s")) == .seconds(1))
        #expect(try timeout(config("skein: {protocolDetection: istio}")) == .zero)
    }

    @Test("X-4 with the switch dead configuration is accepted without a word")
    func silence() throws {
        let rules =
            World.rule(
                "a",
                "hosts: [web]\nhttp: [{route: [{destination: {host: web}}]}, {route: [{destination: {host: web}}]}]")
            + World.rule("b", "hosts: [web]\nhttp: [{route: [{destination: {host: web}}]}]")
        #expect(try World(World.service("web", ip: 1), rules).warnings(.virtualService).count == 3)
        #expect(
            try World(World.service("web", ip: 1), rules, config("skein: {conflicts: istio}")).warnings(
                .virtualService
            ).isEmpty)
    }

    @Test("X-5 a ReferenceGrant of the owner lets a rule claim the host")
    func grants() throws {
        let rule = World.rule(
            "taken",
            "hosts: [web.shop.svc.cluster.local]\nhttp: [{name: taken, route: [{destination: {host: web.shop.svc.cluster.local}}]}]"
        )
        let grant = """
            ---
            apiVersion: gateway.networking.k8s.io/v1
            kind: ReferenceGrant
            metadata: {name: g, namespace: shop}
            spec:
              from: [{group: networking.istio.io, kind: VirtualService, namespace: default}]
              to: [{group: "", kind: Service, name: web}]
            """
        let service = World.service("web", ip: 1, namespace: "shop")
        let granted = try World(service, rule, grant)
        #expect(try granted.snapshot("shop/caller").virtualHost("80", "web").routes.first?.name == "taken")
        #expect(granted.warnings(.virtualService).isEmpty)
        let elsewhere = try World(service, rule, grant.replacing("name: web", with: "name: other"))
        #expect(try elsewhere.snapshot("shop/caller").virtualHost("80", "web").routes.first?.name == "default")
        let switched = try World(service, rule, config("skein: {hostOwnership: istio}"))
        #expect(try switched.snapshot("shop/caller").virtualHost("80", "web").routes.first?.name == "taken")
    }

    @Test("a proxy is started with what the mesh, the namespace, the workload and the pod say")
    func proxyConfig() throws {
        func object(_ name: String, _ namespace: String, _ spec: String) -> String {
            """
            ---
            apiVersion: networking.istio.io/v1beta1
            kind: ProxyConfig
            metadata: {name: \(name), namespace: \(namespace)}
            spec: \(spec)

            """
        }
        let world = try World(
            config("defaultConfig: {concurrency: 1, holdApplicationUntilProxyStarts: true}"),
            object("root", "istio-system", "{concurrency: 2}"),
            object("own", "default", "{environmentVariables: {B: '2'}, image: {imageType: debug}}"),
            object("w", "default", "{selector: {matchLabels: {app: a}}, concurrency: 4}"))
        let values = world.model.proxyConfig(namespace: "default", labels: ["app": "a"])
        #expect(values.concurrency == 4)
        #expect(world.model.proxyConfig(namespace: "other", labels: [:]).concurrency == 2)
        let annotated = world.model.proxyConfig(namespace: "other", labels: [:], annotation: "concurrency: 0")
        #expect(annotated.concurrency == 0)
        #expect(annotated.annotation == #"{"concurrency":0}"#)
        let whole = world.model.proxyConfig(
            namespace: "other", labels: [:], annotation: "proxyMetadata: {SKEIN_ON_DEMAND: 'false', ISTIO_X: y}")
        #expect(whole.isOnDemand == false)
        #expect(whole.annotation == #"{"concurrency":2,"proxyMetadata":{"SKEIN_ON_DEMAND":"false"}}"#)
        #expect(whole.ignored.map(\.field).contains("proxyMetadata.ISTIO_X"))
        #expect(world.warnings(.proxyConfig).contains { $0.contains("spec.image: has no effect") })
    }

    @Test("requests are traced into the control plane's store unless the mesh configuration says otherwise")
    func traceStore() throws {
        func config(_ mesh: String?, hasTraceStore: Bool = true) -> MeshConfig {
            let object = mesh.map { KubernetesObject(json: ["data": ["mesh": .string($0)]]) }
            return MeshConfig(object, hasTraceStore: hasTraceStore)
        }
        func provider(_ config: MeshConfig) -> String? {
            ProxyTelemetry(config: config).tracing(.client)?.provider?.name
        }
        func sampling(_ config: MeshConfig) -> Double? {
            ProxyTelemetry(config: config).tracing(.server)?.randomSampling?.value
        }
        #expect(provider(config(nil, hasTraceStore: false)) == nil)
        #expect(provider(config(nil)) == "envoy.tracers.opentelemetry" && sampling(config(nil)) == 1)
        #expect(provider(config("enableTracing: false")) == nil)
        #expect(sampling(config("defaultConfig: {tracing: {sampling: 25}}")) == 25)
        let other = """
            extensionProviders: [{name: z, zipkin: {service: z.example.com, port: 9411}}]
            defaultProviders: {tracing: [z]}
            """
        #expect(provider(config(other)) == "envoy.tracers.zipkin")
        #expect(config("defaultProviders: {tracing: [skein]}").problems.isEmpty)
    }
}
