import KubernetesAPI
import Testing

/// Rules between fields that Istio's own validation has: what it refuses is refused, what it takes is taken.
@Suite("What Istio's validation says")
struct IstioRulesTests {
    typealias Case = InvalidIstioTests.Case

    private static func expect(_ one: Case) throws {
        let found = try InvalidIstioTests.fields(one.kind, one.spec)
        #expect(found == (one.field.isEmpty ? [] : [one.field]))
    }

    private static func route(_ text: String, to action: String = "route: [{destination: {host: cart}}]") -> String {
        "{hosts: [cart.example], http: [{\([text, action].filter { !$0.isEmpty }.joined(separator: ", "))}]}"
    }

    private static let long = String(repeating: "a", count: 1025)

    @Test(
        "VirtualServices: hosts, gateways and who sees them",
        arguments: [
            Case(
                .virtualService, "{hosts: ['ca,rt.example'], http: [{route: [{destination: {host: a}}]}]}",
                "spec.hosts[0]"),
            Case(.virtualService, "{hosts: [cart.17], http: [{route: [{destination: {host: a}}]}]}", "spec.hosts[0]"),
            Case(.virtualService, "{hosts: [192.0.2.7], http: [{route: [{destination: {host: a}}]}]}", ""),
            Case(.virtualService, "{hosts: [cart.example.], http: [{route: [{destination: {host: a}}]}]}", ""),
            Case(
                .virtualService,
                "{hosts: [outbound_.80_._.cart.shop.svc.cluster.local], gateways: [east], tls: [{match: [{sniHosts: [outbound_.80_._.cart.shop.svc.cluster.local]}], route: [{destination: {host: a}}]}]}",
                ""),
            Case(
                .virtualService,
                "{hosts: [a.example], gateways: ['edge!'], http: [{route: [{destination: {host: a}}]}]}",
                "spec.gateways[0]"),
            Case(
                .virtualService,
                "{hosts: [a.example], gateways: [shop/*], http: [{route: [{destination: {host: a}}]}]}",
                "spec.gateways[0]"),
            Case(
                .virtualService,
                "{hosts: [a.example], gateways: [shop/edge, edge.shop, mesh], http: [{route: [{destination: {host: a}}]}]}",
                ""),
            Case(
                .virtualService, "{hosts: [a.example], exportTo: ['~'], http: [{route: [{destination: {host: a}}]}]}",
                "spec.exportTo[0]"),
            Case(
                .virtualService,
                "{hosts: [a.example], exportTo: [shop, bank, shop], http: [{route: [{destination: {host: a}}]}]}",
                "spec.exportTo[2]"),
            Case(
                .virtualService,
                "{hosts: [a.example], exportTo: [shop, '*'], http: [{route: [{destination: {host: a}}]}]}",
                "spec.exportTo"),
            Case(
                .virtualService,
                "{hosts: [a.example], exportTo: [shop_1], http: [{route: [{destination: {host: a}}]}]}",
                "spec.exportTo[0]"),
            Case(
                .virtualService,
                "{hosts: [a.example], exportTo: [., shop], http: [{route: [{destination: {host: a}}]}]}", ""),
        ])
    func ruleHosts(_ one: Case) throws { try Self.expect(one) }

    @Test(
        "VirtualServices: conditions",
        arguments: [
            Case(
                .virtualService, route("match: [{headers: {'x y': {exact: a}}}]"), "spec.http[0].match[0].headers[x y]"),
            Case(.virtualService, route("match: [{headers: {'': {exact: a}}}]"), "spec.http[0].match[0].headers[]"),
            Case(
                .virtualService, route("match: [{headers: {':port': {exact: a}}}]"),
                "spec.http[0].match[0].headers[:port]"),
            Case(.virtualService, route("match: [{headers: {':path': {exact: a}, 'x-a!': {exact: a}}}]"), ""),
            Case(
                .virtualService, route("match: [{headers: {x-a: {prefix: ''}}}]"),
                "spec.http[0].match[0].headers[x-a].prefix"),
            Case(.virtualService, route("match: [{method: {prefix: ''}}]"), "spec.http[0].match[0].method.prefix"),
            Case(.virtualService, route("match: [{uri: {prefix: ''}}]"), ""),
            Case(.virtualService, route("match: [{uri: {regex: ''}}]"), "spec.http[0].match[0].uri.regex"),
            Case(.virtualService, route("match: [{uri: {regex: \(long)}}]"), "spec.http[0].match[0].uri.regex"),
            Case(.virtualService, route("match: [{withoutHeaders: {x-a: {regex: '*'}}}]"), ""),
            Case(
                .virtualService, route("match: [{queryParams: {a: {regex: ''}}}]"),
                "spec.http[0].match[0].queryParams[a].regex"),
            Case(
                .virtualService, route("match: [{headers: {'@request.auth.claims.team': {exact: a}}}]"),
                "spec.http[0].match[0].headers[@request.auth.claims.team]"),
            Case(.virtualService, route("match: [{sourceLabels: {'a b': c}}]"), "spec.http[0].match[0].sourceLabels"),
            Case(.virtualService, route("match: [{sourceNamespace: a.b}]"), "spec.http[0].match[0].sourceNamespace"),
            Case(.virtualService, route("match: [{gateways: [a/b/c]}]"), "spec.http[0].match[0].gateways[0]"),
            Case(
                .virtualService,
                "{hosts: ['*.example'], tls: [{match: [{sniHosts: [a.*.example]}], route: [{destination: {host: a}}]}]}",
                "spec.tls[0].match[0].sniHosts[0]"),
            Case(
                .virtualService,
                "{hosts: [a.example], tls: [{match: [{sniHosts: [192.0.2.7]}], route: [{destination: {host: a}}]}]}", ""
            ),
        ])
    func ruleConditions(_ one: Case) throws { try Self.expect(one) }

    @Test(
        "VirtualServices: what is done",
        arguments: [
            Case(
                .virtualService, route("", to: "route: [{destination: {host: '*'}}]"),
                "spec.http[0].route[0].destination.host"),
            Case(
                .virtualService, route("", to: "route: [{destination: {host: shop/cart}}]"),
                "spec.http[0].route[0].destination.host"),
            Case(.virtualService, route("", to: "route: [{destination: {host: '*-eu.example'}}]"), ""),
            Case(
                .virtualService, route("", to: "route: [{destination: {host: cart, port: {}}}]"),
                "spec.http[0].route[0].destination.port.number"),
            Case(
                .virtualService, route("", to: "route: [{destination: {host: cart, subset: a.b}}]"),
                "spec.http[0].route[0].destination.subset"),
            Case(.virtualService, route("mirror: {host: '*'}"), "spec.http[0].mirror.host"),
            Case(
                .virtualService, route("mirrors: [{destination: {host: a.*}}]"),
                "spec.http[0].mirrors[0].destination.host"),
            Case(.virtualService, route("mirror: {host: a}, mirrorPercent: 101"), "spec.http[0].mirrorPercent"),
            Case(.virtualService, route("", to: "redirect: {redirectCode: 302}"), "spec.http[0].redirect"),
            Case(
                .virtualService, route("", to: "redirect: {authority: a, scheme: ftp}"), "spec.http[0].redirect.scheme"),
            Case(.virtualService, route("", to: "redirect: {derivePort: FROM_REQUEST_PORT}"), ""),
            Case(
                .virtualService, route("match: [{uri: {exact: /a}}]", to: "redirect: {prefixRewrite: /b}"),
                "spec.http[0].match[0].uri"),
            Case(
                .virtualService, route("match: [{uri: {prefix: /a}}, {port: 80}]", to: "redirect: {prefixRewrite: /b}"),
                ""),
            Case(.virtualService, route("rewrite: {}"), "spec.http[0].rewrite"),
            Case(
                .virtualService, route("rewrite: {uriRegexRewrite: {match: /a}}"),
                "spec.http[0].rewrite.uriRegexRewrite.rewrite"),
            Case(
                .virtualService, route("rewrite: {authority: a}, headers: {request: {set: {Host: b}}}"),
                "spec.http[0].headers.request.set[Host]"),
            Case(
                .virtualService, route("headers: {request: {add: {x-a: '50%'}}}"),
                "spec.http[0].headers.request.add[x-a]"),
            Case(
                .virtualService, route("headers: {response: {set: {x-a: '%START_TIME'}}}"),
                "spec.http[0].headers.response.set[x-a]"),
            Case(
                .virtualService, route("headers: {response: {set: {x-a: '%REQ(x-b%'}}}"),
                "spec.http[0].headers.response.set[x-a]"),
            Case(
                .virtualService, route("headers: {response: {set: {x-a: \"a\\nb\"}}}"),
                "spec.http[0].headers.response.set[x-a]"),
            Case(
                .virtualService,
                route("headers: {response: {set: {x-a: '50%% of %PROTOCOL% %START_TIME(%Y %s)% %REQ(x-b):8%'}}}"), ""),
            Case(
                .virtualService, route("headers: {response: {remove: ['']}}"), "spec.http[0].headers.response.remove[0]"
            ),
            Case(.virtualService, route("headers: {request: {set: {'': a}}}"), "spec.http[0].headers.request.set[]"),
            Case(
                .virtualService, route("corsPolicy: {allowMethods: [get]}"), "spec.http[0].corsPolicy.allowMethods[0]"),
            Case(
                .virtualService, route("corsPolicy: {allowHeaders: ['a b']}"), "spec.http[0].corsPolicy.allowHeaders[0]"
            ),
            Case(
                .virtualService, route("corsPolicy: {allowOrigins: [{exact: ''}]}"),
                "spec.http[0].corsPolicy.allowOrigins[0]"),
            Case(.virtualService, route("corsPolicy: {maxAge: 1500ms}"), "spec.http[0].corsPolicy.maxAge"),
            Case(.virtualService, route("corsPolicy: {allowMethods: ['*'], allowHeaders: ['*'], maxAge: 90s}"), ""),
            Case(.virtualService, route("fault: {}"), "spec.http[0].fault"),
            Case(
                .virtualService, route("fault: {abort: {httpStatus: 503, percentage: {value: 0.00001}}}"),
                "spec.http[0].fault.abort.percentage.value"),
            Case(.virtualService, route("fault: {abort: {http2Error: CANCEL}}"), "spec.http[0].fault.abort.http2Error"),
            Case(
                .virtualService, route("fault: {delay: {exponentialDelay: 3s}}"),
                "spec.http[0].fault.delay.exponentialDelay"),
            Case(
                .virtualService,
                route("fault: {delay: {fixedDelay: 3s, percentage: {value: 1}}}", to: "redirect: {uri: /a}"),
                "spec.http[0].fault"),
            Case(.virtualService, route("timeout: 1.5ms"), "spec.http[0].timeout"),
            Case(.virtualService, route("timeout: 1.1s"), ""),
        ])
    func ruleActions(_ one: Case) throws { try Self.expect(one) }

    private static func policy(_ text: String) -> String { "{host: cart, trafficPolicy: {\(text)}}" }

    @Test(
        "DestinationRules",
        arguments: [
            Case(.destinationRule, "{host: shop/cart}", "spec.host"),
            Case(.destinationRule, "{host: '*.example', subsets: [{name: a.b}]}", "spec.subsets[0].name"),
            Case(.destinationRule, "{host: cart, subsets: [{name: a, labels: {'b c': d}}]}", "spec.subsets[0].labels"),
            Case(
                .destinationRule, "{host: cart, subsets: [{name: a, trafficPolicy: {}}]}",
                "spec.subsets[0].trafficPolicy"),
            Case(.destinationRule, policy(""), "spec.trafficPolicy"),
            Case(.destinationRule, policy("connectionPool: {}"), "spec.trafficPolicy.connectionPool"),
            Case(
                .destinationRule, policy("connectionPool: {http: {http2KeepAlive: {interval: 15s}}}"),
                "spec.trafficPolicy.connectionPool.http.http2KeepAlive.timeout"),
            Case(.destinationRule, policy("connectionPool: {tcp: {idleTimeout: 0s}}"), ""),
            Case(
                .destinationRule,
                policy("tunnel: {targetHost: a.example, targetPort: 80}, proxyProtocol: {version: V1}"),
                "spec.trafficPolicy.proxyProtocol"),
            Case(
                .destinationRule, policy("tunnel: {targetHost: 'a:80', targetPort: 80}"),
                "spec.trafficPolicy.tunnel.targetHost"),
            Case(
                .destinationRule, policy("portLevelSettings: [{tls: {mode: SIMPLE}}]"),
                "spec.trafficPolicy.portLevelSettings[0].port.number"),
            Case(
                .destinationRule, policy("portLevelSettings: [{port: {number: 80}}]"),
                "spec.trafficPolicy.portLevelSettings[0]"),
            Case(
                .destinationRule, policy("outlierDetection: {consecutiveLocalOriginFailures: 3}"),
                "spec.trafficPolicy.outlierDetection.consecutiveLocalOriginFailures"),
            Case(
                .destinationRule,
                policy("outlierDetection: {consecutiveLocalOriginFailures: 3, splitExternalLocalOriginErrors: true}"),
                ""),
            Case(
                .destinationRule,
                policy("loadBalancer: {consistentHash: {minimumRingSize: 8, maglev: {tableSize: 7}}}"),
                "spec.trafficPolicy.loadBalancer.consistentHash.minimumRingSize"),
            Case(
                .destinationRule,
                policy("loadBalancer: {consistentHash: {httpCookie: {name: a, attributes: [{name: b}, {name: b}]}}}"),
                "spec.trafficPolicy.loadBalancer.consistentHash.httpCookie.attributes[1].name"),
            Case(
                .destinationRule,
                policy("loadBalancer: {consistentHash: {httpCookie: {name: a, attributes: [{value: b}]}}}"),
                "spec.trafficPolicy.loadBalancer.consistentHash.httpCookie.attributes[0].name"),
            Case(
                .destinationRule, policy("loadBalancer: {localityLbSetting: {}, zoneAwareLbSetting: {}}"),
                "spec.trafficPolicy.loadBalancer.zoneAwareLbSetting"),
            Case(
                .destinationRule,
                policy("loadBalancer: {zoneAwareLbSetting: {failoverPriority: [topology.kubernetes.io/zone]}}"),
                "spec.trafficPolicy.loadBalancer.zoneAwareLbSetting.failoverPriority[0]"),
            Case(
                .destinationRule, policy("loadBalancer: {zoneAwareLbSetting: {failover: [{from: eu, to: eu}]}}"),
                "spec.trafficPolicy.loadBalancer.zoneAwareLbSetting.failover[0].to"),
            Case(
                .destinationRule, policy("loadBalancer: {localityLbSetting: {failover: [{from: eu, to: us/a}]}}"),
                "spec.trafficPolicy.loadBalancer.localityLbSetting.failover[0].to"),
            Case(
                .destinationRule,
                policy("loadBalancer: {localityLbSetting: {distribute: [{from: eu/a, to: {eu/a: 60, eu/a/b: 40}}]}}"),
                "spec.trafficPolicy.loadBalancer.localityLbSetting.distribute[0].to[eu/a/b]"),
            Case(
                .destinationRule,
                policy("loadBalancer: {localityLbSetting: {distribute: [{from: 'e*/a', to: {eu/a: 100}}]}}"),
                "spec.trafficPolicy.loadBalancer.localityLbSetting.distribute[0].from"),
            Case(
                .destinationRule,
                policy("loadBalancer: {localityLbSetting: {distribute: [{from: 'eu/*', to: {'eu/*': 101}}]}}"),
                "spec.trafficPolicy.loadBalancer.localityLbSetting.distribute[0].to[eu/*]"),
            Case(
                .destinationRule, "{host: cart, workloadSelector: {matchLabels: {a: b}}, exportTo: [shop]}",
                "spec.exportTo"),
            Case(.destinationRule, "{host: cart, workloadSelector: {matchLabels: {a: b}}, exportTo: [.]}", ""),
        ])
    func policies(_ one: Case) throws { try Self.expect(one) }

    private static func server(_ port: String, _ more: String = "hosts: [a.example]") -> String {
        "{servers: [{port: {\(port)}, \(more)}]}"
    }
    private static let plain = "number: 80, name: web, protocol: HTTP"
    private static let secure = "number: 443, name: web, protocol: HTTPS"

    private static func tls(_ text: String) -> String { server(secure, "hosts: [a.example], tls: {\(text)}") }

    @Test(
        "Gateways",
        arguments: [
            Case(.gateway, server(plain, "hosts: [cart]"), "spec.servers[0].hosts[0]"),
            Case(.gateway, server(plain, "hosts: [a.*.example]"), "spec.servers[0].hosts[0]"),
            Case(.gateway, server(plain, "hosts: ['*a.example']"), "spec.servers[0].hosts[0]"),
            Case(.gateway, server(plain, "hosts: ['~/a.example']"), "spec.servers[0].hosts[0]"),
            Case(.gateway, server(plain, "hosts: [./a.example, '*/b.example', shop/*, 192.0.2.7, '*']"), ""),
            Case(.gateway, server("number: 0, name: a, protocol: HTTP"), "spec.servers[0].port.number"),
            Case(.gateway, server("number: 65536, name: a, protocol: HTTP"), "spec.servers[0].port.number"),
            Case(.gateway, server("number: 80, name: a, protocol: HTTP9"), "spec.servers[0].port.protocol"),
            Case(
                .gateway, server("number: 80, name: a, protocol: http, targetPort: 8080"),
                "spec.servers[0].port.targetPort"),
            Case(.gateway, server(plain, "hosts: [a.example], bind: localhost"), "spec.servers[0].bind"),
            Case(.gateway, server(plain, "hosts: [a.example], bind: '2001:db8::1'"), ""),
            Case(.gateway, server(plain, "hosts: [a.example], bind: 'unix:///run/a'"), "spec.servers[0].port.number"),
            Case(
                .gateway, server("number: 0, name: a, protocol: HTTP", "hosts: [a.example], bind: 'unix:///run/a'"), ""),
            Case(.gateway, server(secure), "spec.servers[0].tls"),
            Case(.gateway, server(plain, "hosts: [a.example], tls: {httpsRedirect: true}"), ""),
            Case(
                .gateway, server(plain, "hosts: [a.example], tls: {mode: SIMPLE, credentialName: a}"),
                "spec.servers[0].tls"),
            Case(
                .gateway,
                server(
                    "number: 90, name: a, protocol: TCP", "hosts: [a.example], tls: {mode: SIMPLE, credentialName: a}"),
                "spec.servers[0].tls"),
            Case(.gateway, tls("mode: SIMPLE"), "spec.servers[0].tls.credentialName"),
            Case(.gateway, tls("mode: SIMPLE, serverCertificate: /a"), "spec.servers[0].tls.privateKey"),
            Case(
                .gateway, tls("mode: MUTUAL, serverCertificate: /a, privateKey: /b"),
                "spec.servers[0].tls.caCertificates"),
            Case(.gateway, tls("mode: MUTUAL, credentialName: a"), ""),
            Case(
                .gateway, tls("mode: SIMPLE, tlsCertificates: [{serverCertificate: /a}]"),
                "spec.servers[0].tls.tlsCertificates[0].privateKey"),
            Case(
                .gateway, tls("mode: SIMPLE, serverCertificate: /a, privateKey: /b, credentialName: a"),
                "spec.servers[0].tls.serverCertificate"),
            Case(
                .gateway, tls("mode: SIMPLE, credentialName: a, credentialNames: [b]"),
                "spec.servers[0].tls.credentialNames"),
            Case(.gateway, tls("mode: ISTIO_MUTUAL, credentialName: a"), "spec.servers[0].tls.credentialName"),
            Case(
                .gateway, tls("mode: SIMPLE, serverCertificate: /a, privateKey: /b, caCrl: /c"),
                "spec.servers[0].tls.caCrl"),
            Case(.gateway, tls("mode: PASSTHROUGH"), ""),
        ])
    func gateways(_ one: Case) throws { try Self.expect(one) }

    private static func entry(_ more: String, ports: String = "{number: 80, name: http, protocol: HTTP}") -> String {
        "{hosts: [pay.example], ports: [\(ports)], \(more)}"
    }

    @Test(
        "ServiceEntries, WorkloadEntries and WorkloadGroups",
        arguments: [
            Case(.serviceEntry, "{hosts: ['pay example'], resolution: NONE}", "spec.hosts[0]"),
            Case(
                .serviceEntry, entry("resolution: DNS", ports: "{number: 80, name: a.b, protocol: HTTP}"),
                "spec.ports[0].name"),
            Case(
                .serviceEntry, entry("resolution: DNS", ports: "{number: 80, name: a, protocol: QUIC}"),
                "spec.ports[0].protocol"),
            Case(.serviceEntry, entry("resolution: DNS", ports: "{number: 80, name: a}"), ""),
            Case(
                .serviceEntry,
                "{hosts: [a.example, b.example], resolution: DNS, ports: [{number: 90, name: a, protocol: TCP}]}",
                "spec.ports[0].protocol"),
            Case(
                .serviceEntry,
                "{hosts: [a.example, b.example], resolution: NONE, ports: [{number: 90, name: a, protocol: TCP}]}",
                ""),
            Case(
                .serviceEntry, entry("resolution: STATIC, endpoints: [{address: 192.0.2.7, ports: {grpc: 90}}]"),
                "spec.endpoints[0].ports"),
            Case(
                .serviceEntry,
                entry(
                    "resolution: STATIC, endpoints: [{address: 'unix:///run/a'}]",
                    ports: "{number: 80, name: a, protocol: HTTP}, {number: 81, name: b, protocol: HTTP}"),
                "spec.endpoints[0].address"),
            Case(
                .serviceEntry, entry("resolution: DNS, endpoints: [{address: 'pay.example:443'}]"),
                "spec.endpoints[0].address"),
            Case(
                .serviceEntry, entry("resolution: STATIC, endpoints: [{address: 192.0.2.7, labels: {'a b': c}}]"),
                "spec.endpoints[0].labels"),
            Case(
                .serviceEntry,
                "{hosts: ['*.example'], resolution: DYNAMIC_DNS, addresses: [192.0.2.7], ports: [{number: 80, name: a, protocol: HTTP}]}",
                "spec.addresses"),
            Case(
                .serviceEntry,
                "{hosts: ['*.example'], resolution: DYNAMIC_DNS, ports: [{number: 90, name: a, protocol: TCP}]}",
                "spec.ports[0].protocol"),
            Case(.serviceEntry, entry("resolution: DNS, exportTo: ['~']"), ""),
            Case(.serviceEntry, entry("resolution: DNS, exportTo: ['~', shop]"), "spec.exportTo"),
            Case(.workloadEntry, "{address: 'pay.example:443'}", "spec.address"),
            Case(.workloadEntry, "{address: pay.example}", ""),
            Case(.workloadEntry, "{address: 192.0.2.7, labels: {a: 'b c'}}", "spec.labels"),
            Case(.workloadGroup, "{template: {}, metadata: {labels: {'a b': c}}}", "spec.metadata.labels"),
            Case(.workloadGroup, "{template: {}, probe: {periodSeconds: 3}}", "spec.probe"),
            Case(.workloadGroup, "{template: {}, probe: {grpc: {}}}", ""),
        ])
    func entries(_ one: Case) throws { try Self.expect(one) }

    private static func ingress(_ port: String, _ more: String) -> String {
        "{ingress: [{port: {\(port)}, \(more)}]}"
    }

    @Test(
        "Sidecars",
        arguments: [
            Case(.sidecar, "{}", "spec"), Case(.sidecar, "{workloadSelector: {labels: {a: b}}}", "spec"),
            Case(.sidecar, "{egress: [{hosts: [./cart]}]}", "spec.egress[0].hosts[0]"),
            Case(.sidecar, "{egress: [{hosts: ['./*a.example']}]}", "spec.egress[0].hosts[0]"),
            Case(.sidecar, "{egress: [{hosts: ['a_b/*']}]}", "spec.egress[0].hosts[0]"),
            Case(.sidecar, "{egress: [{hosts: ['*/*', '~a_b/*']}]}", "spec.egress[0].hosts[1]"),
            Case(.sidecar, "{egress: [{hosts: ['*/*', '~bank/*', '~/a.example', './*.example']}]}", ""),
            Case(
                .sidecar, "{egress: [{hosts: ['*/*']}, {port: {number: 90}, hosts: ['*/*']}]}", "spec.egress[0].port"),
            Case(
                .sidecar, "{egress: [{port: {number: 90, protocol: X}, hosts: ['*/*']}]}",
                "spec.egress[0].port.protocol"),
            Case(.sidecar, "{egress: [{port: {number: 90, name: a.b}, hosts: ['*/*']}]}", "spec.egress[0].port.name"),
            Case(.sidecar, "{egress: [{port: {number: 90}, bind: a.example, hosts: ['*/*']}]}", "spec.egress[0].bind"),
            Case(
                .sidecar, "{egress: [{port: {name: a}, bind: 192.0.2.7, hosts: ['*/*']}]}", "spec.egress[0].port.number"
            ),
            Case(.sidecar, "{egress: [{port: {name: a}, bind: 'unix:///run/a', hosts: ['*/*']}]}", ""),
            Case(
                .sidecar, "{outboundTrafficPolicy: {egressProxy: {host: a.example, port: {number: 80}}}}",
                "spec.outboundTrafficPolicy.egressProxy"),
            Case(
                .sidecar, "{outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: a.example}}}",
                "spec.outboundTrafficPolicy.egressProxy.port.number"),
            Case(
                .sidecar,
                "{outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: '*.example', port: {number: 80}}}}",
                "spec.outboundTrafficPolicy.egressProxy.host"),
            Case(.sidecar, "{inboundConnectionPool: {}}", "spec.inboundConnectionPool"),
            Case(.sidecar, ingress("number: 90", "connectionPool: {}"), "spec.ingress[0].connectionPool"),
            Case(.sidecar, ingress("name: a", "defaultEndpoint: '127.0.0.1:90'"), "spec.ingress[0].port.number"),
            Case(
                .sidecar, ingress("number: 90, targetPort: 91", "defaultEndpoint: '127.0.0.1:90'"),
                "spec.ingress[0].port.targetPort"),
            Case(.sidecar, ingress("number: 90", "bind: a.example"), "spec.ingress[0].bind"),
            Case(
                .sidecar, ingress("number: 90, protocol: HTTPS", "tls: {mode: SIMPLE, credentialName: a}"),
                "spec.ingress[0].tls.credentialName"),
            Case(
                .sidecar, ingress("number: 90, protocol: HTTPS", "tls: {mode: ISTIO_MUTUAL}"),
                "spec.ingress[0].tls.mode"),
            Case(
                .sidecar,
                ingress("number: 90, protocol: TCP", "tls: {mode: SIMPLE, serverCertificate: /a, privateKey: /b}"),
                "spec.ingress[0].tls"),
            Case(
                .sidecar,
                ingress("number: 90, protocol: TLS", "tls: {mode: SIMPLE, serverCertificate: /a, privateKey: /b}"), ""),
        ])
    func sidecars(_ one: Case) throws { try Self.expect(one) }

    private static func source(_ text: String) -> String { "{rules: [{from: [{source: {\(text)}}]}]}" }

    @Test(
        "policies and tokens",
        arguments: [
            Case(.authorizationPolicy, "{action: CUSTOM, provider: {name: a}}", "spec.rules"),
            Case(.authorizationPolicy, "{targetRefs: [{kind: Pod, name: a}]}", "spec.targetRefs[0].kind"),
            Case(
                .authorizationPolicy, "{targetRefs: [{group: apps, kind: Service, name: a}]}", "spec.targetRefs[0].kind"
            ),
            Case(
                .authorizationPolicy,
                "{targetRefs: [{kind: Service, name: a}, {group: networking.istio.io, kind: ServiceEntry, name: b}]}",
                ""),
            Case(
                .authorizationPolicy, source("serviceAccounts: ['shop/*']"),
                "spec.rules[0].from[0].source.serviceAccounts[0]"),
            Case(
                .authorizationPolicy, source("notServiceAccounts: [a/b/c]"),
                "spec.rules[0].from[0].source.notServiceAccounts[0]"),
            Case(.authorizationPolicy, source("trustDomains: ['a*b']"), "spec.rules[0].from[0].source.trustDomains[0]"),
            Case(.authorizationPolicy, source("trustDomains: ['*.example', 'a*', '*']"), ""),
            Case(
                .authorizationPolicy, "{rules: [{when: [{key: source.serviceAccount, values: ['*']}]}]}",
                "spec.rules[0].when[0].values[0]"),
            Case(.requestAuthentication, "{jwtRules: [{audiences: [a]}]}", "spec.jwtRules[0].issuer"),
            Case(.requestAuthentication, "{jwtRules: [{jwksUri: 'https://id.example/keys'}]}", ""),
            Case(
                .requestAuthentication, "{jwtRules: [{issuer: a, jwksUri: 'https://id.example:https/keys'}]}",
                "spec.jwtRules[0].jwksUri"),
            Case(.requestAuthentication, "{jwtRules: [{issuer: a, jwksUri: 'https://[2001:db8::1]/keys'}]}", ""),
        ])
    func policiesAndTokens(_ one: Case) throws { try Self.expect(one) }

    @Test(
        "only policies that allow or deny can be tried, and the annotation says true or false",
        arguments: [
            ("AuthorizationPolicy", "{action: DENY, rules: [{}]}", "true", true),
            ("AuthorizationPolicy", "{}", "false", true), ("AuthorizationPolicy", "{}", "yes", false),
            ("AuthorizationPolicy", "{action: AUDIT, rules: [{}]}", "true", false),
            ("PeerAuthentication", "{}", "true", false),
        ])
    func dryRun(kind: String, spec: String, value: String, isTaken: Bool) throws {
        let known = try #require(ResourceKinds.standard.kind(apiVersion: "security.istio.io/v1", kind: kind))
        let found = try InvalidIstioTests.fields(known, spec, "name: a, annotations: {istio.io/dry-run: '\(value)'}")
        #expect(found == (isTaken ? [] : ["metadata.annotations[istio.io/dry-run]"]))
    }

    @Test("a Gateway's name is one label: rules write NAMESPACE/NAME")
    func gatewayName() throws {
        #expect(try InvalidIstioTests.fields(.gateway, Self.server(Self.plain), "name: a.b") == ["metadata.name"])
    }
}
