internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Synchronization
internal import Upstream

/// Where a provider's keys stand at a moment.
enum JWTKeys {
    case ready(JSONWebKeySet)
    /// A fetch must be waited for.
    case awaited
    /// The fetch that this request waited for failed.
    case failed
}

/// One issuer of tokens: its keys, what its tokens must say, and what is done with them.
final class JWTProvider: Sendable {
    enum Keys: Sendable {
        case local(JSONWebKeySet)
        case remote(RemoteKeySet)
    }

    /// A claim that goes to the upstream in a header.
    struct ClaimHeader: Sendable {
        let header: String
        let claim: [String]
    }

    let name: String
    let issuer: String
    let audiences: Set<String>
    let subjects: Upstream.StringMatcher?
    /// Longest time that a token may still be good for, in nanoseconds; `Int64.max` asks for an expiration only.
    let lifetimeMax: Int64?
    let skew: UInt64
    let keys: Keys
    let forwards: Bool
    let payloadHeader: String?
    let padsPayload: Bool
    let claimHeaders: [ClaimHeader]
    let payloadKey: String
    let headerKey: String
    let failureKey: String
    let listClaims: [String]
    let clearsRoute: Bool
    /// Whether `jwt_cache_config` is there: then hits are counted.
    let countsCache: Bool
    private let caches: [Cache]

    /// A loop's cache; the lock is never waited for.
    private final class Cache: Sendable {
        let content: Mutex<JWTCache>
        init(_ cache: JWTCache) { content = Mutex(cache) }
    }

    init(
        compiling message: JwtProvider, name: String, at path: String, _ context: CompileContext,
        counters: JWTCounters
    ) throws(ConfigurationError) {
        try FieldCheck.check(
            message,
            reads: [
                "issuer", "audiences", "subjects", "require_expiration", "max_lifetime", "remote_jwks", "local_jwks",
                "forward", "from_headers", "from_params", "from_cookies", "forward_payload_header",
                "pad_forward_payload_header", "payload_in_metadata", "normalize_payload_in_metadata",
                "header_in_metadata", "failed_status_in_metadata", "clock_skew_seconds", "jwt_cache_config",
                "claim_to_headers", "clear_route_cache",
            ], at: path)
        self.name = name
        issuer = message.issuer
        audiences = Set(message.audiences.map(Self.audience))
        if let subjects = message.subjects {
            self.subjects = try Upstream.StringMatcher(compiling: subjects, at: path + ".subjects")
        } else {
            subjects = nil
        }
        if let lifetime = message.maxLifetime {
            guard lifetime >= .zero else { throw ConfigurationError(at: path + ".max_lifetime", "is negative") }
            lifetimeMax = Int64(clamping: lifetime.wholeNanoseconds)
        } else {
            lifetimeMax = message.requireExpiration ? .max : nil
        }
        skew = message.clockSkewSeconds == 0 ? 60 : UInt64(message.clockSkewSeconds)
        forwards = message.forward
        for (index, header) in message.fromHeaders.enumerated() {
            try Self.checkHeader(header.name, at: "\(path).from_headers[\(index)].name")
        }
        if !message.forwardPayloadHeader.isEmpty {
            try Self.checkHeader(message.forwardPayloadHeader, at: path + ".forward_payload_header")
        }
        payloadHeader = message.forwardPayloadHeader.isEmpty ? nil : message.forwardPayloadHeader
        padsPayload = message.padForwardPayloadHeader
        var claims: [ClaimHeader] = []
        for (index, claim) in message.claimToHeaders.enumerated() {
            let place = "\(path).claim_to_headers[\(index)]"
            try Self.checkHeader(claim.headerName, at: place + ".header_name")
            guard !claim.claimName.isEmpty else { throw ConfigurationError(at: place + ".claim_name", "is empty") }
            claims.append(
                ClaimHeader(
                    header: claim.headerName,
                    claim: claim.claimName.split(separator: ".", omittingEmptySubsequences: false).map(String.init)))
        }
        claimHeaders = claims
        payloadKey = message.payloadInMetadata
        headerKey = message.headerInMetadata
        failureKey = message.failedStatusInMetadata
        if !payloadKey.isEmpty && payloadKey == headerKey {
            throw ConfigurationError(at: path + ".header_in_metadata", "is the same as payload_in_metadata")
        }
        listClaims = message.normalizePayloadInMetadata?.spaceDelimitedClaims ?? []
        clearsRoute = message.clearRouteCache
        countsCache = message.jwtCacheConfig != nil
        let size = Int(message.jwtCacheConfig?.jwtCacheSize ?? 0)
        let bytes = Int(message.jwtCacheConfig?.jwtMaxTokenSize ?? 0)
        guard size <= JWTLimits.cachedTokensMax else {
            throw ConfigurationError(
                at: path + ".jwt_cache_config.jwt_cache_size", "is more than \(JWTLimits.cachedTokensMax)")
        }
        caches = (0..<max(context.metrics.workers, 1)).map { _ in
            Cache(
                JWTCache(
                    capacity: size == 0 ? JWTLimits.cachedTokens : size,
                    tokenBytesMax: bytes == 0 ? JWTLimits.cachedTokenBytes : bytes))
        }
        switch message.jwksSourceSpecifier {
        case .localJwks(let source):
            let bytes = try DataSourceText.bytes(source, at: path + ".local_jwks")
            do throws(JWTStatus) {
                keys = .local(try JSONWebKeySet(parsing: bytes))
            } catch {
                throw ConfigurationError(at: path + ".local_jwks", error.text)
            }
        case .remoteJwks(let remote):
            keys = .remote(
                try RemoteKeySet(compiling: remote, at: path + ".remote_jwks", context, counters: counters))
        case nil: throw ConfigurationError(at: path, "set remote_jwks or local_jwks")
        }
    }

    private static func checkHeader(_ name: String, at path: String) throws(ConfigurationError) {
        var probe = HeaderTable()
        do throws(HTTPFieldError) {
            try probe.append(name, "x")
        } catch {
            throw ConfigurationError(at: path, name.isEmpty ? "is empty" : "\(name): is no header name")
        }
    }

    /// An audience as it is compared: without scheme and without a slash at the end.
    static func audience(_ text: String) -> String {
        var rest = text[...]
        if rest.hasPrefix("http://") {
            rest = rest.dropFirst(7)
        } else if rest.hasPrefix("https://") {
            rest = rest.dropFirst(8)
        }
        if rest.hasSuffix("/") { rest = rest.dropLast() }
        return String(rest)
    }

    /// A token that this loop has seen, and checked with these keys.
    func cached(_ bytes: [UInt8], _ keys: JSONWebKeySet, row: Int) -> JSONWebToken? {
        guard caches.indices.contains(row) else { return nil }
        return caches[row].content.withLock { $0.token(bytes, keys) }
    }

    func remember(_ bytes: [UInt8], _ token: JSONWebToken, _ keys: JSONWebKeySet, row: Int) {
        guard caches.indices.contains(row) else { return }
        caches[row].content.withLock { $0.remember(bytes, token, keys) }
    }

    /// Whether a token may still be good for as long as it is, at a moment in nanoseconds since 1970.
    func allowsLifetime(of token: JSONWebToken, now: Int64) -> Bool {
        guard let lifetimeMax else { return true }
        guard let expires = token.expires, expires > 0 else { return false }
        guard lifetimeMax != .max else { return true }
        let (end, isHuge) = Int64(clamping: expires).multipliedReportingOverflow(by: 1_000_000_000)
        if isHuge { return false }
        let (left, overflows) = end.subtractingReportingOverflow(now)
        return !overflows && left < lifetimeMax
    }

    /// What a good token does to the request.
    func accept(_ token: JSONWebToken, _ found: JWTLocations.Found, _ places: JWTLocations, _ request: inout JWTRequest)
    {
        if let payloadHeader {
            var text = token.encodedPayload
            while padsPayload && text.count % 4 != 0 { text.append(UInt8(ascii: "=")) }
            try? request.headers.append(payloadHeader, String(decoding: text, as: UTF8.self))
        }
        for claim in claimHeaders {
            guard let value = token.claim(claim.claim), let text = Self.headerText(value), !text.isEmpty else {
                continue
            }
            // A claim that is no header value is left away: it must not split the message.
            try? request.headers.append(claim.header, text)
        }
        if !forwards { places.remove(found, from: &request) }
        if !headerKey.isEmpty { request.metadata.append((headerKey, token.header)) }
        if !payloadKey.isEmpty { request.metadata.append((payloadKey, normalized(token.payload))) }
        if clearsRoute && (!claimHeaders.isEmpty || !payloadKey.isEmpty) { request.clearsRoute = true }
    }

    /// The payload with claims that are lists written as words turned into lists.
    private func normalized(_ payload: JSON) -> JSON {
        var payload = payload
        for name in listClaims {
            guard let text = payload[name]?.string else { continue }
            payload[name] = .array(text.split(separator: " ").map { .string(String($0)) })
        }
        return payload
    }

    /// A claim as a header's value: lists and objects as base64 of their JSON.
    static func headerText(_ value: JSON) -> String? {
        switch value {
        case .string(let text): return text
        case .bool(let flag): return flag ? "true" : "false"
        case .integer, .number:
            // Numbers are doubles to everybody who reads tokens.
            guard let number = value.double else { return nil }
            guard number >= 0, number < 18_446_744_073_709_551_616, number.rounded(.towardZero) == number else {
                return Self.fixed(number)
            }
            return String(UInt64(number))
        case .array, .object:
            let text = Base64.encodeURL(value.bytes)
            return text + String(repeating: "=", count: (4 - text.utf8.count % 4) % 4)
        case .null: return nil
        }
    }

    /// A number with six decimals.
    private static func fixed(_ number: Double) -> String {
        guard number.isFinite, abs(number) < 1e12 else { return "\(number)" }
        let millionths = Int64((abs(number) * 1_000_000).rounded())
        let fraction = String(millionths % 1_000_000)
        return (number < 0 ? "-" : "") + "\(millionths / 1_000_000)."
            + String(repeating: "0", count: 6 - fraction.utf8.count) + fraction
    }
}
