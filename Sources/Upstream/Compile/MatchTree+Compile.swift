internal import EnvoyAPI
internal import Serialization

extension MatchTree {
    /// Trees deeper than this are refused.
    private static var depthMax: Int { 32 }

    /// - Parameter action: Compiles an action.
    init(
        compiling message: EnvoyAPI.Matcher, _ path: FieldPath, depth: Int = 0,
        action: (AnyMessage, FieldPath) throws(ConfigurationError) -> Action
    ) throws(ConfigurationError) {
        guard depth < Self.depthMax else { throw path.error("is nested more than \(Self.depthMax) deep") }
        func outcome(_ match: EnvoyAPI.Matcher.OnMatch, _ path: FieldPath) throws(ConfigurationError) -> Outcome {
            // As Envoy: nobody here takes more than one action.
            guard !match.keepMatching else { throw (path / "keep_matching").unsupported() }
            switch match.onMatch {
            case .matcher(let inner):
                return .tree(try MatchTree(compiling: inner, path / "matcher", depth: depth + 1, action: action))
            case .action(let config):
                guard let any = config.typedConfig else { throw (path / "action.typed_config").error("is missing") }
                return .action(try action(any, path / "action" / "typed_config"))
            case nil: throw path.error("has no action: set one of matcher, action")
            }
        }
        switch message.matcherType {
        case nil: kind = .nothing
        case .matcherList(let list):
            var entries: [(predicate: MatchPredicate, outcome: Outcome)] = []
            for (index, field) in list.matchers.enumerated() {
                let place = (path / "matcher_list.matchers")[index]
                guard let predicate = field.predicate else { throw (place / "predicate").error("is missing") }
                guard let match = field.onMatch else { throw (place / "on_match").error("is missing") }
                entries.append(
                    (
                        try MatchPredicate(compiling: predicate, place / "predicate", depth: 0),
                        try outcome(match, place / "on_match")
                    ))
            }
            kind = .list(entries)
        case .matcherTree(let tree):
            let place = path / "matcher_tree"
            let input = try MatchInput(compiling: tree.input, place / "input")
            switch tree.treeType {
            case .exactMatchMap(let map):
                var outcomes: [[UInt8]: Outcome] = [:]
                for (key, match) in map.map.sorted(by: { $0.key < $1.key }) {
                    outcomes[Array(key.utf8)] = try outcome(match, (place / "exact_match_map.map")[key])
                }
                kind = .exact(input, outcomes)
            case .prefixMatchMap(let map):
                var outcomes: [(prefix: [UInt8], outcome: Outcome)] = []
                for (key, match) in map.map.sorted(by: { $0.key < $1.key }) {
                    outcomes.append((Array(key.utf8), try outcome(match, (place / "prefix_match_map.map")[key])))
                }
                kind = .prefix(input, outcomes.sorted { $0.prefix.count > $1.prefix.count })
            case .customMatch(let config):
                let spot = place / "custom_match" / "typed_config"
                guard let any = config.typedConfig, any.holds(IPMatcher.self) else {
                    throw spot.unsupported(config.typedConfig?.name ?? config.name)
                }
                var outcomes = AddressMap<AddressOutcome>()
                let matchers = try Unpacked.message(any, as: IPMatcher.self, spot).rangeMatchers
                for (index, matcher) in matchers.enumerated() {
                    let here = (spot / "range_matchers")[index]
                    guard let match = matcher.onMatch else { throw (here / "on_match").error("is missing") }
                    let entry = AddressOutcome(
                        outcome: try outcome(match, here / "on_match"), isExclusive: matcher.exclusive)
                    for (number, range) in matcher.ranges.enumerated() {
                        outcomes.insert(
                            entry,
                            for: try AddressRange(
                                range.addressPrefix, bits: range.prefixLen, (here / "ranges")[number]))
                    }
                }
                kind = .addresses(input, outcomes)
            case nil: throw place.error("has no map")
            }
        }
        otherwise = try message.onNoMatch.map { (match) throws(ConfigurationError) in
            try outcome(match, path / "on_no_match")
        }
    }
}

extension MatchPredicate {
    init(
        compiling message: EnvoyAPI.Matcher.MatcherList.Predicate, _ path: FieldPath, depth: Int
    ) throws(ConfigurationError) {
        guard depth < 32 else { throw path.error("is nested too deep") }
        func list(
            _ messages: [EnvoyAPI.Matcher.MatcherList.Predicate], _ path: FieldPath
        ) throws(ConfigurationError) -> [MatchPredicate] {
            guard messages.count > 1 else { throw path.error("needs two predicates at least") }
            var result: [MatchPredicate] = []
            for (index, predicate) in messages.enumerated() {
                result.append(try MatchPredicate(compiling: predicate, path[index], depth: depth + 1))
            }
            return result
        }
        switch message.matchType {
        case .singlePredicate(let single):
            let place = path / "single_predicate"
            if case .customMatch(let config)? = single.matcher,
                let condition = try CELCondition(
                    matcher: config, at: (place / "custom_match").text, input: single.input, at: (place / "input").text)
            {
                self = .expression(condition)
                return
            }
            let input = try MatchInput(compiling: single.input, place / "input")
            switch single.matcher {
            case .valueMatch(let matcher):
                self = .value(input, try StringMatcher(compiling: matcher, place / "value_match"))
            case .customMatch(let config):
                let spot = place / "custom_match"
                guard let any = config.typedConfig, any.holds(IpInputMatcher.self) else {
                    throw spot.unsupported(config.typedConfig?.name ?? config.name)
                }
                let matcher = try Unpacked.message(any, as: IpInputMatcher.self, spot / "typed_config")
                var ranges: [AddressRange] = []
                for (index, range) in matcher.cidrRanges.enumerated() {
                    ranges.append(
                        try AddressRange(
                            range.addressPrefix, bits: range.prefixLen, (spot / "typed_config.cidr_ranges")[index]))
                }
                self = .addresses(input, ranges)
            case nil: throw place.error("has no matcher: set one of value_match, custom_match")
            }
        case .orMatcher(let predicates): self = .any(try list(predicates.predicate, path / "or_matcher.predicate"))
        case .andMatcher(let predicates): self = .all(try list(predicates.predicate, path / "and_matcher.predicate"))
        case .notMatcher(let predicate):
            self = .not(try MatchPredicate(compiling: predicate, path / "not_matcher", depth: depth + 1))
        case nil: throw path.error("has no condition")
        }
    }
}

extension AddressRange {
    /// A range as a message has it; no bits are all addresses of the family.
    init(_ prefix: String, bits: UInt32?, _ path: FieldPath) throws(ConfigurationError) {
        guard let bytes = Self.bytes(prefix) else {
            throw (path / "address_prefix").error("\(prefix): is no IP address")
        }
        let bits = bits ?? 0
        guard bits <= bytes.count * 8 else { throw (path / "prefix_len").error("\(bits) is too long") }
        self.init(bytes: bytes, bits: Int(bits))
    }
}

extension MatchInput {
    init(compiling config: XdsTypedExtensionConfig?, _ path: FieldPath) throws(ConfigurationError) {
        guard let any = config?.typedConfig else { throw path.error("is missing") }
        let place = path / "typed_config"
        if any.holds(HttpRequestHeaderMatchInput.self) {
            let name = try Unpacked.message(any, as: HttpRequestHeaderMatchInput.self, place).headerName
            guard !name.isEmpty else { throw (place / "header_name").error("is empty") }
            self = .header(HeaderName(name.lowercased() == "host" ? ":authority" : name))
        } else if any.holds(HttpRequestQueryParamMatchInput.self) {
            let name = try Unpacked.message(any, as: HttpRequestQueryParamMatchInput.self, place).queryParam
            guard !name.isEmpty else { throw (place / "query_param").error("is empty") }
            self = .queryParameter(Array(name.utf8))
        } else if any.holds(FilterStateInput.self) {
            self = .filterState(try Unpacked.message(any, as: FilterStateInput.self, place).key)
        } else if any.holds(DynamicMetadataInput.self) {
            let input = try Unpacked.message(any, as: DynamicMetadataInput.self, place)
            self = .metadata(
                namespace: input.filter,
                path: input.path.compactMap { if case .key(let key)? = $0.segment { key } else { nil } })
        } else if let fact = Self.connectionFacts[any.name] {
            self = .connection(fact)
        } else {
            throw place.unsupported(any.name)
        }
    }

    private static let connectionFacts: [String: ConnectionFact] = [
        DestinationIPInput.schema.name: .destinationIP, DestinationPortInput.schema.name: .destinationPort,
        SourceIPInput.schema.name: .sourceIP, SourcePortInput.schema.name: .sourcePort,
        DirectSourceIPInput.schema.name: .directSourceIP, SourceTypeInput.schema.name: .sourceType,
        ServerNameInput.schema.name: .serverName, TransportProtocolInput.schema.name: .transportProtocol,
        ApplicationProtocolInput.schema.name: .applicationProtocols, UriSanInput.schema.name: .uriSAN,
        DnsSanInput.schema.name: .dnsSAN, SubjectInput.schema.name: .subject,
    ]
}

/// Messages out of `Any` fields, with errors at their place.
enum Unpacked {
    static func message<M: Message>(
        _ any: AnyMessage, as type: M.Type, _ path: FieldPath
    ) throws(ConfigurationError) -> M {
        do throws(MessageError) {
            return try any.unpack(as: type)
        } catch {
            throw ConfigurationError(at: error.path.isEmpty ? path.text : (path / error.path).text, error.problem)
        }
    }
}

extension StringMatcher {
    init(compiling message: XdsStringMatcher, _ path: FieldPath) throws(ConfigurationError) {
        var copy = EnvoyAPI.StringMatcher()
        copy.ignoreCase = message.ignoreCase
        switch message.matchPattern {
        case .exact(let text): copy.matchPattern = .exact(text)
        case .prefix(let text): copy.matchPattern = .prefix(text)
        case .suffix(let text): copy.matchPattern = .suffix(text)
        case .contains(let text): copy.matchPattern = .contains(text)
        case .safeRegex(let regex):
            var matcher = RegexMatcher()
            matcher.regex = regex.regex
            copy.matchPattern = .safeRegex(matcher)
        default: throw path.unsupported("this kind of match")
        }
        try self.init(compiling: copy, path)
    }
}
