internal import CEL
internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Upstream

/// What requests are decided by: policies, or a matcher tree whose actions are verdicts.
enum HTTPRBACRules: Sendable {
    case engine(RBACEngine)
    case tree(MatchTree<HTTPMatchInput, Verdict>)

    /// What an action of the tree says.
    struct Verdict: Sendable {
        var name: String
        var action: RBACEngine.Action
    }

    /// Nil where neither is configured.
    init?(
        _ rules: RBAC?, _ matcher: Matcher?, at path: String, rulesField: String, matcherField: String
    ) throws(ConfigurationError) {
        if let matcher {
            let place = FieldCheck.join(path, matcherField)
            guard rules == nil else {
                throw ConfigurationError(at: place, "either \(rulesField) or \(matcherField)")
            }
            self = .tree(
                try MatchTree(
                    compiling: matcher, at: place, takesExpressions: true, input: Self.input, action: Self.verdict))
        } else if let rules {
            self = .engine(try RBACEngine(compiling: rules, at: FieldCheck.join(path, rulesField)))
        } else {
            return nil
        }
    }

    private static func input(_ any: AnyMessage, _ path: String) throws(ConfigurationError) -> HTTPMatchInput {
        try HTTPMatchInput(compiling: any, at: path, takesResponses: false)
    }

    private static func verdict(_ any: AnyMessage, _ path: String) throws(ConfigurationError) -> Verdict {
        guard any.holds(RBACMatchAction.self) else {
            throw ConfigurationError(
                at: path, "unknown action \(any.typeURL); supported: \(RBACMatchAction.schema.name)")
        }
        let action = try HTTPFilters.decode(any, as: RBACMatchAction.self, at: path)
        return Verdict(name: action.name, action: try RBACEngine.action(action.action, path + ".action"))
    }

    /// Fields of requests that policies and expressions look at.
    var headerNames: Set<String> {
        switch self {
        case .engine(let engine): engine.headerNames
        case .tree(let tree): Set(tree.expressions.flatMap(\.program.headerNames))
        }
    }

    /// The CEL expressions of a tree, evaluated one by one for an explanation.
    func explainExpressions(_ view: RequestRBACView) -> [String] {
        guard case .tree(let tree) = self else { return [] }
        return tree.expressions.map { view.explain($0) }
    }

    func decide(_ stream: HTTPStream, _ view: RequestRBACView) -> RBACEngine.Verdict {
        switch self {
        case .engine(let engine): return engine.decide(view)
        case .tree(let tree):
            let found = tree.find(facts: { $0.fact(stream, view) }, holds: { view.holds($0) })
            // No match is no permission.
            guard let found else { return RBACEngine.Verdict(isAllowed: false) }
            switch found.action {
            case .allow: return RBACEngine.Verdict(isAllowed: true, policy: found.name)
            case .deny: return RBACEngine.Verdict(isAllowed: false, policy: found.name)
            case .log: return RBACEngine.Verdict(isAllowed: true, policy: found.name, logHint: true)
            }
        }
    }
}
