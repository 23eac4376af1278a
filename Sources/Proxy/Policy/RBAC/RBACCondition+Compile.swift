internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Upstream

extension RBACCondition {
    private static let depthMax = 32

    init(permission message: RBACPermission, at path: String, depth: Int = 0) throws(ConfigurationError) {
        guard depth < Self.depthMax else { throw ConfigurationError(at: path, "nested too deeply") }
        func list(_ set: RBACPermission.Set, _ name: String) throws(ConfigurationError) -> [RBACCondition] {
            guard !set.rules.isEmpty else { throw ConfigurationError(at: "\(path).\(name).rules", "is empty") }
            var conditions: [RBACCondition] = []
            for (index, rule) in set.rules.enumerated() {
                conditions.append(
                    try RBACCondition(permission: rule, at: "\(path).\(name).rules[\(index)]", depth: depth + 1))
            }
            return conditions
        }
        switch message.rule {
        case .andRules(let set): self = .all(try list(set, "and_rules"))
        case .orRules(let set): self = .any(try list(set, "or_rules"))
        case .any(let value):
            guard value else { throw ConfigurationError(at: path + ".any", "must be true") }
            self = .always(true)
        case .header(let header): self = .header(try HeaderCondition(compiling: header, at: path + ".header"))
        case .urlPath(let matcher): self = .path(try Self.path(matcher, path + ".url_path"))
        case .destinationIp(let range): self = .destination(try Self.prefix(range, path + ".destination_ip"))
        case .destinationPort(let port):
            guard port <= 65_535 else { throw ConfigurationError(at: path + ".destination_port", "\(port) is no port") }
            self = .destinationPort(start: Int(port), end: Int(port) + 1)
        case .destinationPortRange(let range):
            guard range.start >= 0, range.start < range.end, range.end <= 65_536 else {
                throw ConfigurationError(
                    at: path + ".destination_port_range", "[\(range.start), \(range.end)) is no range of ports")
            }
            self = .destinationPort(start: Int(range.start), end: Int(range.end))
        case .metadata(let matcher):
            self = .metadata(try MetadataCondition(compiling: matcher, at: path + ".metadata"), ofRoute: false)
        case .notRule(let rule):
            self = .not(try RBACCondition(permission: rule, at: path + ".not_rule", depth: depth + 1))
        case .requestedServerName(let matcher):
            self = .serverName(try TextMatcher(compiling: matcher, at: path + ".requested_server_name"))
        case .sourcedMetadata(let matcher): self = try Self.sourced(matcher, path + ".sourced_metadata")
        case .uriTemplate(let extension_):
            self = .pathTemplate(try PathTemplate.expression(extension_.typedConfig, at: path + ".uri_template"))
        case .matcher(let extension_):
            throw ConfigurationError(
                at: path + ".matcher", "unknown matcher \(extension_.typedConfig?.typeURL ?? extension_.name)")
        case nil: throw ConfigurationError(at: path, "a rule is needed")
        }
    }

    init(principal message: RBACPrincipal, at path: String, depth: Int = 0) throws(ConfigurationError) {
        guard depth < Self.depthMax else { throw ConfigurationError(at: path, "nested too deeply") }
        func list(_ set: RBACPrincipal.Set, _ name: String) throws(ConfigurationError) -> [RBACCondition] {
            guard !set.ids.isEmpty else { throw ConfigurationError(at: "\(path).\(name).ids", "is empty") }
            var conditions: [RBACCondition] = []
            for (index, rule) in set.ids.enumerated() {
                conditions.append(
                    try RBACCondition(principal: rule, at: "\(path).\(name).ids[\(index)]", depth: depth + 1))
            }
            return conditions
        }
        switch message.identifier {
        case .andIds(let set): self = .all(try list(set, "and_ids"))
        case .orIds(let set): self = .any(try list(set, "or_ids"))
        case .any(let value):
            guard value else { throw ConfigurationError(at: path + ".any", "must be true") }
            self = .always(true)
        case .authenticated(let who):
            var matcher: TextMatcher?
            if let name = who.principalName {
                matcher = try TextMatcher(compiling: name, at: path + ".authenticated.principal_name")
            }
            self = .authenticated(matcher)
        case .sourceIp(let range): self = .source(try Self.prefix(range, path + ".source_ip"))
        case .directRemoteIp(let range): self = .directRemote(try Self.prefix(range, path + ".direct_remote_ip"))
        case .remoteIp(let range): self = .remote(try Self.prefix(range, path + ".remote_ip"))
        case .header(let header): self = .header(try HeaderCondition(compiling: header, at: path + ".header"))
        case .urlPath(let matcher): self = .path(try Self.path(matcher, path + ".url_path"))
        case .metadata(let matcher):
            self = .metadata(try MetadataCondition(compiling: matcher, at: path + ".metadata"), ofRoute: false)
        case .filterState(let matcher): self = try Self.filterState(matcher, path + ".filter_state")
        case .notId(let id):
            self = .not(try RBACCondition(principal: id, at: path + ".not_id", depth: depth + 1))
        case .sourcedMetadata(let matcher): self = try Self.sourced(matcher, path + ".sourced_metadata")
        case .custom(let extension_):
            throw ConfigurationError(
                at: path + ".custom", "unknown principal \(extension_.typedConfig?.typeURL ?? extension_.name)")
        case nil: throw ConfigurationError(at: path, "an identifier is needed")
        }
    }

    private static func path(_ matcher: EnvoyAPI.PathMatcher, _ path: String) throws(ConfigurationError) -> TextMatcher
    {
        guard case .path(let text) = matcher.rule else { throw ConfigurationError(at: path + ".path", "is missing") }
        return try TextMatcher(compiling: text, at: path + ".path")
    }

    private static func prefix(_ range: CidrRange, _ path: String) throws(ConfigurationError) -> Prefix {
        guard let address = IPAddress(range.addressPrefix),
            let prefix = Prefix(address, length: Int(range.prefixLen ?? 0))
        else {
            throw ConfigurationError(
                at: path, "\(range.addressPrefix)/\(range.prefixLen ?? 0) is no address range such as 10.0.0.0/8")
        }
        return prefix
    }

    private static func sourced(_ message: SourcedMetadata, _ path: String) throws(ConfigurationError) -> RBACCondition
    {
        guard let matcher = message.metadataMatcher else {
            throw ConfigurationError(at: path + ".metadata_matcher", "is missing")
        }
        let condition = try MetadataCondition(compiling: matcher, at: path + ".metadata_matcher")
        return .metadata(condition, ofRoute: message.metadataSource == .route)
    }

    private static func filterState(
        _ message: FilterStateMatcher, _ path: String
    ) throws(ConfigurationError) -> RBACCondition {
        guard !message.key.isEmpty else { throw ConfigurationError(at: path + ".key", "is empty") }
        switch message.matcher {
        case .stringMatch(let matcher):
            return .filterState(message.key, try TextMatcher(compiling: matcher, at: path + ".string_match"))
        case .addressMatch(let matcher):
            var prefixes: [Prefix] = []
            for (index, range) in matcher.ranges.enumerated() {
                guard let address = IPAddress(range.addressPrefix),
                    let prefix = Prefix(address, length: Int(range.prefixLen ?? 0))
                else {
                    throw ConfigurationError(
                        at: "\(path).address_match.ranges[\(index)]", "\(range.addressPrefix) is no address range")
                }
                prefixes.append(prefix)
            }
            return .filterStateAddress(message.key, prefixes, isInverted: matcher.invertMatch)
        case nil: throw ConfigurationError(at: path, "string_match or address_match is needed")
        }
    }
}
