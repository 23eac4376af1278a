/// A value of Kubernetes' libraries.
public enum CELLibraryValue: Sendable, Hashable {
    /// An amount, in billionths.
    case quantity(Int128)
    /// An address.
    case address(CELAddress)
    /// A range of addresses.
    case network(CELAddress, length: Int)
    /// A place.
    case url(CELURL)
    /// A named format of texts.
    case format(CELFormat)
    /// A semantic version.
    case version(CELVersion)

    var typeName: String {
        switch self {
        case .quantity: "kubernetes.Quantity"
        case .address: "net.IP"
        case .network: "net.CIDR"
        case .url: "kubernetes.URL"
        case .format: "kubernetes.NamedFormat"
        case .version: "kubernetes.Semver"
        }
    }

    var text: String {
        switch self {
        case .quantity(let nano):
            nano % 1_000_000_000 == 0
                ? "\(nano / 1_000_000_000)" : nano % 1_000_000 == 0 ? "\(nano / 1_000_000)m" : "\(nano)n"
        case .address(let address): address.text
        case .network(let address, let length): "\(address.text)/\(length)"
        case .url(let url): url.text
        case .format(let format): format.rawValue
        case .version(let version): version.text
        }
    }
}

/// Amounts as Kubernetes writes them: `100m`, `1.5Gi`, `2e3`.
enum CELQuantity {
    private static let suffixes: [String: Int128] = [
        "": 1_000_000_000, "n": 1, "u": 1000, "m": 1_000_000, "k": 1_000_000_000_000, "M": 1_000_000_000_000_000,
        "G": 1_000_000_000_000_000_000, "T": 1_000_000_000_000_000_000_000, "P": 1_000_000_000_000_000_000_000_000,
        "E": 1_000_000_000_000_000_000_000_000_000, "Ki": 1_000_000_000 << 10, "Mi": 1_000_000_000 << 20,
        "Gi": 1_000_000_000 << 30, "Ti": 1_000_000_000 << 40, "Pi": 1_000_000_000 << 50, "Ei": 1_000_000_000 << 60,
    ]

    /// In billionths, what is finer rounded up; nil for what is no amount, or one beyond 128 bits.
    static func nano(_ text: String) -> Int128? {
        var rest = text[...]
        let isNegative = rest.first == "-"
        if isNegative || rest.first == "+" { rest.removeFirst() }
        let digits = rest.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        var suffix = String(rest.dropFirst(digits.count))
        let parts = digits.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count <= 2, digits.count <= 40, digits.contains(where: \.isNumber) else { return nil }
        var exponent = 0
        if let letter = suffix.first, letter == "e" || letter == "E", suffix.count > 1, !suffix.hasSuffix("i") {
            guard let told = Int(suffix.dropFirst()), (-9...18).contains(told) else { return nil }
            exponent = told
            suffix = ""
        }
        guard var factor = suffixes[suffix] else { return nil }
        for _ in 0..<abs(exponent) { factor = exponent > 0 ? factor * 10 : factor / 10 }
        var value: Int128 = 0
        let fraction = parts.count > 1 ? String(parts[1]) : ""
        var scale: Int128 = 1
        for digit in String(parts[0]) + fraction {
            guard let number = digit.wholeNumberValue else { return nil }
            let (ten, overflows) = value.multipliedReportingOverflow(by: 10)
            guard !overflows else { return nil }
            value = ten + Int128(number)
        }
        for _ in fraction {
            let (ten, overflows) = scale.multipliedReportingOverflow(by: 10)
            guard !overflows else { return nil }
            scale = ten
        }
        let (product, overflows) = value.multipliedReportingOverflow(by: factor)
        guard !overflows else { return nil }
        let amount = product / scale + (product % scale == 0 ? 0 : 1)
        return isNegative ? -amount : amount
    }
}

/// An IPv4 or IPv6 address.
public struct CELAddress: Sendable, Hashable {
    /// Four or sixteen bytes.
    let bytes: [UInt8]

    init(bytes: [UInt8]) { self.bytes = bytes }

    /// As Kubernetes' library reads it: no zones, no leading zeros, no IPv4 inside of IPv6 with its dots; nil otherwise.
    init?(_ text: String) {
        if !text.contains(":") {
            let parts = text.split(separator: ".", omittingEmptySubsequences: false)
            guard parts.count == 4 else { return nil }
            var bytes: [UInt8] = []
            for part in parts {
                guard !part.isEmpty, part.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
                    part.count == 1 || part.first != "0",
                    let byte = UInt8(part)
                else { return nil }
                bytes.append(byte)
            }
            self.bytes = bytes
            return
        }
        let halves = text.split(separator: "::", maxSplits: 2, omittingEmptySubsequences: false)
        guard halves.count <= 2 else { return nil }
        func words(_ text: Substring) -> [UInt16]? {
            if text.isEmpty { return [] }
            var words: [UInt16] = []
            for part in text.split(separator: ":", omittingEmptySubsequences: false) {
                guard (1...4).contains(part.utf8.count), part.first != "+", let word = UInt16(part, radix: 16) else {
                    return nil
                }
                words.append(word)
            }
            return words
        }
        guard let first = words(halves[0]), let last = halves.count == 2 ? words(halves[1]) : [] else { return nil }
        let missing = 8 - first.count - last.count
        guard halves.count == 2 ? missing >= 1 : missing == 0 else { return nil }
        let all = first + [UInt16](repeating: 0, count: missing) + last
        bytes = all.flatMap { [UInt8($0 >> 8), UInt8(truncatingIfNeeded: $0)] }
        // The old form of an IPv4 address is refused.
        if bytes.prefix(10).allSatisfy({ $0 == 0 }), bytes[10] == 0xff, bytes[11] == 0xff { return nil }
    }

    var isIPv4: Bool { bytes.count == 4 }

    /// RFC 5952.
    var text: String {
        if isIPv4 { return bytes.map(String.init).joined(separator: ".") }
        let words = stride(from: 0, to: 16, by: 2).map { UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]) }
        var (best, length, position) = (8, 1, 0)
        while position < 8 {
            let run = words[position...].prefix { $0 == 0 }.count
            if run > length { (best, length) = (position, run) }
            position += max(1, run)
        }
        func hex(_ words: some Sequence<UInt16>) -> String {
            words.map { String($0, radix: 16) }.joined(separator: ":")
        }
        return best == 8 ? hex(words) : hex(words[..<best]) + "::" + hex(words[(best + length)...])
    }

    /// The address with only its first bits.
    func masked(_ length: Int) -> CELAddress {
        CELAddress(
            bytes: bytes.enumerated().map { place, byte in
                let bits = min(8, max(0, length - place * 8))
                return bits == 0 ? 0 : byte & (0xff << UInt8(8 - bits))
            })
    }

    var isUnspecified: Bool { bytes.allSatisfy { $0 == 0 } }
    var isLoopback: Bool { isIPv4 ? bytes[0] == 127 : bytes.dropLast().allSatisfy { $0 == 0 } && bytes.last == 1 }
    var isLinkLocalMulticast: Bool {
        isIPv4 ? bytes[0] == 224 && bytes[1] == 0 && bytes[2] == 0 : bytes[0] == 0xff && bytes[1] & 0x0f == 2
    }
    var isLinkLocalUnicast: Bool {
        isIPv4 ? bytes[0] == 169 && bytes[1] == 254 : bytes[0] == 0xfe && bytes[1] & 0xc0 == 0x80
    }
    var isGlobalUnicast: Bool {
        let isMulticast = isIPv4 ? bytes[0] & 0xf0 == 0xe0 : bytes[0] == 0xff
        let isBroadcast = isIPv4 && bytes.allSatisfy { $0 == 255 }
        return !isUnspecified && !isLoopback && !isMulticast && !isLinkLocalUnicast && !isBroadcast
    }

    /// A range: `10.0.0.0/8`.
    static func network(_ text: String) -> CELLibraryValue? {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let address = CELAddress(String(parts[0])),
            parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }), parts[1].count == 1 || parts[1].first != "0",
            let length = Int(parts[1]), (0...address.bytes.count * 8).contains(length)
        else { return nil }
        return .network(address, length: length)
    }
}

/// A place as RFC 3986 writes it, or a path from its root.
public struct CELURL: Sendable, Hashable {
    let text: String
    private(set) var scheme = ""
    private(set) var host = ""
    private(set) var path = ""
    private(set) var query = ""

    /// Nil for what is neither absolute nor a path from the root.
    init?(_ text: String) {
        self.text = text
        guard !text.isEmpty, text.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7f && $0 != 0x22 }) else { return nil }
        var rest = text[...]
        if rest.first != "/" {
            guard let colon = rest.firstIndex(of: ":"), colon != rest.startIndex else { return nil }
            let name = rest[..<colon]
            guard name.first?.isLetter == true,
                name.utf8.allSatisfy({
                    (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0)
                        || [0x2b, 0x2d, 0x2e].contains($0)
                })
            else { return nil }
            scheme = name.lowercased()
            rest = rest[rest.index(after: colon)...]
            guard rest.first == "/" else { return nil }
        }
        if let mark = rest.firstIndex(of: "?") {
            query = String(rest[rest.index(after: mark)...])
            rest = rest[..<mark]
        }
        if !scheme.isEmpty || text.hasPrefix("//"), rest.hasPrefix("//") {
            let end = rest.dropFirst(2).firstIndex(of: "/") ?? rest.endIndex
            let authority = rest.dropFirst(2)[..<end]
            host = String(authority.split(separator: "@", omittingEmptySubsequences: false).last ?? "")
            rest = rest[end...]
            guard port.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        }
        path = String(rest)
    }

    private var parts: (name: Substring, port: Substring) {
        if host.hasPrefix("["), let end = host.firstIndex(of: "]") {
            let rest = host[host.index(after: end)...]
            return (host[host.index(after: host.startIndex)..<end], rest.first == ":" ? rest.dropFirst() : "")
        }
        guard let colon = host.lastIndex(of: ":") else { return (host[...], "") }
        return (host[..<colon], host[host.index(after: colon)...])
    }

    var hostname: String { String(parts.name) }
    var port: String { String(parts.port) }
}

/// The formats that Kubernetes has names for.
public enum CELFormat: String, Sendable, Hashable, CaseIterable {
    /// Names of labels, domains and the like.
    case dns1123Label, dns1123Subdomain, dns1035Label, qualifiedName, labelValue
    /// The same as the beginning of a name.
    case dns1123LabelPrefix, dns1123SubdomainPrefix, dns1035LabelPrefix
    /// Other texts.
    case uri, uuid, byte, date, datetime

    /// What is wrong with a text; nothing when it is good.
    func problem(_ text: String) -> String? {
        let bytes = Array(text.utf8)
        func isLower(_ byte: UInt8) -> Bool { (0x61...0x7a).contains(byte) }
        func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
        func isUpper(_ byte: UInt8) -> Bool { (0x41...0x5a).contains(byte) }
        func label(_ part: some Collection<UInt8>, beginsWithLetter: Bool = false) -> Bool {
            guard let first = part.first, let last = Array(part).last else { return false }
            return (isLower(first) || !beginsWithLetter && isDigit(first)) && (isLower(last) || isDigit(last))
                && part.allSatisfy { isLower($0) || isDigit($0) || $0 == 0x2d }
        }
        func subdomain(_ bytes: [UInt8]) -> Bool {
            bytes.split(separator: 0x2e, omittingEmptySubsequences: false).allSatisfy { label($0) }
        }
        func word(_ bytes: some Collection<UInt8>) -> Bool {
            let all = Array(bytes)
            guard let first = all.first, let last = all.last else { return false }
            func isLetter(_ byte: UInt8) -> Bool { isLower(byte) || isUpper(byte) || isDigit(byte) }
            return isLetter(first) && isLetter(last)
                && all.allSatisfy { isLetter($0) || [0x2d, 0x2e, 0x5f].contains($0) }
        }
        // A beginning may end with the dash that comes before the rest.
        let begun = bytes.last == 0x2d ? Array(bytes.dropLast()) + [0x61] : bytes
        let isGood: Bool
        switch self {
        case .dns1123Label: isGood = bytes.count <= 63 && label(bytes)
        case .dns1123LabelPrefix: isGood = bytes.count <= 63 && label(begun)
        case .dns1123Subdomain: isGood = bytes.count <= 253 && subdomain(bytes)
        case .dns1123SubdomainPrefix: isGood = bytes.count <= 253 && subdomain(begun)
        case .dns1035Label: isGood = bytes.count <= 63 && label(bytes, beginsWithLetter: true)
        case .dns1035LabelPrefix: isGood = bytes.count <= 63 && label(begun, beginsWithLetter: true)
        case .labelValue: isGood = bytes.isEmpty || bytes.count <= 63 && word(bytes)
        case .qualifiedName:
            let parts = bytes.split(separator: 0x2f, omittingEmptySubsequences: false).map(Array.init)
            let name = parts.last ?? []
            isGood =
                parts.count <= 2 && name.count <= 63 && word(name)
                && (parts.count == 1 || parts[0].count <= 253 && subdomain(parts[0]))
        case .uri: isGood = CELURL(text) != nil
        case .uuid:
            let parts = bytes.split(separator: 0x2d, omittingEmptySubsequences: false)
            isGood =
                (parts.map(\.count) == [8, 4, 4, 4, 12] || parts.map(\.count) == [32])
                && parts.allSatisfy { $0.allSatisfy { isDigit($0) || (0x61...0x66).contains($0 | 0x20) } }
        case .byte:
            let padding = bytes.reversed().prefix { $0 == 0x3d }.count
            isGood =
                bytes.count % 4 == 0 && padding <= 2
                && bytes.dropLast(padding).allSatisfy {
                    isLower($0) || isUpper($0) || isDigit($0) || $0 == 0x2b || $0 == 0x2f
                }
        case .date: isGood = bytes.count == 10 && CELValue.time(text + "T00:00:00Z") != nil
        case .datetime: isGood = CELValue.time(text) != nil
        }
        return isGood ? nil : "\(CELExpression.quoted(text)) is no \(rawValue)"
    }
}
