internal import EnvoyAPI
internal import Upstream

/// Names of header fields by patterns: a compiled `ListStringMatcher`.
struct FieldNames: Sendable {
    private let matchers: [Upstream.StringMatcher]
    private let standard: Set<[UInt8]>

    /// - Parameter standard: names that belong to it in any case.
    init(
        compiling message: ListStringMatcher?, standard: [String] = [], at path: String
    ) throws(ConfigurationError) {
        matchers = try Upstream.StringMatcher.list(message?.patterns ?? [], at: path + ".patterns")
        self.standard = Set(standard.map { Array($0.utf8) })
    }

    var isEmpty: Bool { matchers.isEmpty && standard.isEmpty }

    /// `name` in lower case.
    func contains(_ name: [UInt8]) -> Bool {
        if standard.contains(name) { return true }
        for matcher in matchers where matcher.matches(name.span) { return true }
        return false
    }
}

/// Which fields of an authorization server's answer go where.
struct AuthorizationFields: Sendable {
    /// In place of the request's.
    let upstream: FieldNames
    /// Beside the request's.
    let upstreamAppended: FieldNames
    /// To the client with a refusal; nil is all.
    let client: FieldNames?
    /// To the client with the response.
    let clientOnSuccess: FieldNames
    /// Into dynamic metadata.
    let metadata: FieldNames

    init(compiling message: AuthorizationResponse?, at path: String) throws(ConfigurationError) {
        upstream = try FieldNames(
            compiling: message?.allowedUpstreamHeaders, at: path + ".allowed_upstream_headers")
        upstreamAppended = try FieldNames(
            compiling: message?.allowedUpstreamHeadersToAppend, at: path + ".allowed_upstream_headers_to_append")
        if let allowed = message?.allowedClientHeaders, !allowed.patterns.isEmpty {
            client = try FieldNames(
                compiling: allowed, standard: ["www-authenticate", "location"],
                at: path + ".allowed_client_headers")
        } else {
            client = nil
        }
        clientOnSuccess = try FieldNames(
            compiling: message?.allowedClientHeadersOnSuccess, at: path + ".allowed_client_headers_on_success")
        metadata = try FieldNames(
            compiling: message?.dynamicMetadataFromHeaders, at: path + ".dynamic_metadata_from_headers")
    }
}
