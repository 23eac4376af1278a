import EnvoyAPI
import Serialization

/// From the values that people write to matchers.
///
/// Only literal matchers come out: no text of a policy ever becomes a regular expression (A-5, ATK-25).
enum PolicyMatchers {
    /// The one pattern there is: something, whatever it is.
    static let something = ".+"

    private static func regex(_ text: String) -> StringMatcher {
        var regex = RegexMatcher()
        regex.regex = text
        var matcher = StringMatcher()
        matcher.matchPattern = .safeRegex(regex)
        return matcher
    }

    static func exact(_ text: String) -> StringMatcher {
        var matcher = StringMatcher()
        matcher.matchPattern = .exact(text)
        return matcher
    }

    static func prefix(_ text: String) -> StringMatcher {
        var matcher = StringMatcher()
        matcher.matchPattern = text.isEmpty ? .safeRegex(regexOfSomething) : .prefix(text)
        return matcher
    }

    static func suffix(_ text: String) -> StringMatcher {
        var matcher = StringMatcher()
        matcher.matchPattern = text.isEmpty ? .safeRegex(regexOfSomething) : .suffix(text)
        return matcher
    }

    static func contains(_ text: String) -> StringMatcher {
        var matcher = StringMatcher()
        matcher.matchPattern = .contains(text)
        return matcher
    }

    private static var regexOfSomething: RegexMatcher {
        var regex = RegexMatcher()
        regex.regex = something
        return regex
    }

    /// `*` something, `abc*` a beginning, `*abc` an end, else the whole text.
    static func text(_ value: String) -> StringMatcher {
        if value == "*" { return regex(something) }
        if value.hasSuffix("*") { return prefix(String(value.dropLast())) }
        if value.hasPrefix("*") { return suffix(String(value.dropFirst())) }
        return exact(value)
    }

    /// A host, also with a port and with the dot of an absolute name, whatever its case (A-6, ATK-23).
    static func host(_ value: String) -> [StringMatcher] {
        func folded(_ matcher: StringMatcher) -> StringMatcher {
            var matcher = matcher
            matcher.ignoreCase = true
            return matcher
        }
        if value == "*" || value.hasSuffix("*") { return [folded(text(value))] }
        let hasPort = value.split(separator: ":").count > 1 && !value.hasSuffix("]")
        if value.hasPrefix("*") {
            let rest = String(value.dropFirst())
            // A name has no colon: what follows one is a port.
            return hasPort
                ? [folded(suffix(rest))]
                : [suffix(rest), suffix(rest + "."), contains(rest + ":"), contains(rest + ".:")].map(folded)
        }
        return hasPort
            ? [folded(exact(value))]
            : [exact(value), exact(value + "."), prefix(value + ":"), prefix(value + ".:")].map(folded)
    }

    /// A path: wildcards as elsewhere, `{*}` one segment and `{**}` any number of them.
    static func path(_ value: String) -> RBACPermission.Rule {
        if isTemplate(value) {
            var config = UriTemplateMatchConfig()
            config.pathTemplate = template(value)
            var named = TypedExtensionConfig()
            named.name = "uri-template"
            named.typedConfig = AnyMessage(packing: config)
            return .uriTemplate(named)
        }
        var matcher = PathMatcher()
        matcher.rule = .path(text(value))
        return .urlPath(matcher)
    }

    /// Whether a path has template operators.
    static func isTemplate(_ value: String) -> Bool { value.contains("{*}") || value.contains("{**}") }

    /// Envoy's spelling of the operators.
    private static func template(_ value: String) -> String {
        value.replacing("{**}", with: "**").replacing("{*}", with: "*")
    }

    /// A header's value; `*` is a header that is there.
    static func header(_ name: String, _ value: String) -> HeaderMatcher {
        var matcher = HeaderMatcher()
        matcher.name = name
        matcher.headerMatchSpecifier = value == "*" ? .presentMatch(true) : .stringMatch(text(value))
        return matcher
    }

    // MARK: Identities

    /// A principal as policies write it, `cluster.local/ns/NS/sa/SA`, as the URI of a certificate.
    ///
    /// The trust domain may be one of the mesh's other names; `cluster.local` always is its own.
    static func principal(_ value: String, domains: [String]) -> [StringMatcher] {
        if value == "*" { return [regex(something)] }
        if value.hasPrefix("*") { return [suffix(String(value.dropFirst()))] }
        guard let slash = value.firstIndex(of: "/") else { return [text("spiffe://" + value)] }
        let domain = String(value[..<slash])
        let rest = value[slash...]
        let names = domain == Mesh.clusterDomain || domains.contains(domain) ? domains : [domain]
        return names.map { text("spiffe://\($0)\(rest)") }
    }

    /// A trust domain: what stands between the scheme and the path of an identity.
    static func trustDomain(_ value: String) -> StringMatcher {
        if value == "*" { return prefix("spiffe://") }
        if value.hasSuffix("*") { return prefix("spiffe://" + value.dropLast()) }
        if value.hasPrefix("*") { return contains(value.dropFirst() + "/ns/") }
        return prefix("spiffe://\(value)/")
    }

    /// A namespace, in whatever trust domain.
    static func namespace(_ value: String) -> StringMatcher {
        if value == "*" { return contains("/ns/") }
        if value.hasSuffix("*") { return contains("/ns/" + value.dropLast()) }
        if value.hasPrefix("*") { return contains(value.dropFirst() + "/sa/") }
        return contains("/ns/\(value)/sa/")
    }

    /// A service account, `NS/SA` or one of the policy's namespace.
    static func serviceAccount(_ value: String, policyNamespace: String) -> StringMatcher {
        let parts = value.split(separator: "/", maxSplits: 1).map(String.init)
        let (namespace, name) = parts.count == 2 ? (parts[0], parts[1]) : (policyNamespace, value)
        return suffix("/ns/\(namespace)/sa/\(name)")
    }

    // MARK: Tokens

    /// The dynamic metadata of a verified token.
    static let tokenFilter = "envoy.filters.http.jwt_authn"
    /// The member under which the token's payload stands.
    static let payloadKey = "payload"

    /// A claim of the token; a claim that is a list matches when one of it does.
    static func claim(_ path: [String], _ matcher: StringMatcher) -> [MetadataMatcher] {
        var value = ValueMatcher()
        value.matchPattern = .stringMatch(matcher)
        var list = ListMatcher()
        list.matchPattern = .oneOf(value)
        var any = ValueMatcher()
        any.matchPattern = .listMatch(list)
        return [value, any].map { value in
            var metadata = MetadataMatcher()
            metadata.filter = tokenFilter
            metadata.path = ([payloadKey] + path).map { name in
                var segment = MetadataMatcher.PathSegment()
                segment.segment = .key(name)
                return segment
            }
            metadata.value = value
            return metadata
        }
    }

    /// A principal of a token, `ISSUER/SUBJECT`, as matchers of both.
    static func requestPrincipal(_ value: String) -> (issuer: StringMatcher, subject: StringMatcher) {
        if value == "*" { return (regex(something), regex(something)) }
        guard let slash = value.lastIndex(of: "/") else {
            if value.hasSuffix("*") { return (text(value), regex(something)) }
            if value.hasPrefix("*") { return (regex(something), text(value)) }
            return (exact(value), exact(""))
        }
        return (text(String(value[..<slash])), text(String(value[value.index(after: slash)...])))
    }
}
