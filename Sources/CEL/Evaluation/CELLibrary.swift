internal import Serialization

/// The functions of Kubernetes' libraries, for expressions about objects.
///
/// Source: Kubernetes' documentation, "CEL libraries".
enum CELLibrary: String, Sendable {
    // Optional values; the first two are `a.?b` and `a[?b]`.
    case optionalMember = "_?._"
    case optionalElement = "_[?_]"
    case optionalOf = "optional.of"
    case optionalNone = "optional.none"
    case optionalOfNonZero = "optional.ofNonZeroValue"
    /// An element of a list literal or the value of an entry that is left out when there is none: `[?a]`, `{?k: a}`. Nobody can write this name.
    case optionalPart = "@optional_part"
    case hasValue, value, orValue, or
    // Amounts.
    case quantity, isQuantity, sign, isInteger, asInteger, asApproximateFloat, add, sub, isLessThan, isGreaterThan
    case compareTo
    // Addresses.
    case ip, isIP, family, isUnspecified, isLoopback, isLinkLocalMulticast, isLinkLocalUnicast, isGlobalUnicast
    case isCanonical = "ip.isCanonical"
    case cidr, isCIDR, containsIP, containsCIDR, masked, prefixLength
    // Places.
    case url, isURL, getScheme, getHost, getHostname, getPort, getEscapedPath, getQuery
    // Texts.
    case format, validate
    case named = "format.named"
    case namedFormat = "format.*"
    // Sets.
    case setsContains = "sets.contains"
    case setsEquivalent = "sets.equivalent"
    case setsIntersects = "sets.intersects"
    // Versions.
    case semver, isSemver, major, minor, patch
    /// A text as Go writes it in quotes.
    case quote = "strings.quote"
    // What loops over two variables gather; nobody can write these names.
    case mapInsert = "@map_insert"
    case mapMerge = "@map_merge"

    /// Names before a dot that are no variables.
    static let namespaces: Set<String> = ["optional", "ip", "format", "sets", "strings"]

    /// The function of a name; nil where there is none that takes so many operands (the target is one).
    init?(_ name: String, isMember: Bool, count: Int) {
        guard !name.hasPrefix("_"), !name.hasPrefix("@"), !name.contains("."), let function = CELLibrary(rawValue: name)
        else { return nil }
        let wanted: Int
        switch function {
        case .quantity, .isQuantity, .isIP, .cidr, .isCIDR, .url, .isURL:
            guard !isMember else { return nil }
            wanted = 1
        case .semver, .isSemver:
            guard !isMember else { return nil }
            wanted = count == 2 ? 2 : 1
        case .ip: wanted = 1
        case .add, .sub, .isLessThan, .isGreaterThan, .compareTo, .containsIP, .containsCIDR, .orValue, .or, .format,
            .validate:
            guard isMember else { return nil }
            wanted = 2
        default:
            guard isMember else { return nil }
            wanted = 1
        }
        guard count == wanted else { return nil }
        self = function
    }

    /// The function of a namespace, and what comes before its operands.
    static func member(of namespace: String, _ name: String, _ count: Int) -> (CELLibrary, [CELNode])? {
        if namespace == "format", name != "named" {
            guard count == 0, CELFormat(rawValue: name) != nil else { return nil }
            return (.namedFormat, [.constant(.string(name))])
        }
        guard let function = CELLibrary(rawValue: "\(namespace).\(name)") else { return nil }
        let wanted =
            switch function {
            case .optionalNone: 0
            case .setsContains, .setsEquivalent, .setsIntersects: 2
            default: 1
            }
        return count == wanted ? (function, []) : nil
    }
}

extension CELValue {
    static func time(_ text: String) -> Timestamp? { Timestamp(text) }

    /// Whether it is what its type begins with.
    fileprivate var isZero: Bool {
        switch self {
        case .null: true
        case .bool(let value): !value
        case .int(let value): value == 0
        case .uint(let value): value == 0
        case .double(let value): value == 0
        case .string(let value): value.isEmpty
        case .bytes(let value): value.isEmpty
        case .list(let value): value.isEmpty
        case .map(let value): value.count == 0
        case .optional(let value): value == nil
        default: false
        }
    }
}

extension CELEvaluator {
    /// Calls a function of a library.
    mutating func call(_ function: CELLibrary, _ operands: [CELValue]) throws(CELError) -> CELValue {
        let wrong = CELError.noSuchOverload(function.rawValue)
        func text(_ place: Int) throws(CELError) -> String {
            guard operands.indices.contains(place), case .string(let text) = operands[place] else { throw wrong }
            try budget.charge(bytes: text.utf8.count * 4)
            return text
        }
        switch function {
        case .optionalNone: return .optional(nil)
        // Only a literal takes it.
        case .optionalPart: throw wrong
        case .optionalOf: return .optional(operands.first)
        case .optionalOfNonZero: return .optional(operands.first.flatMap { $0.isZero ? nil : $0 })
        case .optionalMember, .optionalElement:
            guard operands.count == 2 else { throw wrong }
            return try optionalMember(operands[0], operands[1])
        case .hasValue, .orValue, .or: return try optional(function, operands)
        case .value:
            switch operands.first {
            case .optional(let inner?)?: return inner
            case .optional(nil)?: throw .badText("value() of an optional that has none")
            default: throw wrong
            }
        case .quantity:
            let text = try text(0)
            guard let nano = CELQuantity.nano(text) else {
                throw .badText("\(CELExpression.quoted(text)) is no quantity")
            }
            return .library(.quantity(nano))
        case .isQuantity: return .bool(CELQuantity.nano(try text(0)) != nil)
        case .sign, .isInteger, .asInteger, .asApproximateFloat, .add, .sub, .isLessThan, .isGreaterThan, .compareTo:
            return try amount(function, operands)
        case .isIP: return .bool(CELAddress(try text(0)) != nil)
        case .isCanonical:
            let text = try text(0)
            guard let address = CELAddress(text) else { throw .badText("\(CELExpression.quoted(text)) is no address") }
            return .bool(address.text == text)
        case .isCIDR: return .bool(CELAddress.network(try text(0)) != nil)
        case .cidr:
            let text = try text(0)
            guard let network = CELAddress.network(text) else {
                throw .badText("\(CELExpression.quoted(text)) is no range of addresses")
            }
            return .library(network)
        case .ip, .family, .isUnspecified, .isLoopback, .isLinkLocalMulticast, .isLinkLocalUnicast, .isGlobalUnicast,
            .containsIP, .containsCIDR, .masked, .prefixLength:
            return try address(function, operands)
        case .isURL: return .bool(CELURL(try text(0)) != nil)
        case .url:
            let text = try text(0)
            guard let url = CELURL(text) else { throw .badText("\(CELExpression.quoted(text)) is no URL") }
            return .library(.url(url))
        case .getScheme, .getHost, .getHostname, .getPort, .getEscapedPath, .getQuery:
            guard case .library(.url(let url))? = operands.first else { throw wrong }
            return Self.part(function, of: url)
        case .namedFormat, .named:
            let format = CELFormat(rawValue: try text(0)).map { CELValue.library(.format($0)) }
            if function == .named { return .optional(format) }
            guard let format else { throw wrong }
            return format
        case .validate:
            guard case .library(.format(let format))? = operands.first else { throw wrong }
            return .optional(format.problem(try text(1)).map { .list([.string($0)]) })
        case .format:
            let pattern = try text(0)
            guard operands.count == 2, case .list(let values) = operands[1] else { throw wrong }
            return .string(try CELFormatting.text(pattern, values, &budget))
        case .setsContains, .setsEquivalent, .setsIntersects: return .bool(try sets(function, operands))
        case .semver, .isSemver:
            let text = try text(0)
            var isNormalized = false
            if operands.count > 1 {
                guard case .bool(let told) = operands[1] else { throw wrong }
                isNormalized = told
            }
            let version = CELVersion(text, normalizing: isNormalized)
            if function == .isSemver { return .bool(version != nil) }
            guard let version else { throw .badText("\(CELExpression.quoted(text)) is no semantic version") }
            return .library(.version(version))
        case .major, .minor, .patch:
            guard case .library(.version(let version))? = operands.first else { throw wrong }
            let number = function == .major ? version.major : function == .minor ? version.minor : version.patch
            return .int(Int64(clamping: number))
        case .quote: return .string(CELText.quoted(try text(0)))
        case .mapInsert, .mapMerge: return try gather(function, operands)
        }
    }

    /// A map with one or more entries more; each key comes once.
    private mutating func gather(_ function: CELLibrary, _ operands: [CELValue]) throws(CELError) -> CELValue {
        guard case .map(var map)? = operands.first, operands.count > 1 else { throw .noSuchOverload("transformMap") }
        // The map before stays as it is until the loop goes on.
        try budget.charge(steps: map.count)
        if function == .mapInsert {
            guard operands.count == 3, map.insert(operands[1], operands[2]) else { throw .badKey }
            return .map(map)
        }
        guard case .map(let more) = operands[1] else { throw .noSuchOverload("transformMapEntry") }
        try budget.charge(steps: more.count)
        for key in more.keys {
            guard let value = more[key], map.insert(key, value) else { throw .badKey }
        }
        return .map(map)
    }

    // MARK: Optional values

    private func optionalMember(_ operand: CELValue, _ key: CELValue) throws(CELError) -> CELValue {
        switch operand {
        case .optional(nil): return .optional(nil)
        case .optional(let inner?): return try optionalMember(inner, key)
        case .map(let map): return .optional(map[key])
        case .list(let elements):
            guard case .int(let index)? = CELKey(key) else { throw .noSuchOverload("[?]") }
            return .optional(Int(exactly: index).flatMap { elements.indices.contains($0) ? elements[$0] : nil })
        default: throw .noSuchOverload(".?")
        }
    }

    private func optional(_ function: CELLibrary, _ operands: [CELValue]) throws(CELError) -> CELValue {
        guard case .optional(let inner)? = operands.first else { throw .noSuchOverload(function.rawValue) }
        if function == .hasValue { return .bool(inner != nil) }
        guard operands.count == 2 else { throw .noSuchOverload(function.rawValue) }
        if function == .or {
            guard case .optional = operands[1] else { throw .noSuchOverload("or") }
            return inner == nil ? operands[1] : operands[0]
        }
        return inner ?? operands[1]
    }

    // MARK: Amounts and addresses

    private func amount(_ function: CELLibrary, _ operands: [CELValue]) throws(CELError) -> CELValue {
        if case .library(.version(let left))? = operands.first {
            guard operands.count == 2, case .library(.version(let right)) = operands[1] else {
                throw .noSuchOverload(function.rawValue)
            }
            let order = left.order(to: right)
            switch function {
            case .isLessThan: return .bool(order < 0)
            case .isGreaterThan: return .bool(order > 0)
            case .compareTo: return .int(Int64(order))
            default: throw .noSuchOverload(function.rawValue)
            }
        }
        guard case .library(.quantity(let left))? = operands.first else { throw .noSuchOverload(function.rawValue) }
        let unit: Int128 = 1_000_000_000
        switch function {
        case .sign: return .int(Int64(left.signum()))
        case .isInteger: return .bool(left % unit == 0 && Int64(exactly: left / unit) != nil)
        case .asInteger:
            guard left % unit == 0, let whole = Int64(exactly: left / unit) else {
                throw .outOfRange("cannot convert value to integer")
            }
            return .int(whole)
        case .asApproximateFloat: return .double(Double(left) / 1e9)
        default: break
        }
        let right: Int128
        switch operands.count == 2 ? operands[1] : .null {
        case .library(.quantity(let other)): right = other
        case .int(let other) where function == .add || function == .sub: right = Int128(other) * unit
        default: throw .noSuchOverload(function.rawValue)
        }
        switch function {
        case .isLessThan: return .bool(left < right)
        case .isGreaterThan: return .bool(left > right)
        case .compareTo: return .int(left < right ? -1 : left > right ? 1 : 0)
        default:
            let (sum, overflows) =
                function == .add ? left.addingReportingOverflow(right) : left.subtractingReportingOverflow(right)
            guard !overflows else { throw .outOfRange("a quantity") }
            return .library(.quantity(sum))
        }
    }

    private func address(_ function: CELLibrary, _ operands: [CELValue]) throws(CELError) -> CELValue {
        func given(_ value: CELValue?) throws(CELError) -> CELAddress {
            switch value {
            case .library(.address(let address))?: return address
            case .string(let text)?:
                guard let address = CELAddress(text) else {
                    throw .badText("\(CELExpression.quoted(text)) is no address")
                }
                return address
            default: throw .noSuchOverload(function.rawValue)
            }
        }
        switch (operands.first, function) {
        case (.string, .ip): return .library(.address(try given(operands.first)))
        case (.library(.network(let address, _)), .ip): return .library(.address(address))
        case (.library(.network(let address, let length)), .masked):
            return .library(.network(address.masked(length), length: length))
        case (.library(.network(_, let length)), .prefixLength): return .int(Int64(length))
        case (.library(.network(let address, let length)), .containsIP):
            let other = try given(operands.last)
            return .bool(other.isIPv4 == address.isIPv4 && other.masked(length) == address.masked(length))
        case (.library(.network(let address, let length)), .containsCIDR):
            var other = operands.last
            if case .string(let text)? = other { other = CELAddress.network(text).map { .library($0) } }
            guard case .library(.network(let inner, let longer))? = other else {
                throw .noSuchOverload("containsCIDR")
            }
            return .bool(
                inner.isIPv4 == address.isIPv4 && longer >= length && inner.masked(length) == address.masked(length))
        case (.library(.address(let address)), _):
            switch function {
            case .family: return .int(address.isIPv4 ? 4 : 6)
            case .isUnspecified: return .bool(address.isUnspecified)
            case .isLoopback: return .bool(address.isLoopback)
            case .isLinkLocalMulticast: return .bool(address.isLinkLocalMulticast)
            case .isLinkLocalUnicast: return .bool(address.isLinkLocalUnicast)
            case .isGlobalUnicast: return .bool(address.isGlobalUnicast)
            default: throw .noSuchOverload(function.rawValue)
            }
        default: throw .noSuchOverload(function.rawValue)
        }
    }

    // MARK: Places and sets

    private static func part(_ function: CELLibrary, of url: CELURL) -> CELValue {
        switch function {
        case .getScheme: return .string(url.scheme)
        case .getHost: return .string(url.host)
        case .getHostname: return .string(url.hostname)
        case .getPort: return .string(url.port)
        case .getEscapedPath: return .string(url.path)
        default:
            var lists: [String: [CELValue]] = [:]
            for item in url.query.split(separator: "&") {
                let halves = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map {
                    CELText.decoded($0)
                }
                lists[halves[0], default: []].append(.string(halves.count > 1 ? halves[1] : ""))
            }
            return .map(CELMap(lists.mapValues { .list($0) }))
        }
    }

    private mutating func sets(_ function: CELLibrary, _ operands: [CELValue]) throws(CELError) -> Bool {
        guard operands.count == 2, case .list(let left) = operands[0], case .list(let right) = operands[1] else {
            throw .noSuchOverload(function.rawValue)
        }
        func has(_ list: [CELValue], _ element: CELValue, _ budget: inout CELBudget) throws(CELError) -> Bool {
            for other in list {
                try budget.charge(steps: 1)
                if try other.isEqual(element, &budget) { return true }
            }
            return false
        }
        if function == .setsIntersects {
            for element in right where try has(left, element, &budget) { return true }
            return false
        }
        for element in right where try !has(left, element, &budget) { return false }
        guard function == .setsEquivalent else { return true }
        for element in left where try !has(right, element, &budget) { return false }
        return true
    }
}

/// `'%s is %d'.format([…])`, as CEL's extension for texts has it.
enum CELFormatting {
    /// Digits behind a point at most.
    private static let precisionMax = 64

    static func text(
        _ pattern: String, _ values: [CELValue], _ budget: inout CELBudget
    ) throws(CELError) -> String {
        var result = ""
        var (rest, next) = (pattern[...], 0)
        while let character = rest.popFirst() {
            guard character == "%" else {
                result.append(character)
                continue
            }
            if rest.first == "%" {
                rest.removeFirst()
                result.append("%")
                continue
            }
            var precision = 6
            if rest.first == "." {
                let digits = rest.dropFirst().prefix { $0.isASCII && $0.isNumber }
                guard let told = Int(digits), told <= precisionMax else {
                    throw .badText("format(): a precision is missing")
                }
                precision = told
                rest = rest.dropFirst(digits.count + 1)
            }
            guard let verb = rest.popFirst() else { throw .badText("format(): a verb is missing behind %") }
            guard values.indices.contains(next) else { throw .badText("format(): index \(next) out of range") }
            let made = try one(verb, values[next], precision)
            try budget.charge(bytes: made.utf8.count + CELLimits.bytesPerStep)
            result += made
            next += 1
        }
        return result
    }

    private static func one(_ verb: Character, _ value: CELValue, _ precision: Int) throws(CELError) -> String {
        switch (verb, value) {
        case ("s", _): return plain(value)
        case ("d", .int(let number)): return "\(number)"
        case ("d", .uint(let number)): return "\(number)"
        case ("b", .int(let number)): return String(number, radix: 2)
        case ("b", .uint(let number)): return String(number, radix: 2)
        case ("b", .bool(let flag)): return flag ? "1" : "0"
        case ("o", .int(let number)): return String(number, radix: 8)
        case ("o", .uint(let number)): return String(number, radix: 8)
        case ("x", .int(let number)), ("X", .int(let number)): return String(number, radix: 16, uppercase: verb == "X")
        case ("x", .uint(let number)), ("X", .uint(let number)):
            return String(number, radix: 16, uppercase: verb == "X")
        case ("x", .string(let text)), ("X", .string(let text)): return hex(Array(text.utf8), verb == "X")
        case ("x", .bytes(let bytes)), ("X", .bytes(let bytes)): return hex(bytes, verb == "X")
        case ("f", .double(let number)): return fixed(number, precision)
        case ("f", .int(let number)): return fixed(Double(number), precision)
        case ("f", .uint(let number)): return fixed(Double(number), precision)
        default: throw .badText("format(): %\(verb) does not take a \(value.typeName)")
        }
    }

    private static func hex(_ bytes: [UInt8], _ isUpper: Bool) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16, uppercase: isUpper) }.joined()
    }

    /// A number with so many digits behind the point, rounded half to even; what is beyond 2^63 without them.
    private static func fixed(_ number: Double, _ precision: Int) -> String {
        guard number.isFinite else { return number.isNaN ? "NaN" : number < 0 ? "-Infinity" : "Infinity" }
        let digits = min(precision, 15)
        var scale = 1.0
        for _ in 0..<digits { scale *= 10 }
        guard let scaled = Int64(exactly: (number.magnitude * scale).rounded(.toNearestOrEven)) else {
            return "\(number)"
        }
        let unit = Int64(scale)
        let sign = number < 0 && scaled != 0 ? "-" : ""
        guard precision > 0 else { return "\(sign)\(scaled)" }
        let fraction = String(String(unit + scaled % unit).dropFirst())
        return "\(sign)\(scaled / unit).\(fraction)" + String(repeating: "0", count: precision - digits)
    }

    private static func plain(_ value: CELValue) -> String {
        switch value {
        case .string(let text): return text
        case .bytes(let bytes): return String(decoding: bytes, as: UTF8.self)
        case .int(let number): return "\(number)"
        case .uint(let number): return "\(number)"
        case .list(let elements): return "[" + elements.map(plain).joined(separator: ", ") + "]"
        case .map(let map):
            let pairs = map.keys.map { "\(plain($0)): \(map[$0].map(plain) ?? "")" }.sorted()
            return "{" + pairs.joined(separator: ", ") + "}"
        default: return value.shown
        }
    }
}

extension CELText {
    /// A text in quotes, with Go's escapes for what would not be seen.
    static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\u{07}": result += "\\a"
            case "\u{08}": result += "\\b"
            case "\u{0C}": result += "\\f"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case "\u{0B}": result += "\\v"
            case "\\": result += "\\\\"
            case "\"": result += "\\\""
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }

    /// Percent-encoding resolved, `+` as a space; what is no valid escape stays.
    static func decoded(_ text: Substring) -> String {
        var (bytes, rest) = ([UInt8](), Array(text.utf8)[...])
        while let byte = rest.popFirst() {
            if byte == 0x25, rest.count >= 2,
                let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
            {
                bytes.append(value)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte == 0x2b ? 0x20 : byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
