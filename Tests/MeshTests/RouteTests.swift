import EnvoyAPI
import Mesh
import Serialization
import Testing

@Suite("HTTP routing in VirtualServices (section H)")
struct RouteTests {
    /// The virtual host of `web` under a rule with those `http` routes.
    private func host(_ http: String, more: String = "") throws -> VirtualHost {
        try World(
            World.service("web", ip: 1), World.service("other", ip: 2), more,
            World.rule("r", "hosts: [web]\nhttp:\n" + http)
        ).snapshot().virtualHost("80", "web")
    }

    private let toWeb = "route: [{destination: {host: web}}]"

    @Test("H-1 list order is kept; conditions of one match are joined, several matches are alternatives")
    func order() throws {
        let host = try host(
            """
            - {match: [{uri: {prefix: /a}, headers: {x: {exact: "1"}}}, {uri: {exact: /b}}], \(toWeb)}
            - {match: [{uri: {prefix: /a/longer}}], \(toWeb)}
            """)
        #expect(host.outline.map { String($0.prefix { $0 != " " }) } == ["prefix:/a", "path:/b", "prefix:/a/longer"])
        #expect(host.routes.first?.match?.headers.contains { $0.name == "x" } == true)
    }

    @Test(
        "H-2 nothing after a catch-all is generated",
        arguments: ["", "match: [{uri: {prefix: /}}], ", "match: [{uri: {regex: '.*'}}], "])
    func catchAll(match: String) throws {
        let host = try host("- {\(match)\(toWeb)}\n- {match: [{uri: {prefix: /dead}}], \(toWeb)}")
        #expect(!host.outline.contains { $0.contains("/dead") })
    }

    @Test("H-3 a prefix of a VirtualService is a plain string prefix")
    func plainPrefix() throws {
        #expect(
            try host("- {match: [{uri: {prefix: /foo}}], \(toWeb)}").routes.first?.match?.pathSpecifier
                == .prefix("/foo"))
    }

    @Test("H-4 H-5 an empty match and the regex * mean present; inverted values count a missing header as empty")
    func headers() throws {
        let match = try #require(
            try host(
                "- {match: [{headers: {a: {}, b: {regex: '*'}}, withoutHeaders: {c: {exact: v}, d: {}}}], \(toWeb)}"
            ).routes.last?.match)
        let byName = Dictionary(uniqueKeysWithValues: match.headers.map { ($0.name, $0) })
        #expect(byName["a"]?.headerMatchSpecifier == .presentMatch(true))
        #expect(byName["b"]?.headerMatchSpecifier == .presentMatch(true))
        #expect(byName["c"]?.invertMatch == true && byName["c"]?.treatMissingHeaderAsEmpty == true)
        #expect(byName["d"]?.invertMatch == true && byName["d"]?.treatMissingHeaderAsEmpty == false)
    }

    @Test("H-6 in sidecars the oldest rule of a host wins, and both objects are told")
    func conflict() throws {
        let world = try World(
            World.service("web", ip: 1),
            World.rule("young", created: "2026-02-02T00:00:00Z", "hosts: [web]\nhttp: [{name: young, \(toWeb)}]"),
            World.rule("old", created: "2026-01-01T00:00:00Z", "hosts: [web]\nhttp: [{name: old, \(toWeb)}]"))
        #expect(try Set(world.snapshot().virtualHost("80", "web").routes.map(\.name)) == ["old"])
        #expect(
            world.warnings(.virtualService).contains {
                $0.contains("default/young") && $0.contains("older VirtualService default/old")
            })
    }

    @Test("H-6 on gateways the rules of a host are merged, catch-alls last")
    func merge() throws {
        let world = try World(
            World.service("web", ip: 1), World.service("other", ip: 2), World.gateway,
            World.rule(
                "a", created: "2026-01-01T00:00:00Z", "hosts: ['*']\ngateways: [my-gateway]\nhttp: [{\(toWeb)}]"),
            World.rule(
                "b", created: "2026-02-01T00:00:00Z",
                "hosts: ['*']\ngateways: [my-gateway]\nhttp: [{match: [{uri: {prefix: /b}}], route: [{destination: {host: other}}]}]"
            ))
        #expect(
            try world.gatewaySnapshot().virtualHost("http.80", "*").outline == [
                "prefix:/b -> outbound|80||other.default.svc.cluster.local",
                "prefix:/ -> outbound|80||web.default.svc.cluster.local",
            ])
    }

    @Test("H-7 weights are relative, a zero gets nothing, a lone destination everything")
    func weights() throws {
        let split = try host(
            "- route: [{destination: {host: web}, weight: 3}, {destination: {host: other}, weight: 0}, {destination: {host: other, subset: s}, weight: 1}]"
        )
        #expect(
            split.outline == [
                "prefix:/ -> outbound|80||web.default.svc.cluster.local=3 outbound|80|s|other.default.svc.cluster.local=1"
            ])
        let lone = try host("- route: [{destination: {host: other}, weight: 0}]")
        #expect(lone.outline == ["prefix:/ -> outbound|80||other.default.svc.cluster.local"])
    }

    @Test("H-8 several destinations without any weight are refused")
    func noWeights() throws {
        let world = try World(
            World.service("web", ip: 1),
            World.rule("r", "hosts: [web]\nhttp: [{route: [{destination: {host: web}}, {destination: {host: web}}]}]"))
        let found = world.objects.inOrder(.virtualService).flatMap(world.model.analyze)
        #expect(found.contains { $0.severity == .error && $0.message.contains("H-8") })
        #expect(try world.snapshot().virtualHost("80", "web").outline == ["prefix:/ -> status 503"])
    }

    @Test("H-9 without a port the only port of the service is taken, else the listener's")
    func destinationPort() throws {
        let world = try World(
            World.service("web", ip: 1), World.service("single", ip: 2, port: "{name: http, port: 9080}"),
            World.service("double", ip: 3, port: "{name: http, port: 81}, {name: http-b, port: 82}"),
            World.rule(
                "r",
                "hosts: [web]\nhttp: [{match: [{uri: {prefix: /d}}], route: [{destination: {host: double}}]}, {route: [{destination: {host: single}}]}]"
            ))
        #expect(
            try world.snapshot().virtualHost("80", "web").outline == [
                "prefix:/d -> outbound|80||double.default.svc.cluster.local",
                "prefix:/ -> outbound|9080||single.default.svc.cluster.local",
            ])
        #expect(world.warnings(.virtualService).contains { $0.contains("H-9") })
    }

    @Test("H-10 an unknown host still gives a route, and a warning with the field")
    func unknownHost() throws {
        let world = try World(
            World.service("web", ip: 1), World.rule("x", "hosts: [web]\nhttp: [{route: [{destination: {host: foo}}]}]"))
        let snapshot = world.snapshot()
        #expect(
            try snapshot.virtualHost("80", "web").outline == ["prefix:/ -> outbound|80||foo.default.svc.cluster.local"])
        #expect(snapshot.clusters["outbound|80||foo.default.svc.cluster.local"] == nil)
        #expect(
            world.warnings(.virtualService) == [
                "VirtualService default/x: spec.http[0].route[0].destination.host: no service "
                    + "\"foo.default.svc.cluster.local\": such requests get 503 (H-10) [SKN0301]"
            ])
    }

    @Test("H-11 an unknown subset gives no cluster and no fallback")
    func unknownSubset() throws {
        let world = try World(
            World.service("web", ip: 1),
            World.rule("x", "hosts: [web]\nhttp: [{route: [{destination: {host: web, subset: v9}}]}]"))
        #expect(world.snapshot().clusters["outbound|80|v9|web.default.svc.cluster.local"] == nil)
        #expect(world.warnings(.virtualService).contains { $0.contains("H-11") })
    }

    @Test("H-13 rewriting a prefix to / makes no double slash")
    func rewrite() throws {
        let toRoot = try #require(
            try host("- {match: [{uri: {prefix: /foo}}], rewrite: {uri: /}, \(toWeb)}").routes.first?.forward)
        #expect(toRoot.prefixRewrite.isEmpty && toRoot.regexRewrite?.pattern?.regex == "^/foo(/?)(.*)")
        #expect(toRoot.regexRewrite?.substitution == "/\\2")
        let plain = try #require(
            try host("- {match: [{uri: {prefix: /foo/}}], rewrite: {uri: /bar/, authority: new}, \(toWeb)}").routes
                .first?.forward)
        #expect(plain.prefixRewrite == "/bar/" && plain.hostRewriteSpecifier == .hostRewriteLiteral("new"))
    }

    @Test("H-14 set overwrites, add appends, remove deletes; the authority becomes a host rewrite")
    func headerOperations() throws {
        let route = try #require(
            try host(
                "- {headers: {request: {set: {a: '1', ':authority': h}, add: {b: '2'}, remove: [c, ':path', Host]}, response: {set: {d: '3'}}}, \(toWeb)}"
            ).routes.first)
        #expect(route.requestHeadersToAdd.map { $0.header?.key } == ["a", "b"])
        #expect(route.requestHeadersToAdd.map(\.appendAction) == [.overwriteIfExistsOrAdd, .appendIfExistsOrAdd])
        #expect(route.requestHeadersToRemove == ["c"])
        #expect(route.responseHeadersToAdd.map { $0.header?.key } == ["d"])
        #expect(route.forward?.hostRewriteSpecifier == .hostRewriteLiteral("h"))
    }

    @Test("H-15 a redirect is a 301 unless told otherwise, and drops the scheme's own port")
    func redirect() throws {
        guard
            case .redirect(let plain) = try host("- redirect: {uri: /new, authority: else, scheme: https, port: 443}")
                .routes.first?.action,
            case .redirect(let coded) = try host("- redirect: {redirectCode: 308, port: 8443}").routes.first?.action
        else { return #expect(Bool(false), "no redirects") }
        #expect(plain.responseCode == .movedPermanently && plain.portRedirect == 0)
        guard case .redirect(let moved) = try host("- redirect: {prefixRewrite: /v2}").routes.first?.action else {
            return #expect(Bool(false), "no redirect")
        }
        #expect(moved.pathRewriteSpecifier == .prefixRewrite("/v2"))
        #expect(plain.hostRedirect == "else" && plain.pathRewriteSpecifier == .pathRedirect("/new"))
        #expect(coded.responseCode == .permanentRedirect && coded.portRedirect == 8443)
    }

    @Test("H-17 a fault without a percentage injects nothing")
    func faults() throws {
        let none = try host("- {fault: {delay: {fixedDelay: 5s}}, \(toWeb)}").routes.first
        #expect(none?.typedPerFilterConfig.isEmpty == true)
        let some = try #require(
            try host(
                "- {fault: {delay: {fixedDelay: 5s, percentage: {value: 12.5}}, abort: {httpStatus: 418, percentage: {value: 100}}}, \(toWeb)}"
            ).routes.first)
        let fault: HTTPFault = try #require(some.typedPerFilterConfig["envoy.filters.http.fault"]).unpack()
        #expect(fault.delay?.faultDelaySecifier == .fixedDelay(.seconds(5)))
        #expect(fault.delay?.percentage?.numerator == 125_000 && fault.delay?.percentage?.denominator == .million)
        #expect(fault.abort?.errorType == .httpStatus(418))
    }

    @Test("H-20 the route's name is that of the route and that of the match")
    func names() throws {
        #expect(try host("- {name: r, match: [{name: m, uri: {prefix: /x}}], \(toWeb)}").routes.first?.name == "r.m")
    }

    @Test("every route knows the object and the field it came from")
    func provenance() throws {
        let metadata = try #require(try host("- {match: [{uri: {prefix: /a}}], \(toWeb)}").routes.first?.metadata)
        #expect(
            metadata.filterMetadata[Provenance.metadataKey]
                == ["kind": "VirtualService", "namespace": "default", "name": "r", "field": "spec.http[0].match[0]"])
    }

    @Test("a request that no route of the rule matches has no route")
    func unmatched() throws {
        #expect(try host("- {match: [{uri: {prefix: /only}}], \(toWeb)}").outline.count == 1)
    }
}

@Suite("Timeouts, retries and limits (section T, X-1)")
struct RetryTests {
    private func routes(_ http: String, config: String = "{}") throws -> [Route] {
        try World(
            World.service("web", ip: 1), World.rule("r", "hosts: [web]\nhttp:\n" + http),
            """
            apiVersion: v1
            kind: ConfigMap
            metadata: {name: istio, namespace: istio-system}
            data: {mesh: "\(config)"}
            """
        ).snapshot().virtualHost("80", "web").routes
    }

    @Test("T-1 no timeout is written as zero, never left out")
    func noTimeout() throws {
        #expect(try routes("- route: [{destination: {host: web}}]").allSatisfy { $0.forward?.timeout == .zero })
        #expect(
            try World(World.service("web", ip: 1)).snapshot().virtualHost("80", "web").routes.allSatisfy {
                $0.forward?.timeout == .zero
            })
        #expect(
            try routes("- {timeout: 1m30.5s, route: [{destination: {host: web}}]}").first?.forward?.timeout
                == .milliseconds(90_500))
    }

    @Test("X-1 by default idempotent methods are tried again more freely than others")
    func defaultRetries() throws {
        let routes = try World(World.service("web", ip: 1)).snapshot().virtualHost("80", "web").routes
        #expect(routes.count == 2)
        let free = try #require(routes.first), safe = try #require(routes.last)
        #expect(free.match?.headers.map(\.name) == [":method"])
        #expect(
            free.forward?.retryPolicy?.retryOn
                == "connect-failure,refused-stream,reset-before-request,reset,retriable-status-codes")
        #expect(free.forward?.retryPolicy?.retriableStatusCodes == [503])
        #expect(safe.match?.headers.isEmpty == true)
        #expect(safe.forward?.retryPolicy?.retryOn == "connect-failure,refused-stream,reset-before-request")
        #expect(
            safe.forward?.retryPolicy?.numRetries == 2 && safe.forward?.retryPolicy?.hostSelectionRetryMaxAttempts == 5)
    }

    @Test("X-1 a rule for one method needs one route")
    func oneMethod() throws {
        let post = try routes("- {match: [{method: {exact: POST}}], route: [{destination: {host: web}}]}")
        #expect(
            post.count == 1
                && post.first?.forward?.retryPolicy?.retryOn == "connect-failure,refused-stream,reset-before-request")
    }

    @Test("X-1 T-4 a switch restores Istio's conditions")
    func istioRetries() throws {
        let routes = try routes("- route: [{destination: {host: web}}]", config: "skein: {retries: istio}")
        #expect(
            routes.map { $0.forward?.retryPolicy?.retryOn } == [
                "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
            ])
    }

    @Test("T-4 attempts: 0 switches retries off")
    func noRetries() throws {
        let off = try routes("- {retries: {attempts: 0}, route: [{destination: {host: web}}]}")
        #expect(off.count == 1 && off.first?.forward?.retryPolicy == nil)
        let meshWide = try routes(
            "- route: [{destination: {host: web}}]", config: "defaultHttpRetryPolicy: {attempts: 0}")
        #expect(meshWide.count == 1 && meshWide.first?.forward?.retryPolicy == nil)
    }

    @Test("T-3 T-8 attempts, time per try and back-off are taken over")
    func explicitRetries() throws {
        let policy = try #require(
            try routes(
                "- {retries: {attempts: 3, perTryTimeout: 2s, backoff: 100ms}, timeout: 5s, route: [{destination: {host: web}}]}"
            ).first?.forward?.retryPolicy)
        #expect(policy.numRetries == 3 && policy.perTryTimeout == .seconds(2))
        #expect(
            policy.retryBackOff?.baseInterval == .milliseconds(100) && policy.retryBackOff?.maxInterval == .seconds(1))
    }

    @Test("T-6 numbers in retryOn are status codes")
    func statusCodes() throws {
        let policy = try #require(
            try routes("- {retries: {attempts: 1, retryOn: '503, reset'}, route: [{destination: {host: web}}]}").first?
                .forward?.retryPolicy)
        #expect(policy.retryOn == "reset,retriable-status-codes" && policy.retriableStatusCodes == [503])
    }

    @Test("T-5 inbound routes are tried again when the request did not get through")
    func inbound() throws {
        let world = try World(World.service("web", ip: 1), World.pod("p", "web", ip: 5))
        let manager = try Chains.manager(try world.snapshot("default/p").listener("virtualInbound").filterChains.first)
        guard case .routeConfig(let config) = manager.routeSpecifier else { return #expect(Bool(false)) }
        #expect(config.virtualHosts.first?.routes.first?.forward?.retryPolicy?.retryOn == "reset-before-request")
    }

    @Test("T-9 T-10 T-12 limits are unlimited unless a positive number is written")
    func limits() throws {
        let name = "outbound|80||web.default.svc.cluster.local"
        let plain = try World(World.service("web", ip: 1)).snapshot().cluster(name)
        #expect(plain.circuitBreakers?.thresholds.first?.maxRetries == .max && plain.connectTimeout == .seconds(10))
        let limited = try World(
            World.service("web", ip: 1),
            World.policy(
                "p",
                "host: web\ntrafficPolicy: {connectionPool: {tcp: {maxConnections: 0, connectTimeout: 3s}, http: {http1MaxPendingRequests: 7}}}"
            )
        ).snapshot().cluster(name)
        #expect(limited.circuitBreakers?.thresholds.first?.maxConnections == .max)
        #expect(
            limited.circuitBreakers?.thresholds.first?.maxPendingRequests == 7 && limited.connectTimeout == .seconds(3))
    }
}
