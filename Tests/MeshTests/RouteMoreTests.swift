import EnvoyAPI
import KubernetesAPI
import Mesh
import Serialization
import Testing

@Suite("Mirrors, CORS, delegates, hashing, TLS routes (sections H, T, B)")
struct RouteMoreTests {
    private let toWeb = "route: [{destination: {host: web}}]"

    private func world(_ http: String, _ more: String...) throws -> World {
        try World(
            World.service("web", ip: 1), World.service("other", ip: 2), more.joined(),
            World.rule("r", "hosts: [web]\nhttp:\n" + http))
    }

    private func action(_ http: String, _ more: String = "") throws -> RouteAction {
        try #require(try world(http, more).snapshot().virtualHost("80", "web").routes.first?.forward)
    }

    private func errors(_ http: String, _ more: String = "") throws -> [String] {
        let world = try world(http, more)
        return world.objects.inOrder(.virtualService).flatMap(world.model.analyze).filter { $0.severity == .error }
            .map { "\($0.field): \($0.message)" }
    }

    @Test("H-16 an absent percentage copies everything, zero nothing; several mirrors are possible")
    func mirrors() throws {
        let other = "outbound|80||other.default.svc.cluster.local"
        let all = try action("- {mirror: {host: other}, \(toWeb)}").requestMirrorPolicies
        #expect(all.map(\.cluster) == [other] && all.first?.runtimeFraction == nil)
        #expect(
            try action("- {mirror: {host: other}, mirrorPercentage: {value: 0}, \(toWeb)}").requestMirrorPolicies
                .isEmpty)
        let some = try action(
            "- {mirrors: [{destination: {host: other}, percentage: {value: 12.5}}, {destination: {host: web}}], \(toWeb)}"
        ).requestMirrorPolicies
        #expect(some.count == 2 && some.first?.runtimeFraction?.defaultValue?.numerator == 125_000)
        #expect(try errors("- {mirror: {host: other}, mirrorPercentage: {value: 120}, \(toWeb)}").count == 1)
    }

    @Test("H-19 preflights that do not match are forwarded, unless IGNORE is written")
    func cors() throws {
        func policy(_ more: String) throws -> CorsFilterPolicy {
            let route = try #require(
                try world(
                    "- {corsPolicy: {allowOrigins: [{exact: 'https://a.example'}, {prefix: 'https://b'}], allowMethods: [GET, PUT], maxAge: 24h\(more)}, \(toWeb)}"
                ).snapshot().virtualHost("80", "web").routes.first)
            return try #require(route.typedPerFilterConfig["envoy.filters.http.cors"]).unpack()
        }
        let plain = try policy("")
        #expect(
            plain.forwardNotMatchingPreflights == true && plain.maxAge == "86400" && plain.allowMethods == "GET,PUT")
        #expect(
            plain.allowOriginStringMatch.map(\.matchPattern) == [.exact("https://a.example"), .prefix("https://b")])
        #expect(try policy(", unmatchedPreflights: IGNORE").forwardNotMatchingPreflights == false)
    }

    @Test("H-18 a delegate's routes stand for the root's, with the conditions of both")
    func delegate() throws {
        let world = try world(
            "- {name: root, match: [{uri: {prefix: /api}, headers: {x: {exact: y}}}], timeout: 3s, delegate: {name: d, namespace: team}}\n- {\(toWeb)}",
            World.service("inner", ip: 3, namespace: "team"),
            World.rule(
                "d", namespace: "team",
                """
                http:
                - {name: a, match: [{uri: {prefix: /api/v2}}], timeout: 5s, route: [{destination: {host: inner}}]}
                - {name: out, match: [{uri: {prefix: /other}}], route: [{destination: {host: inner}}]}
                - {match: [{uri: {regex: '/api/.*'}}], route: [{destination: {host: inner}}]}
                - {name: rest, route: [{destination: {host: inner}}]}
                """))
        let host = try world.snapshot().virtualHost("80", "web")
        #expect(
            host.outline == [
                "prefix:/api/v2 -> outbound|80||inner.team.svc.cluster.local",
                "prefix:/api -> outbound|80||inner.team.svc.cluster.local",
                "prefix:/ -> outbound|80||web.default.svc.cluster.local",
            ])
        #expect(host.routes.first?.name == "root-a" && host.routes.first?.forward?.timeout == .seconds(5))
        #expect(host.routes.first?.match?.headers.contains { $0.name == "x" } == true)
        let rest = try #require(host.routes.first { $0.name == "root-rest" })
        #expect(rest.forward?.timeout == .seconds(3))
        #expect(
            rest.metadata?.filterMetadata[Provenance.metadataKey]?["namespace"] == "team"
                && rest.metadata?.filterMetadata[Provenance.metadataKey]?["field"] == "spec.http[3]")
        let warnings = world.warnings(.virtualService)
        #expect(warnings.filter { $0.contains("is no part of default/r spec.http[0].match") }.count == 2)
    }

    @Test("H-18 a missing delegate, a delegate of a delegate and a delegate with gateways are told")
    func delegateProblems() throws {
        #expect(
            try world("- {delegate: {name: none}}").warnings(.virtualService).contains {
                $0.contains("spec.http[0].delegate: no VirtualService default/none")
            })
        let nested = try errors("- {delegate: {name: d}}", World.rule("d", "http: [{delegate: {name: e}}]"))
        #expect(nested.contains { $0.contains("a delegate cannot delegate") })
        let bound = try errors("- {\(toWeb)}", World.rule("d", "gateways: [mesh]\nhttp: [{\(toWeb)}]"))
        #expect(bound.contains { $0.hasPrefix("spec.gateways: a delegate") })
    }

    private func hashed(_ consistentHash: String) throws -> [RouteAction.HashPolicy] {
        try action(
            "- {\(toWeb)}",
            World.policy("p", "host: web\ntrafficPolicy: {loadBalancer: {consistentHash: \(consistentHash)}}")
        ).hashPolicy
    }

    @Test("B-2 B-3 consistent hashing has its half on the route")
    func hashing() throws {
        guard case .header(let header)? = try hashed("{httpHeaderName: X-User}").first?.policySpecifier,
            case .cookie(let cookie)? = try hashed("{httpCookie: {name: c, path: /p, ttl: 0s}}").first?.policySpecifier,
            case .connectionProperties(let connection)? = try hashed("{useSourceIp: true}").first?.policySpecifier,
            case .queryParameter(let query)? = try hashed("{httpQueryParameterName: q}").first?.policySpecifier
        else { return #expect(Bool(false)) }
        #expect(header.headerName == "x-user" && cookie.name == "c" && cookie.path == "/p" && cookie.ttl == .zero)
        #expect(connection.sourceIp && query.name == "q")
        let bare = try World(
            World.service("web", ip: 1),
            World.policy("p", "host: web\ntrafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true}}}")
        ).snapshot().virtualHost("80", "web")
        #expect(bare.routes.allSatisfy { $0.forward?.hashPolicy.count == 1 })
    }

    @Test("B-3 the policy of a subset counts for routes that name it")
    func hashingOfSubsets() throws {
        let policy = World.policy(
            "p",
            "host: web\nsubsets: [{name: v1, trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true}}}}, {name: v2}]"
        )
        #expect(try action("- {route: [{destination: {host: web, subset: v1}}]}", policy).hashPolicy.count == 1)
        #expect(try action("- {route: [{destination: {host: web, subset: v2}}]}", policy).hashPolicy.isEmpty)
    }

    @Test("H-12 a subset's policy acts on routes that name the subset only")
    func subsetPolicy() throws {
        let world = try world(
            "- {\(toWeb)}",
            World.policy(
                "p",
                "host: web\nsubsets: [{name: v1, labels: {version: v1}, trafficPolicy: {connectionPool: {tcp: {maxConnections: 7}}}}]"
            ))
        let snapshot = world.snapshot()
        func limit(_ subset: String) throws -> UInt32? {
            try snapshot.cluster("outbound|80|\(subset)|web.default.svc.cluster.local").circuitBreakers?.thresholds
                .first?
                .maxConnections
        }
        #expect(try limit("v1") == 7 && limit("") == .max)
        #expect(
            try snapshot.virtualHost("80", "web").outline == ["prefix:/ -> outbound|80||web.default.svc.cluster.local"])
    }

    @Test("S-10 sessionAffinity ClientIP hashes the caller's address, also for connections")
    func affinity() throws {
        let world = try World(
            World.service("web", ip: 1, extra: ", sessionAffinity: ClientIP"),
            World.service("db", ip: 2, port: "{name: tcp, port: 5432}", extra: ", sessionAffinity: ClientIP"))
        #expect(try world.snapshot().virtualHost("80", "web").routes.first?.forward?.hashPolicy.count == 1)
        let chain = try world.snapshot().listener("virtualOutbound").filterChains.first { $0.name.hasPrefix("db.") }
        #expect(try Chains.proxy(chain).hashPolicy.count == 1)
    }

    @Test("T-7 where the endpoint is hashed, tries go to it again")
    func hashedRetries() throws {
        let policy = World.policy(
            "p", "host: web\ntrafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true}}}")
        #expect(try action("- {\(toWeb)}", policy).retryPolicy?.retryHostPredicate.isEmpty == true)
        #expect(try action("- {\(toWeb)}").retryPolicy?.retryHostPredicate.count == 1)
    }

    @Test("T-4 tries may be sent to other localities, and to hosts that were tried")
    func retryPlaces() throws {
        let policy = try #require(
            try action(
                "- {retries: {attempts: 2, retryRemoteLocalities: true, retryIgnorePreviousHosts: false}, \(toWeb)}"
            ).retryPolicy)
        #expect(policy.retryPriority?.name == "envoy.retry_priorities.previous_priorities")
        #expect(policy.retryHostPredicate.isEmpty)
    }

    @Test("H-14 what is removed is not added; names of the router's own are refused")
    func headerOrder() throws {
        let route = try #require(
            try world("- {headers: {request: {set: {a: '1', b: '1'}, add: {c: '2'}, remove: [A, C]}}, \(toWeb)}")
                .snapshot()
                .virtualHost("80", "web").routes.first)
        #expect(
            route.requestHeadersToAdd.map { $0.header?.key } == ["b"] && route.requestHeadersToRemove == ["A", "C"])
        #expect(
            try errors("- {headers: {request: {add: {':path': x}, remove: [host]}}, \(toWeb)}").map {
                String($0.prefix { $0 != ":" })
            } == ["spec.http[0].headers.request.add[", "spec.http[0].headers.request.remove[0]"])
    }

    @Test("H-13 with ignoreUriCase the prefix is replaced in any case")
    func insensitiveRewrite() throws {
        let action = try action(
            "- {match: [{uri: {prefix: /Foo}, ignoreUriCase: true}], rewrite: {uri: /}, \(toWeb)}")
        #expect(action.regexRewrite?.pattern?.regex == "(?i)^/Foo(/?)(.*)")
        let regex = try self.action(
            "- {match: [{uri: {regex: '/a/(.*)'}}], rewrite: {uriRegexRewrite: {match: '^/a/(.*)', rewrite: '/b/\\1'}}, \(toWeb)}"
        )
        #expect(regex.regexRewrite?.substitution == "/b/\\1")
    }

    @Test("H-20 the name of statistics of a match is the route's")
    func statPrefix() throws {
        let host = try world("- {match: [{uri: {prefix: /a}, statPrefix: api}], \(toWeb)}").snapshot().virtualHost(
            "80", "web")
        #expect(host.routes.first?.statPrefix == "api")
    }

    @Test("ATK-36 a route with a bad expression is set aside alone, and its author told")
    func badRegex() throws {
        let http = """
            - {match: [{uri: {regex: '/a('}}], \(toWeb)}
            - {match: [{headers: {x: {regex: '['}}}], \(toWeb)}
            - {match: [{uri: {prefix: /b}}], route: [{destination: {host: other}}]}
            - {\(toWeb)}
            """
        #expect(
            try world(http).snapshot().virtualHost("80", "web").outline == [
                "prefix:/b -> outbound|80||other.default.svc.cluster.local",
                "prefix:/ -> outbound|80||web.default.svc.cluster.local",
            ])
        let errors = try errors(http)
        #expect(errors.count == 2 && errors.first?.hasPrefix("spec.http[0]: no proxy can use the route: ") == true)
    }

    @Test(
        "what cannot mean anything is refused with the path of the field",
        arguments: [
            (
                "- {retries: {attempts: 1, retryOn: 'gateway-eror'}, route: [{destination: {host: web}}]}",
                "retries.retryOn"
            ),
            ("- {retries: {attempts: -1}, route: [{destination: {host: web}}]}", "retries.attempts"),
            (
                "- {fault: {abort: {httpStatus: 99, percentage: {value: 1}}}, route: [{destination: {host: web}}]}",
                "fault.abort.httpStatus"
            ),
            (
                "- {fault: {delay: {percentage: {value: 101}, fixedDelay: 1s}}, route: [{destination: {host: web}}]}",
                "fault.delay.percentage.value"
            ),
            ("- {redirect: {redirectCode: 200}}", "redirect.redirectCode"),
            ("- {redirect: {uri: /}, route: [{destination: {host: web}}]}", "redirect"),
            ("- {match: [{uri: {exact: a, prefix: b}}], route: [{destination: {host: web}}]}", "match[0].uri"),
            ("- {route: [{destination: {host: web}, weight: -1}]}", "route[0].weight"),
            (
                "- {rewrite: {uri: /, uriRegexRewrite: {match: a, rewrite: b}}, route: [{destination: {host: web}}]}",
                "rewrite"
            ),
            ("- {timeout: 100us, route: [{destination: {host: web}}]}", "timeout"),
        ])
    func refusals(http: String, field: String) throws {
        let errors = try errors(http)
        #expect(errors.count == 1 && errors.first?.contains(field) == true, "\(errors)")
    }
}

@Suite("Routes of connections (spec.tls, spec.tcp)")
struct ConnectionRouteTests {
    private func listener(_ spec: String, port: String) throws -> Listener {
        try World(
            World.service("db", ip: 1, port: port), World.service("shadow", ip: 2, port: port),
            World.rule("r", "hosts: [db.default.svc.cluster.local]\n" + spec)
        ).snapshot().listener("virtualOutbound")
    }

    @Test("TLS routes choose by server name, then the service itself")
    func tls() throws {
        let listener = try listener(
            "tls: [{match: [{port: 443, sniHosts: [db.default.svc.cluster.local]}], route: [{destination: {host: shadow}}]}]",
            port: "{name: tls, port: 443}")
        let chain = try #require(listener.filterChains.first { $0.filterChainMatch?.serverNames.isEmpty == false })
        #expect(chain.filterChainMatch?.transportProtocol == "tls" && chain.filterChainMatch?.destinationPort == 443)
        #expect(try Chains.proxy(chain).clusterSpecifier == .cluster("outbound|443||shadow.default.svc.cluster.local"))
        #expect(listener.listenerFilters.contains { $0.name == "envoy.filters.listener.tls_inspector" })
        #expect(listener.filterChains.contains { $0.name == "db.default.svc.cluster.local_443_tcp" })
    }

    @Test("R-6 the port and the caller decide whether a TCP route counts; subnets are its addresses")
    func tcp() throws {
        let listener = try listener(
            """
            tcp:
            - {match: [{port: 1}, {sourceNamespace: other}], route: [{destination: {host: shadow}}]}
            - {match: [{destinationSubnets: [192.0.2.0/24]}], route: [{destination: {host: shadow}}]}
            - {route: [{destination: {host: db}, weight: 3}, {destination: {host: shadow}, weight: 1}]}
            """, port: "{name: tcp, port: 5432}")
        let chains = listener.filterChains.filter { $0.name.hasPrefix("db.") }
        #expect(
            chains.map { $0.filterChainMatch?.prefixRanges.first?.addressPrefix } == ["192.0.2.0", "10.96.0.1"])
        #expect(chains.first?.filterChainMatch?.prefixRanges.first?.prefixLen == 24)
        guard case .weightedClusters(let split) = try Chains.proxy(chains.last).clusterSpecifier else {
            return #expect(Bool(false))
        }
        #expect(split.clusters.map(\.weight) == [3, 1])
    }

    @Test("S-4 two chains never have one condition: the listener would be refused as a whole")
    func unique() throws {
        let listener = try listener(
            "tls: [{match: [{sniHosts: [db.default.svc.cluster.local]}], route: [{destination: {host: db}}]}, {match: [{sniHosts: [db.default.svc.cluster.local]}], route: [{destination: {host: shadow}}]}]",
            port: "{name: tls, port: 443}")
        let matches = listener.filterChains.compactMap(\.filterChainMatch)
        #expect(Set(matches).count == matches.count)
        #expect(listener.filterChains.filter { $0.filterChainMatch?.serverNames.isEmpty == false }.count == 1)
    }

    @Test("server names outside of the rule's hosts are refused")
    func foreignServerName() throws {
        let world = try World(
            World.rule(
                "r",
                "hosts: [a.example]\ntls: [{match: [{sniHosts: [b.example]}], route: [{destination: {host: a.example}}]}]"
            ))
        let errors = world.objects.inOrder(.virtualService).flatMap(world.model.analyze).filter {
            $0.severity == .error
        }
        #expect(errors.map(\.field) == ["spec.tls[0].match[0].sniHosts[0]"])
    }
}
