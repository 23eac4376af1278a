internal import EnvoyAPI
internal import Serialization
internal import Upstream

/// `stats_config`, compiled: which metrics exist, which labels they get, which buckets histograms have.
struct StatsConfiguration: Sendable {
    /// Which names are shown.
    enum Selection: Sendable {
        case all
        case none
        case including([Upstream.StringMatcher])
        case excluding([Upstream.StringMatcher])
    }

    var selection = Selection.all
    var tags = TagExtraction()
    var buckets: [(matcher: Upstream.StringMatcher, bounds: [Double])] = []

    /// Everything is shown, with Envoy's default labels.
    init() {}

    init(compiling message: StatsConfig, at path: String) throws(ConfigurationError) {
        try FieldCheck.check(
            message, reads: ["stats_tags", "use_all_default_tags", "stats_matcher", "histogram_bucket_settings"],
            at: path)
        tags.usesDefaults = message.useAllDefaultTags ?? true
        for (index, tag) in message.statsTags.enumerated() {
            if let rule = try Self.rule(tag, at: "\(path).stats_tags[\(index)]") { tags.rules.append(rule) }
        }
        switch message.statsMatcher?.statsMatcher {
        case nil: selection = .all
        case .rejectAll(let rejects): selection = rejects ? .none : .all
        case .inclusionList(let list):
            selection = .including(try Self.matchers(list, at: path + ".stats_matcher.inclusion_list"))
        case .exclusionList(let list):
            selection = .excluding(try Self.matchers(list, at: path + ".stats_matcher.exclusion_list"))
        }
        for (index, setting) in message.histogramBucketSettings.enumerated() {
            let here = "\(path).histogram_bucket_settings[\(index)]"
            try FieldCheck.check(setting, reads: ["match", "buckets"], at: here)
            guard let match = setting.match else { throw ConfigurationError(at: here + ".match", "is missing") }
            guard !setting.buckets.isEmpty else { throw ConfigurationError(at: here + ".buckets", "is empty") }
            guard setting.buckets.count <= Limits.histogramBuckets, setting.buckets.allSatisfy({ $0 > 0 }),
                zip(setting.buckets, setting.buckets.dropFirst()).allSatisfy({ $0 < $1 })
            else {
                throw ConfigurationError(
                    at: here + ".buckets",
                    "at most \(Limits.histogramBuckets) bounds above 0 in rising order are needed")
            }
            buckets.append((try Upstream.StringMatcher(compiling: match, at: here + ".match"), setting.buckets))
        }
    }

    /// Istio's bootstrap has a pattern of the time when Envoy read them by another engine, and RE2 looks not ahead:
    /// "a dot follows, then anything up to a dot", which is the dot and whatever else goes up to another.
    private static func withoutLookahead(_ pattern: String) -> String {
        pattern.replacing(#"(?=\.).*?\."#, with: #"\.(?:.*?\.)??"#)
    }

    /// Tags that Envoy knows by name only are its defaults, which ours are too.
    private static func rule(_ message: TagSpecifier, at path: String) throws(ConfigurationError) -> TagExtraction.Rule?
    {
        guard !message.tagName.isEmpty else { throw ConfigurationError(at: path + ".tag_name", "is empty") }
        switch message.tagValue {
        case nil: return nil
        case .fixedValue(let value): return .fixed(name: message.tagName, value: value)
        case .regex(let pattern):
            if pattern.isEmpty { return nil }
            let expression: RegularExpression
            do throws(RegularExpressionError) {
                expression = try RegularExpression(Self.withoutLookahead(pattern))
            } catch {
                throw ConfigurationError(at: path + ".regex", error.description)
            }
            guard expression.groupCount >= 1 else {
                throw ConfigurationError(at: path + ".regex", "a group is needed: it is what leaves the name")
            }
            return .regex(name: message.tagName, expression)
        }
    }

    private static func matchers(
        _ list: ListStringMatcher, at path: String
    ) throws(ConfigurationError) -> [Upstream.StringMatcher] {
        var matchers: [Upstream.StringMatcher] = []
        for (index, pattern) in list.patterns.enumerated() {
            matchers.append(try Upstream.StringMatcher(compiling: pattern, at: "\(path).patterns[\(index)]"))
        }
        return matchers
    }

    /// Whether a metric of this dotted name is shown.
    func shows(_ name: String) -> Bool {
        switch selection {
        case .all: true
        case .none: false
        case .including(let matchers): Self.matches(name, matchers)
        case .excluding(let matchers): !Self.matches(name, matchers)
        }
    }

    /// The bucket bounds of a histogram; nil for the default ones.
    func bounds(of name: String) -> [Double]? {
        buckets.first { Self.matches(name, [$0.matcher]) }?.bounds
    }

    private static func matches(_ name: String, _ matchers: [Upstream.StringMatcher]) -> Bool {
        let bytes = Array(name.utf8)
        return matchers.contains { $0.matches(bytes.span) }
    }
}
