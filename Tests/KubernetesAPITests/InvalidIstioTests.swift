import KubernetesAPI
import Serialization
import Testing

@Suite("What Istio's kinds refuse")
struct InvalidIstioTests {
    /// One object that cannot be, and the field that says so.
    struct Case: CustomTestStringConvertible, Sendable {
        var kind: ResourceKind
        var spec: String
        var field: String

        init(_ kind: ResourceKind, _ spec: String, _ field: String) {
            self.kind = kind
            self.spec = spec
            self.field = field
        }

        var testDescription: String { "\(kind.kind) \(spec)" }
    }

    static func fields(_ kind: ResourceKind, _ spec: String?, _ metadata: String = "name: a") throws -> [String] {
        let text = "kind: \(kind.kind)\nmetadata: {\(metadata)}\n" + (spec.map { "spec: \($0)\n" } ?? "")
        let json = try #require(try YAML.parse(text, file: "test").first?.json)
        var decoder = SchemaDecoder()
        let object = KubernetesObject(json: try decoder.decode(json, as: kind))
        #expect(decoder.unknownFields.isEmpty)
        return Validator.problems(of: object, kind: kind).map(\.path)
    }

    private static let telemetry =
        ResourceKinds.standard.kind(apiVersion: "telemetry.istio.io/v1", kind: "Telemetry") ?? .pod
    private static let longText = String(repeating: "x", count: 64)
    private static let warmup = "spec.trafficPolicy.loadBalancer.warmup"

    @Test(
        "bounds of numbers, texts and lists",
        arguments: [
            Case(
                .destinationRule,
                "{host: a, trafficPolicy: {loadBalancer: {warmup: {duration: 3s, minimumPercent: 101}}}}",
                "\(warmup).minimumPercent"),
            Case(
                .destinationRule,
                "{host: a, trafficPolicy: {loadBalancer: {warmup: {duration: 3s, aggression: -0.5}}}}",
                "\(warmup).aggression"),
            Case(
                .destinationRule,
                "{host: a, trafficPolicy: {outlierDetection: {outlierDetectionHttpErrorCodes: [503, 99]}}}",
                "spec.trafficPolicy.outlierDetection.outlierDetectionHttpErrorCodes[1]"),
            Case(.proxyConfig, "{concurrency: -2}", "spec.concurrency"),
            Case(
                .destinationRule, "{host: a, trafficPolicy: {connectionPool: {tcp: {connectTimeout: 999us}}}}",
                "spec.trafficPolicy.connectionPool.tcp.connectTimeout"),
            Case(.virtualService, "{hosts: [a], http: [{timeout: 0.5ms}]}", "spec.http[0].timeout"),
            Case(.peerAuthentication, "{selector: {matchLabels: {a: b}}, portLevelMtls: {}}", "spec.portLevelMtls"),
            Case(
                .requestAuthentication, "{jwtRules: [{issuer: a, audiences: [b, '']}]}", "spec.jwtRules[0].audiences[1]"
            ),
            Case(
                .requestAuthentication, "{jwtRules: [{issuer: a, fromParams: ['']}]}", "spec.jwtRules[0].fromParams[0]"),
            Case(
                .requestAuthentication, "{jwtRules: [{issuer: a, fromCookies: ['']}]}",
                "spec.jwtRules[0].fromCookies[0]"),
            Case(
                .requestAuthentication, "{jwtRules: [{issuer: a, spaceDelimitedClaims: ['']}]}",
                "spec.jwtRules[0].spaceDelimitedClaims[0]"),
            Case(
                telemetry, "{metrics: [{overrides: [{match: {customMetric: ''}}]}]}",
                "spec.metrics[0].overrides[0].match.customMetric"),
            Case(.workloadEntry, "{address: 192.0.2.1, ports: {http: 70000}}", "spec.ports[http]"),
            Case(
                .workloadGroup, "{template: {}, probe: {tcpSocket: {port: 80}, periodSeconds: -1}}",
                "spec.probe.periodSeconds"),
            Case(
                .serviceEntry, "{hosts: [a.example], workloadSelector: {labels: {a: \(longText)}}}",
                "spec.workloadSelector.labels[a]"),
        ])
    func bounds(_ one: Case) throws {
        #expect(try Self.fields(one.kind, one.spec) == [one.field])
    }

    @Test(
        "a kind that is nothing without a spec needs one",
        arguments: [ResourceKind.serviceEntry, .workloadEntry, .workloadGroup])
    func noSpec(kind: ResourceKind) throws {
        #expect(try Self.fields(kind, nil) == ["spec"])
    }

    @Test(
        "selectors and targets",
        arguments: [
            Case(
                .serviceEntry, "{hosts: [a.example], workloadSelector: {labels: {app: 'a*'}}}",
                "spec.workloadSelector.labels[app]"),
            Case(
                .sidecar, "{workloadSelector: {labels: {'a*': b}}, egress: [{hosts: ['*/*']}]}",
                "spec.workloadSelector.labels"),
            Case(.proxyConfig, "{selector: {matchLabels: {'': b}}}", "spec.selector.matchLabels"),
            Case(telemetry, "{selector: {matchLabels: {app: '*'}}}", "spec.selector.matchLabels[app]"),
            Case(
                .requestAuthentication, "{targetRef: {kind: Service, name: a}, targetRefs: [{kind: Service, name: b}]}",
                "spec.targetRefs"),
            Case(
                telemetry, "{selector: {matchLabels: {a: b}}, targetRef: {kind: Service, name: a}}", "spec.targetRef"),
            Case(
                .envoyFilter, "{workloadSelector: {labels: {a: b}}, targetRefs: [{kind: Gateway, name: a}]}",
                "spec.targetRefs"),
            Case(
                .authorizationPolicy, "{targetRefs: [{kind: Service, name: a, namespace: b}]}",
                "spec.targetRefs[0].namespace"),
            Case(.requestAuthentication, "{targetRef: {group: a_b, kind: Service, name: a}}", "spec.targetRef.group"),
            Case(.requestAuthentication, "{targetRef: {kind: Serv_ice, name: a}}", "spec.targetRef.kind"),
        ])
    func selectors(_ one: Case) throws {
        #expect(try Self.fields(one.kind, one.spec) == [one.field])
    }

    @Test(
        "rules between fields",
        arguments: [
            Case(
                .requestAuthentication,
                "{jwtRules: [{issuer: a, outputClaimToHeaders: [{claim: b, header: ':path'}]}]}",
                "spec.jwtRules[0].outputClaimToHeaders[0].header"),
            Case(
                telemetry, "{metrics: [{overrides: [{tagOverrides: {a: {operation: UPSERT}}}]}]}",
                "spec.metrics[0].overrides[0].tagOverrides[a].value"),
            Case(
                telemetry, "{metrics: [{overrides: [{tagOverrides: {a: {operation: REMOVE, value: b}}}]}]}",
                "spec.metrics[0].overrides[0].tagOverrides[a].value"),
            Case(.workloadEntry, "{address: 'unix:///run/'}", "spec.address"),
            Case(.workloadEntry, "{address: 'unix://run'}", "spec.address"),
            Case(.workloadEntry, "{address: 'unix://@run', ports: {http: 80}}", "spec.ports"),
            Case(.workloadEntry, "{address: 192.0.2.1, ports: {'a_b': 80}}", "spec.ports"),
            Case(.workloadGroup, "{template: {}, probe: {tcpSocket: {port: 0}}}", "spec.probe.tcpSocket.port"),
            Case(
                .workloadGroup, "{template: {}, probe: {httpGet: {port: 80, httpHeaders: [{name: 'a:'}]}}}",
                "spec.probe.httpGet.httpHeaders[0].name"),
            Case(
                .workloadGroup, "{template: {}, probe: {httpGet: {port: 80, scheme: http}}}",
                "spec.probe.httpGet.scheme"),
            Case(.workloadGroup, "{template: {}, probe: {exec: {command: []}}}", "spec.probe.exec.command"),
            Case(
                .envoyFilter, patch("HTTP_FILTER", "{context: GATEWAY, waypoint: {}}"),
                "spec.configPatches[0].match.waypoint"),
            Case(
                .envoyFilter, patch("CLUSTER", "{listener: {portNumber: 80}}"), "spec.configPatches[0].match.listener"),
            Case(.envoyFilter, patch("VIRTUAL_HOST", "{cluster: {name: a}}"), "spec.configPatches[0].match.cluster"),
            Case(
                .envoyFilter,
                patch("NETWORK_FILTER", "{listener: {filterChain: {filter: {name: a, subFilter: {name: b}}}}}"),
                "spec.configPatches[0].match.listener.filterChain.filter.subFilter"),
            Case(
                .envoyFilter,
                patch("HTTP_FILTER", "{listener: {filterChain: {filter: {name: a, subFilter: {name: b}}}}}"),
                "spec.configPatches[0].match.listener.filterChain.filter.name"),
            Case(
                .envoyFilter, patch("HTTP_FILTER", "{listener: {filterChain: {filter: {subFilter: {name: b}}}}}"),
                "spec.configPatches[0].match.listener.filterChain.filter.name"),
        ])
    func rules(_ one: Case) throws {
        #expect(try Self.fields(one.kind, one.spec) == [one.field])
    }

    private static func patch(_ subject: String, _ match: String) -> String {
        "{configPatches: [{applyTo: \(subject), match: \(match), patch: {operation: REMOVE}}]}"
    }

    @Test(
        "what is within the bounds is taken",
        arguments: [
            (
                ResourceKind.destinationRule,
                "{host: a, trafficPolicy: {loadBalancer: {warmup: {duration: 3s, minimumPercent: 100, aggression: 1.5}}}}"
            ),
            (.workloadEntry, "{address: 'unix://@run'}"), (.workloadEntry, "{network: a}"),
            (
                .workloadGroup,
                "{template: {}, probe: {httpGet: {port: 80, scheme: HTTPS, httpHeaders: [{name: X-a_1}]}}}"
            ),
            (
                telemetry,
                "{targetRef: {group: gateway.networking.k8s.io, kind: Gateway, name: a}, metrics: [{overrides: [{tagOverrides: {a: {value: b}}}]}]}"
            ),
            (
                .envoyFilter,
                patch(
                    "HTTP_FILTER",
                    "{listener: {filterChain: {filter: {name: envoy.http_connection_manager, subFilter: {name: b}}}}}")
            ),
        ])
    func taken(kind: ResourceKind, spec: String) throws {
        #expect(try Self.fields(kind, spec).isEmpty)
    }
}
