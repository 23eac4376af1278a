/// Why a request did not go as it should, in Envoy's letters.
struct ResponseFlags: OptionSet, Sendable, Hashable {
    let rawValue: UInt32

    static let noHealthyUpstream = ResponseFlags(rawValue: 1 << 0)
    static let upstreamConnectionFailure = ResponseFlags(rawValue: 1 << 1)
    static let upstreamOverflow = ResponseFlags(rawValue: 1 << 2)
    static let noRouteFound = ResponseFlags(rawValue: 1 << 3)
    static let noClusterFound = ResponseFlags(rawValue: 1 << 4)
    static let upstreamRetryLimitExceeded = ResponseFlags(rawValue: 1 << 5)
    static let downstreamConnectionTermination = ResponseFlags(rawValue: 1 << 6)
    static let upstreamRequestTimeout = ResponseFlags(rawValue: 1 << 7)
    static let upstreamConnectionTermination = ResponseFlags(rawValue: 1 << 8)
    static let upstreamRemoteReset = ResponseFlags(rawValue: 1 << 9)
    static let localReset = ResponseFlags(rawValue: 1 << 10)
    static let delayInjected = ResponseFlags(rawValue: 1 << 11)
    static let faultInjected = ResponseFlags(rawValue: 1 << 12)
    static let streamIdleTimeout = ResponseFlags(rawValue: 1 << 13)
    static let downstreamProtocolError = ResponseFlags(rawValue: 1 << 14)
    static let upstreamProtocolError = ResponseFlags(rawValue: 1 << 15)
    static let durationTimeout = ResponseFlags(rawValue: 1 << 16)
    static let noFilterConfigFound = ResponseFlags(rawValue: 1 << 17)

    static let downstreamRemoteReset = ResponseFlags(rawValue: 1 << 27)

    private static let letters: [(ResponseFlags, String)] = [
        (.noHealthyUpstream, "UH"), (.upstreamConnectionFailure, "UF"), (.upstreamOverflow, "UO"),
        (.noRouteFound, "NR"), (.noClusterFound, "NC"), (.upstreamRetryLimitExceeded, "URX"),
        (.downstreamConnectionTermination, "DC"), (.upstreamRequestTimeout, "UT"),
        (.upstreamConnectionTermination, "UC"), (.upstreamRemoteReset, "UR"), (.localReset, "LR"),
        (.delayInjected, "DI"), (.faultInjected, "FI"), (.streamIdleTimeout, "SI"),
        (.downstreamProtocolError, "DPE"), (.upstreamProtocolError, "UPE"), (.durationTimeout, "DT"),
        (.noFilterConfigFound, "NFCF"), (.downstreamRemoteReset, "DR"),
    ]

    /// The flags as an access log prints them: `UF,URX`, or `-` when there are none.
    var text: String {
        if isEmpty { return "-" }
        return Self.letters.filter { contains($0.0) }.map(\.1).joined(separator: ",")
    }
}
