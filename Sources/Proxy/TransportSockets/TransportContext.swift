internal import EnvoyAPI
internal import Synchronization
internal import TLS
internal import Telemetry
internal import Upstream

/// The TLS context of one transport socket, as it is now.
///
/// Shared by the control loop, which replaces the context when a secret or a file changes, and the workers, which take it for each new
/// connection. Connections keep the context they began with.
final class TransportContext: Sendable {
    /// What a context is made of.
    enum Recipe: Sendable {
        case downstream(DownstreamTlsContext)
        case upstream(UpstreamTlsContext, applicationProtocols: [String])
    }

    private struct State {
        var context: TLSContext?
        /// Why there is none.
        var problem = "its secrets have not arrived"
        /// Secrets and files that it was made of.
        var ingredients = Ingredients()
        var updates = 0
    }

    let recipe: Recipe
    let path: String
    private let state = Mutex(State())

    /// Makes the context at once if all its secrets are there; an error in what is there refuses the configuration.
    init(_ recipe: Recipe, at path: String, secrets: SecretStore) throws(ConfigurationError) {
        self.recipe = recipe
        self.path = path
        try make(with: secrets)
        secrets.watch(self)
    }

    /// The context for a new connection; nil while its secrets have not arrived.
    var current: TLSContext? { state.withLock { $0.context } }

    /// Why there is no context.
    var problem: String { state.withLock { $0.problem } }

    /// Whether the configuration asks for the peer's chain.
    var verifiesPeers: Bool {
        switch recipe {
        case .downstream(let message): message.commonTlsContext?.validationContextType != nil
        case .upstream(let message, _): message.commonTlsContext?.validationContextType != nil
        }
    }

    var ingredients: Ingredients { state.withLock { $0.ingredients } }

    /// How often the context was made anew.
    var updates: Int { state.withLock { $0.updates } }

    private func make(with secrets: SecretStore) throws(ConfigurationError) {
        var kitchen = TLSCompiler(secrets: secrets, path: path)
        let context = try kitchen.context(recipe)
        let ingredients = kitchen.ingredients
        state.withLock { state in
            state.ingredients = ingredients
            if let context {
                if state.context != nil { state.updates += 1 }
                state.context = context
                state.problem = ""
            } else if state.context == nil {
                state.problem = "secret \(ingredients.missing.sorted().joined(separator: ", ")) has not arrived"
            }
        }
    }

    /// Makes the context anew; what does not work leaves the one there is in force.
    ///
    /// The answer is whether peers that were accepted before may not be any more (ATK-28).
    func remake(with secrets: SecretStore) throws(ConfigurationError) -> Bool {
        let before = ingredients
        let had = current != nil
        try make(with: secrets)
        return had && ingredients.trustsLess(than: before)
    }
}

/// What a TLS context was made of, besides its configuration.
struct Ingredients: Sendable {
    /// Names of secrets.
    var secrets: Set<String> = []
    /// Those that were not there.
    var missing: Set<String> = []
    /// Files that were read.
    var files: Set<String> = []
    /// Certificates that are presented and trusted, for `/certs`.
    var certificates: [CertificateFact] = []
    var authorities: [CertificateFact] = []
    /// What else decides who is accepted: revocation lists, names, pins.
    var validation: [UInt8] = []

    /// Whether anybody whom the other trusted may be refused now.
    func trustsLess(than other: Ingredients) -> Bool {
        let now = Set(authorities.map(\.facts.fingerprint))
        return validation != other.validation || !other.authorities.allSatisfy { now.contains($0.facts.fingerprint) }
    }
}

/// One certificate of `/certs`.
struct CertificateFact: Sendable {
    var path: String
    var facts: PeerFacts
}
