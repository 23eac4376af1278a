import EnvoyAPI
import KubernetesAPI
import Serialization

/// A RequestAuthentication (`security.istio.io`, request_authentication.proto).
struct RequestAuthentication: Sendable, Hashable {
    /// One of `jwtRules`.
    struct Rule: Sendable, Hashable {
        var json: JSON
        var field: String
        private var view: KubernetesObject { KubernetesObject(json: json) }

        init(_ json: JSON, field: String) {
            self.json = json
            self.field = field
        }

        var issuer: String { view.string("issuer") }
        var audiences: [String] { view.strings("audiences") }
        /// Where the keys are; Istio's old spelling counts too.
        var keySetURI: String { view.string("jwksUri").isEmpty ? view.string("jwks_uri") : view.string("jwksUri") }
        var keySet: String { view.string("jwks") }
        var headers: [JSON] { json["fromHeaders"]?.array ?? [] }
        var parameters: [String] { view.strings("fromParams") }
        var cookies: [String] { view.strings("fromCookies") }
        var payloadHeader: String { view.string("outputPayloadToHeader") }
        var claimHeaders: [JSON] { json["outputClaimToHeaders"]?.array ?? [] }
        var forwards: Bool { view.bool("forwardOriginalToken") }
        var timeout: Duration? { view.duration("timeout") }
        /// Whether requests without a token of this issuer are refused.
        var isRequired: Bool { view.string("presence") == "REQUIRED" }
        /// Claims that are lists in one text; `scope` and `permission` always are.
        var listClaims: [String] {
            ["scope", "permission"]
                + view.strings("spaceDelimitedClaims").filter { $0 != "scope" && $0 != "permission" }
        }
    }

    var key: NamespacedName
    var selector: [String: String]?
    var targets: [PolicyTarget]
    var rules: [Rule]

    init(_ object: KubernetesObject) {
        key = NamespacedName(namespace: object.namespace, name: object.name)
        selector = Selectors.labels(object.spec)
        targets = PolicyTarget.all(object.spec)
        rules = (object.spec["jwtRules"]?.array ?? []).enumerated().map {
            Rule($0.element, field: "spec.jwtRules[\($0.offset)]")
        }
    }
}

/// Where a key set is fetched, taken apart.
struct KeySetLocation: Sendable, Hashable {
    var isSecure: Bool
    var host: String
    var port: Int

    /// Reads `http(s)://HOST[:PORT]/…`.
    init?(_ uri: String) {
        let rest: Substring
        if uri.hasPrefix("https://") {
            isSecure = true
            rest = uri.dropFirst("https://".count)
        } else if uri.hasPrefix("http://") {
            isSecure = false
            rest = uri.dropFirst("http://".count)
        } else {
            return nil
        }
        let authority = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        // A name before an @ is no host, and some readers would not see that.
        guard !authority.isEmpty, !authority.contains("@") else { return nil }
        var name = authority
        port = isSecure ? 443 : 80
        if authority.hasPrefix("["), let end = authority.firstIndex(of: "]") {
            name = authority[authority.index(after: authority.startIndex)..<end]
            let tail = authority[authority.index(after: end)...]
            if !tail.isEmpty {
                guard tail.hasPrefix(":"), let number = Int(tail.dropFirst()) else { return nil }
                port = number
            }
        } else if let colon = authority.lastIndex(of: ":") {
            guard let number = Int(authority[authority.index(after: colon)...]) else { return nil }
            port = number
            name = authority[..<colon]
        }
        guard (1...65535).contains(port), !name.isEmpty else { return nil }
        host = name.lowercased()
    }

    /// Whether nobody may be sent there by a policy: the proxy's own machine, and the addresses of metadata services
    /// (ATK-30).
    var isForbidden: Bool {
        let name = host.hasSuffix(".") ? String(host.dropLast()) : host
        if name == "localhost" || name.hasSuffix(".localhost") || name == "metadata.google.internal" { return true }
        if name.contains(":") {
            return name == "::" || name == "::1" || name.hasPrefix("fe8") || name.hasPrefix("fe9")
                || name.hasPrefix("fea") || name.hasPrefix("feb") || name.hasPrefix("::ffff:")
        }
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        // Also 127.1, 0x7f000001 and the like, which resolvers take for addresses.
        guard name.first?.isNumber == true, parts.allSatisfy({ $0.allSatisfy(\.isHexDigit) || $0.hasPrefix("0x") })
        else { return false }
        let numbers = parts.compactMap { UInt8($0) }
        guard numbers.count == 4, parts.count == 4, parts.allSatisfy({ $0 == "0" || !$0.hasPrefix("0") }) else {
            return true
        }
        return numbers[0] == 127 || numbers[0] == 0 || (numbers[0] == 169 && numbers[1] == 254)
    }
}

/// The RequestAuthentications that count for one workload, as a filter (A-11).
struct TokenRules {
    let model: MeshModel
    let policies: [RequestAuthentication]

    private var rules: [(policy: RequestAuthentication, rule: RequestAuthentication.Rule, index: Int)] {
        policies.flatMap { policy in policy.rules.enumerated().map { (policy, $0.element, $0.offset) } }
    }

    func filter() -> HttpFilter? {
        let rules = rules
        guard !rules.isEmpty else { return nil }
        var authentication = JwtAuthentication()
        var any = JwtRequirementOrList()
        // `presence: REQUIRED`: a token of each of these issuers.
        var all = JwtRequirementAndList()
        for (policy, rule, index) in rules {
            let name = "ns[\(policy.key.namespace)]-policy[\(policy.key.name)]-rule[\(index)]"
            authentication.providers[name] = provider(rule)
            var requirement = JwtRequirement()
            requirement.requiresType = .providerName(name)
            if rule.isRequired { all.requirements.append(requirement) } else { any.requirements.append(requirement) }
        }
        // Without a token a request passes; one with a wrong token does not.
        var missing = JwtRequirement()
        missing.requiresType = .allowMissing(Empty())
        any.requirements.append(missing)
        var requirement = JwtRequirement()
        requirement.requiresType = .requiresAny(any)
        if let only = all.requirements.first {
            if any.requirements.count > 1 { all.requirements.append(requirement) }
            requirement = only
            if all.requirements.count > 1 { requirement.requiresType = .requiresAll(all) }
        }
        var every = RequirementRule()
        every.match = Matches.route(nil)
        every.requirementType = .requires(requirement)
        authentication.rules = [every]
        authentication.bypassCorsPreflight = true
        var filter = HttpFilter()
        filter.name = FilterNames.tokens
        filter.configType = .typedConfig(AnyMessage(packing: authentication))
        return filter
    }

    /// The clusters of the places where keys are fetched that are no services of the mesh.
    func clusters() -> [Cluster] {
        var made: [String: Cluster] = [:]
        for (policy, rule, _) in rules where rule.keySet.isEmpty {
            guard let location = KeySetLocation(rule.keySetURI), !location.isForbidden,
                model.service(host: location.host)?.port(location.port) == nil
            else { continue }
            let place = Provenance(
                kind: "RequestAuthentication", object: policy.key, field: rule.field + ".jwksUri")
            made[Self.clusterName(location)] = Self.cluster(location, place, model.config)
        }
        return made.values.sorted { $0.name < $1.name }
    }

    private static func clusterName(_ location: KeySetLocation) -> String {
        "jwks|\(location.port)||\(location.host)"
    }

    private static func cluster(_ location: KeySetLocation, _ place: Provenance, _ config: MeshConfig) -> Cluster {
        var address = SocketAddress()
        address.address = location.host
        address.portSpecifier = .portValue(UInt32(clamping: location.port))
        var endpoint = EnvoyAPI.Endpoint()
        endpoint.address = Addresses.socket(address)
        var host = LbEndpoint()
        host.hostIdentifier = .endpoint(endpoint)
        var locality = LocalityLbEndpoints()
        locality.lbEndpoints = [host]
        var cluster = Cluster()
        cluster.name = clusterName(location)
        cluster.clusterDiscoveryType = .type(.strictDns)
        cluster.connectTimeout = config.connectTimeout
        cluster.metadata = place.metadata
        var assignment = ClusterLoadAssignment()
        assignment.clusterName = cluster.name
        assignment.endpoints = [locality]
        cluster.loadAssignment = assignment
        if location.isSecure {
            var validation = CertificateValidationContext()
            validation.systemRootCerts = CertificateValidationContext.SystemRootCerts()
            var name = SubjectAltNameMatcher()
            name.sanType = .dns
            name.matcher = PolicyMatchers.exact(location.host)
            validation.matchTypedSubjectAltNames = [name]
            var common = CommonTlsContext()
            common.validationContextType = .validationContext(validation)
            var context = UpstreamTlsContext()
            context.sni = location.host
            context.commonTlsContext = common
            var socket = TransportSocket()
            socket.name = "envoy.transport_sockets.tls"
            socket.configType = .typedConfig(AnyMessage(packing: context))
            cluster.transportSocket = socket
        }
        return cluster
    }

    private func provider(_ rule: RequestAuthentication.Rule) -> JwtProvider {
        var provider = JwtProvider()
        provider.issuer = rule.issuer
        provider.audiences = rule.audiences
        provider.forward = rule.forwards
        provider.forwardPayloadHeader = rule.payloadHeader
        provider.payloadInMetadata = PolicyMatchers.payloadKey
        var normalized = JwtProvider.NormalizePayload()
        normalized.spaceDelimitedClaims = rule.listClaims
        provider.normalizePayloadInMetadata = normalized
        provider.fromHeaders = rule.headers.map { json in
            var header = JwtHeader()
            header.name = json["name"]?.string ?? ""
            header.valuePrefix = json["prefix"]?.string ?? ""
            return header
        }
        provider.fromParams = rule.parameters
        provider.fromCookies = rule.cookies
        provider.claimToHeaders = rule.claimHeaders.map { json in
            var claim = JwtClaimToHeader()
            claim.headerName = json["header"]?.string ?? ""
            claim.claimName = json["claim"]?.string ?? ""
            return claim
        }
        if rule.keySet.isEmpty {
            provider.jwksSourceSpecifier = .remoteJwks(remote(rule))
        } else {
            var source = DataSource()
            source.specifier = .inlineString(rule.keySet)
            provider.jwksSourceSpecifier = .localJwks(source)
        }
        return provider
    }

    /// The proxy fetches the keys itself; where there is nowhere to fetch them from, every token is refused: a request
    /// with one gets 401 (ATK-29).
    private func remote(_ rule: RequestAuthentication.Rule) -> RemoteJwks {
        var uri = HttpUri()
        uri.timeout = rule.timeout ?? .seconds(5)
        if let location = KeySetLocation(rule.keySetURI), !location.isForbidden {
            uri.uri = rule.keySetURI
            if let service = model.service(host: location.host), service.port(location.port) != nil {
                uri.httpUpstreamType = .cluster(
                    Destinations.clusterName(host: service.host, port: location.port))
            } else {
                uri.httpUpstreamType = .cluster(Self.clusterName(location))
            }
        } else {
            uri.uri = "http://nowhere.invalid/"
            uri.httpUpstreamType = .cluster(ClusterNames.blackHole)
        }
        var remote = RemoteJwks()
        remote.httpUri = uri
        remote.cacheDuration = .seconds(20 * 60)
        return remote
    }
}
