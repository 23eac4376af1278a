internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Upstream

/// What a request must show: one provider's token, or a combination.
///
/// The decision is pure: a request, the keys and the time go in; a verdict and the changed request come out. Where keys must be fetched
/// first the verdict says so, and the whole is asked again later.
indirect enum JWTRequirement: Sendable {
    /// A token of one provider; `audiences` are in place of the provider's.
    case provider(JWTProvider, audiences: Set<String>?, JWTLocations)
    case any([JWTRequirement])
    case all([JWTRequirement])
    /// No token, or good ones.
    case missingAllowed(JWTLocations)
    /// Whatever tokens there are; good ones count.
    case failureAllowed(JWTLocations)
    case nothing

    enum Verdict {
        case passed
        case failed(JWTStatus)
        /// The keys of this provider must come first.
        case waits(JWTProvider)
    }

    /// What the decision looks at besides the request.
    struct Scene {
        /// By issuer; the empty one takes all that have no other.
        let issuers: [String: JWTProvider]
        let keys: (JWTProvider) -> JWTKeys
        /// Seconds and nanoseconds since 1970.
        let now: (seconds: Int64, nanoseconds: Int32)
        /// The loop, whose cache is looked at.
        let row: Int
        /// A token was looked for in the cache of a provider, and was there or not.
        let cacheAsked: (_ hit: Bool) -> Void
    }

    func evaluate(_ request: inout JWTRequest, _ scene: Scene) -> Verdict {
        switch self {
        case .nothing: return .passed
        case .provider(let provider, let audiences, let places):
            return check(&request, scene, places, provider, audiences)
        case .missingAllowed(let places):
            let verdict = check(&request, scene, places, nil, nil, goesOn: true)
            if case .failed(.missing) = verdict { return .passed }
            return verdict
        case .failureAllowed(let places):
            let verdict = check(&request, scene, places, nil, nil, goesOn: true)
            if case .failed = verdict { return .passed }
            return verdict
        case .all(let requirements):
            for requirement in requirements {
                let verdict = requirement.evaluate(&request, scene)
                guard case .passed = verdict else { return verdict }
            }
            return .passed
        case .any(let requirements):
            var result = JWTStatus.missing
            var waiting: Verdict?
            for requirement in requirements {
                switch requirement.evaluate(&request, scene) {
                case .passed: return .passed
                case .waits(let provider): waiting = waiting ?? .waits(provider)
                case .failed(let status):
                    // The failure that says most: a token that was there before one of somebody else, and that before none.
                    if (status != .missing && status != .unknownIssuer) || result == .missing { result = status }
                }
            }
            return waiting ?? .failed(result)
        }
    }

    /// The tokens at the places: all must be good, whichever of them the upstream may look at.
    ///
    /// - Parameter goesOn: a bad token does not end the look at the others.
    private func check(
        _ request: inout JWTRequest, _ scene: Scene, _ places: JWTLocations, _ provider: JWTProvider?,
        _ audiences: Set<String>?, goesOn: Bool = false
    ) -> Verdict {
        places.sanitize(&request)
        var tokens = places.tokens(in: request)
        guard !tokens.isEmpty else { return .failed(.missing) }
        // ATK-19: the work of one request is bounded.
        guard tokens.count <= JWTLimits.tokensOfRequest else { return .failed(.verificationFails) }
        var last = Verdict.passed
        while let found = tokens.popLast() {
            last = check(found, &request, scene, places, provider, audiences)
            switch last {
            case .passed: continue
            case .waits: return last
            case .failed: if !goesOn { return last }
            }
        }
        return last
    }

    private func check(
        _ found: JWTLocations.Found, _ request: inout JWTRequest, _ scene: Scene, _ places: JWTLocations,
        _ named: JWTProvider?, _ audiences: Set<String>?
    ) -> Verdict {
        var provider = named
        let status: JWTStatus
        do throws(JWTStatus) {
            var token: JSONWebToken?
            if let provider, case .ready(let keys) = scene.keys(provider) {
                token = provider.cached(found.bytes, keys, row: scene.row)
            }
            let isCached = token != nil
            if let provider { scene.cacheAsked(isCached && provider.countsCache) }
            let checked: JSONWebToken
            if let token { checked = token } else { checked = try JSONWebToken(parsing: found.bytes) }
            guard places.places.indices.contains(found.place),
                places.places[found.place].issuers.allows(checked.issuer)
            else { throw .unknownIssuer }
            guard let owner = named ?? scene.issuers[checked.issuer] ?? scene.issuers[""] else {
                throw .unknownIssuer
            }
            provider = owner
            if let waiting = try verify(checked, isCached, found, owner, audiences, scene) { return waiting }
            owner.accept(checked, found, places, &request)
            return .passed
        } catch {
            status = error
        }
        if let provider { Self.note(status, provider, &request) }
        return .failed(status)
    }

    /// Nil when everything about a token is good.
    private func verify(
        _ token: JSONWebToken, _ isCached: Bool, _ found: JWTLocations.Found, _ provider: JWTProvider,
        _ audiences: Set<String>?, _ scene: Scene
    ) throws(JWTStatus) -> Verdict? {
        if let subjects = provider.subjects, !subjects.matches(Array(token.subject.utf8).span) {
            throw .verificationFails
        }
        let seconds = UInt64(max(scene.now.seconds, 0))
        let time = token.status(at: seconds, skew: provider.skew)
        guard time == .ok else { throw time }
        let now = scene.now.seconds &* 1_000_000_000 &+ Int64(scene.now.nanoseconds)
        guard provider.allowsLifetime(of: token, now: now) else { throw .verificationFails }
        let allowed = audiences ?? provider.audiences
        if !allowed.isEmpty, !token.audiences.contains(where: { allowed.contains(JWTProvider.audience($0)) }) {
            throw .audienceNotAllowed
        }
        if isCached { return nil }
        switch scene.keys(provider) {
        case .awaited: return .waits(provider)
        case .failed: throw .keysFetchFails
        case .ready(let keys):
            let status = keys.status(of: token)
            guard status == .ok else { throw status }
            provider.remember(found.bytes, token, keys, row: scene.row)
            return nil
        }
    }

    private static func note(_ status: JWTStatus, _ provider: JWTProvider, _ request: inout JWTRequest) {
        guard !provider.failureKey.isEmpty else { return }
        request.metadata.append(
            (
                provider.failureKey,
                .object(["code": .integer(Int64(status.rawValue)), "message": .string(status.text)])
            ))
    }
}

extension JWTRequirement {
    /// What requirements may name.
    struct Names {
        let providers: [String: JWTProvider]
        let messages: [String: JwtProvider]

        func provider(_ name: String, at path: String) throws(ConfigurationError) -> (JWTProvider, JwtProvider) {
            guard let provider = providers[name], let message = messages[name] else {
                throw ConfigurationError(at: path, "there is no provider \"\(name)\"")
            }
            return (provider, message)
        }
    }

    /// - Parameter siblings: The providers that stand beside, in `requires_any`: what may be missing is their token. Empty is all.
    init(
        compiling message: JwtRequirement, at path: String, _ names: Names, siblings: [String] = [], depth: Int = 0
    ) throws(ConfigurationError) {
        guard depth <= JWTLimits.requirementDepth else {
            throw ConfigurationError(at: path, "is nested deeper than \(JWTLimits.requirementDepth) levels")
        }
        switch message.requiresType {
        case nil: self = .nothing
        case .providerName(let name):
            let (provider, source) = try names.provider(name, at: path + ".provider_name")
            self = .provider(provider, audiences: nil, JWTLocations([source]))
        case .providerAndAudiences(let both):
            let (provider, source) = try names.provider(
                both.providerName, at: path + ".provider_and_audiences.provider_name")
            let audiences = both.audiences.isEmpty ? nil : Set(both.audiences.map(JWTProvider.audience))
            self = .provider(provider, audiences: audiences, JWTLocations([source]))
        case .allowMissing: self = .missingAllowed(Self.places(names, siblings))
        case .allowMissingOrFailed: self = .failureAllowed(Self.places(names, siblings))
        case .requiresAll(let list):
            let place = path + ".requires_all.requirements"
            try Self.check(list.requirements.count, at: place)
            var requirements: [JWTRequirement] = []
            for (index, inner) in list.requirements.enumerated() {
                requirements.append(
                    try JWTRequirement(compiling: inner, at: "\(place)[\(index)]", names, depth: depth + 1))
            }
            self = .all(requirements)
        case .requiresAny(let list):
            self = try Self.any(list, at: path + ".requires_any.requirements", names, depth)
        }
    }

    /// Of several bypasses the widest counts, after all others.
    private static func any(
        _ list: JwtRequirementOrList, at place: String, _ names: Names, _ depth: Int
    ) throws(ConfigurationError) -> JWTRequirement {
        try check(list.requirements.count, at: place)
        var requirements: [JWTRequirement] = []
        var siblings: [String] = []
        var bypass: (index: Int, message: JwtRequirement)?
        for (index, inner) in list.requirements.enumerated() {
            switch inner.requiresType {
            case .allowMissing: if bypass == nil { bypass = (index, inner) }
            case .allowMissingOrFailed: bypass = (index, inner)
            default:
                if case .providerName(let name) = inner.requiresType { siblings.append(name) }
                if case .providerAndAudiences(let both) = inner.requiresType { siblings.append(both.providerName) }
                requirements.append(
                    try JWTRequirement(compiling: inner, at: "\(place)[\(index)]", names, depth: depth + 1))
            }
        }
        if let bypass {
            requirements.append(
                try JWTRequirement(
                    compiling: bypass.message, at: "\(place)[\(bypass.index)]", names, siblings: siblings,
                    depth: depth + 1))
        }
        return .any(requirements)
    }

    private static func check(_ count: Int, at path: String) throws(ConfigurationError) {
        if count < 2 { throw ConfigurationError(at: path, "needs two or more") }
    }

    private static func places(_ names: Names, _ siblings: [String]) -> JWTLocations {
        let messages = names.messages.sorted { $0.key < $1.key }
        return JWTLocations(messages.filter { siblings.isEmpty || siblings.contains($0.key) }.map(\.value))
    }
}
