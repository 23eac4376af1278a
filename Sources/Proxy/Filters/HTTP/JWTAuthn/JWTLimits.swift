/// The bounds of `jwt_authn`.
enum JWTLimits {
    /// Keys of one set.
    static let keys = 100

    /// A key set that a server sends.
    static let keySetBytes = 1_048_576

    /// Tokens remembered for one provider on one loop, where `jwt_cache_config` does not say.
    static let cachedTokens = 100

    /// Longer tokens are not remembered, where `jwt_cache_config` does not say.
    static let cachedTokenBytes = 4096

    /// The most that `jwt_cache_size` may ask for.
    static let cachedTokensMax = 100_000

    /// Requests that wait for one provider's keys; further ones fail at once.
    static let waitingRequests = 10_000

    /// Tokens of one request that are looked at.
    static let tokensOfRequest = 16

    /// Requirements inside requirements.
    static let requirementDepth = 16
}
