internal import KubernetesAPI
public import Serialization

/// Which pods get a proxy, and how it is told who it is.
public enum SidecarPlan {
    /// Name of the injected container.
    public static let containerName = "skein-proxy"
    /// Image reference that stands for our own proxy.
    public static let image = "skein/proxy"
    /// Where the program is in the container.
    static let programPath = "/usr/local/bin/skein-proxy"
    /// Where its configuration is in the container.
    static let bootstrapPath = "/etc/skein/bootstrap.json"
    /// Directory of the pod's xDS socket in the container.
    static let socketDirectory = "/run/skein"
    /// Directory in the container where the proxy keeps its last good configuration.
    static let stateDirectory = "/var/lib/skein-proxy"

    /// The annotation by which one pod decides (`"true"`, `"false"`) whether its proxy asks for what it uses, or has all that the mesh has.
    static let onDemandAnnotation = "skein.dev/on-demand"

    /// The proxy is ready when it has taken its first configuration.
    static let readinessProbe = Probe(
        check: .http(port: 15_021, path: "/healthz/ready", host: nil, headers: []), initialDelay: .zero,
        period: .seconds(2), timeout: .seconds(3), successThreshold: 1, failureThreshold: 4)

    /// Whether a pod gets a sidecar (ARCHITECTURE section 4): the pod's label or annotation decides, else the namespace.
    public static func role(of pod: PodManifest, namespaceLabels: [String: String]) -> PodLifecycle.ProxyRole {
        if pod.isGateway { return .gateway }
        guard !pod.usesHostNetwork, !isProxyless(pod.annotations) else { return .none }
        let key = "sidecar.istio.io/inject"
        switch pod.labels[key] ?? pod.annotations[key] {
        case "false": return .none
        case "true": return .sidecar
        default: return namespaceLabels["istio-injection"] == "disabled" ? .none : .sidecar
        }
    }

    /// Whether the program itself is a client of discovery (gRPC): Istio's templates for that, or our annotation.
    private static func isProxyless(_ annotations: [String: String]) -> Bool {
        (annotations["inject.istio.io/templates"] ?? "").split(separator: ",").contains { $0.hasPrefix("grpc-") }
            || annotations["skein.dev/proxyless"] == "true"
    }

    /// The proxy's bootstrap: who it is, its admin port, and ADS over the pod's own socket.
    public static func bootstrap(for pod: PodManifest, facts: PodFacts, isGateway: Bool) -> JSON {
        let kind = isGateway ? "router" : "sidecar"
        let metadata: JSON = [
            "NAME": .string(pod.name), "NAMESPACE": .string(pod.namespace),
            "LABELS": .object(pod.labels.mapValues { .string($0) }),
            "SERVICE_ACCOUNT": .string(pod.serviceAccount), "NODE_NAME": .string(facts.nodeName),
            "INSTANCE_IPS": .string(facts.podIPs.joined(separator: ",")), "CLUSTER_ID": "Kubernetes",
            "INTERCEPTION_MODE": isGateway ? "NONE" : "REDIRECT",
            "LAST_GOOD_FILE": .string(stateDirectory + "/configuration.pb"),
        ]
        let service: JSON = ["resource_api_version": "V3", "ads": [:]]
        let isDualStack = facts.podIPs.contains { $0.contains(":") }
        let asksOnDemand = !isGateway && asksOnDemand(pod)
        return [
            "node": [
                "client_features": asksOnDemand ? ["skein.on_demand"] : [],
                "id": .string("\(kind)~\(facts.podIP)~\(pod.name).\(pod.namespace)~\(pod.namespace).svc.cluster.local"),
                "cluster": .string(
                    pod.labels["app"].map { "\($0).\(pod.namespace)" } ?? "\(pod.name).\(pod.namespace)"),
                "metadata": metadata,
            ],
            "admin": ["address": address("127.0.0.1", 15_000)],
            "dynamic_resources": [
                "lds_config": service, "cds_config": service,
                "ads_config": [
                    "api_type": "DELTA_GRPC", "transport_api_version": "V3",
                    "grpc_services": [["envoy_grpc": ["cluster_name": "xds"]]],
                ],
            ],
            "static_resources": [
                "listeners": [
                    forward("metrics", port: 15_020, path: "/stats/prometheus", isDualStack),
                    forward("ready", port: 15_021, path: "/ready", from: "/healthz/ready", isDualStack),
                ],
                "clusters": [
                    cluster("xds", ["pipe": ["path": "/run/skein/xds.sock"]], isHTTP2: true),
                    cluster("skein-ratelimit", ["pipe": ["path": "/run/skein/xds.sock"]], isHTTP2: true),
                    cluster("skein-traces", ["pipe": ["path": "/run/skein/xds.sock"]], isHTTP2: true),
                    cluster("sds-grpc", ["pipe": ["path": "/run/skein/sds.sock"]], isHTTP2: true),
                    cluster("admin", address("127.0.0.1", 15_000), isHTTP2: false),
                ],
            ],
        ]
    }

    /// The arguments for the number of loops that the annotation `proxy.istio.io/config` asks for; 0 and nothing mean one
    /// for each processor.
    public static func concurrency(of pod: PodManifest) -> [String] {
        guard let number = configuration(of: pod)?["concurrency"]?.int, (1...1024).contains(number) else { return [] }
        return ["--concurrency", String(number)]
    }

    /// What the mesh, a ProxyConfig and the pod itself say of its proxy, as admission put it together.
    private static func configuration(of pod: PodManifest) -> JSON? {
        pod.annotations["proxy.istio.io/config"].flatMap { (try? YAML.parse($0, file: "annotation"))?.first?.json }
    }

    /// Whether a pod's proxy asks for the virtual hosts and clusters that it uses, and has no others (ARCHITECTURE decision 1).
    ///
    /// It does, unless its annotation or the variable `SKEIN_ON_DEMAND` of its ProxyConfig says `"false"`.
    private static func asksOnDemand(_ pod: PodManifest) -> Bool {
        if let said = pod.annotations[onDemandAnnotation], ["true", "false"].contains(said) { return said == "true" }
        let said = configuration(of: pod)?["proxyMetadata"]?["SKEIN_ON_DEMAND"]
        return said?.string != "false" && said?.bool != false
    }

    private static func address(_ host: String, _ port: Int) -> JSON {
        ["socket_address": ["address": .string(host), "port_value": .integer(Int64(port))]]
    }

    private static func cluster(_ name: String, _ address: JSON, isHTTP2: Bool) -> JSON {
        var cluster: JSON = [
            "name": .string(name), "type": "STATIC", "connect_timeout": "5s",
            "load_assignment": [
                "cluster_name": .string(name),
                "endpoints": [["lb_endpoints": [["endpoint": ["address": address]]]]],
            ],
        ]
        if isHTTP2 {
            cluster["typed_extension_protocol_options"] = [
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": [
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": ["http2_protocol_options": [:]],
                ]
            ]
        }
        return cluster
    }

    /// A listener that shows one page of the admin port to the pod's network, and nothing else of it.
    private static func forward(
        _ name: String, port: Int, path: String, from: String? = nil, _ isDualStack: Bool
    ) -> JSON {
        let shown = from ?? path
        var place = address(isDualStack ? "::" : "0.0.0.0", port)
        if isDualStack { place["socket_address"]?["ipv4_compat"] = true }
        return [
            "name": .string(name), "address": place,
            "filter_chains": [
                [
                    "filters": [
                        [
                            "name": "envoy.filters.network.http_connection_manager",
                            "typed_config": [
                                "@type": .string(
                                    "type.googleapis.com/envoy.extensions.filters.network."
                                        + "http_connection_manager.v3.HttpConnectionManager"),
                                "stat_prefix": .string(name),
                                "http_filters": [
                                    [
                                        "name": "envoy.filters.http.router",
                                        "typed_config": [
                                            "@type":
                                                "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
                                        ],
                                    ]
                                ],
                                "route_config": [
                                    "name": .string(name),
                                    "virtual_hosts": [
                                        [
                                            "name": .string(name), "domains": ["*"],
                                            "routes": [
                                                [
                                                    "match": ["path": .string(shown)],
                                                    "route": [
                                                        "cluster": "admin", "prefix_rewrite": .string(path),
                                                    ],
                                                ]
                                            ],
                                        ]
                                    ],
                                ],
                            ],
                        ]
                    ]
                ]
            ],
        ]
    }
}
