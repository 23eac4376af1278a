import KubernetesAPI
import Serialization

/// Random objects that decide about gateways, identities and what EnvoyFilters make of it all.
extension RandomMesh {
    private static let api = "gateway.networking.k8s.io/v1"

    mutating func entrance(_ day: Int) -> KubernetesObject {
        switch random.next() % 17 {
        case 0: return gatewayClass(day)
        case 1, 2: return apiGateway(day)
        case 3, 4, 5: return route(day)
        case 6: return streamRoute(day)
        case 7: return grant(day)
        case 8: return backendTLS(day)
        case 9: return listenerSet(day)
        case 10: return secret(day)
        case 11: return authorities(day)
        case 12, 13: return authorization(day)
        case 14: return tokens(day)
        case 15: return filter(day)
        default: return isTrue(50) ? telemetry(day) : server(day)
        }
    }

    private mutating func gatewayClass(_ day: Int) -> KubernetesObject {
        object(
            Self.api, "GatewayClass", "", one(["skein", "skein", "other"]), day,
            ["spec": ["controllerName": one(["skein.dev/gateway-controller", "skein.dev/gateway-controller", "x/y"])]])
    }

    private mutating func listener() -> JSON {
        var listener: JSON = [
            "name": one(["l0", "l1"]), "port": one([80, 80, 81, 443]), "protocol": one(["HTTP", "HTTP", "TCP"]),
            "allowedRoutes": one([[:], ["namespaces": ["from": "All"]]]),
        ]
        if isTrue(40) { listener["hostname"] = one(["x.example.com", "*.example.com"]) }
        if isTrue(30) {
            listener["port"] = 443
            listener["protocol"] = one(["HTTPS", "TLS"])
            listener["tls"] = one([
                ["certificateRefs": [["name": "t0"]]], ["mode": "Passthrough"],
                ["certificateRefs": [["name": "t1", "namespace": "b"]]],
            ])
        }
        return listener
    }

    private mutating func apiGateway(_ day: Int) -> KubernetesObject {
        object(
            Self.api, "Gateway", namespace(), one(["w0", "w1"]), day,
            [
                "spec": [
                    "gatewayClassName": one(["skein", "skein", "other"]),
                    "listeners": isTrue(50) ? [listener()] : [listener(), listener()],
                    "allowedListeners": one([[:], ["namespaces": ["from": "All"]]]),
                ]
            ])
    }

    private mutating func backends() -> JSON {
        let backend: JSON = [
            "name": one(["s0", "s1", "s2", "gone"]), "port": one([80, 81]), "weight": one([1, 1, 0]),
            "namespace": one(["a", "b"]),
        ]
        return isTrue(30) ? [backend, ["name": "s1", "port": 80]] : [backend]
    }

    private mutating func parents() -> JSON {
        one([
            [["name": "w0"]], [["name": "w0", "namespace": "a"]], [["name": "w1", "sectionName": "l0"]],
            [["group": "", "kind": "Service", "name": "s0"]],
            [["group": "", "kind": "Service", "name": "s0", "namespace": "a", "port": one([80, 81])]],
            [["kind": "ListenerSet", "name": "ls", "namespace": "a"]],
        ])
    }

    private mutating func route(_ day: Int) -> KubernetesObject {
        var rule: JSON = ["backendRefs": backends()]
        if isTrue(50) { rule["matches"] = [["path": ["value": one(["/", "/x"])]]] }
        if isTrue(20) {
            rule["filters"] = [
                ["type": "RequestMirror", "requestMirror": ["backendRef": ["name": one(["s1", "s2"]), "port": 80]]]
            ]
        }
        var spec: JSON = ["parentRefs": parents(), "rules": [rule]]
        if isTrue(40) { spec["hostnames"] = one([["x.example.com"], ["*.example.com"], ["y.example.com"]]) }
        return object(Self.api, "HTTPRoute", namespace(), one(["h0", "h1", "h2"]), day, ["spec": spec])
    }

    private mutating func streamRoute(_ day: Int) -> KubernetesObject {
        let kind = one(["TCPRoute", "TLSRoute", "GRPCRoute", "UDPRoute"])
        var spec: JSON = ["parentRefs": parents(), "rules": [["backendRefs": backends()]]]
        if kind == "TLSRoute" { spec["hostnames"] = one([["x.example.com"], ["*.example.com"]]) }
        return object(Self.api, kind, namespace(), one(["q0", "q1"]), day, ["spec": spec])
    }

    private mutating func grant(_ day: Int) -> KubernetesObject {
        object(
            "gateway.networking.k8s.io/v1beta1", "ReferenceGrant", namespace(), one(["k0", "k1"]), day,
            [
                "spec": [
                    "from": one([
                        [["group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "a"]],
                        [["group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "a"]],
                        [["group": "networking.istio.io", "kind": "VirtualService", "namespace": "a"]],
                    ]),
                    "to": [["group": "", "kind": "Service"], ["group": "", "kind": "Secret"]],
                ]
            ])
    }

    private mutating func backendTLS(_ day: Int) -> KubernetesObject {
        object(
            Self.api, "BackendTLSPolicy", namespace(), one(["b0", "b1"]), day,
            [
                "spec": [
                    "targetRefs": [["group": "", "kind": "Service", "name": one(["s0", "s1"])]],
                    "validation": one([
                        ["hostname": "s.test", "wellKnownCACertificates": "System"],
                        [
                            "hostname": "s.test",
                            "caCertificateRefs": [["group": "", "kind": "ConfigMap", "name": "roots"]],
                        ],
                    ]),
                ]
            ])
    }

    private mutating func listenerSet(_ day: Int) -> KubernetesObject {
        object(
            Self.api, "ListenerSet", one(["a", "b"]), "ls", day,
            [
                "spec": [
                    "parentRef": ["name": one(["w0", "w1"]), "namespace": one(["a", "b"])], "listeners": [listener()],
                ]
            ])
    }

    private mutating func secret(_ day: Int) -> KubernetesObject {
        object(
            "v1", "Secret", namespace(), one(["t0", "t1"]), day,
            [
                "data": [
                    "tls.crt": .string(Base64.encode(GatewayYAML.certificate.utf8)),
                    "tls.key": one([.string(Base64.encode(GatewayYAML.key.utf8)), "broken"]),
                    "ca.crt": .string(Base64.encode(GatewayYAML.certificate.utf8)),
                ]
            ])
    }

    private mutating func authorities(_ day: Int) -> KubernetesObject {
        object(
            "v1", "ConfigMap", namespace(), "roots", day,
            ["data": ["ca.crt": one([.string(GatewayYAML.certificate), "broken"])]])
    }

    /// Whom a policy is for.
    private mutating func scope() -> [String: JSON] {
        one([
            [:], ["selector": ["matchLabels": ["app": "x"]]],
            ["selector": ["matchLabels": ["istio": "ingressgateway"]]],
            ["targetRefs": [["group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "w0"]]],
            ["targetRefs": [["group": "gateway.networking.k8s.io", "kind": "GatewayClass", "name": "skein"]]],
        ])
    }

    private mutating func authorization(_ day: Int) -> KubernetesObject {
        var spec = scope()
        spec["action"] = one(["ALLOW", "DENY", "AUDIT", "CUSTOM"])
        if spec["action"] == "CUSTOM" { spec["provider"] = ["name": "p"] }
        if isTrue(80) {
            spec["rules"] = one([
                [[:]], [["to": [["operation": ["paths": ["/x"]]]]]],
                [["from": [["source": ["namespaces": ["a"]]]]]],
            ])
        }
        return object(
            "security.istio.io/v1", "AuthorizationPolicy", namespace(), one(["z0", "z1"]), day,
            ["spec": .object(spec)])
    }

    private mutating func tokens(_ day: Int) -> KubernetesObject {
        var spec = scope()
        spec["jwtRules"] = [
            [
                "issuer": "i",
                "jwksUri": one(["http://s0.a.svc.cluster.local/k", "https://keys.example/k", "http://x.example.com/k"]),
            ]
        ]
        return object(
            "security.istio.io/v1", "RequestAuthentication", namespace(), one(["j0", "j1"]), day,
            ["spec": .object(spec)])
    }

    private mutating func filter(_ day: Int) -> KubernetesObject {
        let patches: [JSON] = [
            [
                "applyTo": "CLUSTER", "match": ["cluster": ["service": "s0.a.svc.cluster.local"]],
                "patch": ["operation": "MERGE", "value": ["connect_timeout": "7s"]],
            ],
            [
                "applyTo": "VIRTUAL_HOST", "match": ["context": one(["ANY", "GATEWAY", "SIDECAR_OUTBOUND"])],
                "patch": ["operation": "MERGE", "value": ["request_headers_to_remove": ["x"]]],
            ],
            [
                "applyTo": "HTTP_FILTER",
                "match": ["context": one(["GATEWAY", "SIDECAR_INBOUND", "SIDECAR_OUTBOUND"])],
                "patch": [
                    "operation": "INSERT_FIRST",
                    "value": [
                        "name": "csrf",
                        "typed_config": [
                            "@type":
                                "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"
                        ],
                    ],
                ],
            ],
        ]
        var spec: JSON = ["configPatches": [one(patches)], "priority": one([0, 10])]
        if isTrue(40) { spec["workloadSelector"] = ["labels": one([["app": "x"], ["istio": "ingressgateway"]])] }
        return object(
            "networking.istio.io/v1alpha3", "EnvoyFilter", namespace(), one(["f0", "f1"]), day, ["spec": spec])
    }

    private mutating func telemetry(_ day: Int) -> KubernetesObject {
        var spec: JSON = one([
            ["accessLogging": [["disabled": true]]], ["accessLogging": [["providers": [["name": "envoy"]]]]],
            ["tracing": [["randomSamplingPercentage": 10]]],
        ])
        if isTrue(40) { spec["selector"] = ["matchLabels": one([["app": "x"], ["istio": "ingressgateway"]])] }
        return object("telemetry.istio.io/v1", "Telemetry", namespace(), one(["m0", "m1"]), day, ["spec": spec])
    }

    /// An Istio Gateway that speaks TLS.
    private mutating func server(_ day: Int) -> KubernetesObject {
        object(
            "networking.istio.io/v1", "Gateway", namespace(), one(["g0", "g1"]), day,
            [
                "spec": [
                    "selector": ["istio": "ingressgateway"],
                    "servers": [
                        [
                            "port": ["number": one([443, 80]), "name": "https", "protocol": "HTTPS"],
                            "hosts": one([["x.example.com"], ["*.example.com"]]),
                            "tls": one([
                                ["mode": "SIMPLE", "credentialName": "t0"], ["mode": "MUTUAL", "credentialName": "t1"],
                                ["mode": "PASSTHROUGH"], ["mode": "AUTO_PASSTHROUGH"],
                            ]),
                        ]
                    ],
                ]
            ])
    }
}
