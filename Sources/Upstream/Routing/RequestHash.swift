/// The hash of a request for ring hash and Maglev (B-3), and the cookie to set when one had to be made.
public struct RequestHash: Sendable, Hashable {
    /// A cookie that the response must set, so that the next request has the same hash.
    public struct NewCookie: Sendable, Hashable {
        /// Its name.
        public var name: [UInt8]
        /// Its value: hexadecimal digits.
        public var value: [UInt8]
        /// Its lifetime; zero is the browser's session.
        public var lifetime: Duration
        /// Its path; empty is none.
        public var path: [UInt8]

        /// The value of a `set-cookie` field.
        public var field: [UInt8] {
            var result = name
            result.append(0x3D)
            result.append(contentsOf: value)
            if lifetime > .zero { result.append(contentsOf: "; Max-Age=\(lifetime.components.seconds)".utf8) }
            if !path.isEmpty { result.append(contentsOf: Array("; Path=".utf8) + path) }
            result.append(contentsOf: "; HttpOnly".utf8)
            return result
        }
    }

    /// The hash; nil when no policy found anything to hash: then hosts are chosen by chance.
    public var value: UInt64?
    /// The cookie to set.
    public var newCookie: NewCookie?

    /// Hashes what the policies name.
    ///
    /// - Parameters:
    ///   - sourceAddress: The client's address without its port, in text.
    ///   - random: One draw, for a new cookie.
    public init(
        _ policies: [HashPolicy], request: borrowing some RequestView & ~Copyable & ~Escapable,
        sourceAddress: borrowing Span<UInt8>, random: UInt64
    ) {
        for policy in policies {
            var part: UInt64?
            switch policy.source {
            case .header(let name): part = Self.header(name, request)
            case .cookie(let name, let lifetime, let path):
                if let index = Self.cookie(name, request) {
                    part = index
                } else if let lifetime, newCookie == nil {
                    var hexadecimal = String(random, radix: 16)
                    while hexadecimal.utf8.count < 16 { hexadecimal = "0" + hexadecimal }
                    let bytes = Array(hexadecimal.utf8)
                    newCookie = NewCookie(name: name, value: bytes, lifetime: lifetime, path: path)
                    part = Hash.xxh64(bytes.span)
                }
            case .sourceAddress: if !sourceAddress.isEmpty { part = Hash.xxh64(sourceAddress) }
            case .queryParameter(let name): part = Self.parameter(name, request)
            }
            if let part {
                // As Envoy: each further source turns the hash so far by one bit.
                value = value.map { ($0 << 1 | $0 >> 63) ^ part } ?? part
            }
            if policy.isTerminal, value != nil { break }
        }
    }

    private static func header(
        _ name: HeaderName, _ request: borrowing some RequestView & ~Copyable & ~Escapable
    ) -> UInt64? {
        if name.isPseudo {
            guard let value = request.pseudoHeader(name), !value.isEmpty else { return nil }
            return Hash.xxh64(value)
        }
        guard let first = request.nextField(named: name, from: 0) else { return nil }
        guard let second = request.nextField(named: name, from: first + 1) else {
            return Hash.xxh64(request.fieldValue(at: first))
        }
        // The order of repeated fields must not matter.
        var values = [Bytes.copy(request.fieldValue(at: first))]
        var next: Int? = second
        while let index = next {
            values.append(Bytes.copy(request.fieldValue(at: index)))
            next = request.nextField(named: name, from: index + 1)
        }
        values.sort { $0.lexicographicallyPrecedes($1) }
        let joined = Array(values.joined())
        return Hash.xxh64(joined.span)
    }

    private static let cookieHeader = HeaderName("cookie")

    private static func cookie(
        _ name: [UInt8], _ request: borrowing some RequestView & ~Copyable & ~Escapable
    ) -> UInt64? {
        var next = request.nextField(named: cookieHeader, from: 0)
        while let index = next {
            let value = request.fieldValue(at: index)
            var start = 0
            while start < value.count {
                while start < value.count, value[start] == 0x20 || value[start] == 0x3B { start += 1 }
                let end = Bytes.firstIndex(of: 0x3B, in: value, from: start) ?? value.count
                let pair = value.extracting(start..<end)
                if let equals = Bytes.firstIndex(of: 0x3D, in: pair),
                    Bytes.equal(pair.extracting(0..<equals), name.span), equals + 1 < pair.count
                {
                    return Hash.xxh64(pair.extracting((equals + 1)..<pair.count))
                }
                start = end + 1
            }
            next = request.nextField(named: cookieHeader, from: index + 1)
        }
        return nil
    }

    private static func parameter(
        _ name: [UInt8], _ request: borrowing some RequestView & ~Copyable & ~Escapable
    ) -> UInt64? {
        let path = request.path
        guard let mark = Bytes.firstIndex(of: 0x3F, in: path) else { return nil }
        let end = Bytes.firstIndex(of: 0x23, in: path, from: mark) ?? path.count
        var start = mark + 1
        while start < end {
            let stop = min(Bytes.firstIndex(of: 0x26, in: path, from: start) ?? end, end)
            let pair = path.extracting(start..<stop)
            if let equals = Bytes.firstIndex(of: 0x3D, in: pair), Bytes.equal(pair.extracting(0..<equals), name.span) {
                return Hash.xxh64(pair.extracting((equals + 1)..<pair.count))
            }
            start = stop + 1
        }
        return nil
    }
}
