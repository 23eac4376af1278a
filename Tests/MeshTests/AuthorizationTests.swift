import EnvoyAPI
import Mesh
import Serialization
import Testing

@Suite("Authorization (section A)")
struct AuthorizationTests {
    private func policy(
        _ name: String, _ spec: String, namespace: String = "default", annotations: String = "{}"
    ) -> String {
        Security.policy("AuthorizationPolicy", name, spec, namespace: namespace, annotations: annotations)
    }

    private func names(_ rbac: RBAC?) -> [String] { (rbac?.policies.keys).map { $0.sorted() } ?? [] }

    private func only(_ spec: String) throws -> RBACPolicy {
        let rbac = try Security.rbac(try Security.world(policy("p", spec))).first?.rules
        return try #require(rbac?.policies["ns[default]-policy[p]-rule[0]"])
    }

    @Test("A-1 tokens first, then CUSTOM, AUDIT, DENY and ALLOW, whatever the order of the objects")
    func order() throws {
        let world = try Security.world(
            Security.meshConfig(
                "extensionProviders:\n- name: checker\n  envoyExtAuthzGrpc: {service: checker.default.svc.cluster.local, port: 9000}"
            ),
            policy("a", "action: ALLOW, rules: [{}]"), policy("d", "action: DENY, rules: [{}]"),
            policy("l", "action: AUDIT, rules: [{}]"),
            policy("c", "action: CUSTOM, provider: {name: checker}, rules: [{}]"),
            Security.policy("RequestAuthentication", "t", "jwtRules: [{issuer: i, jwksUri: https://i.example/keys}]"))
        let manager = try Chains.manager(try Security.chain(world, "0.0.0.0_8080"))
        #expect(
            manager.httpFilters.map(\.name) == [
                "envoy.filters.http.jwt_authn", "envoy.filters.http.rbac", "envoy.filters.http.ext_authz",
                "envoy.filters.http.rbac", "envoy.filters.http.rbac", "envoy.filters.http.rbac",
                "envoy.filters.http.fault", "envoy.filters.http.cors", "istio.stats", "envoy.filters.http.router",
            ])
        let filters = try Security.rbac(world)
        #expect(filters.map { $0.rules?.action } == [nil, .log, .deny, .allow])
        #expect(filters.first?.shadowRulesStatPrefix == "istio-ext-authz-checker-")
        #expect(names(filters.first?.shadowRules) == ["istio-ext-authz-ns[default]-policy[c]-rule[0]"])
        // The chain for mutual TLS has the same.
        #expect(
            try Chains.manager(try Security.chain(world, "0.0.0.0_8080_mtls")).httpFilters.map(\.name)
                == manager.httpFilters.map(\.name))
    }

    @Test("A-1 without any policy there is no filter; AUDIT alone lets everybody pass")
    func none() throws {
        #expect(try Security.rbac(try Security.world()).isEmpty)
        #expect(
            try Security.rbac(try Security.world(policy("l", "action: AUDIT, rules: [{}]"))).map { $0.rules?.action }
                == [.log])
    }

    @Test("A-2 ALLOW without rules allows nothing, one empty rule matches everything, DENY without rules does nothing")
    func emptyRules() throws {
        let nothing = try Security.rbac(try Security.world(policy("p", "")))
        #expect(nothing.map { $0.rules?.action } == [.allow])
        #expect(nothing.first?.rules?.policies.isEmpty == true)
        let everything = try only("rules: [{}]")
        #expect(everything.permissions.map(\.rule) == [.any(true)])
        #expect(everything.principals.map(\.identifier) == [.any(true)])
        let denied = try Security.rbac(try Security.world(policy("p", "action: DENY")))
        #expect(denied.first?.rules?.policies.isEmpty ?? true)
    }

    @Test("A-3 from, to and when hold together; entries of a list and values of a field are alternatives")
    func logic() throws {
        let made = try only(
            """
            rules: [{from: [{source: {namespaces: [a, b], ipBlocks: [10.0.0.0/8]}}, {source: {principals: ["*"]}}],
            to: [{operation: {methods: [GET, HEAD], notPaths: [/admin*]}}, {operation: {ports: ["8080"]}}],
            when: [{key: destination.port, values: ["8080"]}, {key: "request.headers[x]", notValues: [y]}]}]
            """)
        #expect(made.permissions.count == 2 && made.principals.count == 2)
        guard case .andRules(let first) = made.permissions.first?.rule,
            case .orRules(let methods) = first.rules.first?.rule,
            case .notRule(let path) = first.rules.dropFirst().first?.rule,
            case .destinationPort(8080) = first.rules.last?.rule
        else { return #expect(Bool(false), "\(made.permissions)") }
        #expect(first.rules.count == 3 && methods.rules.count == 2)
        #expect({ if case .urlPath = path.rule { true } else { false } }())
        guard case .andIds(let source) = made.principals.first?.identifier,
            case .orIds(let namespaces) = source.ids.first?.identifier,
            case .directRemoteIp(let range) = source.ids.dropFirst().first?.identifier,
            case .notId(let header) = source.ids.last?.identifier
        else { return #expect(Bool(false), "\(made.principals)") }
        #expect(source.ids.count == 3 && namespaces.ids.count == 2)
        #expect(range.addressPrefix == "10.0.0.0" && range.prefixLen == 8)
        #expect({ if case .header = header.identifier { true } else { false } }())
    }

    @Test("A-4 on connections DENY ignores what only requests have, ALLOW does not match")
    func tcp() throws {
        let http =
            "to: [{operation: {methods: [GET], ports: [\"8080\"]}}], when: [{key: \"request.headers[a]\", values: [b]}]"
        let world = try Security.world(
            policy("d", "action: DENY, rules: [{\(http)}]"),
            policy("a", "rules: [{\(http)}, {to: [{operation: {ports: [\"1\"]}}]}]"),
            port: "{name: tcp, port: 80, targetPort: 8080}")
        let filters = try Security.networkRBAC(world, chain: "0.0.0.0_8080_tcp")
        #expect(filters.map { $0.rules?.action } == [.deny, .allow])
        let deny = try #require(filters.first?.rules?.policies["ns[default]-policy[d]-rule[0]"])
        #expect(deny.permissions.map(\.rule) == [.destinationPort(8080)])
        #expect(deny.principals.map(\.identifier) == [.any(true)])
        #expect(names(filters.last?.rules) == ["ns[default]-policy[a]-rule[1]"])
        // Ports of no service, and the application's own TLS, are guarded too.
        for name in ["virtualInbound-passthrough", "virtualInbound-passthrough_mtls", "0.0.0.0_8080_tls"] {
            #expect(try Security.networkRBAC(world, chain: name).count == 2)
        }
    }

    @Test(
        "A-5 wildcards stand at the ends only, and no text becomes a regular expression (ATK-25)",
        arguments: [
            ("/a/b", StringMatcher.MatchPattern.exact("/a/b")), ("/a*", .prefix("/a")), ("*/b", .suffix("/b")),
            ("/a*b", .exact("/a*b")), ("/a.c", .exact("/a.c")),
        ])
    func wildcards(path: String, pattern: StringMatcher.MatchPattern) throws {
        let made = try only("rules: [{to: [{operation: {paths: [\"\(path)\"]}}]}]")
        guard case .urlPath(let matcher) = made.permissions.first?.rule, case .path(let text) = matcher.rule else {
            return #expect(Bool(false), "\(made)")
        }
        #expect(text.matchPattern == pattern)
    }

    @Test("A-5 {*} is one segment and {**} any number of them")
    func templates() throws {
        let made = try only("rules: [{to: [{operation: {paths: [\"/a/{*}/b/{**}\"]}}]}]")
        guard case .uriTemplate(let config) = made.permissions.first?.rule, let any = config.typedConfig else {
            return #expect(Bool(false), "\(made)")
        }
        #expect(try any.unpack(as: UriTemplateMatchConfig.self).pathTemplate == "/a/*/b/**")
    }

    @Test("A-5 ATK-25 a dot in a service account, namespace or principal is a dot")
    func dots() throws {
        func matcher(_ field: String) throws -> StringMatcher? {
            let made = try only("rules: [{from: [{source: {\(field)}}]}]")
            guard case .authenticated(let who) = made.principals.first?.identifier else { return nil }
            return who.principalName
        }
        #expect(try matcher("serviceAccounts: [my.sa]")?.matchPattern == .suffix("/ns/default/sa/my.sa"))
        #expect(try matcher("serviceAccounts: [other/my.sa]")?.matchPattern == .suffix("/ns/other/sa/my.sa"))
        #expect(try matcher("trustDomains: [old.example]")?.matchPattern == .prefix("spiffe://old.example/"))
        #expect(try matcher("trustDomains: ['*.example']")?.matchPattern == .contains(".example/ns/"))
        #expect(try matcher("namespaces: [a.b]")?.matchPattern == .contains("/ns/a.b/sa/"))
        #expect(try matcher("namespaces: [\"prod-*\"]")?.matchPattern == .contains("/ns/prod-"))
        #expect(
            try matcher("principals: [cluster.local/ns/a/sa/b.c]")?.matchPattern
                == .exact("spiffe://cluster.local/ns/a/sa/b.c"))
        #expect(
            try matcher("principals: [cluster.local/ns/a/*]")?.matchPattern == .prefix("spiffe://cluster.local/ns/a/"))
        #expect(try matcher("principals: [\"*/sa/b\"]")?.matchPattern == .suffix("/sa/b"))
    }

    @Test("A-5 cluster.local and the aliases stand for the mesh's own trust domain")
    func trustDomains() throws {
        let world = try Security.world(
            Security.meshConfig("trustDomain: td\ntrustDomainAliases: [old]"),
            policy("p", "rules: [{from: [{source: {principals: [cluster.local/ns/a/sa/b]}}]}]"))
        let made = try #require(try Security.rbac(world).first?.rules?.policies.values.first)
        guard case .orIds(let set) = made.principals.first?.identifier else { return #expect(Bool(false)) }
        let patterns = set.ids.compactMap { id -> StringMatcher.MatchPattern? in
            guard case .authenticated(let who) = id.identifier else { return nil }
            return who.principalName?.matchPattern
        }
        #expect(patterns == [.exact("spiffe://td/ns/a/sa/b"), .exact("spiffe://old/ns/a/sa/b")])
        #expect(
            try Security.identities(
                Security.upstream(world.snapshot().cluster(Security.web).transportSocketMatches.first?.transportSocket))
                == ["spiffe://td/ns/default/sa/default"])
    }

    @Test("A-6 ATK-23 hosts are compared whatever their case, with and without a port and a last dot")
    func hosts() throws {
        let made = try only("rules: [{to: [{operation: {hosts: [Secret.com]}}]}]")
        guard case .orRules(let set) = made.permissions.first?.rule else { return #expect(Bool(false)) }
        let matchers = set.rules.compactMap { rule -> StringMatcher? in
            guard case .header(let header) = rule.rule, case .stringMatch(let text) = header.headerMatchSpecifier,
                header.name == ":authority"
            else { return nil }
            return text
        }
        #expect(matchers.allSatisfy { $0.ignoreCase })
        #expect(
            matchers.map(\.matchPattern) == [
                .exact("Secret.com"), .exact("Secret.com."), .prefix("Secret.com:"), .prefix("Secret.com.:"),
            ])
    }

    @Test("A-7 the path of a policy is the one that is routed: the connection manager normalises before any filter")
    func normalisation() throws {
        let manager = try Chains.manager(
            try Security.chain(try Security.world(policy("p", "rules: [{}]")), "0.0.0.0_8080"))
        #expect(manager.normalizePath == true)
    }

    @Test("A-8 a header condition is a matcher of the header's values, * of its presence")
    func headers() throws {
        let made = try only("rules: [{when: [{key: \"request.headers[X-Team]\", values: [a, \"*\"]}]}]")
        guard case .orIds(let set) = made.principals.first?.identifier else { return #expect(Bool(false)) }
        let specifiers = set.ids.compactMap { id -> HeaderMatcher? in
            guard case .header(let header) = id.identifier else { return nil }
            return header
        }
        #expect(specifiers.map(\.name) == ["X-Team", "X-Team"])
        #expect(specifiers.last?.headerMatchSpecifier == .presentMatch(true))
    }

    @Test("A-9 principals are those of the certificate; who has none is matched by what is negated")
    func principals() throws {
        let made = try only("rules: [{from: [{source: {notPrincipals: [cluster.local/ns/a/sa/b]}}]}]")
        guard case .notId(let not) = made.principals.first?.identifier, case .authenticated = not.identifier else {
            return #expect(Bool(false), "\(made)")
        }
    }

    @Test("A-10 ipBlocks are the peer's address, remoteIpBlocks the client's")
    func addresses() throws {
        let made = try only(
            "rules: [{from: [{source: {ipBlocks: [10.1.2.3], notRemoteIpBlocks: [\"2001:db8::/32\"]}}]}]")
        guard case .andIds(let set) = made.principals.first?.identifier,
            case .directRemoteIp(let peer) = set.ids.first?.identifier, case .notId(let not) = set.ids.last?.identifier,
            case .remoteIp(let client) = not.identifier
        else { return #expect(Bool(false), "\(made)") }
        #expect(peer.prefixLen == 32 && client.prefixLen == 32 && client.addressPrefix == "2001:db8::")
    }

    @Test("A-11 a token that is not good is refused, none is not; all rules count together")
    func tokens() throws {
        let world = try Security.world(
            Security.policy(
                "RequestAuthentication", "a",
                """
                jwtRules: [{issuer: "https://one", jwks: '{"keys":[]}', audiences: [x], forwardOriginalToken: true,
                outputPayloadToHeader: x-payload, fromHeaders: [{name: x-token, prefix: "T "}], fromParams: [t],
                fromCookies: [c], spaceDelimitedClaims: [roles], outputClaimToHeaders: [{header: x-sub, claim: sub}]}]
                """),
            Security.policy(
                "RequestAuthentication", "b", "jwtRules: [{issuer: two, jwksUri: \"https://two.example/k\"}]"))
        let manager = try Chains.manager(try Security.chain(world, "0.0.0.0_8080"))
        guard case .typedConfig(let config) = manager.httpFilters.first?.configType else { throw Security.Absent() }
        let filter = try config.unpack(as: JwtAuthentication.self)
        let one = try #require(filter.providers["ns[default]-policy[a]-rule[0]"])
        #expect(one.forward && one.forwardPayloadHeader == "x-payload" && one.payloadInMetadata == "payload")
        #expect(one.fromHeaders.map(\.valuePrefix) == ["T "] && one.fromParams == ["t"] && one.fromCookies == ["c"])
        #expect(one.normalizePayloadInMetadata?.spaceDelimitedClaims == ["scope", "permission", "roles"])
        #expect(one.claimToHeaders.map(\.claimName) == ["sub"] && one.audiences == ["x"])
        guard case .requires(let requirement) = filter.rules.first?.requirementType,
            case .requiresAny(let any) = requirement.requiresType
        else { throw Security.Absent() }
        #expect(any.requirements.count == 3)
        #expect(any.requirements.last?.requiresType == .allowMissing(Empty()))
        let keys = try world.snapshot("default/web-1").cluster("jwks|443||two.example")
        #expect(keys.clusterDiscoveryType == .type(.strictDns) && keys.transportSocket != nil)
    }

    @Test("A-11 presence: REQUIRED refuses requests without a token of that issuer")
    func required() throws {
        func requirement(_ rules: String) throws -> JwtRequirement {
            let world = try Security.world(Security.policy("RequestAuthentication", "a", "jwtRules: [\(rules)]"))
            let manager = try Chains.manager(try Security.chain(world, "0.0.0.0_8080"))
            guard case .typedConfig(let config) = manager.httpFilters.first?.configType,
                case .requires(let found) = try config.unpack(as: JwtAuthentication.self).rules.first?.requirementType
            else { throw Security.Absent() }
            return found
        }
        let one = "{issuer: one, jwks: '{\"keys\":[]}', presence: REQUIRED}"
        #expect(
            try requirement(one).requiresType == .providerName("ns[default]-policy[a]-rule[0]"))
        guard
            case .requiresAll(let all) = try requirement(one + ", {issuer: two, jwks: '{\"keys\":[]}'}").requiresType,
            case .requiresAny(let any) = all.requirements.last?.requiresType
        else { throw Security.Absent() }
        #expect(all.requirements.count == 2 && any.requirements.count == 2)
    }

    @Test(
        "A-11 ATK-29 ATK-30 keys that cannot be fetched, or may not be, mean that every token is refused",
        arguments: [
            "", "file:///etc/passwd", "http://169.254.169.254/keys", "http://localhost/keys",
            "https://127.0.0.1:8443/k",
            "http://[::1]/k", "http://127.1/k", "http://0x7f000001/k", "http://user@127.0.0.1/k",
            "http://metadata.google.internal/k", "http://[::ffff:127.0.0.1]/k", "http://2130706433/k",
        ])
    func forbiddenKeys(uri: String) throws {
        let world = try Security.world(
            Security.policy("RequestAuthentication", "a", "jwtRules: [{issuer: i, jwksUri: \"\(uri)\"}]"))
        let manager = try Chains.manager(try Security.chain(world, "0.0.0.0_8080"))
        guard case .typedConfig(let config) = manager.httpFilters.first?.configType else { throw Security.Absent() }
        let provider = try config.unpack(as: JwtAuthentication.self).providers.values.first
        guard case .remoteJwks(let remote) = provider?.jwksSourceSpecifier else { throw Security.Absent() }
        #expect(remote.httpUri?.httpUpstreamType == .cluster("BlackHoleCluster"))
        #expect(!world.snapshot("default/web-1").clusters.keys.contains { $0.hasPrefix("jwks|") })
    }

    @Test("A-11 request principals and claims are those of the verified token")
    func claims() throws {
        let made = try only(
            "rules: [{from: [{source: {requestPrincipals: [iss/sub]}}], when: [{key: \"request.auth.claims[a][b]\", values: [v]}]}]"
        )
        guard case .andIds(let set) = made.principals.first?.identifier,
            case .andIds(let both) = set.ids.first?.identifier, case .orIds(let claim) = set.ids.last?.identifier,
            case .metadata(let matcher) = claim.ids.first?.identifier
        else { return #expect(Bool(false), "\(made)") }
        #expect(both.ids.count == 2 && claim.ids.count == 2)
        #expect(matcher.filter == "envoy.filters.http.jwt_authn")
        #expect(matcher.path.map(\.segment) == [.key("payload"), .key("a"), .key("b")])
    }

    @Test("A-15 policies of the root namespace are for all namespaces; selectors and targetRefs choose")
    func selection() throws {
        let world = try Security.world(
            policy("root", "action: DENY, rules: [{}]", namespace: "istio-system"),
            policy(
                "root-other", "selector: {matchLabels: {app: x}}, action: DENY, rules: [{}]", namespace: "istio-system"),
            policy("far", "action: DENY, rules: [{}]", namespace: "far"),
            policy("mine", "selector: {matchLabels: {app: web}}, action: DENY, rules: [{}]"),
            policy("waypoint", "targetRefs: [{kind: Service, group: \"\", name: web}], action: DENY, rules: [{}]"))
        #expect(
            names(try Security.rbac(world).first?.rules)
                == ["ns[default]-policy[mine]-rule[0]", "ns[istio-system]-policy[root]-rule[0]"])
    }

    @Test("CUSTOM without a usable provider, or with two, refuses what it matches (ATK-29)")
    func custom() throws {
        let unknown = try Security.world(policy("c", "action: CUSTOM, provider: {name: gone}, rules: [{}]"))
        #expect(try Security.rbac(unknown).map { $0.rules?.action } == [.deny])
        let http =
            "extensionProviders:\n- name: h\n  envoyExtAuthzHttp: {service: a.b, port: 80}\n- name: g\n  envoyExtAuthzGrpc: {service: a.b, port: 81}"
        let two = try Security.world(
            Security.meshConfig(http), policy("c", "action: CUSTOM, provider: {name: h}, rules: [{}]"),
            policy("d", "action: CUSTOM, provider: {name: g}, rules: [{}]"))
        #expect(try Security.rbac(two).map { $0.rules?.action } == [.deny, .deny])
        // A connection cannot be shown to a provider that is asked by HTTP.
        let tcp = try Security.world(
            Security.meshConfig(http), policy("c", "action: CUSTOM, provider: {name: h}, rules: [{}]"),
            port: "{name: tcp, port: 80, targetPort: 8080}")
        #expect(try Security.networkRBAC(tcp, chain: "0.0.0.0_8080_tcp").map { $0.rules?.action } == [.deny])
    }

    @Test("A policy on trial decides nothing and is counted apart")
    func dryRun() throws {
        let filters = try Security.rbac(
            try Security.world(
                policy("p", "action: DENY, rules: [{}]", annotations: "{istio.io/dry-run: \"true\"}")))
        #expect(filters.first?.rules == nil)
        #expect(names(filters.first?.shadowRules) == ["ns[default]-policy[p]-rule[0]"])
        #expect(filters.first?.shadowRulesStatPrefix == "istio_dry_run_deny_")
    }

    @Test("A condition that nobody knows holds in DENY and not in ALLOW")
    func unknownConditions() throws {
        let when = "rules: [{when: [{key: request.unknown, values: [a]}]}]"
        let deny = try Security.rbac(try Security.world(policy("p", "action: DENY, \(when)")))
        #expect(deny.first?.rules?.policies.values.first?.principals.map(\.identifier) == [.any(true)])
        let allow = try Security.rbac(try Security.world(policy("p", when)))
        #expect(allow.first?.rules?.policies.isEmpty == true)
    }

    @Test("ATK-37 what a proxy gets depends on its own pod: another's policies and identity never show up")
    func isolation() throws {
        let world = try Security.world(
            World.service("db", ip: 2), World.pod("db-1", "db", ip: 6),
            policy("web-only", "selector: {matchLabels: {app: web}}, action: DENY, rules: [{}]"),
            Security.policy("PeerAuthentication", "db", "selector: {matchLabels: {app: db}}, mtls: {mode: STRICT}"))
        var translator = MeshTranslator(world.model)
        func snapshot(_ name: String) -> ProxySnapshot {
            translator.snapshot(
                for: ProxyIdentity(pod: NamespacedName(namespace: "default", name: name), role: .sidecar))
        }
        // The same work shared between proxies, in either order, is the same as each alone.
        let shared = [snapshot("web-1"), snapshot("db-1"), snapshot("web-1")]
        #expect(shared[0] == world.snapshot("default/web-1") && shared[1] == world.snapshot("default/db-1"))
        #expect(shared[0] == shared[2])
        let db = try shared[1].listener("virtualInbound").filterChains
        #expect(db.allSatisfy { $0.transportSocket != nil })
        #expect(try Chains.manager(db.first).httpFilters.allSatisfy { $0.name != "envoy.filters.http.rbac" })
    }
}
