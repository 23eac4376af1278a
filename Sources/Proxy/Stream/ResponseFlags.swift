/// Why a request did not go as it should, in Envoy's letters and order.
struct ResponseFlags: OptionSet, Sendable, Hashable {
    let rawValue: UInt32

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

    private static let letters: [(ResponseFlags, String)] = [
        (.failedLocalHealthCheck, "LH"),
        (.noHealthyUpstream, "UH"),
        (.upstreamRequestTimeout, "UT"),
        (.localReset, "LR"),
        (.upstreamRemoteReset, "UR"),
        (.upstreamConnectionFailure, "UF"),
        (.upstreamConnectionTermination, "UC"),
        (.upstreamOverflow, "UO"),
        (.noRouteFound, "NR"),
        (.delayInjected, "DI"),
        (.faultInjected, "FI"),
        (.rateLimited, "RL"),
        (.unauthorizedExternalService, "UAEX"),
        (.rateLimitServiceError, "RLSE"),
        (.downstreamConnectionTermination, "DC"),
        (.upstreamRetryLimitExceeded, "URX"),
        (.streamIdleTimeout, "SI"),
        (.invalidEnvoyRequestHeaders, "IH"),
        (.downstreamProtocolError, "DPE"),
        (.upstreamMaxStreamDurationReached, "UMSDR"),
        (.responseFromCacheFilter, "RFCF"),
        (.noFilterConfigFound, "NFCF"),
        (.durationTimeout, "DT"),
        (.upstreamProtocolError, "UPE"),
        (.noClusterFound, "NC"),
        (.overloadManager, "OM"),
        (.dnsResolutionFailed, "DF"),
        (.dropOverload, "DO"),
        (.downstreamRemoteReset, "DR"),
        (.unconditionalDropOverload, "UDO"),
    ]

    /// The flags as an access log prints them: `UF,URX`, or `-` when there are none.
    var text: String {
        if isEmpty { return "-" }
        return Self.letters.filter { contains($0.0) }.map(\.1).joined(separator: ",")
    }
}
