/// One evaluation.
struct CELEvaluator<Activation: CELActivation> {
    let activation: Activation
    let patterns: CELPatternCompiler
    var budget: CELBudget
    /// What loops gather may be an error for a while: `exists` is true where any element says so.
    private var locals: [Result<CELValue, CELError>]

    init(
        activation: Activation, steps: Int, patterns: @escaping CELPatternCompiler, variables: [CELValue] = []
    ) {
        locals = variables.map { .success($0) }
        self.activation = activation
        self.patterns = patterns
        budget = CELBudget(steps: steps)
    }

    mutating func value(_ node: CELNode) throws(CELError) -> CELValue {
        try budget.charge(steps: 1)
        switch node {
        case .constant(let value): return value
        case .local(let place):
            guard locals.indices.contains(place) else { throw .noSuchName("a variable") }
            return try locals[place].get()
        case .unknownName(let name): throw .noSuchName(name)
        case .unknownMember(let name): throw .noSuchKey(name)
        case .attribute(let attribute):
            guard let value = activation.value(attribute) else { throw .noSuchKey(attribute.rawValue) }
            return value
        case .reference(let reference): return .reference(reference)
        case .header(let name, let part):
            guard let value = activation.header(name, part) else {
                throw .noSuchKey("\(CELReference.headers(part).text)['\(name)']")
            }
            return .string(value)
        case .filterState(let key, let isUpstream): return try filterState(key, isUpstream)
        case .select(let operand, let field): return try member(value(operand), field)
        case .has(let operand, let field): return .bool(try isThere(value(operand), field))
        case .index(let operand, let key): return try element(value(operand), value(key))
        case .all(let nodes): return .bool(try all(nodes, unless: false))
        case .any(let nodes): return .bool(try all(nodes, unless: true))
        case .not(let operand):
            guard case .bool(let value) = try value(operand) else { throw .noSuchOverload("!") }
            return .bool(!value)
        case .choice(let condition, let yes, let no):
            guard case .bool(let holds) = try value(condition) else { throw .noSuchOverload("? :") }
            return try value(holds ? yes : no)
        case .notStrictlyFalse(let operand): return .bool(try isNotFalse(operand))
        case .equal(let left, let right): return .bool(try value(left).isEqual(value(right), &budget))
        case .different(let left, let right): return .bool(try !value(left).isEqual(value(right), &budget))
        case .compare(let comparison, let left, let right):
            return .bool(
                comparison.holds(
                    try CELValue.compare(value(left), value(right), comparison.rawValue, &budget)))
        case .arithmetic(let operation, let left, let right):
            return try CELValue.calculate(operation, value(left), value(right), &budget)
        case .negative(let operand): return try value(operand).negated()
        case .isIn(let element, let container): return .bool(try isIn(value(element), value(container)))
        case .list(let nodes):
            var list: [CELValue] = []
            list.reserveCapacity(nodes.count)
            for node in nodes { if let element = try part(node) { list.append(element) } }
            return .list(list)
        case .map(let pairs):
            var map = CELMap()
            for pair in pairs {
                let key = try value(pair.key)
                guard let value = try part(pair.value) else { continue }
                guard map.insert(key, value) else { throw .badKey }
            }
            return .map(map)
        case .loop(let loop): return try run(loop)
        case .matches(let operand, let pattern):
            guard case .string(let text) = try value(operand) else { throw .noSuchOverload("matches") }
            try budget.charge(bytes: text.utf8.count)
            return .bool(pattern.isFound(in: text))
        case .call(.matches, let nodes):
            let operands = try values(nodes)
            guard operands.count == 2, case .string(let text) = operands[0], case .string(let pattern) = operands[1]
            else { throw .noSuchOverload("matches") }
            try budget.charge(steps: CELLimits.patternSteps)
            try budget.charge(bytes: text.utf8.count)
            return .bool(try patterns(pattern).isFound(in: text))
        case .call(let function, let nodes): return try call(function, values(nodes))
        case .library(let function, let nodes): return try call(function, values(nodes))
        }
    }

    /// An element or value of a literal; nil for an optional one that has none.
    private mutating func part(_ node: CELNode) throws(CELError) -> CELValue? {
        guard case .library(.optionalPart, let operands) = node, let only = operands.first else {
            return try value(node)
        }
        guard case .optional(let inner) = try value(only) else { throw .noSuchOverload("an optional element") }
        return inner
    }

    private mutating func values(_ nodes: [CELNode]) throws(CELError) -> [CELValue] {
        var values: [CELValue] = []
        values.reserveCapacity(nodes.count)
        for node in nodes { values.append(try value(node)) }
        return values
    }

    // MARK: Truth

    /// `&&`, or with `isAny` `||`: a part that decides counts whatever the others are, errors included.
    private mutating func all(_ nodes: [CELNode], unless isAny: Bool) throws(CELError) -> Bool {
        var failure: CELError?
        for node in nodes {
            do throws(CELError) {
                guard case .bool(let holds) = try value(node) else { throw .noSuchOverload(isAny ? "||" : "&&") }
                if holds == isAny { return isAny }
            } catch {
                // What costs too much is over.
                if error == .tooExpensive { throw error }
                failure = failure ?? error
            }
        }
        if let failure { throw failure }
        return !isAny
    }

    private mutating func isNotFalse(_ node: CELNode) throws(CELError) -> Bool {
        do throws(CELError) {
            if case .bool(false) = try value(node) { return false }
            return true
        } catch {
            if error == .tooExpensive { throw error }
            return true
        }
    }

    // MARK: Members

    private func filterState(_ key: String, _ isUpstream: Bool) throws(CELError) -> CELValue {
        guard let bytes = activation.filterState(key, isUpstream: isUpstream) else {
            throw .noSuchKey("\(isUpstream ? "upstream_" : "")filter_state['\(key)']")
        }
        return .bytes(bytes)
    }

    private func member(_ operand: CELValue, _ name: String) throws(CELError) -> CELValue {
        switch operand {
        case .map(let map):
            guard let value = map[name] else { throw .noSuchKey(name) }
            return value
        case .reference(let reference): return try member(of: reference, name)
        case .optional(nil): return operand
        case .optional(.map(let map)?): return .optional(map[name])
        default: throw .noSuchOverload(".\(name)")
        }
    }

    private func member(of reference: CELReference, _ name: String) throws(CELError) -> CELValue {
        switch reference {
        case .root(let root):
            switch root.member(name) {
            case .attribute(let attribute)?:
                guard let value = activation.value(attribute) else { throw .noSuchKey(attribute.rawValue) }
                return value
            case .reference(let inner)?: return .reference(inner)
            case .filterState(let key, let isUpstream)?: return try filterState(key, isUpstream)
            case nil: throw .noSuchKey("\(root.rawValue).\(name)")
            }
        case .headers(let part):
            guard let value = activation.header(name.lowercased(), part) else {
                throw .noSuchKey("\(reference.text)['\(name)']")
            }
            return .string(value)
        case .metadata(let source):
            guard name == "filter_metadata" else { throw .noSuchKey("\(source.rawValue).\(name)") }
            return .reference(.filterMetadata(source))
        case .filterMetadata(let source):
            guard let value = activation.metadata(source, name) else {
                throw .noSuchKey("\(reference.text)['\(name)']")
            }
            return value
        }
    }

    private func isThere(_ operand: CELValue, _ name: String) throws(CELError) -> Bool {
        switch operand {
        case .map(let map), .optional(.map(let map)?): return map[name] != nil
        case .optional(nil): return false
        // The field of a message is a map, which is there when it is not empty.
        case .reference(.root(.metadata)) where name == "filter_metadata": return activation.hasMetadata(.dynamic)
        case .reference(.metadata(let source)) where name == "filter_metadata": return activation.hasMetadata(source)
        case .reference(let reference):
            do throws(CELError) {
                _ = try member(of: reference, name)
                return true
            } catch {
                return false
            }
        default: throw .noSuchOverload("has()")
        }
    }

    private mutating func element(_ operand: CELValue, _ key: CELValue) throws(CELError) -> CELValue {
        switch (operand, key) {
        case (.list(let elements), .int), (.list(let elements), .uint), (.list(let elements), .double):
            guard case .int(let index)? = CELKey(key), let place = Int(exactly: index), elements.indices.contains(place)
            else { throw .badIndex }
            return elements[place]
        case (.map(let map), _):
            guard let value = map[key] else { throw .noSuchKey(key.shown) }
            return value
        case (.reference(let reference), .string(let name)): return try member(of: reference, name)
        case (.optional, _): return try call(.optionalElement, [operand, key])
        default: throw .noSuchOverload("[]")
        }
    }

    private mutating func isIn(_ element: CELValue, _ container: CELValue) throws(CELError) -> Bool {
        switch container {
        case .list(let elements):
            for other in elements {
                try budget.charge(steps: 1)
                if try element.isEqual(other, &budget) { return true }
            }
            return false
        case .map(let map): return map[element] != nil
        case .reference:
            guard case .string(let name) = element else { throw .noSuchOverload("in") }
            return try isThere(container, name)
        default: throw .noSuchOverload("in")
        }
    }

    // MARK: Loops

    private mutating func run(_ loop: CELLoop) throws(CELError) -> CELValue {
        let elements: [CELValue]
        var places: [CELValue] = []
        switch try value(loop.range) {
        case .list(let list):
            elements = list
            if loop.hasPlaces {
                try budget.charge(steps: list.count)
                places = list.indices.map { .int(Int64($0)) }
            }
        case .map(let map):
            if loop.hasPlaces {
                try budget.charge(steps: map.count)
                places = map.keys
                elements = places.map { map[$0] ?? .null }
            } else {
                elements = map.keys
            }
        default: throw .noSuchOverload("a macro")
        }
        let start = try value(loop.start)
        let place = locals.count
        defer { locals.removeSubrange(place...) }
        locals.append(.success(start))
        locals.append(.success(.null))
        if loop.hasPlaces { locals.append(.success(.null)) }
        for (number, element) in elements.enumerated() {
            try budget.charge(steps: 1)
            if loop.hasPlaces {
                locals[place + 1] = .success(places[number])
                locals[place + 2] = .success(element)
            } else {
                locals[place + 1] = .success(element)
            }
            guard case .bool(true) = try value(loop.condition) else { break }
            do throws(CELError) {
                locals[place] = .success(try value(loop.step))
            } catch {
                if error == .tooExpensive { throw error }
                locals[place] = .failure(error)
            }
        }
        locals.removeSubrange((place + 1)...)
        return try value(loop.result)
    }
}

extension CELValue {
    /// A value for messages.
    public var shown: String {
        switch self {
        case .null: "null"
        case .bool(let value): "\(value)"
        case .int(let value): "\(value)"
        case .uint(let value): "\(value)u"
        case .double(let value): "\(value)"
        case .string(let value): CELExpression.quoted(value)
        case .bytes(let value): "\(value.count) bytes"
        case .list(let value): "a list of \(value.count)"
        case .map(let value): "a map of \(value.count)"
        case .timestamp(let value): "\(value)"
        case .duration(let value): CELTime.text(value)
        case .type(let value): value
        case .reference(let value): value.text
        case .optional(let value): value.map { "optional(\($0.shown))" } ?? "optional.none()"
        case .library(let value): value.text
        }
    }
}
