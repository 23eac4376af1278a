public import EnvoyAPI
internal import Serialization

extension RateLimitRule {
    /// Compiles the rules that stand at a field path.
    public static func list(_ messages: [RateLimit], at path: String) throws(ConfigurationError) -> [RateLimitRule] {
        try list(messages, FieldPath(path))
    }

    static func list(_ messages: [RateLimit], _ path: FieldPath) throws(ConfigurationError) -> [RateLimitRule] {
        var result: [RateLimitRule] = []
        for (index, message) in messages.enumerated() {
            result.append(try RateLimitRule(compiling: message, path[index]))
        }
        return result
    }

    init(compiling message: RateLimit, _ path: FieldPath) throws(ConfigurationError) {
        try FieldCheck.check(
            message, path,
            handles:
                "stage disable_key actions limit hits_addend apply_on_stream_done x_ratelimit_option")
        stage = message.stage ?? 0
        guard stage <= 10 else { throw (path / "stage").error("\(stage) is above 10") }
        disableKey = message.disableKey
        if disableKey.isEmpty {
            enabled = nil
        } else {
            var share = Fraction.all
            share.runtime = Runtime.compiling.entry("ratelimit.\(disableKey).http_filter_enabled")
            enabled = share
        }
        switch message.xRatelimitOption {
        case .off: showsLimit = false
        case .draftVersion03: showsLimit = true
        default: showsLimit = nil
        }
        appliesOnStreamDone = message.applyOnStreamDone
        var actions: [Action] = []
        for (index, action) in message.actions.enumerated() {
            actions.append(try Self.action(action, (path / "actions")[index]))
        }
        guard !actions.isEmpty else { throw (path / "actions").error("is empty") }
        self.actions = actions
        if case .dynamicMetadata(let source)? = message.limit?.overrideSpecifier {
            let place = path / "limit.dynamic_metadata.metadata_key"
            guard let key = source.metadataKey else { throw place.error("is missing") }
            limitSource = (key.key, try ClusterConfig.Settings.segments(key, place))
        } else {
            limitSource = nil
        }
        if let hits = message.hitsAddend {
            if hits.format.isEmpty {
                self.hits = .number(hits.number ?? 1)
            } else {
                guard hits.number == nil else { throw (path / "hits_addend").error("set number or format, not both") }
                self.hits = .format(try Self.template(hits.format, path / "hits_addend.format"))
            }
        } else {
            hits = nil
        }
    }

    private static func action(
        _ message: RateLimit.Action, _ path: FieldPath
    ) throws(ConfigurationError) -> Action {
        func key(_ text: String, _ field: String) throws(ConfigurationError) -> String {
            guard !text.isEmpty else { throw (path / field).error("is empty") }
            return text
        }
        switch message.actionSpecifier {
        case .sourceCluster: return .sourceCluster
        case .destinationCluster: return .destinationCluster
        case .requestHeaders(let headers):
            let name = HeaderName(try key(headers.headerName, "request_headers.header_name"))
            return .requestHeader(
                name.description == "host" ? HeaderName(":authority") : name,
                key: try key(headers.descriptorKey, "request_headers.descriptor_key"),
                skipsIfAbsent: headers.skipIfAbsent)
        case .queryParameters(let parameters):
            return .queryParameter(
                Array(try key(parameters.queryParameterName, "query_parameters.query_parameter_name").utf8),
                key: try key(parameters.descriptorKey, "query_parameters.descriptor_key"),
                skipsIfAbsent: parameters.skipIfAbsent)
        case .remoteAddress: return .remoteAddress
        case .maskedRemoteAddress(let masked):
            let v4 = masked.v4PrefixMaskLen ?? 32
            let v6 = masked.v6PrefixMaskLen ?? 128
            guard v4 <= 32 else { throw (path / "masked_remote_address.v4_prefix_mask_len").error("\(v4) is above 32") }
            guard v6 <= 128 else {
                throw (path / "masked_remote_address.v6_prefix_mask_len").error("\(v6) is above 128")
            }
            return .maskedRemoteAddress(v4Bits: Int(v4), v6Bits: Int(v6))
        case .genericKey(let generic):
            return .genericKey(
                key: generic.descriptorKey.isEmpty ? "generic_key" : generic.descriptorKey,
                value: try value(
                    key(generic.descriptorValue, "generic_key.descriptor_value"), path / "generic_key.descriptor_value"),
                standard: generic.defaultValue)
        case .headerValueMatch(let match):
            let place = path / "header_value_match"
            guard !match.headers.isEmpty else { throw (place / "headers").error("is empty") }
            return .headerMatch(
                try HeaderMatcher.list(match.headers, place / "headers"), expected: match.expectMatch ?? true,
                key: match.descriptorKey.isEmpty ? "header_match" : match.descriptorKey,
                value: try value(
                    key(match.descriptorValue, "header_value_match.descriptor_value"), place / "descriptor_value"),
                standard: match.defaultValue)
        case .queryParameterValueMatch(let match):
            let place = path / "query_parameter_value_match"
            guard !match.queryParameters.isEmpty else { throw (place / "query_parameters").error("is empty") }
            var matchers: [QueryParameterMatcher] = []
            for (index, parameter) in match.queryParameters.enumerated() {
                matchers.append(try QueryParameterMatcher(compiling: parameter, (place / "query_parameters")[index]))
            }
            return .queryMatch(
                matchers, expected: match.expectMatch ?? true,
                key: match.descriptorKey.isEmpty ? "query_match" : match.descriptorKey,
                value: try value(
                    key(match.descriptorValue, "query_parameter_value_match.descriptor_value"),
                    place / "descriptor_value"),
                standard: match.defaultValue)
        case .remoteAddressMatch(let match):
            let place = path / "remote_address_match"
            guard let matcher = match.addressMatcher else { throw (place / "address_matcher").error("is missing") }
            guard !matcher.ranges.isEmpty else { throw (place / "address_matcher.ranges").error("is empty") }
            var ranges: [AddressRange] = []
            for (index, range) in matcher.ranges.enumerated() {
                ranges.append(
                    try AddressRange(
                        range.addressPrefix, bits: range.prefixLen, (place / "address_matcher.ranges")[index]))
            }
            return .addressMatch(
                ranges, isInverted: matcher.invertMatch,
                key: match.descriptorKey.isEmpty ? "remote_address_match" : match.descriptorKey,
                value: try template(
                    key(match.descriptorValue, "remote_address_match.descriptor_value"), place / "descriptor_value"),
                standard: match.defaultValue)
        case .dynamicMetadata(let source):
            return .metadata(
                try metadata(
                    source.metadataKey, key: try key(source.descriptorKey, "dynamic_metadata.descriptor_key"),
                    standard: source.defaultValue, skips: false, isOfRoute: false, path / "dynamic_metadata"))
        case .metadata(let source):
            let isOfRoute: Bool
            switch source.source {
            case .dynamic: isOfRoute = false
            case .routeEntry: isOfRoute = true
            case .unrecognized(let number): throw (path / "metadata.source").error("\(number) is no source")
            }
            return .metadata(
                try metadata(
                    source.metadataKey, key: try key(source.descriptorKey, "metadata.descriptor_key"),
                    standard: source.defaultValue, skips: source.skipIfAbsent, isOfRoute: isOfRoute, path / "metadata"))
        case .extension(let config):
            if let made = try input(config, path / "extension") { return made }
            return try expression(config, path / "extension")
        case nil: throw path.error("names no action")
        }
    }

    /// An input of matchers as a value, under the extension's name; nil when it is none.
    private static func input(
        _ config: TypedExtensionConfig, _ path: FieldPath
    ) throws(ConfigurationError) -> Action? {
        guard let any = config.typedConfig, any.holds(HttpRequestHeaderMatchInput.self) else { return nil }
        let place = path / "typed_config"
        let message = try Unpacked.message(any, as: HttpRequestHeaderMatchInput.self, place)
        guard !message.headerName.isEmpty else { throw (place / "header_name").error("is empty") }
        guard !config.name.isEmpty else { throw (path / "name").error("is empty: it is the descriptor's key") }
        return .headerInput(HeaderName(message.headerName), key: config.name)
    }

    /// `envoy.rate_limit_descriptors.expr`: the value of a CEL expression.
    private static func expression(
        _ config: TypedExtensionConfig, _ path: FieldPath
    ) throws(ConfigurationError) -> Action {
        guard let any = config.typedConfig, any.holds(ExprRateLimitDescriptor.self) else {
            throw path.unsupported(config.typedConfig?.name ?? config.name)
        }
        let place = path / "typed_config"
        let message = try Unpacked.message(any, as: ExprRateLimitDescriptor.self, place)
        guard !message.descriptorKey.isEmpty else { throw (place / "descriptor_key").error("is empty") }
        let condition: CELCondition
        switch message.exprSpecifier {
        case .text(let text): condition = try CELCondition(text: text, at: (place / "text").text)
        case .parsed(let expression): condition = try CELCondition(compiling: expression, at: (place / "parsed").text)
        case nil: throw place.error("has no expression: set one of text, parsed")
        }
        return .expression(condition, key: message.descriptorKey, skipsIfError: message.skipIfError)
    }

    /// Values of descriptors are formats where Envoy's runtime guard is set; without it they stand for themselves.
    private static func value(_ text: String, _ path: FieldPath) throws(ConfigurationError) -> HeaderTemplate {
        let guardName = "envoy.reloadable_features.enable_formatter_for_ratelimit_action_descriptor_value"
        guard Runtime.compiling.entry(guardName).isEnabled ?? false else { return HeaderTemplate(constant: text) }
        return try template(text, path)
    }

    private static func template(_ text: String, _ path: FieldPath) throws(ConfigurationError) -> HeaderTemplate {
        do throws(HeaderTemplateError) {
            return try HeaderTemplate(parsing: text)
        } catch {
            throw path.error(error.description)
        }
    }

    private static func metadata(
        _ key: MetadataKey?, key descriptorKey: String, standard: String, skips: Bool, isOfRoute: Bool,
        _ path: FieldPath
    ) throws(ConfigurationError) -> Metadata {
        guard let key else { throw (path / "metadata_key").error("is missing") }
        return Metadata(
            isOfRoute: isOfRoute, namespace: key.key,
            path: try ClusterConfig.Settings.segments(key, path / "metadata_key"), key: descriptorKey,
            standard: standard,
            skipsIfAbsent: skips)
    }
}
