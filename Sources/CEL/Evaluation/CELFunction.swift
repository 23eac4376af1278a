/// The functions besides the operators: CEL's own and those of its extension for texts.
enum CELFunction: String, Sendable {
    case size, contains, startsWith, endsWith, matches
    // Conversions.
    case int, uint, double, string, bytes, bool, type, dyn, timestamp, duration
    // Parts of times.
    case getFullYear, getMonth, getDate, getDayOfMonth, getDayOfWeek, getDayOfYear, getHours, getMinutes, getSeconds
    case getMilliseconds
    // Lists, as Kubernetes has them.
    case isSorted, sum, min, max
    // Patterns, likewise.
    case find, findAll
    // Texts.
    case lowerAscii, upperAscii, trim, reverse, charAt, indexOf, lastIndexOf, substring, replace, split, join

    /// The function of a name; nil where there is none that takes so many operands (the target is one).
    init?(_ name: String, isMember: Bool, count: Int) {
        guard let function = CELFunction(rawValue: name), function.counts(isMember: isMember)?.contains(count) == true
        else { return nil }
        self = function
    }

    /// Whether it is one that expressions about requests do not know.
    var isKubernetes: Bool { [.isSorted, .sum, .min, .max, .find, .findAll].contains(self) }

    private func counts(isMember: Bool) -> ClosedRange<Int>? {
        switch self {
        case .size: 1...1
        case .matches: 2...2
        case .int, .uint, .double, .string, .bytes, .bool, .type, .dyn, .timestamp, .duration: isMember ? nil : 1...1
        case .contains, .startsWith, .endsWith, .charAt, .find: isMember ? 2...2 : nil
        case .getFullYear, .getMonth, .getDate, .getDayOfMonth, .getDayOfWeek, .getDayOfYear, .getHours, .getMinutes,
            .getSeconds, .getMilliseconds, .join:
            isMember ? 1...2 : nil
        case .lowerAscii, .upperAscii, .trim, .reverse, .isSorted, .sum, .min, .max: isMember ? 1...1 : nil
        case .indexOf, .lastIndexOf, .substring, .split, .findAll: isMember ? 2...3 : nil
        case .replace: isMember ? 3...4 : nil
        }
    }
}

extension CELEvaluator {
    /// Calls a function; the target is the first operand.
    mutating func call(_ function: CELFunction, _ operands: [CELValue]) throws(CELError) -> CELValue {
        guard let first = operands.first else { throw .noSuchOverload(function.rawValue) }
        switch function {
        case .size: return .int(try size(first))
        case .contains, .startsWith, .endsWith:
            guard operands.count == 2, case .string(let text) = first, case .string(let part) = operands[1] else {
                throw .noSuchOverload(function.rawValue)
            }
            try budget.charge(bytes: text.utf8.count)
            switch function {
            case .contains:
                // A text of one letter makes every place a try.
                try budget.charge(bytes: text.utf8.count / CELLimits.bytesPerStep * part.utf8.count)
                return .bool(CELText.index(of: part.utf8, in: text.utf8) != nil)
            case .startsWith: return .bool(text.utf8.starts(with: part.utf8))
            default:
                return .bool(
                    part.utf8.count <= text.utf8.count && text.utf8.suffix(part.utf8.count).elementsEqual(part.utf8))
            }
        case .int, .uint, .double, .string, .bytes, .bool, .timestamp, .duration:
            return try first.converted(function, &budget)
        case .type: return .type(first.typeName)
        case .dyn: return first
        case .getFullYear, .getMonth, .getDate, .getDayOfMonth, .getDayOfWeek, .getDayOfYear, .getHours, .getMinutes,
            .getSeconds, .getMilliseconds:
            return .int(try CELTime.part(function, operands))
        case .matches: throw .noSuchOverload(function.rawValue)
        case .find, .findAll: return try find(function, operands)
        case .isSorted, .sum, .min, .max:
            guard case .list(let elements) = first else { throw .noSuchOverload(function.rawValue) }
            return try ofList(function, elements)
        case .indexOf where first.isList, .lastIndexOf where first.isList:
            guard operands.count == 2, case .list(let elements) = first else {
                throw .noSuchOverload(function.rawValue)
            }
            return .int(try place(of: operands[1], in: elements, isLast: function == .lastIndexOf))
        case .lowerAscii, .upperAscii, .trim, .reverse, .charAt, .indexOf, .lastIndexOf, .substring, .replace, .split,
            .join:
            return try CELText.call(function, operands, &budget)
        }
    }

    /// The first match, or all of them, as Go tells them: none that is empty and touches the one before.
    private mutating func find(_ function: CELFunction, _ operands: [CELValue]) throws(CELError) -> CELValue {
        guard operands.count > 1, case .string(let text) = operands[0], case .string(let pattern) = operands[1] else {
            throw .noSuchOverload(function.rawValue)
        }
        var limit = function == .find ? 1 : Int.max
        if operands.count > 2 {
            guard case .int(let told) = operands[2] else { throw .noSuchOverload(function.rawValue) }
            if told >= 0 { limit = Int(clamping: told) }
        }
        try budget.charge(steps: CELLimits.patternSteps)
        let engine = try patterns(pattern)
        let bytes = Array(text.utf8)
        var (found, position, last) = ([CELValue](), 0, -1)
        while found.count < limit, position <= bytes.count {
            // Each search may look at all of the rest.
            try budget.charge(bytes: bytes.count - position + CELLimits.bytesPerStep)
            guard let range = engine.range(in: bytes, from: position), bytes.count >= range.upperBound else { break }
            if !range.isEmpty || range.lowerBound != last {
                found.append(.string(String(decoding: bytes[range], as: UTF8.self)))
            }
            last = range.upperBound
            position = max(range.upperBound, position)
            guard range.isEmpty else { continue }
            position += 1
            while position < bytes.count, bytes[position] & 0xC0 == 0x80 { position += 1 }
        }
        return function == .find ? found.first ?? .string("") : .list(found)
    }

    private mutating func ofList(_ function: CELFunction, _ elements: [CELValue]) throws(CELError) -> CELValue {
        if function == .sum {
            guard var sum = elements.first else { return .int(0) }
            for element in elements.dropFirst() { sum = try CELValue.calculate(.add, sum, element, &budget) }
            return sum
        }
        guard var best = elements.first else {
            if function == .isSorted { return .bool(true) }
            throw .badText("\(function.rawValue)() of a list without elements")
        }
        for element in elements.dropFirst() {
            try budget.charge(steps: 1)
            let order = try CELValue.compare(best, element, function.rawValue, &budget)
            switch function {
            case .isSorted:
                if order == .greater { return .bool(false) }
                best = element
            case .min: if order == .greater { best = element }
            default: if order == .less { best = element }
            }
        }
        return function == .isSorted ? .bool(true) : best
    }

    private mutating func place(
        of element: CELValue, in elements: [CELValue], isLast: Bool
    ) throws(CELError) -> Int64 {
        var found: Int64 = -1
        for (place, other) in elements.enumerated() {
            try budget.charge(steps: 1)
            guard try element.isEqual(other, &budget) else { continue }
            found = Int64(place)
            if !isLast { break }
        }
        return found
    }

    private mutating func size(_ value: CELValue) throws(CELError) -> Int64 {
        switch value {
        case .string(let text):
            try budget.charge(bytes: text.utf8.count)
            return Int64(text.unicodeScalars.count)
        case .bytes(let bytes): return Int64(bytes.count)
        case .list(let elements): return Int64(elements.count)
        case .map(let map): return Int64(map.count)
        case .reference(.headers(let part)): return Int64(activation.headerCount(part))
        default: throw .noSuchOverload("size")
        }
    }
}
