import KubernetesAPI
import Testing

/// What the definitions of the Gateway API refuse by bounds and by rules between fields.
@Suite("What the Gateway API's definitions say")
struct GatewayRulesTests {
    typealias Case = InvalidIstioTests.Case

    private static func expect(_ one: Case) throws {
        let found = try InvalidIstioTests.fields(one.kind, one.spec)
        #expect(found == (one.field.isEmpty ? [] : [one.field]))
    }

    private static func route(_ rule: String) -> String { "{parentRefs: [{name: edge}], rules: [{\(rule)}]}" }
    private static let backend = "backendRefs: [{name: cart, port: 80}]"
    private static func path(_ text: String) -> String { route("matches: [{path: {value: '\(text)'}}], \(backend)") }
    private static func filter(_ text: String) -> String { route("filters: [{\(text)}], \(backend)") }
    private static let redirect = "type: RequestRedirect, requestRedirect: {statusCode: 302}"
    private static let header = "type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: b}]}"
    private static func rewrite(_ path: String) -> String { "type: URLRewrite, urlRewrite: {path: {\(path)}}" }

    @Test(
        "routes: matches",
        arguments: [
            Case(.httpRoute, path("cart"), "spec.rules[0].matches[0].path.value"),
            Case(.httpRoute, path("/a//b"), "spec.rules[0].matches[0].path.value"),
            Case(.httpRoute, path("/a/./b"), "spec.rules[0].matches[0].path.value"),
            Case(.httpRoute, path("/a/.."), "spec.rules[0].matches[0].path.value"),
            Case(.httpRoute, path("/a%2Fb"), "spec.rules[0].matches[0].path.value"),
            Case(.httpRoute, path("/a b"), "spec.rules[0].matches[0].path.value"),
            Case(.httpRoute, path("/a%2"), "spec.rules[0].matches[0].path.value"),
            Case(.httpRoute, path("/a.b/~c;d=%20"), ""),
            Case(.httpRoute, route("matches: [{path: {type: RegularExpression, value: '/a//[b]'}}], \(backend)"), ""),
            Case(
                .httpRoute, route("matches: [{headers: [{name: a, value: b}, {name: a, value: c}]}], \(backend)"),
                "spec.rules[0].matches[0].headers[1]"),
            Case(
                .httpRoute, route("matches: [{headers: [{name: 'a b', value: b}]}], \(backend)"),
                "spec.rules[0].matches[0].headers"),
            Case(
                .httpRoute, route("matches: [{queryParams: [{name: a, value: b}, {name: a, value: c}]}], \(backend)"),
                "spec.rules[0].matches[0].queryParams[1]"),
            Case(.grpcRoute, route("matches: [{method: {}}], \(backend)"), "spec.rules[0].matches[0].method"),
            Case(
                .grpcRoute, route("matches: [{method: {service: a/b}}], \(backend)"), "spec.rules[0].matches[0].method"),
            Case(
                .grpcRoute, route("matches: [{method: {service: shop.Cart, method: '1'}}], \(backend)"),
                "spec.rules[0].matches[0].method"),
            Case(.grpcRoute, route("matches: [{method: {service: shop.v1.Cart, method: Add_1}}], \(backend)"), ""),
            Case(.grpcRoute, route("matches: [{method: {type: RegularExpression, method: 'A.*'}}], \(backend)"), ""),
        ])
    func matches(_ one: Case) throws { try Self.expect(one) }

    @Test(
        "routes: filters",
        arguments: [
            Case(.httpRoute, filter(redirect), "spec.rules[0].backendRefs"),
            Case(
                .httpRoute, route("filters: [{\(redirect)}, {type: URLRewrite, urlRewrite: {hostname: a.example}}]"),
                "spec.rules[0].filters"),
            Case(.httpRoute, route("filters: [{\(redirect)}]"), ""),
            Case(.httpRoute, filter("\(header)}, {\(header)"), "spec.rules[0].filters[1].type"),
            Case(.httpRoute, filter("type: RequestHeaderModifier"), "spec.rules[0].filters[0].requestHeaderModifier"),
            Case(
                .httpRoute, filter("\(header), cors: {allowOrigins: ['*']}"), "spec.rules[0].filters[0].cors"),
            Case(
                .httpRoute,
                filter(
                    "type: ResponseHeaderModifier, responseHeaderModifier: {add: [{name: a, value: b}, {name: a, value: c}]}"
                ),
                "spec.rules[0].filters[0].responseHeaderModifier.add[1]"),
            Case(
                .httpRoute, filter(rewrite("type: ReplaceFullPath")),
                "spec.rules[0].filters[0].urlRewrite.path.replaceFullPath"),
            Case(
                .httpRoute,
                route(
                    "matches: [{path: {type: Exact, value: /a}}], filters: [{\(rewrite("type: ReplacePrefixMatch, replacePrefixMatch: /b"))}], \(backend)"
                ), "spec.rules[0].filters[0].path"),
            Case(
                .httpRoute,
                route(
                    "matches: [{path: {value: /a}}], filters: [{\(rewrite("type: ReplacePrefixMatch, replacePrefixMatch: /b"))}], \(backend)"
                ), ""),
            Case(
                .httpRoute,
                filter(
                    "type: RequestMirror, requestMirror: {backendRef: {name: a, port: 80}, percent: 5, fraction: {numerator: 1}}"
                ),
                "spec.rules[0].filters[0].requestMirror.fraction"),
            Case(
                .httpRoute,
                filter(
                    "type: RequestMirror, requestMirror: {backendRef: {name: a, port: 80}, fraction: {numerator: 5, denominator: 4}}"
                ),
                "spec.rules[0].filters[0].requestMirror.fraction.numerator"),
            Case(
                .httpRoute, filter("type: RequestMirror, requestMirror: {backendRef: {name: a}}"),
                "spec.rules[0].filters[0].requestMirror.backendRef.port"),
            Case(
                .httpRoute,
                filter("type: CORS, cors: {allowOrigins: ['https://shop.example', 'https://bad*.example']}"),
                "spec.rules[0].filters[0].cors.allowOrigins[1]"),
            Case(
                .httpRoute,
                filter(
                    "type: CORS, cors: {allowOrigins: ['https://shop.example:8443', 'http://*.example', 'http://192.0.2.7']}"
                ), ""),
            Case(
                .httpRoute,
                filter("type: ExternalAuth, externalAuth: {protocol: GRPC, backendRef: {name: a, port: 80}}"),
                "spec.rules[0].filters[0].externalAuth.grpc"),
            Case(
                .httpRoute, filter("type: CORS, cors: {allowMethods: ['*', GET]}"),
                "spec.rules[0].filters[0].cors.allowMethods"),
        ])
    func filters(_ one: Case) throws { try Self.expect(one) }

    @Test(
        "routes: parents, backends, times and bounds",
        arguments: [
            Case(.httpRoute, route("backendRefs: [{name: cart}]"), "spec.rules[0].backendRefs[0].port"),
            Case(.httpRoute, route("backendRefs: [{group: example.com, kind: Bucket, name: cart}]"), ""),
            Case(
                .httpRoute, route("backendRefs: [{group: '*', kind: Bucket, name: cart}]"),
                "spec.rules[0].backendRefs[0].group"),
            Case(
                .httpRoute, route("backendRefs: [{kind: '*', name: cart, port: 80}]"),
                "spec.rules[0].backendRefs[0].kind"),
            Case(
                .httpRoute, filter("type: RequestHeaderModifier, requestHeaderModifier: {remove: [a, a]}"),
                "spec.rules[0].filters[0].requestHeaderModifier.remove[1]"),
            Case(
                .httpRoute,
                filter("type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: \"b\\nc\"}]}"),
                "spec.rules[0].filters[0].requestHeaderModifier.set[0].value"),
            Case(.tcpRoute, route("backendRefs: [{name: cart}]"), "spec.rules[0].backendRefs[0].port"),
            Case(
                .httpRoute, route("backendRefs: [{name: cart, port: 80, weight: -1}]"),
                "spec.rules[0].backendRefs[0].weight"),
            Case(
                .httpRoute, route("timeouts: {request: 1s, backendRequest: 2s}, \(backend)"), "spec.rules[0].timeouts"),
            Case(.httpRoute, route("timeouts: {request: 0s, backendRequest: 2s}, \(backend)"), ""),
            Case(.httpRoute, route("timeouts: {request: 1.5s}, \(backend)"), "spec.rules[0].timeouts.request"),
            Case(.httpRoute, route("timeouts: {request: 1h2m3s4ms5ms}, \(backend)"), "spec.rules[0].timeouts.request"),
            Case(.httpRoute, route("timeouts: {request: 1h2m3s4ms}, \(backend)"), ""),
            Case(.httpRoute, route("name: a, \(backend)}, {name: a, \(backend)"), "spec.rules[1].name"),
            Case(
                .httpRoute, "{hostnames: [a.*.example], rules: [{\(backend)}]}", "spec.hostnames[0]"),
            Case(
                .httpRoute, "{parentRefs: [{name: a}, {name: a, sectionName: b}], rules: [{\(backend)}]}",
                "spec.parentRefs[0].sectionName"),
            Case(
                .httpRoute,
                "{parentRefs: [{name: a, sectionName: b}, {name: a, sectionName: b}], rules: [{\(backend)}]}",
                "spec.parentRefs[1]"),
            Case(
                .httpRoute,
                "{parentRefs: [{name: a, sectionName: b}, {name: a, port: 80}, {name: c}], rules: [{\(backend)}]}", ""),
            Case(
                .httpRoute,
                "{rules: [\(Array(repeating: "{\(backend)}", count: 17).joined(separator: ", "))]}", "spec.rules"),
            Case(
                .httpRoute,
                "{rules: [\(Array(repeating: "{matches: [\(Array(repeating: "{method: GET}", count: 43).joined(separator: ", "))], \(backend)}", count: 3).joined(separator: ", "))]}",
                "spec.rules"),
        ])
    func bounds(_ one: Case) throws { try Self.expect(one) }

    private static func gateway(_ listener: String, _ more: String = "") -> String {
        "{gatewayClassName: skein, listeners: [{\(listener)}]\(more)}"
    }
    private static let plain = "name: a, port: 80, protocol: HTTP"

    @Test(
        "Gateways, classes and policies",
        arguments: [
            Case(.gatewayAPIGateway, gateway("name: a, port: 0, protocol: HTTP"), "spec.listeners[0].port"),
            Case(.gatewayAPIGateway, gateway("\(plain), hostname: a_b"), "spec.listeners[0].hostname"),
            Case(.gatewayAPIGateway, gateway("name: A, port: 80, protocol: HTTP"), "spec.listeners[0].name"),
            Case(.gatewayAPIGateway, gateway("\(plain)}, {\(plain), hostname: a.example"), "spec.listeners[1].name"),
            Case(.gatewayAPIGateway, gateway("\(plain)}, {name: b, port: 80, protocol: HTTP"), "spec.listeners[1]"),
            Case(
                .gatewayAPIGateway, gateway("name: a, port: 90, protocol: TCP, hostname: a.example"),
                "spec.listeners[0].hostname"),
            Case(
                .gatewayAPIGateway, gateway("\(plain), tls: {certificateRefs: [{name: a}]}"), "spec.listeners[0].tls"),
            Case(
                .gatewayAPIGateway, gateway("name: a, port: 443, protocol: HTTPS, tls: {mode: Passthrough}"),
                "spec.listeners[0].tls.mode"),
            Case(
                .gatewayAPIGateway, gateway("name: a, port: 443, protocol: HTTPS, tls: {}"),
                "spec.listeners[0].tls.certificateRefs"),
            Case(.gatewayAPIGateway, gateway("name: a, port: 443, protocol: TLS, tls: {mode: Passthrough}"), ""),
            Case(.gatewayAPIGateway, gateway(plain, ", addresses: [{value: here}]"), "spec.addresses[0].value"),
            Case(
                .gatewayAPIGateway, gateway(plain, ", addresses: [{value: 192.0.2.7}, {value: 192.0.2.7}]"),
                "spec.addresses[1].value"),
            Case(.gatewayAPIGateway, gateway("name: a, port: 443, protocol: TLS"), "spec.listeners[0].tls"),
            Case(
                .gatewayAPIGateway, gateway(plain, ", infrastructure: {labels: {'a b': c}}"),
                "spec.infrastructure.labels"),
            Case(
                .backendTLSPolicy,
                "{targetRefs: [{group: '', kind: Service, name: a}, {group: '', kind: Service, name: a, sectionName: b}], validation: {hostname: a.example, wellKnownCACertificates: System}}",
                "spec.targetRefs[0].sectionName"),
            Case(.gatewayClass, "{controllerName: skein}", "spec.controllerName"),
            Case(.gatewayClass, "{controllerName: skein.dev/gateway}", ""),
            Case(
                .backendTLSPolicy,
                "{targetRefs: [{group: '', kind: Service, name: a}], validation: {hostname: a.example}}",
                "spec.validation"),
            Case(
                .backendTLSPolicy,
                "{targetRefs: [{group: '', kind: Service, name: a}], validation: {hostname: a.example, wellKnownCACertificates: System, caCertificateRefs: [{group: '', kind: ConfigMap, name: a}]}}",
                "spec.validation.wellKnownCACertificates"),
            Case(
                .backendTLSPolicy,
                "{targetRefs: [{group: '', kind: Service, name: a}], validation: {hostname: a.example, wellKnownCACertificates: System, subjectAltNames: [{type: URI, hostname: a.example, uri: 'spiffe://a'}]}}",
                "spec.validation.subjectAltNames[0].hostname"),
        ])
    func gateways(_ one: Case) throws { try Self.expect(one) }
}
