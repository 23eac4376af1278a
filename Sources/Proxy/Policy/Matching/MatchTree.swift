internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Upstream

/// A compiled `xds.type.matcher.v3.Matcher`: conditions on inputs, and what to do when they hold.
///
/// Pure. `Input` says which facts can be asked for, `Action` what comes of it; the facts are text, or metadata.
struct MatchTree<Input: Sendable, Action: Sendable>: Sendable {
    private indirect enum Outcome: Sendable {
        case action(Action)
        case tree(Body, onNoMatch: Outcome?)
    }

    private enum Body: Sendable {
        /// Nothing is asked: what follows no match follows.
        case nothing
        case list([(condition: Condition, outcome: Outcome)])
        case exact(Input, [String: Outcome])
        /// By falling length of the prefix.
        case prefix(Input, [(prefix: String, outcome: Outcome)])
        case addresses(Input, PrefixTable<[AddressOutcome]>)
    }

    /// What follows an address in a range.
    private struct AddressOutcome: Sendable {
        let outcome: Outcome
        /// It counts only where no narrower range has the address.
        let isExclusive: Bool
    }

    private indirect enum Condition: Sendable {
        case value(Input, TextMatcher)
        case custom(Input, CustomMatcher)
        case expression(CELCondition)
        case any([Condition])
        case all([Condition])
        case not(Condition)
    }

    /// Envoy's limit is the stack; deeper than this is a mistake.
    private static var depthMax: Int { 32 }

    private let outcome: Outcome

    typealias InputCompiler = (AnyMessage, String) throws(ConfigurationError) -> Input
    typealias ActionCompiler = (AnyMessage, String) throws(ConfigurationError) -> Action

    /// - Parameter takesExpressions: Whether there are requests, for CEL expressions to be about.
    init(
        compiling message: Matcher, at path: String, takesExpressions: Bool = false, input: InputCompiler,
        action: ActionCompiler
    ) throws(ConfigurationError) {
        outcome = try Self.compile(message, path, 0, input, action)
        if !takesExpressions, let expression = expressions.first {
            throw ConfigurationError(at: path, "CEL is about requests, and there is none here: \(expression.text)")
        }
    }

    // MARK: Finding

    typealias Facts = (Input) -> MatchFact?

    /// The action of the first match; nil when nothing matches.
    ///
    /// - Parameter holds: Evaluates the expressions, where the tree may have any (`takesExpressions`).
    func find(_ value: (Input) -> String?, holds: (CELCondition) -> Bool = { _ in false }) -> Action? {
        Self.find(outcome, { value($0).map { .text($0) } }, holds)
    }

    /// As `find`, where facts may be metadata too.
    func find(facts: Facts, holds: (CELCondition) -> Bool = { _ in false }) -> Action? {
        Self.find(outcome, facts, holds)
    }

    private static func find(_ outcome: Outcome, _ value: Facts, _ holds: (CELCondition) -> Bool) -> Action? {
        switch outcome {
        case .action(let action): return action
        case .tree(let body, let onNoMatch):
            if let found = find(body, value, holds) { return found }
            return onNoMatch.flatMap { find($0, value, holds) }
        }
    }

    private static func find(_ body: Body, _ value: Facts, _ holds: (CELCondition) -> Bool) -> Action? {
        switch body {
        case .nothing: return nil
        case .list(let entries):
            for entry in entries where Self.holds(entry.condition, value, holds) {
                if let found = find(entry.outcome, value, holds) { return found }
            }
            return nil
        case .exact(let input, let map):
            return value(input)?.text.flatMap { map[$0] }.flatMap { find($0, value, holds) }
        case .prefix(let input, let entries):
            guard let text = value(input)?.text else { return nil }
            for entry in entries where text.hasPrefix(entry.prefix) {
                if let found = find(entry.outcome, value, holds) { return found }
            }
            return nil
        case .addresses(let input, let table):
            guard let address = value(input)?.text.flatMap({ IPAddress($0) }) else { return nil }
            for (index, entry) in table.findAll(address).joined().enumerated() {
                if entry.isExclusive, index > 0 { continue }
                if let found = find(entry.outcome, value, holds) { return found }
            }
            return nil
        }
    }

    private static func holds(_ condition: Condition, _ value: Facts, _ expression: (CELCondition) -> Bool) -> Bool {
        switch condition {
        case .value(let input, let matcher): value(input)?.text.map { matcher.matches($0) } ?? false
        case .custom(let input, let matcher): matcher.matches(value(input))
        case .expression(let condition): expression(condition)
        case .any(let conditions): conditions.contains { holds($0, value, expression) }
        case .all(let conditions): conditions.allSatisfy { holds($0, value, expression) }
        case .not(let condition): !holds(condition, value, expression)
        }
    }

    /// The CEL expressions in the tree, in order.
    var expressions: [CELCondition] {
        func list(_ condition: Condition) -> [CELCondition] {
            switch condition {
            case .value, .custom: []
            case .expression(let expression): [expression]
            case .any(let inner), .all(let inner): inner.flatMap(list)
            case .not(let inner): list(inner)
            }
        }
        func list(_ outcome: Outcome) -> [CELCondition] {
            guard case .tree(let body, let onNoMatch) = outcome else { return [] }
            let inner: [CELCondition] =
                switch body {
                case .nothing: []
                case .list(let entries): entries.flatMap { list($0.condition) + list($0.outcome) }
                case .exact(_, let map): map.sorted { $0.key < $1.key }.flatMap { list($0.value) }
                case .prefix(_, let entries): entries.flatMap { list($0.outcome) }
                case .addresses(_, let table): table.all.joined().flatMap { list($0.outcome) }
                }
            return inner + (onNoMatch.map(list) ?? [])
        }
        return list(outcome)
    }

    // MARK: Compiling

    private static func compile(
        _ message: Matcher, _ path: String, _ depth: Int, _ input: InputCompiler, _ action: ActionCompiler
    ) throws(ConfigurationError) -> Outcome {
        guard depth < depthMax else { throw ConfigurationError(at: path, "nested too deeply") }
        let body: Body
        switch message.matcherType {
        case .matcherList(let list):
            var entries: [(Condition, Outcome)] = []
            for (index, matcher) in list.matchers.enumerated() {
                let here = "\(path).matcher_list.matchers[\(index)]"
                guard let predicate = matcher.predicate else {
                    throw ConfigurationError(at: here + ".predicate", "a predicate is needed")
                }
                entries.append(
                    (
                        try compile(predicate, here + ".predicate", depth, input),
                        try compile(matcher.onMatch, here + ".on_match", depth, input, action)
                    ))
            }
            body = .list(entries)
        case .matcherTree(let tree): body = try compile(tree, path + ".matcher_tree", depth, input, action)
        case nil:
            guard message.onNoMatch != nil else {
                throw ConfigurationError(at: path, "one of matcher_list, matcher_tree, on_no_match is needed")
            }
            body = .nothing
        }
        var onNoMatch: Outcome?
        if let other = message.onNoMatch {
            onNoMatch = try compile(other, path + ".on_no_match", depth, input, action)
        }
        return .tree(body, onNoMatch: onNoMatch)
    }

    private static func compile(
        _ message: Matcher.OnMatch?, _ path: String, _ depth: Int, _ input: InputCompiler, _ action: ActionCompiler
    ) throws(ConfigurationError) -> Outcome {
        guard message?.keepMatching != true else {
            throw ConfigurationError(at: path + ".keep_matching", "not supported")
        }
        switch message?.onMatch {
        case .matcher(let inner): return try compile(inner, path + ".matcher", depth + 1, input, action)
        case .action(let extension_):
            guard let any = extension_.typedConfig else {
                throw ConfigurationError(at: path + ".action.typed_config", "is missing")
            }
            return .action(try action(any, path + ".action.typed_config"))
        case nil: throw ConfigurationError(at: path, "matcher or action is needed")
        }
    }

    private static func compile(
        _ tree: Matcher.MatcherTree, _ path: String, _ depth: Int, _ input: InputCompiler, _ action: ActionCompiler
    ) throws(ConfigurationError) -> Body {
        let source = try compile(tree.input, path + ".input", input)
        func outcomes(
            _ map: Matcher.MatcherTree.MatchMap, _ name: String
        ) throws(ConfigurationError) -> [String: Outcome] {
            var outcomes: [String: Outcome] = [:]
            for (key, value) in map.map {
                outcomes[key] = try compile(value, "\(path).\(name).map[\(key)]", depth, input, action)
            }
            return outcomes
        }
        switch tree.treeType {
        case .exactMatchMap(let map): return .exact(source, try outcomes(map, "exact_match_map"))
        case .prefixMatchMap(let map):
            let entries = try outcomes(map, "prefix_match_map")
            return .prefix(
                source,
                entries.sorted { $0.key.utf8.count > $1.key.utf8.count }.map { (prefix: $0.key, outcome: $0.value) })
        case .customMatch(let custom):
            let here = path + ".custom_match.typed_config"
            guard let any = custom.typedConfig else { throw ConfigurationError(at: here, "is missing") }
            guard let ranges = try MatchActions.addressRanges(any, here) else {
                throw ConfigurationError(
                    at: here, "unknown matcher \(any.typeURL); supported: xds.type.matcher.v3.IPMatcher")
            }
            var table = PrefixTable<[AddressOutcome]>()
            for (index, entry) in ranges.enumerated() {
                let outcome = try compile(
                    entry.onMatch, "\(here).range_matchers[\(index)].on_match", depth, input, action)
                let made = AddressOutcome(outcome: outcome, isExclusive: entry.isExclusive)
                for prefix in entry.prefixes { table[prefix] = (table[prefix] ?? []) + [made] }
            }
            return .addresses(source, table)
        case nil: throw ConfigurationError(at: path, "exact_match_map, prefix_match_map or custom_match is needed")
        }
    }

    private static func compile(
        _ message: XdsTypedExtensionConfig?, _ path: String, _ input: InputCompiler
    ) throws(ConfigurationError) -> Input {
        guard let any = message?.typedConfig else {
            throw ConfigurationError(at: path + ".typed_config", "is missing")
        }
        return try input(any, path + ".typed_config")
    }

    private static func compile(
        _ message: Matcher.MatcherList.Predicate, _ path: String, _ depth: Int, _ input: InputCompiler
    ) throws(ConfigurationError) -> Condition {
        guard depth < depthMax else { throw ConfigurationError(at: path, "nested too deeply") }
        func list(
            _ list: Matcher.MatcherList.Predicate.PredicateList, _ name: String
        ) throws(ConfigurationError) -> [Condition] {
            guard list.predicate.count >= 2 else {
                throw ConfigurationError(at: "\(path).\(name).predicate", "at least two predicates are needed")
            }
            var conditions: [Condition] = []
            for (index, inner) in list.predicate.enumerated() {
                conditions.append(try compile(inner, "\(path).\(name).predicate[\(index)]", depth + 1, input))
            }
            return conditions
        }
        switch message.matchType {
        case .singlePredicate(let single):
            let here = path + ".single_predicate"
            if case .customMatch(let custom)? = single.matcher,
                let condition = try CELCondition(
                    matcher: custom, at: here + ".custom_match", input: single.input, at: here + ".input")
            {
                return .expression(condition)
            }
            let source = try compile(single.input, here + ".input", input)
            switch single.matcher {
            case .valueMatch(let matcher):
                return .value(source, try TextMatcher(compiling: matcher, at: here + ".value_match"))
            case .customMatch(let custom):
                let place = here + ".custom_match"
                guard let any = custom.typedConfig, let matcher = try CustomMatcher(compiling: any, at: place) else {
                    throw ConfigurationError(
                        at: place,
                        "unknown matcher \(custom.typedConfig?.typeURL ?? custom.name); supported: \(CustomMatcher.names)"
                    )
                }
                return .custom(source, matcher)
            case nil: throw ConfigurationError(at: here, "value_match or custom_match is needed")
            }
        case .orMatcher(let predicates): return .any(try list(predicates, "or_matcher"))
        case .andMatcher(let predicates): return .all(try list(predicates, "and_matcher"))
        case .notMatcher(let inner): return .not(try compile(inner, path + ".not_matcher", depth + 1, input))
        case nil: throw ConfigurationError(at: path, "a condition is needed")
        }
    }
}
