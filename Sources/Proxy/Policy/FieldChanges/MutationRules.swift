internal import EnvoyAPI
internal import Upstream

/// Which fields a service may change: a compiled `HeaderMutationRules`.
struct MutationRules: Sendable {
    enum Verdict { case allowed, ignored, refused }

    private let allowsRouting: Bool
    private let allowsEnvoy: Bool
    private let disallowsSystem: Bool
    private let disallowsAll: Bool
    private let isRefusal: Bool
    private let allowed: Upstream.StringMatcher?
    private let disallowed: Upstream.StringMatcher?

    /// The rules where none are configured.
    static let standard = MutationRules()

    private init() {
        (allowsRouting, allowsEnvoy, disallowsSystem, disallowsAll, isRefusal) = (false, false, false, false, false)
        (allowed, disallowed) = (nil, nil)
    }

    init(compiling message: HeaderMutationRules, at path: String) throws(ConfigurationError) {
        allowsRouting = message.allowAllRouting ?? false
        allowsEnvoy = message.allowEnvoy ?? false
        disallowsSystem = message.disallowSystem ?? false
        disallowsAll = message.disallowAll ?? false
        isRefusal = message.disallowIsError ?? false
        allowed = try Self.expression(message.allowExpression, at: path + ".allow_expression")
        disallowed = try Self.expression(message.disallowExpression, at: path + ".disallow_expression")
    }

    private static func expression(
        _ message: RegexMatcher?, at path: String
    ) throws(ConfigurationError) -> Upstream.StringMatcher? {
        guard let message else { return nil }
        var matcher = EnvoyAPI.StringMatcher()
        matcher.matchPattern = .safeRegex(message)
        return try Upstream.StringMatcher(compiling: matcher, path: path)
    }

    /// Whether a change may be made.
    func judge(_ change: FieldChange) -> Verdict {
        let no = isRefusal ? Verdict.refused : .ignored
        if change.action == .remove {
            // Without these a request is none.
            if change.isPseudo || change.name == "host" { return no }
        } else if !change.isWellFormed {
            return no
        }
        let name = Array(change.name.utf8)
        if let allowed, allowed.matches(name.span) { return .allowed }
        if let disallowed, disallowed.matches(name.span) { return no }
        if disallowsAll || (disallowsSystem && change.isPseudo) { return no }
        switch change.name {
        case "host", ":authority", ":scheme", ":method": return allowsRouting ? .allowed : no
        default: break
        }
        if change.name.hasPrefix("x-envoy-") { return allowsEnvoy ? .allowed : no }
        return .allowed
    }
}
