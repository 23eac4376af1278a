internal import EnvoyAPI

extension Forwarding {
    /// Takes over what a route action says besides its cluster.
    mutating func take(_ message: RouteAction, _ path: FieldPath) throws(ConfigurationError) {
        switch message.clusterNotFoundResponseCode {
        case .serviceUnavailable: clusterNotFoundStatus = 503
        case .notFound: clusterNotFoundStatus = 404
        case .internalServerError: clusterNotFoundStatus = 500
        case .unrecognized(let number):
            throw (path / "cluster_not_found_response_code").error("\(number) is no response code")
        }
        timeout = try .checkedLimit(message.timeout, default: .seconds(15), path / "timeout")
        if let idle = message.idleTimeout {
            idleTimeout = try .checked(idle, default: .zero, path / "idle_timeout")
        }
        if let limit = message.maxGrpcTimeout {
            maxGRPCTimeout = try .checked(limit, default: .zero, path / "max_grpc_timeout")
        }
        if let stream = message.maxStreamDuration {
            let place = path / "max_stream_duration"
            try FieldCheck.check(stream, place, handles: "max_stream_duration grpc_timeout_header_max")
            if let limit = stream.maxStreamDuration {
                maxStreamDuration = try .checked(limit, default: .zero, place / "max_stream_duration")
            }
            if let limit = stream.grpcTimeoutHeaderMax {
                maxGRPCTimeout = try .checked(limit, default: .zero, place / "grpc_timeout_header_max")
            }
        }
        if let retry = message.retryPolicy {
            retryPolicy = try RetryPolicy(compiling: retry, path / "retry_policy")
        }
        pathRewrite = try Self.pathRewrite(message, path)
        switch message.hostRewriteSpecifier {
        case nil: break
        case .hostRewriteLiteral(let host):
            if !host.isEmpty { hostRewrite = .literal(try Self.checkedHost(host, path / "host_rewrite_literal")) }
        case .autoHostRewrite(let wanted): if wanted { hostRewrite = .auto }
        case .hostRewriteHeader(let name):
            guard !name.isEmpty, !name.hasPrefix(":") else {
                throw (path / "host_rewrite_header").error("\(name): must be the name of a header")
            }
            hostRewrite = .header(HeaderName(name))
        default: throw path.unsupported("this way of rewriting the host")
        }
        appendsForwardedHost = message.appendXForwardedHost
        switch message.priority {
        case .default: priority = .normal
        case .high: priority = .high
        case .unrecognized(let number): throw (path / "priority").error("\(number) is no priority")
        }
        for (index, upgrade) in message.upgradeConfigs.enumerated() {
            let place = (path / "upgrade_configs")[index]
            guard !upgrade.upgradeType.isEmpty else { throw (place / "upgrade_type").error("is empty") }
            guard upgrade.connectConfig == nil else { throw (place / "connect_config").unsupported() }
            upgrades.append(
                Upgrade(
                    type: upgrade.upgradeType.utf8.map { Bytes.lowercased($0) }, isEnabled: upgrade.enabled ?? true))
        }
        for (index, policy) in message.hashPolicy.enumerated() {
            hashPolicies.append(try HashPolicy(compiling: policy, (path / "hash_policy")[index]))
        }
    }

    private static func pathRewrite(
        _ message: RouteAction, _ path: FieldPath
    ) throws(ConfigurationError) -> PathRewrite? {
        if let rewrite = message.regexRewrite {
            guard message.prefixRewrite.isEmpty else {
                throw (path / "regex_rewrite").error("stands beside prefix_rewrite; set one")
            }
            let substitution = try Substitution(compiling: rewrite, path / "regex_rewrite")
            return .regex(substitution.expression, substitution: substitution.substitution)
        }
        if message.prefixRewrite.isEmpty { return nil }
        return .prefix(try checkedTarget(message.prefixRewrite, path / "prefix_rewrite"))
    }

    /// Bytes that may stand in a request target: printable ASCII without space, and what lies above.
    static func checkedTarget(_ text: String, _ path: FieldPath) throws(ConfigurationError) -> [UInt8] {
        guard text.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F }) else {
            throw path.error("holds a space or control character")
        }
        return Array(text.utf8)
    }

    /// Bytes that may stand in an authority.
    static func checkedHost(_ text: String, _ path: FieldPath) throws(ConfigurationError) -> [UInt8] {
        guard text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != 0x2F && $0 != 0x3F && $0 != 0x23 }) else {
            throw path.error("\(text): is no host")
        }
        return Array(text.utf8)
    }
}

extension HashPolicy {
    init(compiling message: RouteAction.HashPolicy, _ path: FieldPath) throws(ConfigurationError) {
        isTerminal = message.terminal
        switch message.policySpecifier {
        case .header(let header):
            guard !header.headerName.isEmpty else { throw (path / "header.header_name").error("is empty") }
            guard header.regexRewrite == nil else { throw (path / "header.regex_rewrite").unsupported() }
            let name = HeaderName(header.headerName)
            source = .header(name.description == "host" ? HeaderName(":authority") : name)
        case .cookie(let cookie):
            guard !cookie.name.isEmpty else { throw (path / "cookie.name").error("is empty") }
            guard cookie.attributes.isEmpty else { throw (path / "cookie.attributes").unsupported() }
            source = .cookie(name: Array(cookie.name.utf8), lifetime: cookie.ttl, path: Array(cookie.path.utf8))
        case .connectionProperties(let properties):
            guard properties.sourceIp else {
                throw (path / "connection_properties.source_ip").error("must be true: there is nothing else")
            }
            source = .sourceAddress
        case .queryParameter(let parameter):
            guard !parameter.name.isEmpty else { throw (path / "query_parameter.name").error("is empty") }
            source = .queryParameter(Array(parameter.name.utf8))
        case .filterState: throw (path / "filter_state").unsupported()
        case nil: throw path.error("has no source: set one of header, cookie, connection_properties, query_parameter")
        }
    }
}

extension Redirect {
    init(compiling message: RedirectAction, _ path: FieldPath) throws(ConfigurationError) {
        self.init()
        switch message.responseCode {
        case .movedPermanently: status = 301
        case .found: status = 302
        case .seeOther: status = 303
        case .temporaryRedirect: status = 307
        case .permanentRedirect: status = 308
        case .unrecognized(let number): throw (path / "response_code").error("\(number) is no redirect code")
        }
        switch message.schemeRewriteSpecifier {
        case .httpsRedirect(let wanted): if wanted { scheme = Array("https".utf8) }
        case .schemeRedirect(let text):
            if !text.isEmpty { scheme = try Forwarding.checkedHost(text, path / "scheme_redirect") }
        case nil: break
        }
        if !message.hostRedirect.isEmpty {
            host = try Forwarding.checkedHost(message.hostRedirect, path / "host_redirect")
        }
        if message.portRedirect > 0 {
            guard let number = UInt16(exactly: message.portRedirect) else {
                throw (path / "port_redirect").error("\(message.portRedirect) is above 65535")
            }
            port = number
        }
        switch message.pathRewriteSpecifier {
        case .pathRedirect(let text):
            if !text.isEmpty { pathRewrite = .path(try Forwarding.checkedTarget(text, path / "path_redirect")) }
        case .prefixRewrite(let text):
            pathRewrite = .prefix(try Forwarding.checkedTarget(text, path / "prefix_rewrite"))
        case .regexRewrite(let rewrite):
            let substitution = try Substitution(compiling: rewrite, path / "regex_rewrite")
            pathRewrite = .regex(substitution.expression, substitution: substitution.substitution)
        case nil: break
        }
        stripsQuery = message.stripQuery
    }
}

extension DirectResponse {
    init(
        compiling message: DirectResponseAction, _ path: FieldPath, bodyBytesMax: Int
    ) throws(ConfigurationError) {
        guard (200...599).contains(message.status) else {
            throw (path / "status").error("\(message.status) is not in 200...599")
        }
        guard message.bodyFormat == nil else { throw (path / "body_format").unsupported() }
        status = UInt16(message.status)
        switch message.body?.specifier {
        case nil: body = []
        case .inlineString(let text): body = Array(text.utf8)
        case .inlineBytes(let bytes): body = bytes
        case .filename: throw (path / "body.filename").unsupported("give inline_string")
        case .environmentVariable: throw (path / "body.environment_variable").unsupported("give inline_string")
        }
        guard body.count <= bodyBytesMax else {
            throw (path / "body").error(
                "\(body.count) bytes, max_direct_response_body_size_bytes is \(bodyBytesMax)")
        }
    }
}
