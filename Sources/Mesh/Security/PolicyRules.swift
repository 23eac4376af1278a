import EnvoyAPI
import Serialization

/// Makes RBAC policies of the rules of AuthorizationPolicies.
struct PolicyRules {
    let config: SecurityConfig
    /// Whether connections, not requests, are judged: what only requests have is not there.
    let isTCP: Bool

    /// A field that only requests have, on a connection.
    private struct NeedsHTTP: Error {}

    /// What a rule says of requests or connections; nil when it can match none.
    func policy(_ rule: AuthorizationPolicy.Rule, of policy: AuthorizationPolicy) -> RBACPolicy? {
        var made = RBACPolicy()
        do throws(NeedsHTTP) {
            let conditions = try self.conditions(rule, policy)
            let operations = try rule.operations.map { operation throws(NeedsHTTP) in
                try permission(operation, policy)
            }
            let sources = try rule.sources.map { source throws(NeedsHTTP) in try principal(source, policy) }
            made.permissions = (operations.isEmpty ? [[]] : operations).map { Self.all($0 + conditions.permissions) }
            made.principals = (sources.isEmpty ? [[]] : sources).map { Self.all($0 + conditions.principals) }
        } catch { return nil }
        return made
    }

    /// in a rule that lets pass, what cannot be checked is not fulfilled; in one that stops, it is not looked at.
    private func onlyHTTP<T>(_ policy: AuthorizationPolicy, _ made: () -> T?) throws(NeedsHTTP) -> T? {
        guard isTCP else { return made() }
        switch policy.action {
        case .allow, .audit: throw NeedsHTTP()
        case .deny, .custom: return nil
        }
    }

    // MARK: Operations

    private func permission(
        _ operation: AuthorizationPolicy.Source, _ policy: AuthorizationPolicy
    ) throws(NeedsHTTP) -> [RBACPermission] {
        var found: [RBACPermission] = []
        func field(_ name: String, isHTTP: Bool, _ make: (String) -> [RBACPermission.Rule]) throws(NeedsHTTP) {
            let not = "not" + name.prefix(1).uppercased() + name.dropFirst()
            for (values, isNegated) in [(operation.values(name), false), (operation.values(not), true)]
            where !values.isEmpty {
                let made: RBACPermission? =
                    isHTTP
                    ? try onlyHTTP(policy) { Self.any(values.flatMap(make)) } : Self.any(values.flatMap(make))
                guard let made else { continue }
                found.append(isNegated ? Self.not(made) : made)
            }
        }
        try field("hosts", isHTTP: true) { PolicyMatchers.host($0).map { .header(Self.header(":authority", $0)) } }
        try field("methods", isHTTP: true) { [.header(Self.header(":method", PolicyMatchers.text($0)))] }
        try field("paths", isHTTP: true) { [PolicyMatchers.path($0)] }
        try field("ports", isHTTP: false) { [.destinationPort(UInt32($0) ?? 0)] }
        return found
    }

    private static func header(_ name: String, _ matcher: StringMatcher) -> HeaderMatcher {
        var header = HeaderMatcher()
        header.name = name
        header.headerMatchSpecifier = .stringMatch(matcher)
        return header
    }

    // MARK: Sources

    private func principal(
        _ source: AuthorizationPolicy.Source, _ policy: AuthorizationPolicy
    ) throws(NeedsHTTP) -> [RBACPrincipal] {
        var found: [RBACPrincipal] = []
        func field(_ name: String, isHTTP: Bool, _ make: (String) -> [RBACPrincipal.Identifier]) throws(NeedsHTTP) {
            let not = "not" + name.prefix(1).uppercased() + name.dropFirst()
            for (values, isNegated) in [(source.values(name), false), (source.values(not), true)]
            where !values.isEmpty {
                let made: RBACPrincipal? =
                    isHTTP
                    ? try onlyHTTP(policy) { Self.any(values.flatMap(make)) } : Self.any(values.flatMap(make))
                guard let made else { continue }
                found.append(isNegated ? Self.not(made) : made)
            }
        }
        let namespace = policy.key.namespace
        try field("principals", isHTTP: false) {
            PolicyMatchers.principal($0, domains: config.names).map(Self.authenticated)
        }
        try field("requestPrincipals", isHTTP: true) { [Self.requestPrincipal($0)] }
        try field("namespaces", isHTTP: false) { [Self.authenticated(PolicyMatchers.namespace($0))] }
        try field("serviceAccounts", isHTTP: false) {
            [Self.authenticated(PolicyMatchers.serviceAccount($0, policyNamespace: namespace))]
        }
        try field("trustDomains", isHTTP: false) { [Self.authenticated(PolicyMatchers.trustDomain($0))] }
        try field("ipBlocks", isHTTP: false) { [.directRemoteIp(Self.range($0))] }
        try field("remoteIpBlocks", isHTTP: false) { [.remoteIp(Self.range($0))] }
        return found
    }

    private static func authenticated(_ matcher: StringMatcher) -> RBACPrincipal.Identifier {
        var authenticated = RBACPrincipal.Authenticated()
        authenticated.principalName = matcher
        return .authenticated(authenticated)
    }

    private static func requestPrincipal(_ value: String) -> RBACPrincipal.Identifier {
        let (issuer, subject) = PolicyMatchers.requestPrincipal(value)
        var both = RBACPrincipal.Set()
        both.ids = [
            any(PolicyMatchers.claim(["iss"], issuer).map { .metadata($0) }),
            any(PolicyMatchers.claim(["sub"], subject).map { .metadata($0) }),
        ]
        return .andIds(both)
    }

    private static func range(_ text: String) -> CidrRange {
        let parts = text.split(separator: "/", maxSplits: 1).map(String.init)
        var range = Addresses.prefix(parts.first ?? "")
        if parts.count == 2, let length = UInt32(parts[1]) { range.prefixLen = length }
        return range
    }

    // MARK: Conditions

    private struct Conditions {
        var permissions: [RBACPermission] = []
        var principals: [RBACPrincipal] = []
    }

    private func conditions(
        _ rule: AuthorizationPolicy.Rule, _ policy: AuthorizationPolicy
    ) throws(NeedsHTTP) -> Conditions {
        var found = Conditions()
        for condition in rule.conditions {
            guard let key = PolicyCondition(condition.key) else {
                // Nobody knows what it means: it holds where that stops, and not where that lets pass.
                if policy.action == .allow || policy.action == .audit { throw NeedsHTTP() }
                continue
            }
            for (values, isNegated) in [(condition.values, false), (condition.notValues, true)] where !values.isEmpty {
                if let make = permission(of: key) {
                    let made = Self.any(values.flatMap(make))
                    found.permissions.append(isNegated ? Self.not(made) : made)
                    continue
                }
                let make = principal(of: key, policy)
                let made: RBACPrincipal? =
                    key.isHTTP
                    ? try onlyHTTP(policy) { Self.any(values.flatMap(make)) } : Self.any(values.flatMap(make))
                if let made { found.principals.append(isNegated ? Self.not(made) : made) }
            }
        }
        return found
    }

    private func permission(of key: PolicyCondition) -> ((String) -> [RBACPermission.Rule])? {
        switch key {
        case .destinationIP: { [.destinationIp(Self.range($0))] }
        case .destinationPort: { [.destinationPort(UInt32($0) ?? 0)] }
        case .serverName: { [.requestedServerName(PolicyMatchers.text($0))] }
        default: nil
        }
    }

    private func principal(
        of key: PolicyCondition, _ policy: AuthorizationPolicy
    ) -> (String) -> [RBACPrincipal.Identifier] {
        let names = config.names
        let namespace = policy.key.namespace
        func claim(_ path: [String]) -> (String) -> [RBACPrincipal.Identifier] {
            { PolicyMatchers.claim(path, PolicyMatchers.text($0)).map { .metadata($0) } }
        }
        return switch key {
        case .header(let name): { [.header(PolicyMatchers.header(name, $0))] }
        case .sourceIP: { [.directRemoteIp(Self.range($0))] }
        case .remoteIP: { [.remoteIp(Self.range($0))] }
        case .sourceNamespace: { [Self.authenticated(PolicyMatchers.namespace($0))] }
        case .sourcePrincipal: { PolicyMatchers.principal($0, domains: names).map(Self.authenticated) }
        case .sourceServiceAccount:
            {
                [Self.authenticated(PolicyMatchers.serviceAccount($0, policyNamespace: namespace))]
            }
        case .sourceTrustDomain: { [Self.authenticated(PolicyMatchers.trustDomain($0))] }
        case .requestPrincipal: { [Self.requestPrincipal($0)] }
        case .audiences: claim(["aud"])
        case .presenter: claim(["azp"])
        case .claim(let path): claim(path)
        case .metadata(let filter, let path): { [.metadata(Self.metadata(filter, path, $0))] }
        case .destinationIP, .destinationPort, .serverName: { _ in [] }  // These are permissions.
        }
    }

    /// `[value]` asks for one of a list.
    private static func metadata(_ filter: String, _ path: [String], _ value: String) -> MetadataMatcher {
        var matcher = MetadataMatcher()
        matcher.filter = filter
        matcher.path = path.map { name in
            var segment = MetadataMatcher.PathSegment()
            segment.segment = .key(name)
            return segment
        }
        var wanted = ValueMatcher()
        if value.hasPrefix("["), value.hasSuffix("]") {
            wanted.matchPattern = .stringMatch(PolicyMatchers.text(String(value.dropFirst().dropLast())))
            var list = ListMatcher()
            list.matchPattern = .oneOf(wanted)
            wanted = ValueMatcher()
            wanted.matchPattern = .listMatch(list)
        } else {
            wanted.matchPattern = .stringMatch(PolicyMatchers.text(value))
        }
        matcher.value = wanted
        return matcher
    }

    // MARK: Sets

    static func any(_ rules: [RBACPermission.Rule]) -> RBACPermission {
        let permissions = rules.map { rule in
            var permission = RBACPermission()
            permission.rule = rule
            return permission
        }
        if let only = permissions.first, permissions.count == 1 { return only }
        var set = RBACPermission.Set()
        set.rules = permissions
        var any = RBACPermission()
        any.rule = .orRules(set)
        return any
    }

    static func all(_ permissions: [RBACPermission]) -> RBACPermission {
        if let only = permissions.first, permissions.count == 1 { return only }
        var all = RBACPermission()
        if permissions.isEmpty {
            all.rule = .any(true)
        } else {
            var set = RBACPermission.Set()
            set.rules = permissions
            all.rule = .andRules(set)
        }
        return all
    }

    private static func not(_ permission: RBACPermission) -> RBACPermission {
        var not = RBACPermission()
        not.rule = .notRule(permission)
        return not
    }

    static func any(_ ids: [RBACPrincipal.Identifier]) -> RBACPrincipal {
        let principals = ids.map { id in
            var principal = RBACPrincipal()
            principal.identifier = id
            return principal
        }
        if let only = principals.first, principals.count == 1 { return only }
        var set = RBACPrincipal.Set()
        set.ids = principals
        var any = RBACPrincipal()
        any.identifier = .orIds(set)
        return any
    }

    static func all(_ principals: [RBACPrincipal]) -> RBACPrincipal {
        if let only = principals.first, principals.count == 1 { return only }
        var all = RBACPrincipal()
        if principals.isEmpty {
            all.identifier = .any(true)
        } else {
            var set = RBACPrincipal.Set()
            set.ids = principals
            all.identifier = .andIds(set)
        }
        return all
    }

    private static func not(_ principal: RBACPrincipal) -> RBACPrincipal {
        var not = RBACPrincipal()
        not.identifier = .notId(principal)
        return not
    }
}

/// The keys of `when`.
enum PolicyCondition: Sendable, Hashable {
    case header(String)
    case sourceIP, remoteIP, sourceNamespace, sourcePrincipal, sourceServiceAccount, sourceTrustDomain
    case requestPrincipal, audiences, presenter
    case claim([String])
    case destinationIP, destinationPort, serverName
    case metadata(filter: String, path: [String])

    private static let plain: [String: PolicyCondition] = [
        "source.ip": .sourceIP, "remote.ip": .remoteIP, "source.namespace": .sourceNamespace,
        "source.principal": .sourcePrincipal, "source.serviceAccount": .sourceServiceAccount,
        "source.trustDomain": .sourceTrustDomain,
        "request.auth.principal": .requestPrincipal, "request.auth.audiences": .audiences,
        "request.auth.presenter": .presenter, "destination.ip": .destinationIP,
        "destination.port": .destinationPort, "connection.sni": .serverName,
    ]

    /// Reads a key; nil when there is none of that name.
    init?(_ key: String) {
        if let known = Self.plain[key] {
            self = known
            return
        }
        if let names = Self.brackets(key, after: "request.headers"), names.count == 1 {
            self = .header(names[0])
        } else if let names = Self.brackets(key, after: "request.auth.claims") {
            self = .claim(names)
        } else if key.hasPrefix("experimental.envoy.filters."), let open = key.firstIndex(of: "["),
            let names = Self.brackets(key, after: String(key[..<open]))
        {
            self = .metadata(filter: String(key[..<open].dropFirst("experimental.".count)), path: names)
        } else {
            return nil
        }
    }

    /// The names in `prefix[a][b]`.
    private static func brackets(_ key: String, after prefix: String) -> [String]? {
        guard key.hasPrefix(prefix), key.count > prefix.count else { return nil }
        var names: [String] = []
        var rest = key.dropFirst(prefix.count)
        while !rest.isEmpty {
            guard rest.first == "[", let end = rest.firstIndex(of: "]") else { return nil }
            let name = rest[rest.index(after: rest.startIndex)..<end]
            guard !name.isEmpty else { return nil }
            names.append(String(name))
            rest = rest[rest.index(after: end)...]
        }
        return names.isEmpty ? nil : names
    }

    /// Whether only requests have it.
    var isHTTP: Bool {
        switch self {
        case .header, .requestPrincipal, .audiences, .presenter, .claim: true
        case .metadata(let filter, _): filter.hasPrefix("envoy.filters.http.")
        default: false
        }
    }
}
