import KubernetesAPI
import Mesh
import Serialization
import Testing

@Suite("Analysis of many objects")
struct AnalysisTests {
    private func files(_ folder: String, _ names: [String]) throws -> [KubernetesObject] {
        try names.flatMap { try Repository.objects(Repository.read("\(folder)/\($0)")) }
    }

    private func findings(_ objects: [KubernetesObject]) -> [String] {
        MeshAnalysis(objects).run().findings.map {
            "\($0.diagnostic.code.id) \($0.diagnostic.kind) \($0.diagnostic.object.name) \($0.diagnostic.field)"
        }
    }

    @Test("the bookstore has no finding, with each of its sets of rules")
    func bookstore() throws {
        for name in [
            "traffic.yaml", "gateway-api/gateway-api.yaml", "ingress/ingress.yaml", "fault/ratings-delay.yaml",
        ] {
            #expect(findings(try files("examples/bookstore", ["bookstore.yaml", name])).isEmpty, "\(name)")
        }
    }

    @Test("of the tutorials' manifests only what they really lack is found")
    func manifests() throws {
        let names = try Repository.names("examples/manifests").filter { $0.hasSuffix(".yaml") }
        #expect(names.count == 7)
        // Each is a tutorial's piece: it names a Gateway, services and pods that it does not have, or repeats another.
        #expect(
            findings(try files("examples/manifests", names)) == [
                "SKN0305 VirtualService my-virtual-service spec.gateways[0]",
                "SKN0103 Service my-service metadata.name", "SKN0103 Deployment my-deployment metadata.name",
                "SKN0305 VirtualService my-service spec.gateways[0]",
                "SKN0301 VirtualService my-service spec.http[0].route[0].destination.host",
                "SKN0301 VirtualService my-service spec.http[1].route[0].destination.host",
                "SKN0301 VirtualService my-service spec.http[2].route[0].destination.host",
                "SKN0201 Service hello spec.selector", "SKN0201 Service world spec.selector",
            ])
    }

    private func found(_ yaml: String) throws -> [String] {
        try MeshAnalysis(Repository.objects(yaml)).run().findings.map {
            "\($0.diagnostic.code.id) \($0.diagnostic.field)"
        }
    }

    @Test("S-4 ServiceEntries without addresses share a port that speaks TLS, by the server name, and no other")
    func namesWithoutAddresses() throws {
        func entries(_ protocolName: String) throws -> [String] {
            try found(
                ["one.example", "two.example"].map { host in
                    """
                    ---
                    apiVersion: networking.istio.io/v1
                    kind: ServiceEntry
                    metadata: {name: \(host)}
                    spec:
                      hosts: [\(host)]
                      resolution: NONE
                      ports: [{number: 443, name: p, protocol: \(protocolName)}]

                    """
                }.joined())
        }
        #expect(try entries("TCP").filter { $0.hasPrefix("SKN0710") } == ["SKN0710 spec.addresses"])
        for name in ["TLS", "HTTPS"] { #expect(try entries(name).allSatisfy { !$0.hasPrefix("SKN0710") }, "\(name)") }
    }

    @Test("MUTUAL without authorities is verified with those of the system, as SIMPLE is, unless nobody shall verify")
    func mutualWithoutAuthorities() throws {
        func codes(_ tls: String) throws -> [String] {
            try found(
                """
                apiVersion: networking.istio.io/v1
                kind: DestinationRule
                metadata: {name: db}
                spec: {host: db.example, trafficPolicy: {tls: {mode: MUTUAL, \(tls)}}}

                """
            ).filter { $0.hasPrefix("SKN0415") }
        }
        let files = "clientCertificate: /c, privateKey: /k"
        #expect(try codes(files) == ["SKN0415 spec.trafficPolicy.tls.caCertificates"])
        #expect(try codes(files + ", caCertificates: /a").isEmpty)
        #expect(try codes(files + ", insecureSkipVerify: true").isEmpty)
        #expect(try codes("credentialName: s").isEmpty)
    }

    private func errors(_ api: String, _ kind: String, _ spec: String) throws -> [String] {
        let yaml = "apiVersion: \(api).istio.io/v1\nkind: \(kind)\nmetadata: {name: a}\nspec: {\(spec)}\n"
        return try MeshAnalysis(Repository.objects(yaml)).run().findings.filter {
            $0.diagnostic.severity == .error
        }.map { "\($0.diagnostic.code.id) \($0.diagnostic.field)" }
    }

    @Test("S-14 DNS resolves the names of endpoints, whatever the host; a wildcard without endpoints is refused")
    func wildcardsWithEndpoints() throws {
        let entry = "hosts: ['*.example'], resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}]"
        #expect(try errors("networking", "ServiceEntry", entry) == ["SKN0701 spec.hosts[0]"])
        #expect(try errors("networking", "ServiceEntry", entry + ", endpoints: [{address: one.example}]").isEmpty)
    }

    @Test("a policy whose from, to or when is there and empty is refused: read as absent it would let everybody in")
    func emptyRules() throws {
        for member in ["from", "to", "when"] {
            #expect(
                try errors("security", "AuthorizationPolicy", "rules: [{\(member): []}]")
                    == ["SKN0102 spec.rules[0].\(member)"])
        }
        #expect(try errors("security", "AuthorizationPolicy", "rules: [{}]").isEmpty)
        #expect(try errors("security", "AuthorizationPolicy", "rules: []").isEmpty)
        #expect(
            try errors(
                "security", "AuthorizationPolicy", "rules: [{when: [{key: 'request.headers[x]', values: [a, '']}]}]")
                == ["SKN0102 spec.rules[0].when[0].values"])
    }

    @Test("a Gateway needs servers, with ports that there are, names of their own, and hosts")
    func gatewayServers() throws {
        func server(_ port: String, _ host: String = "a.example") -> String {
            "{port: {\(port), protocol: HTTP}, hosts: ['\(host)']}"
        }
        func errors(_ servers: String) throws -> [String] {
            try self.errors("networking", "Gateway", "selector: {istio: ingressgateway}, servers: [\(servers)]")
        }
        #expect(try errors("") == ["SKN0102 spec.servers"])
        #expect(try errors(server("number: 66000, name: a")) == ["SKN0102 spec.servers[0].port.number"])
        #expect(
            try errors(server("number: 80, name: a") + ", " + server("number: 81, name: a"))
                == ["SKN0102 spec.servers[1].port.name"])
        #expect(try errors(server("number: 80, name: a", "*a.example")) == ["SKN0102 spec.servers[0].hosts[0]"])
        for host in ["*", "*.a.example", "./*.example", "ns/a.example"] {
            #expect(try errors(server("number: 80, name: a", host)).isEmpty, "\(host)")
        }
    }

    @Test("a Sidecar hands what comes to its pod to nobody else, and has each port once")
    func sidecarPorts() throws {
        func ingress(_ endpoint: String) throws -> [String] {
            try errors(
                "networking", "Sidecar",
                "ingress: [{port: {number: 90, name: p, protocol: HTTP}, defaultEndpoint: '\(endpoint)'}]")
        }
        for fine in ["127.0.0.1:80", "0.0.0.0:80", "[::1]:80", "unix:///a", ":80"] {
            #expect(try ingress(fine).isEmpty, "\(fine)")
        }
        for bad in ["1.1.1.1:80", "[1:1:1:1:1:1:1:1]:90", "unix:///", "127.0.0.1", "127.0.0.1:0"] {
            #expect(try ingress(bad) == ["SKN0907 spec.ingress[0].defaultEndpoint"], "\(bad)")
        }
        let port = "{port: {number: 90, name: p, protocol: HTTP}"
        #expect(
            try errors("networking", "Sidecar", "ingress: [\(port)}, \(port)}]")
                == ["SKN0907 spec.ingress[1].port.number"])
        #expect(
            try errors("networking", "Sidecar", "egress: [\(port), hosts: ['./*']}, \(port), hosts: ['./*']}]")
                == ["SKN0906 spec.egress[1].port"])
        #expect(
            try errors(
                "networking", "Sidecar",
                "egress: [{port: {number: 70000, name: p, protocol: HTTP}, hosts: ['./*']}]")
                == ["SKN0906 spec.egress[0].port.number"])
    }

    @Test("a policy that leaves out a namespace which is not there leaves out nobody")
    func absentNamespaces() throws {
        let policy = """
            apiVersion: security.istio.io/v1
            kind: AuthorizationPolicy
            metadata: {name: web}
            spec: {rules: [{from: [{source: {notNamespaces: [default, banc]}}]}]}

            """
        #expect(
            try found(policy).filter { $0.hasPrefix("SKN0814") } == [
                "SKN0814 spec.rules[0].from[0].source.notNamespaces[1]"
            ])
    }

    /// So many services with a Deployment, a rule, a policy and an authorization each.
    private func mesh(_ count: Int) throws -> [KubernetesObject] {
        var text = ""
        for index in 0..<count {
            text += """
                ---
                apiVersion: v1
                kind: Service
                metadata: {name: s\(index)}
                spec: {selector: {app: s\(index)}, ports: [{name: http, port: 80, targetPort: 8080}]}
                ---
                apiVersion: apps/v1
                kind: Deployment
                metadata: {name: s\(index)}
                spec:
                  selector: {matchLabels: {app: s\(index)}}
                  template:
                    metadata: {labels: {app: s\(index), version: v1}}
                    spec: {containers: [{name: c, image: "registry.example/s:1", ports: [{name: http, containerPort: 8080}]}]}
                ---
                apiVersion: networking.istio.io/v1
                kind: VirtualService
                metadata: {name: s\(index)}
                spec: {hosts: [s\(index)], http: [{route: [{destination: {host: s\(index), subset: v1}}]}]}
                ---
                apiVersion: networking.istio.io/v1
                kind: DestinationRule
                metadata: {name: s\(index)}
                spec: {host: s\(index), subsets: [{name: v1, labels: {version: v1}}]}
                ---
                apiVersion: security.istio.io/v1
                kind: AuthorizationPolicy
                metadata: {name: s\(index)}
                spec: {selector: {matchLabels: {app: s\(index)}}, rules: [{from: [{source: {namespaces: [default]}}]}]}

                """
        }
        return try Repository.objects(text)
    }

    @Test("a thousand services with a thousand rules have no finding, and cost what ten times a hundred cost")
    func scale() throws {
        let small = MeshAnalysis(try mesh(100)).run()
        let large = MeshAnalysis(try mesh(1_000)).run()
        #expect(small.findings.isEmpty && large.findings.isEmpty, "\(large.findings.prefix(3))")
        #expect(large.work > 5_000)
        #expect(large.work <= small.work * 11, "\(small.work) for 100, \(large.work) for 1,000")
    }

    /// So many of each kind that is looked up by labels, hosts or names.
    private func others(_ count: Int) throws -> [KubernetesObject] {
        var text = ""
        for index in 0..<count {
            func add(_ version: String, _ kind: String, _ spec: String) {
                text += """
                    ---
                    apiVersion: \(version)
                    kind: \(kind)
                    metadata: {name: s\(index)}
                    spec: \(spec)

                    """
            }
            add(
                "networking.istio.io/v1", "Sidecar",
                "{workloadSelector: {labels: {app: s\(index)}}, egress: [{hosts: ['./*']}]}")
            add("networking.istio.io/v1", "WorkloadEntry", "{address: 192.0.2.1, labels: {app: s\(index)}}")
            add(
                "networking.istio.io/v1", "ServiceEntry",
                "{hosts: [h\(index).example], addresses: [10.\(index / 250).\(index % 250).1], resolution: STATIC, "
                    + "workloadSelector: {labels: {app: s\(index)}}, ports: [{number: 81, name: tcp, protocol: TCP}]}")
            add(
                "networking.istio.io/v1", "Gateway",
                "{selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [g\(index).example]}]}"
            )
            add(
                "security.istio.io/v1", "PeerAuthentication",
                "{selector: {matchLabels: {app: s\(index)}}, mtls: {mode: STRICT}}")
            add(
                "telemetry.istio.io/v1", "Telemetry",
                "{selector: {matchLabels: {app: s\(index)}}, tracing: [{randomSamplingPercentage: 1}]}")
            add(
                "gateway.networking.k8s.io/v1", "HTTPRoute",
                "{parentRefs: [{group: '', kind: Service, name: s\(index)}], rules: [{backendRefs: [{name: s\(index), port: 80}]}]}"
            )
        }
        return try mesh(count) + Repository.objects(text)
    }

    @Test("many objects of the other kinds cost as much each as few")
    func scaleOfOthers() throws {
        let small = MeshAnalysis(try others(30)).run()
        let large = MeshAnalysis(try others(300)).run()
        // Nobody names the Gateways: the only thing to say.
        #expect(large.findings.count == 300 && large.findings.allSatisfy { $0.diagnostic.code == .gatewayWithoutRules })
        #expect(large.work <= small.work * 11, "\(small.work) for 30, \(large.work) for 300")
    }

    @Test("objects beside are seen, and nothing is said of them")
    func beside() throws {
        let rule = World.rule("x", "hosts: [web]\nhttp: [{route: [{destination: {host: web}}]}]")
        let service = try Repository.objects(World.service("web", ip: 1))
        let alone = MeshAnalysis(try Repository.objects(rule)).run().findings.map(\.diagnostic.code)
        #expect(alone.contains(.unknownDestinationHost))
        #expect(MeshAnalysis(try Repository.objects(rule), beside: service).run().findings.isEmpty)
    }

    @Test("an object of the files stands in the place of the one beside")
    func replaces() throws {
        let old = try Repository.objects(
            World.rule("x", "hosts: [web]\nhttp: [{route: [{destination: {host: gone}}]}]"))
        let new = try Repository.objects(
            Repository.read("docs/analysis/shop.yaml")
                + World.rule("x", "hosts: [web]\nhttp: [{route: [{destination: {host: web}}]}]"))
        #expect(MeshAnalysis(new, beside: old).run().findings.isEmpty)
    }

    @Test("the same objects give the same report")
    func deterministic() throws {
        let objects = try Repository.objects(Repository.read("docs/analysis/shop.yaml")).filter { $0.kind != "Service" }
        let first = MeshAnalysis(objects).run().findings
        #expect(!first.isEmpty)
        for _ in 0..<5 { #expect(MeshAnalysis(objects).run().findings == first) }
    }

    @Test("objects of any shape are read without a trap", arguments: MeshObjects.Kind.allCases)
    func shapes(kind: MeshObjects.Kind) throws {
        let specs: [JSON] = [
            .null, "text", [], ["hosts": [1, "", "*"], "http": [[:], "x"], "servers": [["port": ["number": -1]]]],
            [
                "host": "", "subsets": [[:], ["labels": "x"]], "ports": [["port": -5], ["port": 1_000_000]],
                "rules": [[:]],
            ],
            ["selector": ["matchLabels": ["": ""]], "egress": [["hosts": ["/", "a/"]]], "ingress": [[:]]],
        ]
        for (index, spec) in specs.enumerated() {
            let version = kind.group.isEmpty ? "v1" : "\(kind.group)/v1"
            let object = KubernetesObject(json: [
                "apiVersion": .string(version), "kind": .string(kind.name),
                "metadata": ["name": .string("x\(index)"), "namespace": "default"], "spec": spec,
            ])
            _ = MeshAnalysis([object, object]).run()
        }
    }

    @Test("a finding is suppressed by code, kind and name, by Istio's code, and by the object's own annotation")
    func suppression() throws {
        let yaml = World.rule("x", "hosts: [web]\nhttp: [{route: [{destination: {host: gone}}]}]")
        let finding = try #require(
            try Repository.findings(yaml).first { $0.code == .unknownDestinationHost })
        func covers(_ text: String) -> Bool? { Suppression(text)?.covers(finding) }
        #expect(covers("SKN0301=VirtualService x.default") == true)
        #expect(covers("IST0101=VirtualService *.default") == true)
        #expect(covers("*=* x*") == true)
        #expect(covers("SKN0301=VirtualService y.default") == false)
        #expect(covers("SKN0302=VirtualService x.default") == false)
        #expect(covers("SKN0301=Service x.default") == false)
        #expect(covers("SKN9999=Service x.default") == nil && covers("SKN0301") == nil && covers("SKN0301=x") == nil)
        func isQuiet(_ name: String, _ value: String) -> Bool {
            var object = KubernetesObject(json: ["metadata": ["name": "x"]])
            object.metadata.annotations = [name: value]
            return Suppression.isSuppressed(finding, by: object)
        }
        #expect(isQuiet("skein.dev/analyze-suppress", "SKN0999, SKN0301") && isQuiet("skein.dev/analyze-suppress", "*"))
        #expect(isQuiet("galley.istio.io/analyze-suppress", "IST0101"))
        #expect(!isQuiet("skein.dev/analyze-suppress", "SKN0302") && !isQuiet("other", "*"))
    }

    @Test("X-4 dead configuration is accepted with warnings that end with their code")
    func admission() throws {
        let world = try World(World.rule("x", "hosts: [web]\nhttp: [{route: [{destination: {host: gone}}]}]"))
        #expect(world.warnings(.virtualService).allSatisfy { $0.hasSuffix(" [SKN0301]") })
        #expect(!world.warnings(.virtualService).isEmpty)
    }

    @Test("mutual TLS that one side does not speak is found at both objects, and at the port that says it")
    func mutualTLS() throws {
        func fields(_ mode: String, _ policy: String, _ extra: String = "") throws -> [String] {
            try Repository.findings(
                World.policy("reviews", "host: reviews\ntrafficPolicy: \(policy)") + """
                    ---
                    apiVersion: security.istio.io/v1
                    kind: PeerAuthentication
                    metadata: {name: default}
                    spec: {mtls: {mode: \(mode)}}
                    \(extra)
                    """
            ).filter { $0.code == .mutualTLSConflict }.map { "\($0.kind) \($0.field)" }.sorted()
        }
        #expect(
            try fields("STRICT", "{tls: {mode: DISABLE}}") == [
                "DestinationRule spec.trafficPolicy.tls.mode", "PeerAuthentication spec.mtls.mode",
            ])
        #expect(
            try fields("STRICT", "{portLevelSettings: [{port: {number: 80}, tls: {mode: DISABLE}}]}") == [
                "DestinationRule spec.trafficPolicy.portLevelSettings[0].tls.mode"
            ])
        #expect(
            try fields("DISABLE", "{tls: {mode: ISTIO_MUTUAL}}") == ["DestinationRule spec.trafficPolicy.tls.mode"])
        #expect(try fields("PERMISSIVE", "{tls: {mode: DISABLE}}").isEmpty)
        #expect(try fields("STRICT", "{tls: {mode: ISTIO_MUTUAL}}").isEmpty)
    }

    @Test("two VirtualServices of one host conflict only where somebody sees both")
    func exportTo() throws {
        func conflicts(_ one: String, _ other: String) throws -> Int {
            let spec = "hosts: [api.example]\nhttp: [{route: [{destination: {host: web.default.svc.cluster.local}}]}]\n"
            return try Repository.findings(
                World.rule("a", namespace: "default", spec + "exportTo: \(one)")
                    + World.rule("b", namespace: "bank", spec + "exportTo: \(other)")
            ).count { $0.code == .hostClaimedTwice }
        }
        #expect(try conflicts("[]", "[]") == 2)
        #expect(try conflicts("['.']", "['.']") == 0)
        #expect(try conflicts("['.']", "[default]") == 2)
        #expect(try conflicts("['*']", "['~']") == 0)
        #expect(try conflicts("[bank]", "['.']") == 2)
    }

    @Test("a port is named by its place in the object, whatever the mesh leaves out before it")
    func ports() throws {
        let found = try Repository.findings(
            """
            apiVersion: v1
            kind: Service
            metadata: {name: web-raw}
            spec:
              selector: {app: web}
              ports:
                - {name: dns, port: 53, protocol: UDP, targetPort: 8080}
                - {name: tcp-raw, port: 81, targetPort: 8080}
            """)
        #expect(found.map { "\($0.code.id) \($0.field)" } == ["SKN0205 spec.ports[1]"])
    }

    @Test("Sidecars whose selectors differ and meet in a pod are both told, and which one wins")
    func sidecars() throws {
        func sidecar(_ name: String, _ labels: String) -> String {
            """
            ---
            apiVersion: networking.istio.io/v1
            kind: Sidecar
            metadata: {name: \(name)}
            spec: {workloadSelector: {labels: \(labels)}, egress: [{hosts: ["./*"]}]}

            """
        }
        let found = try Repository.findings(
            sidecar("a", "{app: reviews}") + sidecar("b", "{version: v1}") + sidecar("c", "{app: web}"))
        #expect(found.map { "\($0.code.id) \($0.object.name)" } == ["SKN0901 a", "SKN0901 b"])
    }

    @Test("connections: a route behind one without conditions, and the same conditions twice")
    func connections() throws {
        let found = try Repository.findings(
            World.rule(
                "db",
                """
                hosts: [db]
                tcp:
                - {match: [{port: 5432}], route: [{destination: {host: db}}]}
                - {match: [{port: 5432}], route: [{destination: {host: db}}]}
                - {route: [{destination: {host: db}}]}
                - {match: [{sourceLabels: {app: web}}], route: [{destination: {host: db}}]}
                """))
        #expect(
            found.map { "\($0.code.id) \($0.field)" } == ["SKN0307 spec.tcp[1]", "SKN0307 spec.tcp[3]"])
    }

    @Test("conditions are covered by the same ones and by shorter paths, whatever else they say")
    func covered() throws {
        func codes(_ matches: String) throws -> [String] {
            try Repository.findings(
                World.rule(
                    "x",
                    "hosts: [reviews]\nhttp:\n"
                        + matches.split(separator: "|").map {
                            "- {match: [\($0)], route: [{destination: {host: reviews}}]}"
                        }.joined(separator: "\n"))
            ).filter { [.matchCovered, .routeNeverReached].contains($0.code) }.map(\.field)
        }
        #expect(try codes("{uri: {prefix: /a}}|{uri: {exact: /a/b}}") == ["spec.http[1]"])
        #expect(
            try codes("{uri: {prefix: /a}}|{uri: {prefix: /ab}, method: {exact: GET}}") == ["spec.http[1]"])
        #expect(
            try codes("{headers: {x: {exact: y}}}|{name: n, headers: {x: {exact: y}}}") == ["spec.http[1]"])
        #expect(try codes("{uri: {exact: /a}}|{uri: {prefix: /a}}").isEmpty)
        #expect(try codes("{uri: {prefix: /a}, method: {exact: GET}}|{uri: {prefix: /a/b}}").isEmpty)
        #expect(try codes("{uri: {prefix: /a}}|{uri: {prefix: /A/b}, ignoreUriCase: true}").isEmpty)
        #expect(try codes("{uri: {prefix: /a}}|{uri: {regex: /a.*}}").isEmpty)
    }
}
