/// The functions of CEL's extension for texts.
///
/// Places are counted in characters of Unicode, as CEL counts.
enum CELText {
    /// Where a part begins in a text, both in bytes.
    static func index(
        of part: some BidirectionalCollection<UInt8>, in text: some BidirectionalCollection<UInt8>
    ) -> Int? {
        let (part, text) = (Array(part), Array(text))
        return find(part, in: text, from: 0)
    }

    /// The first place at or behind `start` where a list has another one.
    private static func find<Element: Equatable>(_ part: [Element], in text: [Element], from start: Int) -> Int? {
        guard part.count <= text.count, start >= 0, start <= text.count - part.count else { return nil }
        guard let first = part.first else { return start }
        for place in start...(text.count - part.count) where text[place] == first {
            if text[place..<(place + part.count)].elementsEqual(part) { return place }
        }
        return nil
    }

    private static func scalars(
        _ value: CELValue?, _ function: CELFunction, _ budget: inout CELBudget
    ) throws(CELError) -> [Unicode.Scalar] {
        guard case .string(let text)? = value else { throw .noSuchOverload(function.rawValue) }
        // The list takes four bytes for each, so that the text costs what it takes.
        try budget.charge(bytes: text.utf8.count * 4)
        return Array(text.unicodeScalars)
    }

    private static func text(_ scalars: some Sequence<Unicode.Scalar>) -> CELValue {
        var view = String.UnicodeScalarView()
        view.append(contentsOf: scalars)
        return .string(String(view))
    }

    private static func number(_ value: CELValue, _ function: CELFunction) throws(CELError) -> Int {
        guard case .int(let number) = value else { throw .noSuchOverload(function.rawValue) }
        return Int(clamping: number)
    }

    /// Calls one of the functions.
    static func call(
        _ function: CELFunction, _ operands: [CELValue], _ budget: inout CELBudget
    ) throws(CELError) -> CELValue {
        if function == .join { return try join(operands, &budget) }
        let subject = try scalars(operands.first, function, &budget)
        switch function {
        case .lowerAscii:
            return text(subject.map { (65...90).contains($0.value) ? Unicode.Scalar(UInt8($0.value) | 0x20) : $0 })
        case .upperAscii:
            return text(subject.map { (97...122).contains($0.value) ? Unicode.Scalar(UInt8($0.value) & 0xDF) : $0 })
        case .reverse: return text(subject.reversed())
        case .trim:
            guard let first = subject.firstIndex(where: { !$0.properties.isWhitespace }),
                let last = subject.lastIndex(where: { !$0.properties.isWhitespace })
            else { return .string("") }
            return text(subject[first...last])
        case .charAt:
            let place = try number(operands[1], function)
            if place == subject.count { return .string("") }
            guard subject.indices.contains(place) else { throw .badIndex }
            return text([subject[place]])
        case .substring:
            let start = try number(operands[1], function)
            let end = operands.count > 2 ? try number(operands[2], function) : subject.count
            guard start >= 0, start <= end, end <= subject.count else { throw .badIndex }
            return text(subject[start..<end])
        case .indexOf, .lastIndexOf: return try place(function, subject, operands, &budget)
        case .replace: return try replace(subject, operands, &budget)
        default: return try split(subject, operands, &budget)
        }
    }

    private static func place(
        _ function: CELFunction, _ subject: [Unicode.Scalar], _ operands: [CELValue], _ budget: inout CELBudget
    ) throws(CELError) -> CELValue {
        let part = try scalars(operands[1], function, &budget)
        try budget.charge(bytes: worst(subject.count, part.count))
        let limit = operands.count > 2 ? try number(operands[2], function) : function == .indexOf ? 0 : subject.count
        guard limit >= 0, limit <= subject.count else { throw .badIndex }
        if function == .indexOf { return .int(Int64(find(part, in: subject, from: limit) ?? -1)) }
        var place = min(limit, subject.count - part.count)
        while place >= 0 {
            if subject[place..<(place + part.count)].elementsEqual(part) { return .int(Int64(place)) }
            place -= 1
        }
        return .int(-1)
    }

    /// What a search may cost: a text of one letter makes every place a try.
    private static func worst(_ subject: Int, _ part: Int) -> Int {
        subject.multipliedReportingOverflow(by: max(1, part)).partialValue
    }

    private static func replace(
        _ subject: [Unicode.Scalar], _ operands: [CELValue], _ budget: inout CELBudget
    ) throws(CELError) -> CELValue {
        let old = try scalars(operands[1], .replace, &budget)
        let new = try scalars(operands[2], .replace, &budget)
        try budget.charge(bytes: worst(subject.count, old.count))
        let limit = operands.count > 3 ? try number(operands[3], .replace) : -1
        var result: [Unicode.Scalar] = []
        var position = 0
        var count = 0
        while limit < 0 || count < limit, let place = find(old, in: subject, from: position) {
            try budget.charge(bytes: 4 * new.count + CELLimits.bytesPerStep)
            result += subject[position..<place]
            result += new
            position = place + old.count
            count += 1
            guard old.isEmpty else { continue }
            // An empty text stands before each character and at the end.
            guard position < subject.count else { break }
            result.append(subject[position])
            position += 1
        }
        if position < subject.count { result += subject[position...] }
        return text(result)
    }

    private static func split(
        _ subject: [Unicode.Scalar], _ operands: [CELValue], _ budget: inout CELBudget
    ) throws(CELError) -> CELValue {
        let separator = try scalars(operands[1], .split, &budget)
        try budget.charge(bytes: worst(subject.count, separator.count))
        let limit = operands.count > 2 ? try number(operands[2], .split) : -1
        if limit == 0 { return .list([]) }
        var parts: [CELValue] = []
        var position = 0
        while limit < 0 || parts.count < limit - 1 {
            try budget.charge(steps: 1)
            if separator.isEmpty {
                guard position + 1 < subject.count else { break }
                parts.append(text([subject[position]]))
                position += 1
            } else {
                guard let place = find(separator, in: subject, from: position) else { break }
                parts.append(text(subject[position..<place]))
                position = place + separator.count
            }
        }
        if !separator.isEmpty || position < subject.count { parts.append(text(subject[position...])) }
        return .list(parts)
    }

    private static func join(_ operands: [CELValue], _ budget: inout CELBudget) throws(CELError) -> CELValue {
        guard case .list(let elements)? = operands.first else { throw .noSuchOverload("join") }
        var separator = ""
        if operands.count > 1 {
            guard case .string(let text) = operands[1] else { throw .noSuchOverload("join") }
            separator = text
        }
        var result = ""
        for (index, element) in elements.enumerated() {
            guard case .string(let text) = element else { throw .noSuchOverload("join") }
            try budget.charge(bytes: text.utf8.count + separator.utf8.count + CELLimits.bytesPerStep)
            if index > 0 { result += separator }
            result += text
        }
        return .string(result)
    }
}
