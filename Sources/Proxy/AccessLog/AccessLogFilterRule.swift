internal import CEL
internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Upstream

/// Whether a request is worth a line: Envoy's `AccessLogFilter`, compiled.
indirect enum AccessLogFilterRule: Sendable {
    /// How two numbers are compared.
    enum Comparison: Sendable {
        case equal, atLeast, atMost, other

        func holds(_ left: Int64, _ right: Int64) -> Bool {
            switch self {
            case .equal: left == right
            case .atLeast: left >= right
            case .atMost: left <= right
            case .other: left != right
            }
        }
    }

    case statusCode(Comparison, Int64)
    /// In milliseconds.
    case duration(Comparison, Int64)
    case notHealthCheck
    case traceable
    case runtime(key: String, percent: Fraction, usesRequestID: Bool)
    case all([AccessLogFilterRule])
    case any([AccessLogFilterRule])
    case header(Upstream.HeaderMatcher)
    case flags(ResponseFlags, anyFlag: Bool)
    case grpcStatus(Set<Int>, excludes: Bool)
    case metadata(path: [String], value: MetadataTest, isInverted: Bool, matchesMissing: Bool)
    case type(Set<Int32>, excludes: Bool)
    case expression(CELCondition)

    /// A test on one metadata value.
    enum MetadataTest: Sendable {
        case text(Upstream.StringMatcher)
        case number(ClosedRange<Double>)
        case bool(Bool)
        case null
        case present(Bool)
    }

    init(compiling message: AccessLogFilter, at path: String) throws(ConfigurationError) {
        switch message.filterSpecifier {
        case nil: throw ConfigurationError(at: path, "one of the filters is needed")
        case .statusCodeFilter(let filter):
            let (comparison, value) = try Self.comparison(
                filter.comparison, at: path + ".status_code_filter.comparison")
            self = .statusCode(comparison, value)
        case .durationFilter(let filter):
            let (comparison, value) = try Self.comparison(filter.comparison, at: path + ".duration_filter.comparison")
            self = .duration(comparison, value)
        case .notHealthCheckFilter: self = .notHealthCheck
        case .traceableFilter: self = .traceable
        case .runtimeFilter(let filter):
            let percent = filter.percentSampled
            let numerator = percent?.numerator ?? 0
            let denominator: UInt32 =
                switch percent?.denominator {
                case .tenThousand?: 10_000
                case .million?: 1_000_000
                default: 100
                }
            self = .runtime(
                key: filter.runtimeKey, percent: Fraction(numerator: numerator, denominator: denominator),
                usesRequestID: !filter.useIndependentRandomness)
        case .andFilter(let filter): self = .all(try Self.list(filter.filters, at: path + ".and_filter.filters"))
        case .orFilter(let filter): self = .any(try Self.list(filter.filters, at: path + ".or_filter.filters"))
        case .headerFilter(let filter):
            guard let header = filter.header else {
                throw ConfigurationError(at: path + ".header_filter.header", "is missing")
            }
            self = .header(try Upstream.HeaderMatcher(compiling: header, at: path + ".header_filter.header"))
        case .responseFlagFilter(let filter):
            var flags: ResponseFlags = []
            for (index, letters) in filter.flags.enumerated() {
                guard let flag = ResponseFlags(letters: letters) else {
                    throw ConfigurationError(
                        at: "\(path).response_flag_filter.flags[\(index)]", "\"\(letters)\" is no response flag")
                }
                flags.insert(flag)
            }
            self = .flags(flags, anyFlag: filter.flags.isEmpty)
        case .grpcStatusFilter(let filter):
            self = .grpcStatus(Set(filter.statuses.map { Int($0.rawValue) }), excludes: filter.exclude)
        case .metadataFilter(let filter): self = try Self.metadata(filter, at: path + ".metadata_filter")
        case .logTypeFilter(let filter):
            self = .type(Set(filter.types.map(\.rawValue)), excludes: filter.exclude)
        case .extensionFilter(let filter):
            self = .expression(try Self.expression(filter, at: path + ".extension_filter"))
        }
    }

    /// The filter `envoy.access_loggers.extension_filters.cel`; what its `cel_config` switches on is always there.
    private static func expression(
        _ message: ExtensionFilter, at path: String
    ) throws(ConfigurationError) -> CELCondition {
        let here = path + ".typed_config"
        guard case .typedConfig(let any)? = message.configType, any.holds(ExpressionFilter.self) else {
            throw ConfigurationError(
                at: here, "\(message.name) is unknown here; supported: \(ExpressionFilter.schema.name)")
        }
        let filter = try HTTPFilters.decode(any, as: ExpressionFilter.self, at: here)
        return try CELCondition(text: filter.expression, at: here + ".expression")
    }

    private static func list(
        _ messages: [AccessLogFilter], at path: String
    ) throws(ConfigurationError) -> [AccessLogFilterRule] {
        guard messages.count >= 2 else { throw ConfigurationError(at: path, "at least two filters are needed") }
        var rules: [AccessLogFilterRule] = []
        for (index, message) in messages.enumerated() {
            rules.append(try AccessLogFilterRule(compiling: message, at: "\(path)[\(index)]"))
        }
        return rules
    }

    /// The runtime key of the value is not looked up: the default stands.
    private static func comparison(
        _ message: ComparisonFilter?, at path: String
    ) throws(ConfigurationError) -> (Comparison, Int64) {
        guard let message else { throw ConfigurationError(at: path, "is missing") }
        guard let value = message.value else { throw ConfigurationError(at: path + ".value", "is missing") }
        let comparison: Comparison =
            switch message.op {
            case .eq: .equal
            case .ge: .atLeast
            case .le: .atMost
            case .ne: .other
            case .unrecognized(let number): throw ConfigurationError(at: path + ".op", "\(number) is no comparison")
            }
        return (comparison, Int64(value.defaultValue))
    }

    private static func metadata(
        _ message: MetadataFilter, at path: String
    ) throws(ConfigurationError) -> AccessLogFilterRule {
        guard let matcher = message.matcher else { throw ConfigurationError(at: path + ".matcher", "is missing") }
        guard !matcher.filter.isEmpty else { throw ConfigurationError(at: path + ".matcher.filter", "is empty") }
        var keys = [matcher.filter]
        for segment in matcher.path {
            guard case .key(let key) = segment.segment else { continue }
            keys.append(key)
        }
        let test: MetadataTest
        switch matcher.value?.matchPattern {
        case .stringMatch(let text):
            test = .text(try Upstream.StringMatcher(compiling: text, at: path + ".matcher.value.string_match"))
        case .boolMatch(let flag): test = .bool(flag)
        case .presentMatch(let flag): test = .present(flag)
        case .nullMatch: test = .null
        case .doubleMatch(let number):
            switch number.matchPattern {
            case .exact(let value): test = .number(value...value)
            case .range(let range) where range.start <= range.end: test = .number(range.start...range.end.nextDown)
            default: throw ConfigurationError(at: path + ".matcher.value.double_match", "exact or a range is needed")
            }
        default:
            throw ConfigurationError(
                at: path + ".matcher.value", "string, bool, present, null and double matches are supported here")
        }
        return .metadata(
            path: keys, value: test, isInverted: matcher.invert, matchesMissing: message.matchIfKeyNotFound ?? true)
    }

    // MARK: Asking

    /// Whether a line is written; `random` decides about samples.
    func passes<Context: FormatContext>(_ context: Context, _ moment: FormatMoment, random: () -> UInt64) -> Bool {
        switch self {
        case .statusCode(let comparison, let value): return comparison.holds(Int64(context.info.status), value)
        case .duration(let comparison, let value):
            let end = context.info.lastDownstreamByteSent ?? moment.now
            return comparison.holds(Int64(clamping: end.nanoseconds(since: context.info.started) / 1_000_000), value)
        case .notHealthCheck: return !context.info.isHealthCheck
        case .traceable: return context.traceContext?.isSampled ?? false
        case .runtime(_, let percent, _): return percent.includes(random: random())
        case .all(let rules): return rules.allSatisfy { $0.passes(context, moment, random: random) }
        case .any(let rules): return rules.contains { $0.passes(context, moment, random: random) }
        case .header(let matcher):
            return matcher.matches(context.requestField(FormatField(matcher.name)))
        case .flags(let flags, let anyFlag):
            return anyFlag ? !context.info.flags.isEmpty : !context.info.flags.isDisjoint(with: flags)
        case .grpcStatus(let statuses, let excludes):
            // What is no call of gRPC has status Unknown there, as in Envoy.
            return statuses.contains(context.grpcStatus ?? 2) != excludes
        case .metadata(let path, let test, let isInverted, let matchesMissing):
            guard var json = context.metadata(.dynamic, path.first ?? "") else { return matchesMissing }
            for key in path.dropFirst() {
                guard let member = json[key] else { return matchesMissing }
                json = member
            }
            return test.holds(json) != isInverted
        case .type(let types, let excludes): return types.contains(moment.type.number) != excludes
        case .expression(let condition):
            if case .success(.bool(true)) = context.value(of: condition, now: moment.now) { return true }
            return false
        }
    }
}

extension AccessLogFilterRule.MetadataTest {
    func holds(_ json: JSON) -> Bool {
        switch (self, json) {
        case (.text(let matcher), .string(let text)):
            let bytes = Array(text.utf8)
            return matcher.matches(bytes.span)
        case (.number(let range), _): return json.double.map { range.contains($0) } ?? false
        case (.bool(let wanted), .bool(let flag)): return wanted == flag
        case (.null, .null): return true
        case (.present(let wanted), _): return wanted
        default: return false
        }
    }
}

extension Upstream.HeaderMatcher {
    /// The test on a value that was found already; nil is a missing header.
    func matches(_ value: [UInt8]?) -> Bool {
        var head = RequestHead()
        if let value {
            if name.isPseudo {
                switch name.description {
                case ":path": try? head.setPath(value.span.bytes)
                case ":authority": try? head.setAuthority(value.span.bytes)
                case ":method": try? head.setMethod(token: value.span.bytes)
                default: break
                }
            } else {
                try? head.headers.append(name.bytes.span.bytes, value.span.bytes)
            }
        }
        return head.read { matches($0) }
    }
}
