extension CELValue {
    /// Whether two values are equal; values of different kinds are not, numbers are compared by what they are worth.
    ///
    /// - Parameter budget: What comparing costs.
    func isEqual(_ other: CELValue, _ budget: inout CELBudget) throws(CELError) -> Bool {
        switch (self, other) {
        case (.null, .null): return true
        case (.bool(let left), .bool(let right)): return left == right
        case (.string(let left), .string(let right)):
            try budget.charge(bytes: min(left.utf8.count, right.utf8.count))
            // By code points, as CEL compares: not by what looks alike.
            return left.utf8.count == right.utf8.count && left.utf8.elementsEqual(right.utf8)
        case (.bytes(let left), .bytes(let right)):
            try budget.charge(bytes: min(left.count, right.count))
            return left == right
        case (.timestamp(let left), .timestamp(let right)): return left == right
        case (.duration(let left), .duration(let right)): return left == right
        case (.type(let left), .type(let right)): return left == right
        case (.library(let left), .library(let right)): return left == right
        case (.optional(nil), .optional(nil)): return true
        case (.optional(let left?), .optional(let right?)): return try left.isEqual(right, &budget)
        case (.list(let left), .list(let right)):
            guard left.count == right.count else { return false }
            for (one, two) in zip(left, right) {
                try budget.charge(steps: 1)
                guard try one.isEqual(two, &budget) else { return false }
            }
            return true
        case (.map(let left), .map(let right)):
            guard left.count == right.count else { return false }
            for key in left.keys {
                try budget.charge(steps: 1)
                guard let one = left[key], let two = right[key], try one.isEqual(two, &budget) else { return false }
            }
            return true
        default: return Self.order(self, other) == .equal
        }
    }

    /// How two numbers lie; nil where one is none, or is not a number at all.
    static func order(_ left: CELValue, _ right: CELValue) -> CELOrder? {
        switch (left, right) {
        case (.int(let left), .int(let right)): CELOrder(left, right)
        case (.uint(let left), .uint(let right)): CELOrder(left, right)
        case (.double(let left), .double(let right)): CELOrder(left, right)
        case (.int(let left), .uint(let right)): UInt64(exactly: left).map { CELOrder($0, right) } ?? .less
        case (.uint(let left), .int(let right)): UInt64(exactly: right).map { CELOrder(left, $0) } ?? .greater
        case (.int(let left), .double(let right)): order(left, right)
        case (.double(let left), .int(let right)): order(right, left)?.reversed
        case (.uint(let left), .double(let right)): order(left, right)
        case (.double(let left), .uint(let right)): order(right, left)?.reversed
        default: nil
        }
    }

    private static func order<Number: FixedWidthInteger>(_ left: Number, _ right: Double) -> CELOrder? {
        if right.isNaN { return nil }
        let whole = right.rounded(.down)
        guard let number = Number(exactly: whole) else { return right > 0 ? .less : .greater }
        return left == number ? (right > whole ? .less : .equal) : CELOrder(left, number)
    }

    /// How two values lie that have an order; nil where they have none.
    static func compare(
        _ left: CELValue, _ right: CELValue, _ function: String, _ budget: inout CELBudget
    ) throws(CELError) -> CELOrder? {
        switch (left, right) {
        case (.string(let left), .string(let right)):
            try budget.charge(bytes: min(left.utf8.count, right.utf8.count))
            return CELOrder(bytes: left.utf8, right.utf8)
        case (.bytes(let left), .bytes(let right)):
            try budget.charge(bytes: min(left.count, right.count))
            return CELOrder(bytes: left, right)
        case (.bool(let left), .bool(let right)): return CELOrder(left ? 1 : 0, right ? 1 : 0)
        case (.timestamp(let left), .timestamp(let right)): return CELOrder(left, right)
        case (.duration(let left), .duration(let right)): return CELOrder(left, right)
        case (.int, .int), (.int, .uint), (.int, .double), (.uint, .int), (.uint, .uint), (.uint, .double),
            (.double, .int), (.double, .uint), (.double, .double):
            return order(left, right)
        default: throw .noSuchOverload(function)
        }
    }
}

/// How two values lie.
enum CELOrder {
    case less, equal, greater

    /// Nil for what is not a number.
    init?(_ left: Double, _ right: Double) {
        guard !left.isNaN, !right.isNaN else { return nil }
        self = left < right ? .less : left == right ? .equal : .greater
    }

    init<Value: Comparable>(_ left: Value, _ right: Value) {
        self = left < right ? .less : left == right ? .equal : .greater
    }

    init(bytes left: some Collection<UInt8>, _ right: some Collection<UInt8>) {
        self = left.elementsEqual(right) ? .equal : left.lexicographicallyPrecedes(right) ? .less : .greater
    }

    var reversed: CELOrder {
        switch self {
        case .less: .greater
        case .equal: .equal
        case .greater: .less
        }
    }
}

/// What an evaluation may still cost.
struct CELBudget {
    private(set) var left: Int

    init(steps: Int) { left = steps }

    mutating func charge(steps: Int) throws(CELError) {
        left -= steps
        if left < 0 { throw .tooExpensive }
    }

    mutating func charge(bytes: Int) throws(CELError) {
        if bytes >= CELLimits.bytesPerStep { try charge(steps: bytes / CELLimits.bytesPerStep) }
    }
}
