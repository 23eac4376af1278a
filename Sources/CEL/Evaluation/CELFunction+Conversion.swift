internal import Serialization

extension CELValue {
    /// `int(value)` and its like.
    func converted(_ function: CELFunction, _ budget: inout CELBudget) throws(CELError) -> CELValue {
        switch self {
        case .string(let text): try budget.charge(bytes: text.utf8.count)
        case .bytes(let bytes): try budget.charge(bytes: bytes.count)
        default: break
        }
        switch function {
        case .int: return .int(try int())
        case .uint: return .uint(try uint())
        case .double: return .double(try double())
        case .string: return .string(try string())
        case .bytes:
            switch self {
            case .bytes: return self
            case .string(let text): return .bytes(Array(text.utf8))
            default: break
            }
        case .bool:
            switch self {
            case .bool: return self
            case .string("true"), .string("True"), .string("TRUE"), .string("t"), .string("1"): return .bool(true)
            case .string("false"), .string("False"), .string("FALSE"), .string("f"), .string("0"): return .bool(false)
            case .string(let text): throw .badText("\(CELExpression.quoted(text)) is not true or false")
            default: break
            }
        case .timestamp:
            switch self {
            case .timestamp: return self
            case .string(let text):
                guard let time = Timestamp(text) else { throw .badText("\(CELExpression.quoted(text)) is no time") }
                return .timestamp(time)
            case .int(let seconds):
                guard Timestamp.secondsRange.contains(seconds) else { throw .outOfRange("a timestamp") }
                return .timestamp(Timestamp(seconds: seconds))
            default: break
            }
        case .duration:
            switch self {
            case .duration: return self
            case .string(let text):
                guard let length = CELTime.duration(text) else {
                    throw .badText("\(CELExpression.quoted(text)) is no duration")
                }
                return .duration(length)
            default: break
            }
        default: break
        }
        throw .noSuchOverload(function.rawValue)
    }

    private func int() throws(CELError) -> Int64 {
        switch self {
        case .int(let value): return value
        case .uint(let value):
            guard let value = Int64(exactly: value) else { throw .outOfRange("int()") }
            return value
        case .double(let value):
            guard let value = Int64(exactly: value.rounded(.towardZero)) else { throw .outOfRange("int()") }
            return value
        case .string(let text):
            guard !text.hasPrefix("+"), let value = Int64(text) else {
                throw .badText("\(CELExpression.quoted(text)) is no int")
            }
            return value
        case .timestamp(let time): return time.seconds
        default: throw .noSuchOverload("int")
        }
    }

    private func uint() throws(CELError) -> UInt64 {
        switch self {
        case .uint(let value): return value
        case .int(let value):
            guard let value = UInt64(exactly: value) else { throw .outOfRange("uint()") }
            return value
        case .double(let value):
            guard let value = UInt64(exactly: value.rounded(.towardZero)) else { throw .outOfRange("uint()") }
            return value
        case .string(let text):
            guard !text.hasPrefix("+"), let value = UInt64(text) else {
                throw .badText("\(CELExpression.quoted(text)) is no uint")
            }
            return value
        default: throw .noSuchOverload("uint")
        }
    }

    private func double() throws(CELError) -> Double {
        switch self {
        case .double(let value): return value
        case .int(let value): return Double(value)
        case .uint(let value): return Double(value)
        case .string(let text):
            guard let value = Double(text) else { throw .badText("\(CELExpression.quoted(text)) is no double") }
            return value
        default: throw .noSuchOverload("double")
        }
    }

    private func string() throws(CELError) -> String {
        switch self {
        case .string(let text): return text
        case .int(let value): return "\(value)"
        case .uint(let value): return "\(value)"
        case .bool(let value): return "\(value)"
        case .double(let value): return Int64(exactly: value).map { "\($0)" } ?? "\(value)"
        case .timestamp(let time): return time.description
        case .duration(let length): return CELTime.text(length)
        case .library(.address), .library(.network): return shown
        case .bytes(let bytes):
            guard let text = String(validating: bytes, as: UTF8.self) else { throw .badText("the bytes are not UTF-8") }
            return text
        default: throw .noSuchOverload("string")
        }
    }
}
