/// Why a request did not go as it should, in Envoy's letters and order.
struct ResponseFlags: OptionSet, Sendable, Hashable {
    let rawValue: UInt32

    // In Envoy's order, which is the order of printing.
    static let failedLocalHealthCheck = ResponseFlags(rawValue: 1 << 0)
    static let noHealthyUpstream = ResponseFlags(rawValue: 1 << 1)
    static let upstreamRequestTimeout = ResponseFlags(rawValue: 1 << 2)
    static let localReset = ResponseFlags(rawValue: 1 << 3)
    static let upstreamRemoteReset = ResponseFlags(rawValue: 1 << 4)
    static let upstreamConnectionFailure = ResponseFlags(rawValue: 1 << 5)
    static let upstreamConnectionTermination = ResponseFlags(rawValue: 1 << 6)
    static let upstreamOverflow = ResponseFlags(rawValue: 1 << 7)
    static let noRouteFound = ResponseFlags(rawValue: 1 << 8)
    static let delayInjected = ResponseFlags(rawValue: 1 << 9)
    static let faultInjected = ResponseFlags(rawValue: 1 << 10)
    static let rateLimited = ResponseFlags(rawValue: 1 << 11)
    static let unauthorizedExternalService = ResponseFlags(rawValue: 1 << 12)
    static let rateLimitServiceError = ResponseFlags(rawValue: 1 << 13)
    static let downstreamConnectionTermination = ResponseFlags(rawValue: 1 << 14)
    static let upstreamRetryLimitExceeded = ResponseFlags(rawValue: 1 << 15)
    static let streamIdleTimeout = ResponseFlags(rawValue: 1 << 16)
    static let invalidEnvoyRequestHeaders = ResponseFlags(rawValue: 1 << 17)
    static let downstreamProtocolError = ResponseFlags(rawValue: 1 << 18)
    static let upstreamMaxStreamDurationReached = ResponseFlags(rawValue: 1 << 19)
    static let responseFromCacheFilter = ResponseFlags(rawValue: 1 << 20)
    static let noFilterConfigFound = ResponseFlags(rawValue: 1 << 21)
    static let durationTimeout = ResponseFlags(rawValue: 1 << 22)
    static let upstreamProtocolError = ResponseFlags(rawValue: 1 << 23)
    static let noClusterFound = ResponseFlags(rawValue: 1 << 24)
    static let overloadManager = ResponseFlags(rawValue: 1 << 25)
    static let dnsResolutionFailed = ResponseFlags(rawValue: 1 << 26)
    static let dropOverload = ResponseFlags(rawValue: 1 << 27)
    static let downstreamRemoteReset = ResponseFlags(rawValue: 1 << 28)
    static let unconditionalDropOverload = ResponseFlags(rawValue: 1 << 29)

    /// Letters and names by bit.
    static let table: [(letters: StaticString, name: StaticString)] = [
        ("LH", "FailedLocalHealthCheck"), ("UH", "NoHealthyUpstream"), ("UT", "UpstreamRequestTimeout"),
        ("LR", "LocalReset"), ("UR", "UpstreamRemoteReset"), ("UF", "UpstreamConnectionFailure"),
        ("UC", "UpstreamConnectionTermination"), ("UO", "UpstreamOverflow"), ("NR", "NoRouteFound"),
        ("DI", "DelayInjected"), ("FI", "FaultInjected"), ("RL", "RateLimited"),
        ("UAEX", "UnauthorizedExternalService"), ("RLSE", "RateLimitServiceError"),
        ("DC", "DownstreamConnectionTermination"), ("URX", "UpstreamRetryLimitExceeded"),
        ("SI", "StreamIdleTimeout"), ("IH", "InvalidEnvoyRequestHeaders"), ("DPE", "DownstreamProtocolError"),
        ("UMSDR", "UpstreamMaxStreamDurationReached"), ("RFCF", "ResponseFromCacheFilter"),
        ("NFCF", "NoFilterConfigFound"), ("DT", "DurationTimeout"), ("UPE", "UpstreamProtocolError"),
        ("NC", "NoClusterFound"), ("OM", "OverloadManagerTerminated"), ("DF", "DnsResolutionFailed"),
        ("DO", "DropOverload"), ("DR", "DownstreamRemoteReset"), ("UDO", "UnconditionalDropOverload"),
    ]

    /// The flag with these letters.
    init?(letters: String) {
        guard let index = Self.table.firstIndex(where: { "\($0.letters)" == letters }) else { return nil }
        self.init(rawValue: 1 << UInt32(index))
    }

    init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Appends the flags as an access log prints them: `UF,URX`, or `-` when there are none.
    ///
    /// Envoy prints them as they come about: for a request the limit of retries is met before what it ended with is known.
    func append(isLong: Bool, limitFirst: Bool = false, to bytes: inout FormatLine) {
        guard !isEmpty else { return bytes.append(UInt8(ascii: "-")) }
        if limitFirst, contains(.upstreamRetryLimitExceeded), self != .upstreamRetryLimitExceeded {
            bytes.append(isLong ? "UpstreamRetryLimitExceeded" : "URX")
            bytes.append(UInt8(ascii: ","))
            return subtracting(.upstreamRetryLimitExceeded).append(isLong: isLong, to: &bytes)
        }
        var isFirst = true
        for (index, entry) in Self.table.enumerated() where rawValue >> UInt32(index) & 1 == 1 {
            if !isFirst { bytes.append(UInt8(ascii: ",")) }
            isFirst = false
            bytes.append(isLong ? entry.name : entry.letters)
        }
    }

    /// The flags' letters: `UF,URX`, or `-` when there are none.
    var text: String {
        var bytes = FormatLine(capacity: 64)
        append(isLong: false, to: &bytes)
        return bytes.text
    }
}
