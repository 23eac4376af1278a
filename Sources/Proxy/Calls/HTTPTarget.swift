internal import EnvoyAPI
internal import HTTP
internal import Upstream

/// A server that filters ask over HTTP: `HttpUri`.
struct HTTPTarget: Sendable {
    let cluster: String
    /// What the URI names; requests may carry another.
    let authority: String
    let path: String
    let timeout: Duration

    init(compiling uri: HttpUri?, at path: String) throws(ConfigurationError) {
        guard let uri else { throw ConfigurationError(at: path, "is missing") }
        guard case .cluster(let cluster) = uri.httpUpstreamType, !cluster.isEmpty else {
            throw ConfigurationError(at: path + ".cluster", "a cluster is needed")
        }
        guard !uri.uri.isEmpty else { throw ConfigurationError(at: path + ".uri", "is empty") }
        guard let timeout = uri.timeout else { throw ConfigurationError(at: path + ".timeout", "is missing") }
        guard timeout >= .zero else { throw ConfigurationError(at: path + ".timeout", "is negative") }
        self.cluster = cluster
        self.timeout = timeout
        let (authority, rest) = CollectorTarget.split(uri.uri)
        var head = RequestHead()
        do throws(HTTPFieldError) {
            try head.setAuthority(Array(authority.utf8).span.bytes)
            try head.setPath(Array(rest.utf8).span.bytes)
        } catch {
            throw ConfigurationError(at: path + ".uri", "\"\(uri.uri)\" is no URI")
        }
        self.authority = authority.isEmpty ? cluster : authority
        self.path = rest
    }
}
