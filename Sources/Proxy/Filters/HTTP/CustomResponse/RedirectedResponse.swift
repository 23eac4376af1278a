internal import EnvoyAPI
internal import HTTP
internal import Serialization
internal import Upstream

/// `redirect_policy`: the answer is fetched from another place, as if the client had asked for that.
final class RedirectedResponse: Sendable {
    private enum Place: Sendable {
        case address(Upstream.InternalRedirectPolicy.Target)
        case redirect(Redirect)
    }

    private let place: Place
    private let status: UInt16?
    private let responseHeaders: [Upstream.HeaderMutation]
    private let requestHeaders: [Upstream.HeaderMutation]

    init(compiling message: RedirectPolicy, at path: String) throws(ConfigurationError) {
        guard message.modifyRequestHeadersAction == nil else {
            throw ConfigurationError(
                at: path + ".modify_request_headers_action",
                "there are no extensions of that kind; use request_headers_to_add")
        }
        switch message.redirectActionSpecifier {
        case .uri(let text):
            let bytes = Array(text.utf8)
            guard let target = Self.target(bytes, scheme: [], authority: []) else {
                throw ConfigurationError(at: path + ".uri", "\"\(text)\" is no address: give http://host/path")
            }
            place = .address(target)
        case .redirectAction(let action):
            let here = path + ".redirect_action"
            let redirect = try Redirect(compiling: action, at: here)
            switch redirect.pathRewrite {
            case nil, .path: break
            case .prefix, .regex:
                throw ConfigurationError(at: here, "the path can only be replaced: use path_redirect")
            }
            guard redirect.host != nil || redirect.pathRewrite != nil else {
                throw ConfigurationError(at: here, "host_redirect or path_redirect is needed")
            }
            place = .redirect(redirect)
        case nil: throw ConfigurationError(at: path, "uri or redirect_action is needed")
        }
        status = try LocalResponse.status(message.statusCode, at: path + ".status_code")
        responseHeaders = try HeaderMutation.list(
            adding: message.responseHeadersToAdd, at: path + ".response_headers_to_add")
        requestHeaders = try HeaderMutation.list(
            adding: message.requestHeadersToAdd, at: path + ".request_headers_to_add")
    }

    private static func target(
        _ location: [UInt8], scheme: [UInt8], authority: [UInt8]
    ) -> Upstream.InternalRedirectPolicy.Target? {
        Upstream.InternalRedirectPolicy.Target(location: location.span, scheme: scheme.span, authority: authority.span)
    }

    enum Problem { case invalidAddress, noRoute }

    /// Makes the request one for the other place; it is as it was where that cannot be.
    func redirect(_ stream: HTTPStream) -> Problem? {
        let original = stream.request
        var target: Upstream.InternalRedirectPolicy.Target?
        switch place {
        case .address(let fixed): target = fixed
        case .redirect(let redirect):
            let location = stream.readRequest { redirect.location(for: $0) }
            target = Self.target(
                location, scheme: Array("http".utf8), authority: stream.request.authorityBytes)
        }
        guard let target else { return .invalidAddress }
        do {
            try stream.request.setAuthority(target.authority.span.bytes)
            try stream.request.setPath(target.path.span.bytes)
        } catch {
            stream.request = original
            return .invalidAddress
        }
        if !requestHeaders.isEmpty {
            var headers = stream.request.headers
            HeaderRewriter(stream: stream).apply(requestHeaders, to: &headers)
            stream.request.headers = headers
        }
        guard stream.redirectedRoute() != nil else {
            stream.request = original
            return .noRoute
        }
        // What the client sent is not for the other place.
        stream.request.setMethod(.get)
        stream.request.headers.remove(.contentLength)
        stream.request.headers.remove(.xEnvoyOriginalPath)
        stream.request.body = .none
        return nil
    }

    /// Makes what came from the other place, whatever it is, the answer to the client's request.
    ///
    /// - Parameter first: The status of the answer that there was, which stays where the policy has none.
    func finish(_ stream: HTTPStream, instead first: UInt16) {
        if !responseHeaders.isEmpty {
            var headers = stream.response.headers
            HeaderRewriter(stream: stream).apply(responseHeaders, to: &headers)
            stream.response.headers = headers
        }
        stream.response.status = status ?? first
        stream.info.status = stream.response.status
    }
}
