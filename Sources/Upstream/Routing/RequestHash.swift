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
        /// Further attributes: `; SameSite=Strict`.
        public var attributes: [UInt8] = []

        /// The value of a `set-cookie` field.
        public var field: [UInt8] {
            var result = name
            result.append(0x3D)
            result.append(contentsOf: value)
            if lifetime > .zero { result.append(contentsOf: "; Max-Age=\(lifetime.components.seconds)".utf8) }
            if !path.isEmpty { result.append(contentsOf: Array("; Path=".utf8) + path) }
            result.append(contentsOf: attributes)
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
        self.init(policies, request: request, sourceAddress: sourceAddress, random: random, facts: NoFacts())
    }

    /// Hashes what the policies name, filter state included.
    public init(
        _ policies: [HashPolicy], request: borrowing some RequestView & ~Copyable & ~Escapable,
        sourceAddress: borrowing Span<UInt8>, random: UInt64, facts: some RouteFacts
    ) {
        for policy in policies {
            var part: UInt64?
            switch policy.source {
            case .header(let name, let rewrite): part = Self.header(name, request, rewrite)
            case .cookie(let name, let lifetime, let path, let attributes):
                if let value = Cookies.value(of: name, in: request), !value.isEmpty {
                    part = Hash.xxh64(value.span)
                } else if let lifetime, newCookie == nil {
                    var hexadecimal = String(random, radix: 16)
                    while hexadecimal.utf8.count < 16 { hexadecimal = "0" + hexadecimal }
                    let bytes = Array(hexadecimal.utf8)
                    newCookie = NewCookie(
                        name: name, value: bytes, lifetime: lifetime, path: path, attributes: attributes)
                    part = Hash.xxh64(bytes.span)
                }
            case .sourceAddress: if !sourceAddress.isEmpty { part = Hash.xxh64(sourceAddress) }
            case .queryParameter(let name):
                if let value = Query.value(of: name, in: request.path) { part = Hash.xxh64(value.span) }
            case .filterState(let key):
                if let value = facts.filterState(key) { part = Hash.xxh64(value) }
            }
            if let part {
                // As Envoy: each further source turns the hash so far by one bit.
                value = value.map { ($0 << 1 | $0 >> 63) ^ part } ?? part
            }
            if policy.isTerminal, value != nil { break }
        }
    }

    private static func header(
        _ name: HeaderName, _ request: borrowing some RequestView & ~Copyable & ~Escapable,
        _ rewrite: HashPolicy.Rewrite?
    ) -> UInt64? {
        func hash(_ value: borrowing Span<UInt8>) -> UInt64 {
            guard let rewrite else { return Hash.xxh64(value) }
            let changed = rewrite.expression.replacingAll(in: value, with: rewrite.substitution)
            return Hash.xxh64(changed.span)
        }
        if name.isPseudo {
            guard let value = request.pseudoHeader(name), !value.isEmpty else { return nil }
            return hash(value)
        }
        guard let first = request.nextField(named: name, from: 0) else { return nil }
        guard let second = request.nextField(named: name, from: first + 1) else {
            return hash(request.fieldValue(at: first))
        }
        // The order of repeated fields must not matter.
        var values = [Bytes.copy(request.fieldValue(at: first))]
        var next: Int? = second
        while let index = next {
            values.append(Bytes.copy(request.fieldValue(at: index)))
            next = request.nextField(named: name, from: index + 1)
        }
        if let rewrite {
            values = values.map { rewrite.expression.replacingAll(in: $0.span, with: rewrite.substitution) }
        }
        values.sort { $0.lexicographicallyPrecedes($1) }
        let joined = Array(values.joined())
        return Hash.xxh64(joined.span)
    }
}
