import EnvoyAPI
import Mesh
import Serialization
import Testing

@Suite("Traffic policies (sections D, O, T)")
struct ServicePolicyTests {
    static let web = "outbound|80||web.default.svc.cluster.local"
    private static let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

    /// The cluster of `web` under that traffic policy.
    static func cluster(_ policy: String, port: String = "{name: http, port: 80, targetPort: 8080}") throws -> Cluster {
        try World(World.service("web", ip: 1, port: port), World.policy("p", "host: web\ntrafficPolicy: {\(policy)}"))
            .snapshot().cluster(web)
    }

    private func options(_ cluster: Cluster) throws -> UpstreamHttpProtocolOptions {
        try #require(cluster.typedExtensionProtocolOptions[Self.options]).unpack()
    }

    private func warnings(_ policy: String) throws -> [String] {
        try World(World.service("web", ip: 1), World.policy("p", "host: web\ntrafficPolicy: {\(policy)}"))
            .warnings(.destinationRule)
    }

    @Test("T-9 T-10 limits are unlimited unless a positive number is written")
    func limits() throws {
        let none = try #require(try Self.cluster("").circuitBreakers?.thresholds.first)
        #expect(none.maxConnections == .max && none.maxPendingRequests == .max && none.maxRequests == .max)
        let some = try #require(
            try Self.cluster(
                "connectionPool: {tcp: {maxConnections: 0}, http: {http1MaxPendingRequests: 7, http2MaxRequests: 8, maxRetries: 9}}"
            ).circuitBreakers?.thresholds.first)
        #expect(some.maxConnections == .max && some.maxPendingRequests == 7 && some.maxRequests == 8)
        #expect(some.maxRetries == 9 && some.retryBudget == nil)
    }

    @Test("T-11 X-2 retries have a budget of 20 %, at least 3, unless something else is said")
    func budget() throws {
        let usual = try #require(try Self.cluster("").circuitBreakers?.thresholds.first?.retryBudget)
        #expect(usual.budgetPercent?.value == 20 && usual.minRetryConcurrency == 3)
        let said = try #require(
            try Self.cluster("retryBudget: {percent: {value: 5}, minRetryConcurrency: 1}").circuitBreakers?.thresholds
                .first?.retryBudget)
        #expect(said.budgetPercent?.value == 5 && said.minRetryConcurrency == 1)
    }

    @Test("HTTP/2 connections are asked whether they are alive as http2KeepAlive says")
    func keepAlive() throws {
        let cluster = try Self.cluster(
            "connectionPool: {http: {http2KeepAlive: {interval: 30s, timeout: 5s}}}",
            port: "{name: grpc, port: 80, targetPort: 8080}")
        guard case .explicitHttpConfig(let explicit)? = try options(cluster).upstreamProtocolOptions,
            case .http2ProtocolOptions(let http2)? = explicit.protocolConfig
        else {
            Issue.record("no HTTP/2")
            return
        }
        #expect(http2.connectionKeepalive?.interval == .seconds(30))
        #expect(http2.connectionKeepalive?.timeout == .seconds(5))
    }

    @Test("backendUtilization: weights follow what endpoints report")
    func utilization() throws {
        let cluster = try Self.cluster(
            "loadBalancer: {backendUtilization: {weightUpdatePeriod: 2s, errorUtilizationPenaltyPercent: 150, metricNamesForComputingUtilization: [named_metrics.x]}}"
        )
        let named = try #require(cluster.loadBalancingPolicy?.policies.first?.typedExtensionConfig)
        let config: ClientSideWeightedRoundRobinPolicy = try #require(named.typedConfig).unpack()
        #expect(config.weightUpdatePeriod == .seconds(2) && config.errorUtilizationPenalty == 1.5)
        #expect(config.metricNamesForComputingUtilization == ["named_metrics.x"])
    }

    @Test("T-11 budgetInterval is said to have no effect")
    func budgetInterval() throws {
        let said = try warnings("retryBudget: {budgetInterval: 5s}")
        #expect(said.contains { $0.contains("retryBudget.budgetInterval: no effect") }, "\(said)")
    }

    @Test("T-12 connections of a pool: timeouts, keep-alive, duration, requests, idle time")
    func pool() throws {
        let cluster = try Self.cluster(
            """
            connectionPool: {tcp: {connectTimeout: 3s, maxConnectionDuration: 60s, tcpKeepalive: {probes: 4, time: 30s, interval: 5s}},
            http: {idleTimeout: 9s, maxRequestsPerConnection: 6}}
            """.replacing("\n", with: " "))
        #expect(cluster.connectTimeout == .seconds(3))
        #expect(cluster.upstreamConnectionOptions?.tcpKeepalive?.keepaliveProbes == 4)
        #expect(cluster.upstreamConnectionOptions?.tcpKeepalive?.keepaliveTime == 30)
        let common = try options(cluster).commonHttpProtocolOptions
        #expect(common?.maxConnectionDuration == .seconds(60) && common?.idleTimeout == .seconds(9))
        #expect(common?.maxRequestsPerConnection == 6)
        #expect(try Self.cluster("").connectTimeout == .seconds(10))
    }

    @Test("the version of HTTP towards endpoints: as the port says, UPGRADE, or as the client came")
    func versions() throws {
        func version(_ policy: String, _ port: String) throws -> String {
            let cluster = try Self.cluster(policy, port: port)
            guard cluster.typedExtensionProtocolOptions[Self.options] != nil else { return "plain" }
            switch try options(cluster).upstreamProtocolOptions {
            case .explicitHttpConfig(let explicit):
                if case .http2ProtocolOptions(let http2) = explicit.protocolConfig {
                    return "2 \(http2.maxConcurrentStreams ?? 0)"
                }
                return "1"
            case .useDownstreamProtocolConfig: return "client"
            default: return "?"
            }
        }
        #expect(try version("", "{name: http, port: 80}") == "plain")
        #expect(try version("", "{name: grpc, port: 80}") == "2 0")
        #expect(try version("", "{port: 80}") == "client")
        #expect(try version("", "{name: tcp, port: 80}") == "plain")
        let upgrade = "connectionPool: {http: {h2UpgradePolicy: UPGRADE, maxConcurrentStreams: 50}}"
        #expect(try version(upgrade, "{name: http, port: 80}") == "2 50")
        #expect(
            try version("connectionPool: {http: {useClientProtocol: true}}", "{name: http, port: 80}") == "client")
        #expect(
            try version("connectionPool: {http: {h2UpgradePolicy: DO_NOT_UPGRADE}}", "{name: http, port: 80}")
                == "plain")
    }

    @Test("O-2 what is left out has the defaults; O-8 other statuses count; O-9 our own failures apart")
    func ejection() throws {
        let bare = try #require(try Self.cluster("outlierDetection: {}").outlierDetection)
        #expect(bare.consecutive5xx == nil && bare.interval == nil && bare.maxEjectionPercent == nil)
        #expect(!bare.splitExternalLocalOriginErrors && bare.baseEjectionTime == nil)
        let apart = try #require(
            try Self.cluster(
                "outlierDetection: {splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 2, consecutiveGatewayErrors: 3}"
            ).outlierDetection)
        #expect(apart.splitExternalLocalOriginErrors && apart.consecutiveLocalOriginFailure == 2)
        #expect(apart.consecutiveGatewayFailure == 3 && apart.enforcingConsecutiveGatewayFailure == 100)
        let codes = try options(Self.cluster("outlierDetection: {outlierDetectionHttpErrorCodes: [429, 503]}"))
        guard case .orMatch(let set) = codes.outlierDetection?.errorMatcher?.rule else {
            return #expect(Bool(false), "two statuses")
        }
        #expect(set.rules.count == 2)
        #expect(
            try Self.cluster("outlierDetection: {minHealthPercent: 30}").commonLbConfig?.healthyPanicThreshold?.value
                == 30)
        #expect(try warnings("outlierDetection: {consecutiveGatewayErrors: 9}").contains { $0.contains("O-3") })
    }

    @Test("D-4 the port's settings of a subset replace all four blocks, too")
    func subsetPort() throws {
        let cluster = try World(
            World.service("web", ip: 1),
            World.policy(
                "p",
                """
                host: web
                trafficPolicy: {loadBalancer: {simple: RANDOM}, outlierDetection: {}}
                subsets: [{name: s, trafficPolicy: {portLevelSettings: [{port: {number: 80}, connectionPool: {tcp: {maxConnections: 4}}}]}}]
                """)
        ).snapshot().cluster("outbound|80|s|web.default.svc.cluster.local")
        #expect(cluster.lbPolicy == .leastRequest && cluster.outlierDetection == nil)
        #expect(cluster.circuitBreakers?.thresholds.first?.maxConnections == 4)
    }

    @Test("D-5 without tls nothing is said about TLS; with DISABLE it is plain")
    func plain() throws {
        #expect(try Self.cluster("loadBalancer: {simple: RANDOM}").transportSocket == nil)
        #expect(try Self.cluster("tls: {mode: DISABLE}").transportSocket == nil)
    }

    @Test("D-7 rules with a selector are for those callers alone, and not merged with the others")
    func selectors() throws {
        let caller = World.pod("caller", "caller", ip: 9)
        let world = try World(
            World.service("web", ip: 1), caller, World.pod("other", "other", ip: 8),
            World.policy(
                "all", created: "2025-01-01T00:00:00Z",
                "host: web\ntrafficPolicy: {loadBalancer: {simple: RANDOM}, outlierDetection: {}}"),
            World.policy(
                "some",
                "host: web\nworkloadSelector: {matchLabels: {app: caller}}\ntrafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}"
            ))
        let mine = try world.snapshot("default/caller").cluster(Self.web)
        #expect(mine.lbPolicy == .roundRobin && mine.outlierDetection == nil)
        #expect(try world.snapshot("default/other").cluster(Self.web).lbPolicy == .random)
    }

    @Test("D-1 callers in the root namespace take its exported rules last")
    func rootCallers() throws {
        func policy(_ namespace: String, _ simple: String, _ more: String = "") -> String {
            World.policy(
                "p", namespace: namespace,
                "host: web.shop.svc.cluster.local\n\(more)trafficPolicy: {loadBalancer: {simple: \(simple)}}")
        }
        let service = World.service("web", ip: 1, namespace: "shop")
        let name = "outbound|80||web.shop.svc.cluster.local"
        let exported = try World(service, policy("shop", "RANDOM"), policy("istio-system", "ROUND_ROBIN"))
        #expect(try exported.snapshot("istio-system/c").cluster(name).lbPolicy == .random)
        let local = try World(
            service, policy("shop", "RANDOM"), policy("istio-system", "ROUND_ROBIN", "exportTo: ['.']\n"))
        #expect(try local.snapshot("istio-system/c").cluster(name).lbPolicy == .roundRobin)
    }

    private func context(_ cluster: Cluster) throws -> UpstreamTlsContext {
        guard case .typedConfig(let any) = cluster.transportSocket?.configType else {
            return try #require(nil as UpstreamTlsContext?)
        }
        return try any.unpack()
    }

    @Test("D-8 SIMPLE verifies with the system's certificates and takes names from the Host header")
    func simple() throws {
        let cluster = try Self.cluster("tls: {mode: SIMPLE}")
        let context = try context(cluster)
        guard case .validationContext(let validation) = context.commonTlsContext?.validationContextType else {
            return #expect(Bool(false), "verified")
        }
        #expect(validation.systemRootCerts != nil && context.sni.isEmpty)
        let names = try options(cluster).upstreamHttpProtocolOptions
        #expect(names?.autoSni == true && names?.autoSanValidation == true)
        #expect(try warnings("tls: {mode: SIMPLE}").contains { $0.contains("D-8") })
    }

    @Test("TLS as written: files, names, a Secret, none verified, PROXY header before it")
    func written() throws {
        let files = try context(
            Self.cluster(
                "tls: {mode: MUTUAL, clientCertificate: /c, privateKey: /k, caCertificates: /a, sni: s.x, subjectAltNames: [spiffe://a, b.x]}"
            ))
        #expect(files.sni == "s.x" && files.commonTlsContext?.tlsCertificates.count == 1)
        guard case .validationContext(let validation) = files.commonTlsContext?.validationContextType else {
            return #expect(Bool(false))
        }
        #expect(validation.trustedCa?.specifier == .filename("/a"))
        #expect(validation.matchTypedSubjectAltNames.map(\.sanType) == [.uri, .dns])
        let blind = try context(Self.cluster("tls: {mode: SIMPLE, insecureSkipVerify: true}"))
        #expect(blind.commonTlsContext?.validationContextType == nil)
        let headed = try Self.cluster("proxyProtocol: {version: V2}, tls: {mode: SIMPLE}")
        #expect(headed.transportSocket?.name == "envoy.transport_sockets.upstream_proxy_protocol")
        guard case .typedConfig(let any) = headed.transportSocket?.configType else { return #expect(Bool(false)) }
        let transport: ProxyProtocolUpstreamTransport = try any.unpack()
        #expect(transport.config?.version == .v2 && transport.transportSocket?.name == "envoy.transport_sockets.tls")
        #expect(try warnings("tls: {mode: MUTUAL}").contains { $0.contains("MUTUAL requires") })
    }

    /// The names of the Secrets that a cluster asks for: its certificate's, and its authorities'.
    private func secrets(_ context: UpstreamTlsContext) -> [String?] {
        let common = context.commonTlsContext
        guard case .combinedValidationContext(let combined) = common?.validationContextType else {
            return [common?.tlsCertificateSdsSecretConfigs.first?.name, nil]
        }
        return [
            common?.tlsCertificateSdsSecretConfigs.first?.name, combined.validationContextSdsSecretConfig?.name,
        ]
    }

    @Test("D-8 a rule's credentialName is a Secret beside the proxy: for gateways, and for sidecars under a selector")
    func credentials() throws {
        func world(_ tls: String, selector: String = "") throws -> World {
            try World(
                World.service("web", ip: 1), World.pod("caller", "caller", ip: 9), World.pod("other", "other", ip: 8),
                World.gatewayPod, GatewayYAML.secret("c", authority: true),
                GatewayYAML.secret("c", namespace: "istio-system", authority: true),
                GatewayYAML.authorities("roots"), Security.meshConfig("skein: {gatewayClusters: istio}"),
                World.policy("p", "host: web\n\(selector)trafficPolicy: {tls: \(tls)}"))
        }
        let plain = try world("{mode: MUTUAL, credentialName: c}")
        let gateway = plain.gatewaySnapshot()
        #expect(
            try secrets(context(gateway.cluster(Self.web)))
                == ["kubernetes://istio-system/c", "kubernetes://istio-system/c-cacert"])
        #expect(gateway.secrets.keys.sorted() == ["kubernetes://istio-system/c", "kubernetes://istio-system/c-cacert"])
        // A sidecar keeps to the system's authorities and shows nothing.
        let sidecar = plain.snapshot("default/caller")
        #expect(try secrets(context(sidecar.cluster(Self.web))) == [nil, nil] && sidecar.secrets.isEmpty)
        let selected = try world(
            "{mode: SIMPLE, credentialName: 'kubernetes://c'}",
            selector: "workloadSelector: {matchLabels: {app: caller}}\n")
        let mine = selected.snapshot("default/caller")
        #expect(try secrets(context(mine.cluster(Self.web))) == [nil, "kubernetes://default/c-cacert"])
        #expect(mine.secrets.keys.contains("kubernetes://default/c-cacert"))
        #expect(selected.snapshot("default/other").secrets.isEmpty)
        let map = try world(
            "{mode: SIMPLE, credentialName: 'configmap://roots'}",
            selector: "workloadSelector: {matchLabels: {app: caller}}\n"
        ).snapshot("default/caller")
        #expect(try secrets(context(map.cluster(Self.web))) == [nil, "configmap://default/roots"])
        #expect(map.secrets.keys.sorted() == ["configmap://default/roots"])
        // Nobody is given the Secret of another namespace.
        let foreign = try world(
            "{mode: MUTUAL, credentialName: 'kubernetes://istio-system/c'}",
            selector: "workloadSelector: {matchLabels: {app: caller}}\n")
        #expect(foreign.snapshot("default/caller").secrets.isEmpty)
    }

    @Test("D-7 a selector does not reach into other namespaces")
    func foreignSelector() throws {
        let world = try World(
            World.service("web", ip: 1, namespace: "shop"), World.pod("caller", "caller", ip: 9),
            World.policy(
                "p", namespace: "shop",
                "host: web\nworkloadSelector: {matchLabels: {app: caller}}\ntrafficPolicy: {loadBalancer: {simple: RANDOM}}"
            ))
        let name = "outbound|80||web.shop.svc.cluster.local"
        #expect(try world.snapshot("default/caller").cluster(name).lbPolicy != .random)
    }

    @Test("S-15 S-16 names that a ServiceEntry gives are those of the certificate")
    func entryNames() throws {
        let cluster = try World(
            ServiceEntryTests.entry(
                "e",
                "hosts: [a.x]\nports: [{number: 443, name: https, protocol: HTTP}]\nresolution: DNS\nsubjectAltNames: [b.x]"
            ),
            World.policy("p", "host: a.x\ntrafficPolicy: {tls: {mode: SIMPLE}}")
        ).snapshot().cluster("outbound|443||a.x")
        guard case .validationContext(let validation) = try context(cluster).commonTlsContext?.validationContextType
        else { return #expect(Bool(false)) }
        #expect(validation.matchTypedSubjectAltNames.count == 1)
        #expect(try options(cluster).upstreamHttpProtocolOptions?.autoSanValidation == false)
    }

    @Test("a tunnel, an idle time and a longest duration are those of TCP connections")
    func tcp() throws {
        let snapshot = try World(
            World.service("raw", ip: 1, port: "{name: tcp, port: 99}"),
            World.policy(
                "p",
                "host: raw\ntrafficPolicy: {tunnel: {targetHost: t.x, targetPort: 443, protocol: POST}, connectionPool: {tcp: {idleTimeout: 5s, maxConnectionDuration: 60s}}}"
            )
        ).snapshot()
        let proxy = try Chains.proxy(snapshot.listener("virtualOutbound").filterChains.first)
        #expect(proxy.tunnelingConfig?.hostname == "t.x:443" && proxy.tunnelingConfig?.usePost == true)
        #expect(proxy.idleTimeout == .seconds(5) && proxy.maxDownstreamConnectionDuration == .seconds(60))
    }
}

@Suite("Load balancing and localities (section B)")
struct LocalityTests {
    private let web = ServicePolicyTests.web

    private func node(_ name: String, _ locality: String) -> String {
        let parts = locality.split(separator: "/").map(String.init)
        return """
            ---
            apiVersion: v1
            kind: Node
            metadata: {name: \(name), labels: {topology.kubernetes.io/region: \(parts[0]), topology.kubernetes.io/zone: "\(parts[1])", topology.istio.io/subzone: \(parts[2])}}

            """
    }

    private func pod(_ name: String, ip: Int, on node: String, app: String = "web", labels: String = "") -> String {
        World.pod(name, app, ip: ip).replacing("spec: {containers", with: "spec: {nodeName: \(node), containers")
            .replacing("version: v1}", with: "version: v1\(labels)}")
    }

    /// Six endpoints around a caller on node `a`.
    private func world(_ policy: String, service: String = "", more: String = "") throws -> World {
        try World(
            World.service("web", ip: 1, extra: service),
            node("a", "eu/1/x") + node("b", "eu/1/y") + node("c", "eu/2/x") + node("d", "us/1/x") + node("e", "as/1/x"),
            pod("caller", ip: 99, on: "a", app: "caller"),
            pod("p1", ip: 1, on: "a") + pod("p2", ip: 2, on: "b") + pod("p3", ip: 3, on: "c")
                + pod("p4", ip: 4, on: "d")
                + pod("p5", ip: 5, on: "e"),
            policy.isEmpty ? "" : World.policy("p", "host: web\ntrafficPolicy: {\(policy)}"), more)
    }

    /// `priority: addresses' last numbers`.
    private func priorities(_ world: World) throws -> [String] {
        let assignment: ClusterLoadAssignment = try #require(
            world.snapshot("default/caller").endpoints[web]
        ).message.unpack()
        var found: [UInt32: [String]] = [:]
        for group in assignment.endpoints {
            for host in group.lbEndpoints {
                guard case .endpoint(let endpoint) = host.hostIdentifier,
                    case .socketAddress(let socket) = endpoint.address?.address
                else { continue }
                found[group.priority, default: []].append(String(socket.address.suffix(1)))
            }
        }
        return found.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value.sorted().joined())" }
    }

    @Test("B-4 without outlier detection localities do not count; with it they do")
    func switchedOn() throws {
        #expect(try priorities(world("")) == ["0: 12345"])
        #expect(try priorities(world("outlierDetection: {}")) == ["0: 1", "1: 2", "2: 3", "3: 45"])
        let off = "outlierDetection: {}, loadBalancer: {localityLbSetting: {enabled: false}}"
        #expect(try priorities(world(off)) == ["0: 12345"])
    }

    @Test("B-6 a failover region comes before the others, and priorities have no gaps")
    func failover() throws {
        let policy = "outlierDetection: {}, loadBalancer: {localityLbSetting: {failover: [{from: eu, to: us}]}}"
        #expect(try priorities(world(policy)) == ["0: 1", "1: 2", "2: 3", "3: 4", "4: 5"])
        let gaps = try World(
            World.service("web", ip: 1), node("a", "eu/1/x") + node("d", "us/1/x"),
            pod("caller", ip: 99, on: "a", app: "caller"), pod("p1", ip: 1, on: "a") + pod("p4", ip: 4, on: "d"),
            World.policy("p", "host: web\ntrafficPolicy: {outlierDetection: {}}"))
        #expect(try priorities(gaps) == ["0: 1", "1: 4"])
    }

    @Test(
        "B-5 zoneAwareLbSetting keeps requests in the region, without outlier detection, and wins over localityLbSetting"
    )
    func zoneAware() throws {
        #expect(try priorities(world("loadBalancer: {zoneAwareLbSetting: {}}")) == ["0: 123", "1: 45"])
        let both =
            "loadBalancer: {zoneAwareLbSetting: {failover: [{from: eu, to: us}]}, localityLbSetting: {enabled: false}}"
        #expect(try priorities(world(both)) == ["0: 123", "1: 4", "2: 5"])
        #expect(try priorities(world("loadBalancer: {zoneAwareLbSetting: {enabled: false}}")) == ["0: 12345"])
        let said = try world("loadBalancer: {zoneAwareLbSetting: {minClusterSize: 3}}").warnings(.destinationRule)
        #expect(said.contains { $0.contains("zoneAwareLbSetting.minClusterSize: no effect") }, "\(said)")
    }

    @Test("B-7 failoverPriority counts labels as a prefix")
    func labels() throws {
        let policy =
            "outlierDetection: {}, loadBalancer: {localityLbSetting: {failoverPriority: [topology.kubernetes.io/region, topology.kubernetes.io/zone, topology.istio.io/subzone]}}"
        // us/1/x has the caller's zone and subzone, but not its region: nothing counts.
        #expect(try priorities(world(policy)) == ["0: 1", "1: 2", "2: 3", "3: 45"])
        let named =
            "outlierDetection: {}, loadBalancer: {localityLbSetting: {failoverPriority: ['topology.kubernetes.io/region=us']}}"
        #expect(try priorities(world(named)) == ["0: 4", "1: 1235"])
        let own = "outlierDetection: {}, loadBalancer: {localityLbSetting: {failoverPriority: [stage]}}"
        let world = try World(
            World.service("web", ip: 1),
            World.pod("caller", "caller", ip: 99).replacing("version: v1}", with: "stage: x}"),
            World.pod("p1", "web", ip: 1), World.pod("p2", "web", ip: 2).replacing("version: v1}", with: "stage: x}"),
            World.policy("p", "host: web\ntrafficPolicy: {\(own)}"))
        #expect(try priorities(world) == ["0: 2", "1: 1"])
    }

    @Test("B-8 distribute gives shares to the localities that are named, nothing to the others")
    func distribute() throws {
        let policy =
            "loadBalancer: {localityLbSetting: {distribute: [{from: 'us/*', to: {'us/*': 100}}, {from: 'eu/1/*', to: {'eu/*': 80, 'us/1/x': 20}}]}}"
        let world = try world(policy)
        let assignment: ClusterLoadAssignment = try #require(world.snapshot("default/caller").endpoints[web]).message
            .unpack()
        let shares = assignment.endpoints.map {
            "\($0.locality?.region ?? "")/\($0.locality?.zone ?? "") \($0.loadBalancingWeight ?? 0)"
        }
        #expect(shares == ["eu/1 2666", "eu/1 2666", "eu/2 2666", "us/1 2000"])
        let config = try world.snapshot("default/caller").cluster(web).commonLbConfig
        guard case .localityWeightedLbConfig = config?.localityConfigSpecifier else {
            return #expect(Bool(false), "weights must count")
        }
        #expect(
            try self.world(policy.replacing("20}", with: "30}")).warnings(.destinationRule).contains {
                $0.contains("B-8")
            })
    }

    @Test("B-5 the DestinationRule comes before the traffic distribution, and switches it off")
    func order() throws {
        let preferred = ", trafficDistribution: PreferSameZone"
        #expect(try priorities(world("", service: preferred)) == ["0: 12", "1: 3", "2: 45"])
        let off = "loadBalancer: {localityLbSetting: {enabled: false}}"
        #expect(try priorities(world(off, service: preferred)) == ["0: 12345"])
        #expect(
            try world(
                "loadBalancer: {localityLbSetting: {failover: [{from: a, to: b}], failoverPriority: [x]}}, outlierDetection: {}"
            ).warnings(.destinationRule).contains { $0.contains("B-5") })
    }

    @Test("B-10 S-11 distributions fall back to the others, internalTrafficPolicy Local drops")
    func distribution() throws {
        #expect(
            try priorities(world("", service: ", trafficDistribution: PreferSameNode"))
                == ["0: 1", "1: 2", "2: 3", "3: 45"])
        #expect(try priorities(world("", service: ", trafficDistribution: PreferClose")) == ["0: 12", "1: 3", "2: 45"])
        #expect(try priorities(world("", service: ", internalTrafficPolicy: Local")) == ["0: 1"])
        let nowhere = try World(
            World.service("web", ip: 1, extra: ", internalTrafficPolicy: Local"), node("a", "eu/1/x"),
            pod("caller", ip: 99, on: "a", app: "caller"), pod("p4", ip: 4, on: "d"))
        #expect(try priorities(nowhere).isEmpty)
    }

    @Test("the label istio-locality comes before the node's")
    func label() throws {
        let world = try World(
            World.service("web", ip: 1), node("a", "eu/1/x"), pod("caller", ip: 99, on: "a", app: "caller"),
            pod("p1", ip: 1, on: "a", labels: ", istio-locality: us.1.x"), pod("p2", ip: 2, on: "a"),
            World.policy("p", "host: web\ntrafficPolicy: {outlierDetection: {}}"))
        #expect(try priorities(world) == ["0: 2", "1: 1"])
    }

    @Test("B-2 B-3 consistent hashing overrides simple: a ring of at least 1024, or Maglev")
    func hashing() throws {
        let ring = try ServicePolicyTests.cluster(
            "loadBalancer: {simple: RANDOM, consistentHash: {httpHeaderName: x}}")
        guard case .ringHashLbConfig(let config) = ring.lbConfig else { return #expect(Bool(false)) }
        #expect(ring.lbPolicy == .ringHash && config.minimumRingSize == 1024)
        let maglev = try ServicePolicyTests.cluster(
            "loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 251}}}")
        guard case .maglevLbConfig(let table) = maglev.lbConfig else { return #expect(Bool(false)) }
        #expect(maglev.lbPolicy == .maglev && table.tableSize == 251)
        let keyless = try World(
            World.service("web", ip: 1),
            World.policy("p", "host: web\ntrafficPolicy: {loadBalancer: {consistentHash: {}}}"))
        #expect(keyless.warnings(.destinationRule).contains { $0.contains("B-3") })
    }

    @Test("S-10 sessionAffinity ClientIP hashes unless a rule chooses otherwise")
    func affinity() throws {
        let service = World.service("web", ip: 1, extra: ", sessionAffinity: ClientIP")
        #expect(try World(service).snapshot().cluster(web).lbPolicy == .ringHash)
        #expect(
            try World(service, World.policy("p", "host: web\ntrafficPolicy: {loadBalancer: {simple: RANDOM}}"))
                .snapshot().cluster(web).lbPolicy == .random)
    }

    @Test("B-11 PASSTHROUGH goes to the original destination")
    func passthrough() throws {
        let cluster = try ServicePolicyTests.cluster("loadBalancer: {simple: PASSTHROUGH}")
        #expect(cluster.clusterDiscoveryType == .type(.originalDst) && cluster.lbPolicy == .clusterProvided)
    }

    @Test("B-12 warm-up with least request and round robin only, aggression 1, at least 10 %")
    func warmup() throws {
        func start(_ balancer: String) throws -> Cluster.SlowStartConfig? {
            switch try ServicePolicyTests.cluster("loadBalancer: {\(balancer)}").lbConfig {
            case .leastRequestLbConfig(let config): config.slowStartConfig
            case .roundRobinLbConfig(let config): config.slowStartConfig
            default: nil
            }
        }
        let plain = try #require(try start("warmupDurationSecs: 30s"))
        #expect(plain.slowStartWindow == .seconds(30) && plain.aggression?.defaultValue == 1)
        #expect(plain.minWeightPercent?.value == 10)
        let full = try #require(
            try start("simple: ROUND_ROBIN, warmup: {duration: 9s, minimumPercent: 5, aggression: 2}"))
        #expect(full.minWeightPercent?.value == 5 && full.aggression?.defaultValue == 2)
        #expect(try start("simple: RANDOM, warmup: {duration: 9s}") == nil)
    }

    @Test("B-13 a weight chooses the cluster, whatever the number of its endpoints")
    func weights() throws {
        let world = try World(
            World.service("web", ip: 1), World.pod("a", "web", ip: 1), World.pod("b", "web", ip: 2, version: "v2"),
            World.pod("c", "web", ip: 3, version: "v2"),
            World.policy(
                "p", "host: web\nsubsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]"),
            World.rule(
                "r",
                "hosts: [web]\nhttp: [{route: [{destination: {host: web, subset: v1}, weight: 50}, {destination: {host: web, subset: v2}, weight: 50}]}]"
            ))
        #expect(
            try world.snapshot().virtualHost("80", "web").routes.first?.destination
                == "outbound|80|v1|web.default.svc.cluster.local=50 outbound|80|v2|web.default.svc.cluster.local=50")
    }
}
