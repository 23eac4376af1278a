extension CELValue {
    /// `left + right` and its like; what does not fit is an error.
    static func calculate(
        _ operation: CELArithmetic, _ left: CELValue, _ right: CELValue, _ budget: inout CELBudget
    ) throws(CELError) -> CELValue {
        switch (left, right) {
        case (.int(let left), .int(let right)): return .int(try calculate(operation, left, right))
        case (.uint(let left), .uint(let right)): return .uint(try calculate(operation, left, right))
        case (.double(let left), .double(let right)):
            switch operation {
            case .add: return .double(left + right)
            case .subtract: return .double(left - right)
            case .multiply: return .double(left * right)
            case .divide: return .double(left / right)
            case .remainder: throw .noSuchOverload(operation.rawValue)
            }
        default: break
        }
        switch (operation, left, right) {
        case (.add, .string(let left), .string(let right)):
            try budget.charge(bytes: left.utf8.count + right.utf8.count)
            return .string(left + right)
        case (.add, .bytes(let left), .bytes(let right)):
            try budget.charge(bytes: left.count + right.count)
            return .bytes(left + right)
        case (.add, .list(let left), .list(let right)):
            // A value is 16 bytes.
            try budget.charge(steps: left.count + right.count)
            return .list(left + right)
        case (.add, .timestamp(let time), .duration(let length)), (.add, .duration(let length), .timestamp(let time)):
            guard let sum = CELTime.add(time, length) else { throw .outOfRange("a timestamp") }
            return .timestamp(sum)
        case (.subtract, .timestamp(let time), .duration(let length)):
            guard let sum = CELTime.add(time, .zero - length) else { throw .outOfRange("a timestamp") }
            return .timestamp(sum)
        case (.subtract, .timestamp(let left), .timestamp(let right)): return .duration(CELTime.difference(left, right))
        case (.add, .duration(let left), .duration(let right)): return try length(left + right)
        case (.subtract, .duration(let left), .duration(let right)): return try length(left - right)
        default: throw .noSuchOverload(operation.rawValue)
        }
    }

    private static func length(_ duration: Duration) throws(CELError) -> CELValue {
        guard let duration = CELTime.checked(duration) else { throw .outOfRange("a duration") }
        return .duration(duration)
    }

    private static func calculate<Number: FixedWidthInteger>(
        _ operation: CELArithmetic, _ left: Number, _ right: Number
    ) throws(CELError) -> Number {
        let (value, hasOverflow): (Number, Bool)
        switch operation {
        case .add: (value, hasOverflow) = left.addingReportingOverflow(right)
        case .subtract: (value, hasOverflow) = left.subtractingReportingOverflow(right)
        case .multiply: (value, hasOverflow) = left.multipliedReportingOverflow(by: right)
        case .divide, .remainder:
            guard right != 0 else { throw .divisionByZero }
            (value, hasOverflow) =
                operation == .divide
                ? left.dividedReportingOverflow(by: right) : left.remainderReportingOverflow(dividingBy: right)
        }
        guard !hasOverflow else { throw .outOfRange("a number") }
        return value
    }

    func negated() throws(CELError) -> CELValue {
        switch self {
        case .int(let value):
            guard value != .min else { throw .outOfRange("a number") }
            return .int(-value)
        case .double(let value): return .double(-value)
        case .duration(let value): return .duration(.zero - value)
        default: throw .noSuchOverload("-")
        }
    }
}
