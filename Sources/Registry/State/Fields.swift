import Serialization

/// The members of a body, found without regard to case and underscores, as Consul does it.
///
/// Every member must be taken: `end` refuses what nobody asked for.
struct Fields {
    private var members: [String: (name: String, value: JSON)] = [:]
    private let place: String

    /// The members of an object; `place` is what it is called in errors: `Check.`.
    init(_ json: JSON, _ place: String = "") throws(RegistryError) {
        self.place = place
        guard let object = json.object else {
            throw .bad("Request decode failed: \(place.isEmpty ? "the body" : place) is no object")
        }
        for (name, value) in object {
            let key = Self.plain(name)
            guard members[key] == nil else { throw .bad("Request decode failed: \(place)\(name) is there twice") }
            members[key] = (name, value)
        }
    }

    /// The body of a request.
    init(body: [UInt8]) throws(RegistryError) {
        let json: JSON
        do throws(JSONError) { json = try JSON.parse(body) } catch {
            throw .bad("Request decode failed: \(error)")
        }
        try self.init(json)
    }

    private static func plain(_ name: String) -> String { name.lowercased().replacing("_", with: "") }

    /// Whether it is there, and not null.
    func has(_ name: String) -> Bool { members[Self.plain(name)].map { !$0.value.isNull } ?? false }

    /// Takes a member; null is as good as none.
    mutating func take(_ name: String) -> JSON? {
        guard let value = members.removeValue(forKey: Self.plain(name))?.value, !value.isNull else { return nil }
        return value
    }

    mutating func text(_ name: String) throws(RegistryError) -> String? {
        guard let value = take(name) else { return nil }
        guard let text = value.string else { throw wrong(name, "a string") }
        return text
    }

    /// A whole number; whole numbers in strings do not count.
    mutating func number(_ name: String, in range: ClosedRange<Int>) throws(RegistryError) -> Int? {
        guard let value = take(name) else { return nil }
        guard let number = value.int, range.contains(number) else {
            throw wrong(name, "a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    mutating func flag(_ name: String) throws(RegistryError) -> Bool? {
        guard let value = take(name) else { return nil }
        guard let flag = value.bool else { throw wrong(name, "a boolean") }
        return flag
    }

    mutating func texts(_ name: String) throws(RegistryError) -> [String]? {
        guard let value = take(name) else { return nil }
        guard let array = value.array else { throw wrong(name, "a list of strings") }
        let texts = array.compactMap(\.string)
        guard texts.count == array.count else { throw wrong(name, "a list of strings") }
        return texts
    }

    mutating func map(_ name: String) throws(RegistryError) -> [String: String]? {
        guard let value = take(name) else { return nil }
        guard let object = value.object else { throw wrong(name, "an object of strings") }
        let texts = object.compactMapValues(\.string)
        guard texts.count == object.count else { throw wrong(name, "an object of strings") }
        return texts
    }

    /// A time in Go's form, in milliseconds: `10s`, `1m30s`; also a number of nanoseconds.
    mutating func duration(_ name: String) throws(RegistryError) -> Int64? {
        guard let value = take(name) else { return nil }
        if let number = value.int { return Int64(number) / 1_000_000 }
        guard let text = value.string else { throw wrong(name, "a time like 10s") }
        if text.isEmpty { return nil }
        guard let time = GoDuration.milliseconds(text) else {
            throw .bad("Request decode failed: time: invalid duration \"\(text)\"")
        }
        return time
    }

    /// Refuses members that Consul has and this registry does not, unless they are empty.
    mutating func refuse(_ names: String...) throws(RegistryError) {
        for name in names {
            guard let value = take(name), value != .bool(false), value != "", value != [], value != [:],
                value != 0
            else { continue }
            throw .bad("\(place)\(name) is not supported by this registry")
        }
    }

    /// Refuses what was not asked for.
    func end() throws(RegistryError) {
        guard let first = members.values.map(\.name).min() else { return }
        throw .bad("Request decode failed: json: unknown field \"\(place)\(first)\"")
    }

    private func wrong(_ name: String, _ wanted: String) -> RegistryError {
        .bad("Request decode failed: \(place)\(name) must be \(wanted)")
    }
}

/// Times as Go writes them.
enum GoDuration {
    private static let units: [(String, Double)] = [
        ("ns", 1e-6), ("us", 1e-3), ("µs", 1e-3), ("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000),
    ]
    /// The longest: ten years.
    static let longest: Int64 = 315_360_000_000

    /// Milliseconds of `1m30s`; nil when it is no time, negative or longer than `longest`.
    static func milliseconds(_ text: String) -> Int64? {
        if text == "0" { return 0 }
        var rest = text[...]
        guard !rest.isEmpty else { return nil }
        var total = 0.0
        while !rest.isEmpty {
            let digits = rest.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
            guard let number = Double(digits) else { return nil }
            rest = rest.dropFirst(digits.count)
            let name = String(rest.prefix { !($0.isNumber || $0 == ".") })
            guard let unit = units.first(where: { $0.0 == name })?.1 else { return nil }
            rest = rest.dropFirst(name.count)
            total += number * unit
        }
        guard total.isFinite, total >= 0, total <= Double(longest) else { return nil }
        return Int64(total)
    }

    /// `1m30s` of milliseconds, as Go prints it.
    static func text(_ milliseconds: Int64) -> String {
        if milliseconds == 0 { return "0s" }
        if milliseconds < 1000 { return "\(milliseconds)ms" }
        let (hours, minutes) = (milliseconds / 3_600_000, milliseconds / 60_000 % 60)
        let (seconds, part) = (milliseconds / 1000 % 60, milliseconds % 1000)
        var fraction = part == 0 ? "" : "." + String(String(1000 + part).dropFirst())
        while fraction.hasSuffix("0") { fraction.removeLast() }
        return (hours > 0 ? "\(hours)h" : "") + (hours > 0 || minutes > 0 ? "\(minutes)m" : "")
            + "\(seconds)\(fraction)s"
    }
}
