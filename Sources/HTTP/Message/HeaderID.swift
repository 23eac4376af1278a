/// A header field name known by number, so that finding it costs no comparison of text.
///
/// Names are lower case everywhere in this module: HTTP/2 demands it, HTTP/1.1 does not care.
public enum HeaderID: UInt8, Sendable, Hashable, CaseIterable {
    /// Any name that is not in this list.
    case other = 0
    /// The field `host`.
    case host
    /// The field `connection`.
    case connection
    /// The field `content-length`.
    case contentLength
    /// The field `transfer-encoding`.
    case transferEncoding
    /// The field `content-type`.
    case contentType
    /// The field `content-encoding`.
    case contentEncoding
    /// The field `upgrade`.
    case upgrade
    /// The field `expect`.
    case expect
    /// The field `te`.
    case te
    /// The field `trailer`.
    case trailer
    /// The field `keep-alive`.
    case keepAlive
    /// The field `proxy-connection`.
    case proxyConnection
    /// The field `proxy-authenticate`.
    case proxyAuthenticate
    /// The field `proxy-authorization`.
    case proxyAuthorization
    /// The field `date`.
    case date
    /// The field `server`.
    case server
    /// The field `location`.
    case location
    /// The field `retry-after`.
    case retryAfter
    /// The field `allow`.
    case allow
    /// The field `accept`.
    case accept
    /// The field `accept-encoding`.
    case acceptEncoding
    /// The field `accept-language`.
    case acceptLanguage
    /// The field `authorization`.
    case authorization
    /// The field `cookie`.
    case cookie
    /// The field `set-cookie`.
    case setCookie
    /// The field `user-agent`.
    case userAgent
    /// The field `referer`.
    case referer
    /// The field `origin`.
    case origin
    /// The field `cache-control`.
    case cacheControl
    /// The field `etag`.
    case etag
    /// The field `last-modified`.
    case lastModified
    /// The field `if-match`.
    case ifMatch
    /// The field `if-none-match`.
    case ifNoneMatch
    /// The field `if-modified-since`.
    case ifModifiedSince
    /// The field `vary`.
    case vary
    /// The field `via`.
    case via
    /// The field `range`.
    case range
    /// The field `content-range`.
    case contentRange
    /// The field `content-disposition`.
    case contentDisposition
    /// The field `age`.
    case age
    /// The field `pragma`.
    case pragma
    /// The field `forwarded`.
    case forwarded
    /// The field `http2-settings`.
    case http2Settings
    /// The field `x-forwarded-for`.
    case xForwardedFor
    /// The field `x-forwarded-proto`.
    case xForwardedProto
    /// The field `x-forwarded-host`.
    case xForwardedHost
    /// The field `x-forwarded-port`.
    case xForwardedPort
    /// The field `x-forwarded-client-cert`.
    case xForwardedClientCert
    /// The field `x-real-ip`.
    case xRealIp
    /// The field `x-request-id`.
    case xRequestId
    /// The field `x-envoy-external-address`.
    case xEnvoyExternalAddress
    /// The field `x-envoy-internal`.
    case xEnvoyInternal
    /// The field `x-envoy-original-path`.
    case xEnvoyOriginalPath
    /// The field `x-envoy-original-host`.
    case xEnvoyOriginalHost
    /// The field `x-envoy-original-dst-host`.
    case xEnvoyOriginalDstHost
    /// The field `x-envoy-expected-rq-timeout-ms`.
    case xEnvoyExpectedRqTimeoutMs
    /// The field `x-envoy-upstream-service-time`.
    case xEnvoyUpstreamServiceTime
    /// The field `x-envoy-attempt-count`.
    case xEnvoyAttemptCount
    /// The field `x-envoy-overloaded`.
    case xEnvoyOverloaded
    /// The field `x-envoy-ratelimited`.
    case xEnvoyRatelimited
    /// The field `x-envoy-retry-on`.
    case xEnvoyRetryOn
    /// The field `x-envoy-retry-grpc-on`.
    case xEnvoyRetryGrpcOn
    /// The field `x-envoy-max-retries`.
    case xEnvoyMaxRetries
    /// The field `x-envoy-upstream-rq-timeout-ms`.
    case xEnvoyUpstreamRqTimeoutMs
    /// The field `x-envoy-upstream-rq-per-try-timeout-ms`.
    case xEnvoyUpstreamRqPerTryTimeoutMs
    /// The field `x-envoy-decorator-operation`.
    case xEnvoyDecoratorOperation
    /// The field `x-envoy-immediate-health-check-fail`.
    case xEnvoyImmediateHealthCheckFail
    /// The field `x-envoy-degraded`.
    case xEnvoyDegraded
    /// The field `x-envoy-peer-metadata`.
    case xEnvoyPeerMetadata
    /// The field `x-envoy-peer-metadata-id`.
    case xEnvoyPeerMetadataId
    /// The field `x-b3-traceid`.
    case xB3Traceid
    /// The field `x-b3-spanid`.
    case xB3Spanid
    /// The field `x-b3-parentspanid`.
    case xB3Parentspanid
    /// The field `x-b3-sampled`.
    case xB3Sampled
    /// The field `x-b3-flags`.
    case xB3Flags
    /// The field `b3`.
    case b3
    /// The field `traceparent`.
    case traceparent
    /// The field `tracestate`.
    case tracestate
    /// The field `baggage`.
    case baggage
    /// The field `grpc-status`.
    case grpcStatus
    /// The field `grpc-message`.
    case grpcMessage
    /// The field `grpc-timeout`.
    case grpcTimeout
    /// The field `grpc-encoding`.
    case grpcEncoding
    /// The field `grpc-accept-encoding`.
    case grpcAcceptEncoding
    /// The field `access-control-allow-origin`.
    case accessControlAllowOrigin
    /// The field `access-control-request-method`.
    case accessControlRequestMethod
    /// The field `access-control-allow-methods`.
    case accessControlAllowMethods
    /// The field `access-control-allow-headers`.
    case accessControlAllowHeaders
    /// The field `access-control-allow-credentials`.
    case accessControlAllowCredentials
    /// The field `access-control-expose-headers`.
    case accessControlExposeHeaders
    /// The field `access-control-max-age`.
    case accessControlMaxAge
    /// The field `access-control-request-headers`.
    case accessControlRequestHeaders
    /// The field `sec-websocket-key`.
    case secWebsocketKey
    /// The field `sec-websocket-accept`.
    case secWebsocketAccept
    /// The field `sec-websocket-version`.
    case secWebsocketVersion
    /// The field `sec-websocket-protocol`.
    case secWebsocketProtocol
    /// The field `sec-websocket-extensions`.
    case secWebsocketExtensions
    /// The field `strict-transport-security`.
    case strictTransportSecurity
    /// The field `x-content-type-options`.
    case xContentTypeOptions
    /// The field `x-frame-options`.
    case xFrameOptions
    /// The field `x-client-trace-id`.
    case xClientTraceId
    /// The field `x-envoy-force-trace`.
    case xEnvoyForceTrace

    /// The field name in lower case; empty for `other`.
    public var name: StaticString {
        switch self {
        case .other: ""
        case .host: "host"
        case .connection: "connection"
        case .contentLength: "content-length"
        case .transferEncoding: "transfer-encoding"
        case .contentType: "content-type"
        case .contentEncoding: "content-encoding"
        case .upgrade: "upgrade"
        case .expect: "expect"
        case .te: "te"
        case .trailer: "trailer"
        case .keepAlive: "keep-alive"
        case .proxyConnection: "proxy-connection"
        case .proxyAuthenticate: "proxy-authenticate"
        case .proxyAuthorization: "proxy-authorization"
        case .date: "date"
        case .server: "server"
        case .location: "location"
        case .retryAfter: "retry-after"
        case .allow: "allow"
        case .accept: "accept"
        case .acceptEncoding: "accept-encoding"
        case .acceptLanguage: "accept-language"
        case .authorization: "authorization"
        case .cookie: "cookie"
        case .setCookie: "set-cookie"
        case .userAgent: "user-agent"
        case .referer: "referer"
        case .origin: "origin"
        case .cacheControl: "cache-control"
        case .etag: "etag"
        case .lastModified: "last-modified"
        case .ifMatch: "if-match"
        case .ifNoneMatch: "if-none-match"
        case .ifModifiedSince: "if-modified-since"
        case .vary: "vary"
        case .via: "via"
        case .range: "range"
        case .contentRange: "content-range"
        case .contentDisposition: "content-disposition"
        case .age: "age"
        case .pragma: "pragma"
        case .forwarded: "forwarded"
        case .http2Settings: "http2-settings"
        case .xForwardedFor: "x-forwarded-for"
        case .xForwardedProto: "x-forwarded-proto"
        case .xForwardedHost: "x-forwarded-host"
        case .xForwardedPort: "x-forwarded-port"
        case .xForwardedClientCert: "x-forwarded-client-cert"
        case .xRealIp: "x-real-ip"
        case .xRequestId: "x-request-id"
        case .xEnvoyExternalAddress: "x-envoy-external-address"
        case .xEnvoyInternal: "x-envoy-internal"
        case .xEnvoyOriginalPath: "x-envoy-original-path"
        case .xEnvoyOriginalHost: "x-envoy-original-host"
        case .xEnvoyOriginalDstHost: "x-envoy-original-dst-host"
        case .xEnvoyExpectedRqTimeoutMs: "x-envoy-expected-rq-timeout-ms"
        case .xEnvoyUpstreamServiceTime: "x-envoy-upstream-service-time"
        case .xEnvoyAttemptCount: "x-envoy-attempt-count"
        case .xEnvoyOverloaded: "x-envoy-overloaded"
        case .xEnvoyRatelimited: "x-envoy-ratelimited"
        case .xEnvoyRetryOn: "x-envoy-retry-on"
        case .xEnvoyRetryGrpcOn: "x-envoy-retry-grpc-on"
        case .xEnvoyMaxRetries: "x-envoy-max-retries"
        case .xEnvoyUpstreamRqTimeoutMs: "x-envoy-upstream-rq-timeout-ms"
        case .xEnvoyUpstreamRqPerTryTimeoutMs: "x-envoy-upstream-rq-per-try-timeout-ms"
        case .xEnvoyDecoratorOperation: "x-envoy-decorator-operation"
        case .xEnvoyImmediateHealthCheckFail: "x-envoy-immediate-health-check-fail"
        case .xEnvoyDegraded: "x-envoy-degraded"
        case .xEnvoyPeerMetadata: "x-envoy-peer-metadata"
        case .xEnvoyPeerMetadataId: "x-envoy-peer-metadata-id"
        case .xB3Traceid: "x-b3-traceid"
        case .xB3Spanid: "x-b3-spanid"
        case .xB3Parentspanid: "x-b3-parentspanid"
        case .xB3Sampled: "x-b3-sampled"
        case .xB3Flags: "x-b3-flags"
        case .b3: "b3"
        case .traceparent: "traceparent"
        case .tracestate: "tracestate"
        case .baggage: "baggage"
        case .grpcStatus: "grpc-status"
        case .grpcMessage: "grpc-message"
        case .grpcTimeout: "grpc-timeout"
        case .grpcEncoding: "grpc-encoding"
        case .grpcAcceptEncoding: "grpc-accept-encoding"
        case .accessControlAllowOrigin: "access-control-allow-origin"
        case .accessControlRequestMethod: "access-control-request-method"
        case .accessControlAllowMethods: "access-control-allow-methods"
        case .accessControlAllowHeaders: "access-control-allow-headers"
        case .accessControlAllowCredentials: "access-control-allow-credentials"
        case .accessControlExposeHeaders: "access-control-expose-headers"
        case .accessControlMaxAge: "access-control-max-age"
        case .accessControlRequestHeaders: "access-control-request-headers"
        case .secWebsocketKey: "sec-websocket-key"
        case .secWebsocketAccept: "sec-websocket-accept"
        case .secWebsocketVersion: "sec-websocket-version"
        case .secWebsocketProtocol: "sec-websocket-protocol"
        case .secWebsocketExtensions: "sec-websocket-extensions"
        case .strictTransportSecurity: "strict-transport-security"
        case .xContentTypeOptions: "x-content-type-options"
        case .xFrameOptions: "x-frame-options"
        case .xClientTraceId: "x-client-trace-id"
        case .xEnvoyForceTrace: "x-envoy-force-trace"
        }
    }
}

extension HeaderID {
    /// The id of a name given in lower case; `.other` for one that has none.
    public static func of(lowercased name: RawSpan) -> HeaderID { HeaderNames.shared.id(of: name) }
}

/// Finds the id of a name: an open-addressed hash table, made once.
///
/// Parsers keep a copy (an address), because reaching a lazily made global costs a call each time.
struct HeaderNames: Sendable {
    /// What tells a name of up to 16 bytes from all others: its length, its first and its last eight bytes.
    private struct Entry: Sendable {
        var first: UInt64 = 0
        var last: UInt64 = 0
        var count: UInt8 = 0
        var id = HeaderID.other
    }

    static let shared = HeaderNames()

    /// `slotCount` entries, written once by `init` and never freed: no copy of this value counts a reference.
    private nonisolated(unsafe) let entries: UnsafePointer<Entry>
    /// More than four slots for each name keep the usual lookup at one comparison.
    private static var slotCount: Int { 512 }
    private static var longestName: Int { 38 }

    private init() {
        precondition(HeaderID.allCases.count * 4 <= HeaderNames.slotCount, "grow HeaderNames.slotCount")
        let entries = UnsafeMutablePointer<Entry>.allocate(capacity: HeaderNames.slotCount)
        entries.initialize(repeating: Entry(), count: HeaderNames.slotCount)
        for id in HeaderID.allCases where id != .other {
            let name = id.name
            precondition(name.utf8CodeUnitCount <= HeaderNames.longestName, "raise HeaderNames.longestName")
            let bytes = UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount)
            let (first, last) = HeaderNames.ends(bytes.bytes)
            var slot = HeaderNames.slot(first, last, bytes.count)
            while entries[slot].id != .other { slot = (slot &+ 1) & (HeaderNames.slotCount &- 1) }
            entries[slot] = Entry(first: first, last: last, count: UInt8(bytes.count), id: id)
        }
        self.entries = UnsafePointer(entries)
    }

    func id(of name: RawSpan) -> HeaderID {
        let count = name.byteCount
        guard count > 0, count <= HeaderNames.longestName else { return .other }
        let (first, last) = HeaderNames.ends(name)
        var slot = HeaderNames.slot(first, last, count)
        while true {
            // `slot` has nine bits: it stays inside.
            let entry = entries[slot]
            if entry.id == .other { return .other }
            if entry.first == first, entry.last == last, Int(entry.count) == count,
                count <= 16 || HeaderNames.isSame(name, entry.id)
            {
                return entry.id
            }
            slot = (slot &+ 1) & (HeaderNames.slotCount &- 1)
        }
    }

    private static func isSame(_ name: RawSpan, _ id: HeaderID) -> Bool {
        let known = id.name
        return ByteScan.equal(
            name, UnsafeRawBufferPointer(start: known.utf8Start, count: known.utf8CodeUnitCount).bytes)
    }

    @inline(__always)
    private static func ends(_ name: RawSpan) -> (UInt64, UInt64) {
        let count = name.byteCount
        if count >= 8 {
            return (
                name.unsafeLoadUnaligned(fromByteOffset: 0, as: UInt64.self),
                name.unsafeLoadUnaligned(fromByteOffset: count &- 8, as: UInt64.self)
            )
        }
        if count >= 4 {
            let first = name.unsafeLoadUnaligned(fromByteOffset: 0, as: UInt32.self)
            let last = name.unsafeLoadUnaligned(fromByteOffset: count &- 4, as: UInt32.self)
            return (UInt64(first) | UInt64(last) << 32, 0)
        }
        var word: UInt64 = 0
        for position in 0..<count { word = word << 8 | UInt64(ByteScan.byte(name, position)) }
        return (word, 0)
    }

    /// The table is fixed, so nobody can choose collisions in it.
    @inline(__always)
    private static func slot(_ first: UInt64, _ last: UInt64, _ count: Int) -> Int {
        let mixed = (first ^ (last &* 0x9E37_79B9_7F4A_7C15) ^ UInt64(count)) &* 0xD6E8_FEB8_6659_FD93
        return Int(truncatingIfNeeded: mixed >> 55)
    }
}
