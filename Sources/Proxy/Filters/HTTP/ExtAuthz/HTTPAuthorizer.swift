internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Upstream

/// An authorization server that is asked by HTTP: `HttpService`.
struct HTTPAuthorizer: Sendable {
    let target: HTTPTarget
    let pathPrefix: [UInt8]
    /// In place of the request's own; nil where that is asked about.
    let pathOverride: [UInt8]?
    let headers: [CallField]
    let fields: AuthorizationFields
    let retry: Upstream.RetryPolicy?

    /// What is always sent of a request.
    static let standardFields = ["authorization", ":method", ":path", ":authority"]

    init(compiling message: ExtAuthzHttpService, at path: String) throws(ConfigurationError) {
        try FieldCheck.check(
            message,
            reads: [
                "server_uri", "path_prefix", "path_override", "authorization_request", "authorization_response",
                "retry_policy",
            ], at: path)
        target = try HTTPTarget(compiling: message.serverUri, at: path + ".server_uri")
        guard message.pathPrefix.isEmpty || message.pathOverride.isEmpty else {
            throw ConfigurationError(at: path + ".path_override", "path_prefix is set too: use one of them")
        }
        try Self.check(path: message.pathPrefix, at: path + ".path_prefix")
        try Self.check(path: message.pathOverride, at: path + ".path_override")
        pathOverride = message.pathOverride.isEmpty ? nil : Array(message.pathOverride.utf8)
        pathPrefix = Array(message.pathPrefix.utf8)
        headers = try CallField.list(
            message.authorizationRequest?.headersToAdd ?? [], at: path + ".authorization_request.headers_to_add")
        fields = try AuthorizationFields(
            compiling: message.authorizationResponse, at: path + ".authorization_response")
        retry = try message.retryPolicy.map { policy throws(ConfigurationError) in
            try Upstream.RetryPolicy.ofCall(policy, at: path + ".retry_policy")
        }
    }

    private static func check(path text: String, at path: String) throws(ConfigurationError) {
        guard !text.isEmpty else { return }
        guard text.hasPrefix("/") else { throw ConfigurationError(at: path, "must begin with /") }
        var head = RequestHead()
        do throws(HTTPFieldError) {
            try head.setPath(Array(text.utf8).span.bytes)
        } catch {
            throw ConfigurationError(at: path, "is no path")
        }
    }

    /// The request that asks about a request.
    func head(
        _ stream: HTTPStream, _ checked: CheckedRequest, bodyBytes: Int, partial: Bool?
    ) -> RequestHead {
        var head = RequestHead()
        let original = stream.request
        if original.method == .connect {
            // There is no path to ask about; a tunnel to the server is not what is wanted.
            head.setMethod(.post)
        } else {
            try? head.setMethod(token: original.methodBytes.span.bytes)
        }
        let path = pathOverride ?? pathPrefix + original.pathBytes
        try? head.setPath((path.isEmpty ? [UInt8(ascii: "/")] : path).span.bytes)
        let authority = original.authorityBytes.isEmpty ? Array(target.authority.utf8) : original.authorityBytes
        try? head.setAuthority(authority.span.bytes)
        head.setScheme("http")
        for (name, value) in checked.fields {
            let field = FieldChange(name, value, .append)
            if !field.isPseudo && !field.isFraming && field.name != "host" && field.name != "expect" {
                head.headers.apply(field)
            }
        }
        if let partial { head.headers.apply(FieldChange(ExtAuthzFilter.partialBody, partial ? "true" : "false")) }
        for field in headers {
            // In place of what came with the request.
            head.headers.remove(named: field.name)
            field.add(to: &head.headers, stream)
        }
        head.headers.remove(named: "x-envoy-internal")
        try? head.headers.append("x-envoy-internal", "true")
        if target.timeout > .zero {
            let milliseconds = max(target.timeout.wholeNanoseconds / 1_000_000, 1)
            try? head.headers.set("x-envoy-expected-rq-timeout-ms", "\(milliseconds)")
        }
        head.body = .length(bodyBytes)
        return head
    }
}

extension FieldChange {
    init(_ name: String, _ text: String) { self.init(name, Array(text.utf8), .set) }
}
