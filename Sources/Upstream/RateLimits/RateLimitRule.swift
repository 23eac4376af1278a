internal import CEL
public import Serialization

/// One descriptor to send to a rate limiter: what counts together.
public struct RateLimitDescriptor: Sendable, Hashable {
    /// A key with its value.
    public struct Entry: Sendable, Hashable {
        /// The key.
        public var key: String
        /// The value.
        public var value: String

        /// An entry.
        public init(key: String, value: String) {
            self.key = key
            self.value = value
        }
    }

    /// A limit that the request brings along.
    public struct Limit: Sendable, Hashable {
        /// Requests per unit.
        public var requestsPerUnit: UInt32
        /// `SECOND`, `MINUTE`, `HOUR`, `DAY`, `MONTH`, `YEAR`.
        public var unit: String
    }

    /// The entries in their order.
    public var entries: [Entry]
    /// The limit that the request brings along.
    public var limit: Limit?
    /// How much this request counts; nil is once.
    public var hitsAddend: UInt64?
    /// What the rule says about `x-ratelimit-*`; nil leaves it to the filter.
    public var showsLimit: Bool?

    /// A descriptor.
    public init(entries: [Entry]) { self.entries = entries }
}

/// One entry of `rate_limits` of a route or virtual host, compiled: it makes a descriptor of a request, or none.
public struct RateLimitRule: Sendable {
    /// How one entry of the descriptor comes about.
    enum Action: Sendable {
        case sourceCluster
        case destinationCluster
        case requestHeader(HeaderName, key: String, skipsIfAbsent: Bool)
        /// As `requestHeader`, but an empty value makes no entry: a matcher's input.
        case headerInput(HeaderName, key: String)
        case queryParameter([UInt8], key: String, skipsIfAbsent: Bool)
        case remoteAddress
        case maskedRemoteAddress(v4Bits: Int, v6Bits: Int)
        case genericKey(key: String, value: HeaderTemplate, standard: String)
        case headerMatch([HeaderMatcher], expected: Bool, key: String, value: HeaderTemplate, standard: String)
        case queryMatch(
            [QueryParameterMatcher], expected: Bool, key: String, value: HeaderTemplate, standard: String)
        /// An address in one of the ranges, or in none of them.
        case addressMatch([AddressRange], isInverted: Bool, key: String, value: HeaderTemplate, standard: String)
        case metadata(Metadata)
        case expression(CELCondition, key: String, skipsIfError: Bool)
    }

    /// A value out of metadata.
    struct Metadata: Sendable {
        var isOfRoute: Bool
        var namespace: String
        var path: [String]
        var key: String
        var standard: String
        var skipsIfAbsent: Bool
    }

    /// Which rate limit filter it is for.
    public let stage: UInt32
    /// Runtime key `ratelimit.<key>.http_filter_enabled` that switches it off; empty is none.
    public let disableKey: String
    /// The share of requests that runtime leaves it on for.
    let enabled: Fraction?
    /// It counts when the stream ends, not when the request begins.
    public let appliesOnStreamDone: Bool
    let actions: [Action]
    let limitSource: (namespace: String, path: [String])?
    let hits: Hits?
    /// What it says about `x-ratelimit-*`; nil leaves it to the filter.
    let showsLimit: Bool?

    /// How much a request counts.
    enum Hits: Sendable {
        case number(UInt64)
        /// A value that is no number counts once.
        case format(HeaderTemplate)
    }

    /// Whether runtime leaves it on for a request with this draw.
    public func isEnabled(random: UInt64) -> Bool { enabled?.includes(random: random) ?? true }

    /// What a rule reads besides the request's head.
    public struct Context {
        /// The proxy's own cluster (`--service-cluster`).
        public var sourceCluster = ""
        /// The cluster the request goes to.
        public var destinationCluster = ""
        /// The client's address without its port, as its bytes (4 or 16); empty is none.
        public var remoteAddress: [UInt8] = []
        /// The same in text.
        public var remoteAddressText = ""
        /// The route's metadata: `filter_metadata`.
        public var routeMetadata: JSON?
        /// Fills in the operators of a value.
        public var render: (HeaderTemplate) -> [UInt8] = { $0.literal ?? [] }

        /// Nothing known.
        public init() {}
    }

    /// The descriptor for a request; nil when an action that must have a value has none.
    public func descriptor(
        for request: borrowing some RequestView & ~Copyable & ~Escapable, facts: some RouteFacts, context: Context
    ) -> RateLimitDescriptor? {
        if !disableKey.isEmpty, let value = facts.runtimeValue("ratelimit.\(disableKey).http_filter_enabled")?.int,
            value == 0
        {
            return nil
        }
        var entries: [RateLimitDescriptor.Entry] = []
        for action in actions {
            switch action {
            case .sourceCluster:
                guard !context.sourceCluster.isEmpty else { return nil }
                entries.append(.init(key: "source_cluster", value: context.sourceCluster))
            case .destinationCluster:
                guard !context.destinationCluster.isEmpty else { return nil }
                entries.append(.init(key: "destination_cluster", value: context.destinationCluster))
            case .requestHeader(let name, let key, let skips):
                if let value = Self.header(name, request) {
                    entries.append(.init(key: key, value: value))
                } else if !skips {
                    return nil
                }
            case .headerInput(let name, let key):
                guard let value = Self.header(name, request) else { return nil }
                if !value.isEmpty { entries.append(.init(key: key, value: value)) }
            case .queryParameter(let name, let key, let skips):
                if let value = Query.value(of: name, in: request.path), !value.isEmpty {
                    entries.append(.init(key: key, value: String(decoding: value, as: UTF8.self)))
                } else if !skips {
                    return nil
                }
            case .remoteAddress:
                guard !context.remoteAddressText.isEmpty else { return nil }
                entries.append(.init(key: "remote_address", value: context.remoteAddressText))
            case .maskedRemoteAddress(let v4Bits, let v6Bits):
                guard let masked = AddressMask.text(context.remoteAddress, v4Bits: v4Bits, v6Bits: v6Bits) else {
                    return nil
                }
                entries.append(.init(key: "masked_remote_address", value: masked))
            case .genericKey(let key, let value, let standard):
                guard let text = Self.text(value, standard, context) else { return nil }
                entries.append(.init(key: key, value: text))
            case .headerMatch(let matchers, let expected, let key, let value, let standard):
                var matches = true
                for matcher in matchers where !matcher.matches(request) { matches = false }
                guard matches == expected, let text = Self.text(value, standard, context) else { return nil }
                entries.append(.init(key: key, value: text))
            case .queryMatch(let matchers, let expected, let key, let value, let standard):
                let query = Query.range(request.path)
                var matches = true
                for matcher in matchers where !matcher.matches(query: request.path.extracting(query)) {
                    matches = false
                }
                guard matches == expected, let text = Self.text(value, standard, context) else { return nil }
                entries.append(.init(key: key, value: text))
            case .addressMatch(let ranges, let isInverted, let key, let value, let standard):
                guard !context.remoteAddress.isEmpty,
                    ranges.contains(where: { $0.contains(context.remoteAddress) }) != isInverted,
                    let text = Self.text(value, standard, context)
                else { return nil }
                entries.append(.init(key: key, value: text))
            case .metadata(let source):
                var value =
                    source.isOfRoute ? context.routeMetadata?[source.namespace] : facts.metadata(source.namespace)
                for key in source.path { value = value?[key] }
                var text = value?.string ?? ""
                if text.isEmpty { text = source.standard }
                if !text.isEmpty {
                    entries.append(.init(key: source.key, value: text))
                } else if !source.skipsIfAbsent {
                    return nil
                }
            case .expression(let condition, let key, let skips):
                switch facts.evaluate(condition) {
                case .success(let value): entries.append(.init(key: key, value: value.printed))
                case .failure: if !skips { return nil }
                }
            }
        }
        guard !entries.isEmpty else { return nil }
        var descriptor = RateLimitDescriptor(entries: entries)
        descriptor.showsLimit = showsLimit
        switch hits {
        case .number(let number)?: descriptor.hitsAddend = number
        case .format(let template)?:
            descriptor.hitsAddend = UInt64(String(decoding: context.render(template), as: UTF8.self))
        case nil: break
        }
        if let limitSource {
            var value = facts.metadata(limitSource.namespace)
            for key in limitSource.path { value = value?[key] }
            if let count = value?["requests_per_unit"]?.int, count >= 0, let unit = value?["unit"]?.string {
                descriptor.limit = .init(requestsPerUnit: UInt32(clamping: count), unit: unit)
            }
        }
        return descriptor
    }

    private static func text(_ template: HeaderTemplate, _ standard: String, _ context: Context) -> String? {
        let text = String(decoding: context.render(template), as: UTF8.self)
        if !text.isEmpty { return text }
        return standard.isEmpty ? nil : standard
    }

    private static func header(
        _ name: HeaderName, _ request: borrowing some RequestView & ~Copyable & ~Escapable
    ) -> String? {
        if name.isPseudo {
            guard let value = request.pseudoHeader(name), !value.isEmpty else { return nil }
            return String(decoding: Bytes.copy(value), as: UTF8.self)
        }
        var joined: [UInt8]?
        var next = request.nextField(named: name, from: 0)
        while let index = next {
            if joined == nil { joined = [] } else { joined?.append(0x2C) }
            joined?.append(contentsOf: Bytes.copy(request.fieldValue(at: index)))
            next = request.nextField(named: name, from: index + 1)
        }
        return joined.map { String(decoding: $0, as: UTF8.self) }
    }
}

/// The query of a path.
enum Query {
    /// Where the query stands: after `?`, before `#`.
    static func range(_ path: borrowing Span<UInt8>) -> Range<Int> {
        let end = Bytes.firstIndex(of: 0x23, in: path) ?? path.count
        let start = Bytes.firstIndex(of: 0x3F, in: path).map { $0 + 1 } ?? end
        return min(start, end)..<end
    }

    /// The first value of a parameter; nil when it is not there.
    static func value(of name: [UInt8], in path: borrowing Span<UInt8>) -> [UInt8]? {
        let range = range(path)
        var start = range.lowerBound
        while start < range.upperBound {
            let stop = min(Bytes.firstIndex(of: 0x26, in: path, from: start) ?? range.upperBound, range.upperBound)
            let pair = path.extracting(start..<stop)
            let equals = Bytes.firstIndex(of: 0x3D, in: pair) ?? pair.count
            if Bytes.equal(pair.extracting(0..<equals), name.span) {
                return Bytes.copy(pair.extracting(min(equals + 1, pair.count)..<pair.count))
            }
            start = stop + 1
        }
        return nil
    }
}

/// Addresses cut to a prefix.
enum AddressMask {
    /// `10.1.2.0/24`; nil when the bytes are no address.
    static func text(_ bytes: [UInt8], v4Bits: Int, v6Bits: Int) -> String? {
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        let bits = bytes.count == 4 ? min(v4Bits, 32) : min(v6Bits, 128)
        var masked = bytes
        for index in masked.indices {
            let kept = min(max(bits - index * 8, 0), 8)
            masked[index] &= UInt8(truncatingIfNeeded: 0xFF00 >> kept)
        }
        if bytes.count == 4 { return masked.map { "\($0)" }.joined(separator: ".") + "/\(bits)" }
        return v6(masked) + "/\(bits)"
    }

    /// RFC 5952: the longest run of zero groups is left out.
    private static func v6(_ bytes: [UInt8]) -> String {
        let groups = (0..<8).map { UInt16(bytes[2 * $0]) << 8 | UInt16(bytes[2 * $0 + 1]) }
        var best = 0..<0
        var start = 0
        while start < 8 {
            var end = start
            while end < 8, groups[end] == 0 { end += 1 }
            if end - start > best.count, end - start > 1 { best = start..<end }
            start = max(end, start + 1)
        }
        func text(_ part: ArraySlice<UInt16>) -> String { part.map { String($0, radix: 16) }.joined(separator: ":") }
        guard !best.isEmpty else { return text(groups[...]) }
        return text(groups[..<best.lowerBound]) + "::" + text(groups[best.upperBound...])
    }
}
