import Mesh
import Testing

@Suite("Findings about objects that share something")
struct SharedAnalysisTests {
    private func found(_ yaml: String) throws -> [String] {
        try Repository.findings(yaml).map { "\($0.code.id) \($0.object.name) \($0.field)" }
    }

    private func gateway(_ name: String, _ selector: String, _ port: String, _ more: String = "") -> String {
        """
        ---
        apiVersion: networking.istio.io/v1
        kind: Gateway
        metadata: {name: \(name)}
        spec:
          selector: \(selector)
          servers: [{port: \(port), hosts: [a.example]\(more)}]
        ---
        apiVersion: networking.istio.io/v1
        kind: VirtualService
        metadata: {name: to-\(name)}
        spec:
          hosts: [a.example]
          gateways: [\(name)]
          http: [{route: [{destination: {host: reviews}}]}]

        """
    }

    @Test("Gateways with different selectors for the same pods are told what a port speaks for the other")
    func selectors() throws {
        let both = "{istio: ingressgateway, app: istio-ingressgateway}"
        let found = try found(
            gateway("one", "{istio: ingressgateway}", "{number: 443, name: h, protocol: HTTP}")
                + gateway("two", both, "{number: 443, name: t, protocol: TCP}"))
        #expect(
            found.filter { $0.hasPrefix("SKN0504") } == [
                "SKN0504 one spec.servers[0].port", "SKN0504 two spec.servers[0].port",
            ])
        let apart = try self.found(
            gateway("one", "{istio: ingressgateway}", "{number: 80, name: h, protocol: HTTP}")
                + gateway("two", both, "{number: 443, name: t, protocol: TCP}"))
        #expect(apart.allSatisfy { !$0.hasPrefix("SKN0504") })
    }

    @Test("of Telemetries for the same pods the older one is told of the younger, too")
    func telemetries() throws {
        func telemetry(_ name: String, _ labels: String) -> String {
            """
            ---
            apiVersion: telemetry.istio.io/v1
            kind: Telemetry
            metadata: {name: \(name)}
            spec: {selector: {matchLabels: \(labels)}, accessLogging: [{disabled: true}]}

            """
        }
        let found = try found(
            telemetry("a", "{app: web}") + telemetry("b", "{app: web}") + telemetry("c", "{app: reviews}"))
        #expect(found == ["SKN0911 a spec.selector", "SKN0911 b spec.selector"])
        // Selectors that differ and meet in a pod.
        let meeting = try self.found(telemetry("a", "{app: reviews}") + telemetry("b", "{version: v1}"))
        #expect(meeting == ["SKN0911 a spec.selector", "SKN0911 b spec.selector"])
    }

    @Test("ServiceEntries that disagree about a port of a host are both told, where somebody sees both")
    func protocols() throws {
        func entries(_ scope: String) throws -> [String] {
            try found(
                ["HTTP", "TLS"].map { name in
                    """
                    ---
                    apiVersion: networking.istio.io/v1
                    kind: ServiceEntry
                    metadata: {name: \(name.lowercased()), namespace: \(name == "TLS" ? "bank" : "default")}
                    spec:
                      hosts: [api.other]
                      ports: [{number: 443, name: p, protocol: \(name)}]
                      resolution: DNS
                      exportTo: \(scope)

                    """
                }.joined()
            ).filter { $0.hasPrefix("SKN0717") }
        }
        let field = "spec.ports[0].protocol"
        #expect(try entries("['*']") == ["SKN0717 http \(field)", "SKN0717 tls \(field)"])
        #expect(try entries("['.']").isEmpty)
    }

    private func rule(_ first: String, _ second: String) throws -> [String] {
        try found(
            """
            apiVersion: networking.istio.io/v1
            kind: VirtualService
            metadata: {name: reviews}
            spec:
              hosts: [reviews]
              http:
                - match: \(first)
                  route: [{destination: {host: reviews}}]
                - match: \(second)
                  route: [{destination: {host: web}}]
            """)
    }

    @Test("H-2 a condition is covered by a shorter prefix with the same further conditions, and by no other")
    func covered() throws {
        let get = "method: {exact: GET}"
        let api = "[{uri: {prefix: /api}, \(get)}]"
        #expect(try rule(api, "[{uri: {prefix: /api/v2}, \(get)}]") == ["SKN0307 reviews spec.http[1]"])
        #expect(try rule(api, "[{uri: {exact: /api/v2}, \(get)}]") == ["SKN0307 reviews spec.http[1]"])
        #expect(
            try rule(api, "[{uri: {prefix: /api/v2}, \(get)}, {uri: {prefix: /b}}]")
                == ["SKN0334 reviews spec.http[1].match[0]"])
        #expect(try rule(api, "[{uri: {prefix: /api/v2}, method: {exact: POST}}]").isEmpty)
        #expect(try rule(api, "[{uri: {prefix: /api/v2}}]").isEmpty)
        #expect(try rule(api, "[{uri: {prefix: /API/v2}, \(get), ignoreUriCase: true}]").isEmpty)
        #expect(try rule("[{uri: {prefix: /api}}]", "[{uri: {prefix: /api/v2}, \(get)}]").count == 1)
    }

    @Test("a subset of a service without any endpoint is told, though admission says nothing")
    func subsets() throws {
        let found = try found(
            """
            apiVersion: v1
            kind: Service
            metadata: {name: empty}
            spec: {selector: {app: nobody}, ports: [{name: http, port: 80}]}
            ---
            apiVersion: networking.istio.io/v1
            kind: DestinationRule
            metadata: {name: empty}
            spec:
              host: empty
              trafficPolicy: {loadBalancer: {simple: RANDOM}}
              subsets: [{name: v1, labels: {version: v1}}]
            """)
        #expect(found == ["SKN0201 empty spec.selector", "SKN0402 empty spec.subsets[0].labels"])
    }

    @Test("pods that share the host's network may be any user, and the proxy's own container may be its user")
    func users() throws {
        func pod(_ spec: String) throws -> [String] {
            try found("{apiVersion: v1, kind: Pod, metadata: {name: x, labels: {app: x}}, spec: \(spec)}")
                .filter { $0.hasPrefix("SKN0212") }
        }
        let user = "securityContext: {runAsUser: 1337}"
        #expect(
            try pod("{\(user), containers: [{name: a, image: i}, {name: b, image: i}]}") == [
                "SKN0212 x spec.securityContext.runAsUser"
            ])
        #expect(try pod("{\(user), containers: [{name: a, image: i, securityContext: {runAsUser: 1}}]}").isEmpty)
        #expect(try pod("{hostNetwork: true, containers: [{name: a, image: i, \(user)}]}").isEmpty)
        #expect(try pod("{containers: [{name: istio-proxy, image: i, \(user)}]}").isEmpty)
    }

    @Test("Istio's kinds that are not there are refused with what to use instead; others in Kubernetes' words alone")
    func unknownKinds() {
        let wasm = UnknownKind.message(apiVersion: "extensions.istio.io/v1alpha1", kind: "WasmPlugin")
        #expect(wasm.hasPrefix("no matches for kind \"WasmPlugin\" in version \"extensions.istio.io/v1alpha1\": "))
        #expect(wasm.contains("EnvoyFilter"))
        #expect(
            UnknownKind.message(apiVersion: "v1", kind: "WasmPlugin")
                == "no matches for kind \"WasmPlugin\" in version \"v1\"")
    }
}
