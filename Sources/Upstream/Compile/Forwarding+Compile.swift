internal import EnvoyAPI
internal import Serialization

extension PathRewrite {
    /// What a route makes of the path; nil when it leaves it alone.
    init?(
        compiling message: RouteAction, _ path: FieldPath, _ matcher: PathMatcher
    ) throws(ConfigurationError) {
        if let rewrite = message.regexRewrite {
            guard message.prefixRewrite.isEmpty else {
                throw (path / "regex_rewrite").error("stands beside prefix_rewrite; set one")
            }
            let substitution = try Substitution(compiling: rewrite, path / "regex_rewrite")
            self = .regex(substitution.expression, substitution: substitution.substitution)
            return
        }
        if let policy = message.pathRewritePolicy {
            let place = path / "path_rewrite_policy.typed_config"
            guard message.prefixRewrite.isEmpty else {
                throw (path / "path_rewrite_policy").error("stands beside prefix_rewrite; set one")
            }
            guard let any = policy.typedConfig, any.holds(UriTemplateRewriteConfig.self) else {
                throw place.unsupported(policy.typedConfig?.name ?? policy.name)
            }
            guard case .template(let template) = matcher else {
                throw place.error("needs a match by path_match_policy with a template")
            }
            let rewrite = try Unpacked.message(any, as: UriTemplateRewriteConfig.self, place)
            do throws(RegularExpressionError) {
                self = .regex(template.expression, substitution: try template.substitution(rewrite.pathTemplateRewrite))
                return
            } catch {
                throw (place / "path_template_rewrite").error(error.description)
            }
        }
        if message.prefixRewrite.isEmpty { return nil }
        self = .prefix(try Forwarding.checkedTarget(message.prefixRewrite, path / "prefix_rewrite"))
    }
}

extension Forwarding {
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
            let name = HeaderName(header.headerName)
            var rewrite: Rewrite?
            if let message = header.regexRewrite {
                let compiled = try Substitution(compiling: message, path / "header.regex_rewrite")
                rewrite = Rewrite(expression: compiled.expression, substitution: compiled.substitution)
            }
            source = .header(name.description == "host" ? HeaderName(":authority") : name, rewrite)
        case .cookie(let cookie):
            guard !cookie.name.isEmpty else { throw (path / "cookie.name").error("is empty") }
            var attributes = ""
            for (index, attribute) in cookie.attributes.enumerated() {
                let place = (path / "cookie.attributes")[index]
                guard !attribute.name.isEmpty else { throw (place / "name").error("is empty") }
                guard (attribute.name + attribute.value).utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F && $0 != 0x3B })
                else {
                    throw place.error("holds a semicolon or control character")
                }
                attributes += "; \(attribute.name)"
                if !attribute.value.isEmpty { attributes += "=\(attribute.value)" }
            }
            source = .cookie(
                name: Array(cookie.name.utf8), lifetime: cookie.ttl, path: Array(cookie.path.utf8),
                attributes: Array(attributes.utf8))
        case .connectionProperties(let properties):
            guard properties.sourceIp else {
                throw (path / "connection_properties.source_ip").error("must be true: there is nothing else")
            }
            source = .sourceAddress
        case .queryParameter(let parameter):
            guard !parameter.name.isEmpty else { throw (path / "query_parameter.name").error("is empty") }
            source = .queryParameter(Array(parameter.name.utf8))
        case .filterState(let state):
            guard !state.key.isEmpty else { throw (path / "filter_state.key").error("is empty") }
            source = .filterState(state.key)
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
        compiling message: DirectResponseAction, _ path: FieldPath, bodyBytesMax: Int, files: RouteFileReader?
    ) throws(ConfigurationError) {
        guard (200...599).contains(message.status) else {
            throw (path / "status").error("\(message.status) is not in 200...599")
        }
        status = UInt16(message.status)
        switch message.body?.specifier {
        case nil: body = []
        case .inlineString(let text): body = Array(text.utf8)
        case .inlineBytes(let bytes): body = bytes
        case .filename(let name):
            guard let files else { throw (path / "body.filename").unsupported("give inline_string") }
            guard let bytes = files(name) else { throw (path / "body.filename").error("\(name): cannot be read") }
            body = bytes
        case .environmentVariable: throw (path / "body.environment_variable").unsupported("give inline_string")
        }
        guard body.count <= bodyBytesMax else {
            throw (path / "body").error(
                "\(body.count) bytes, max_direct_response_body_size_bytes is \(bodyBytesMax)")
        }
    }
}

extension MirrorPolicy {
    static func list(
        _ messages: [RouteAction.RequestMirrorPolicy], _ path: FieldPath
    ) throws(ConfigurationError) -> [MirrorPolicy] {
        var result: [MirrorPolicy] = []
        for (index, message) in messages.enumerated() {
            let place = path[index]
            try FieldCheck.check(
                message, place,
                handles:
                    "cluster cluster_header runtime_fraction disable_shadow_host_suffix_append host_rewrite_literal"
            )
            guard message.cluster.isEmpty != message.clusterHeader.isEmpty else {
                throw place.error("set exactly one of cluster, cluster_header")
            }
            var policy = MirrorPolicy(
                destination: message.cluster.isEmpty
                    ? .header(HeaderName(message.clusterHeader)) : .cluster(message.cluster))
            policy.share = try RuntimeFraction(compiling: message.runtimeFraction, place / "runtime_fraction")
            policy.appendsShadow = !message.disableShadowHostSuffixAppend
            if !message.hostRewriteLiteral.isEmpty {
                policy.hostRewrite = try Forwarding.checkedHost(
                    message.hostRewriteLiteral, place / "host_rewrite_literal")
            }
            result.append(policy)
        }
        return result
    }
}

extension HedgePolicy {
    init(compiling message: EnvoyAPI.HedgePolicy, _ path: FieldPath) throws(ConfigurationError) {
        if let initial = message.initialRequests, initial != 1 {
            throw (path / "initial_requests").unsupported("as in Envoy, only 1")
        }
        if let chance = message.additionalRequestChance, chance.numerator > 0 {
            throw (path / "additional_request_chance").unsupported("as in Envoy, only 0")
        }
        hedgesOnPerTryTimeout = message.hedgeOnPerTryTimeout
    }
}

extension InternalRedirectPolicy {
    init(compiling message: EnvoyAPI.InternalRedirectPolicy, _ path: FieldPath) throws(ConfigurationError) {
        self.init()
        redirectsMax = message.maxInternalRedirects ?? 1
        if !message.redirectResponseCodes.isEmpty {
            statuses = []
            for (index, code) in message.redirectResponseCodes.enumerated() {
                guard [301, 302, 303, 307, 308].contains(code) else {
                    throw (path / "redirect_response_codes")[index].error("\(code): only 301, 302, 303, 307, 308")
                }
                statuses.append(UInt16(code))
            }
        }
        allowsOtherScheme = message.allowCrossSchemeRedirect
        for (index, predicate) in message.predicates.enumerated() {
            let place = (path / "predicates")[index] / "typed_config"
            guard let any = predicate.typedConfig else { throw place.error("is missing") }
            if any.holds(AllowListedRoutesConfig.self) {
                let list = try Unpacked.message(any, as: AllowListedRoutesConfig.self, place)
                allowedRoutes = Set(list.allowedRouteNames)
            } else if any.holds(PreviousRoutesConfig.self) {
                avoidsPreviousRoutes = true
            } else if any.holds(SafeCrossSchemeConfig.self) {
                crossesSafely = true
            } else {
                throw place.unsupported(any.name)
            }
        }
        for (index, name) in message.responseHeadersToCopy.enumerated() {
            let place = (path / "response_headers_to_copy")[index]
            guard !name.isEmpty, !name.hasPrefix(":"), name.lowercased() != "host" else {
                throw place.error("\(name): cannot be copied")
            }
            copiedHeaders.append(HeaderName(name))
        }
    }
}

extension MetadataCriteria {
    /// The criteria of `metadata_match`; nil without any.
    init?(compiling message: Metadata?, overlaid other: Metadata? = nil) {
        var members = message?.filterMetadata["envoy.lb"]?.object ?? [:]
        for (key, value) in other?.filterMetadata["envoy.lb"]?.object ?? [:] { members[key] = value }
        guard !members.isEmpty else { return nil }
        self.init(members, readsAlternatives: true)
    }
}
