internal import EnvoyAPI
internal import Serialization
internal import Upstream

/// What a rate limit service says about a request.
struct RateLimitVerdict {
    var isOverLimit = false
    var responseHeaders: [FieldChange] = []
    var requestHeaders: [FieldChange] = []
    var body: [UInt8] = []
    var metadata: JSON?
    var statuses: [RateLimitResponse.DescriptorStatus] = []

    /// As Envoy: what is not over the limit is within it.
    init(_ response: RateLimitResponse) {
        isOverLimit = response.overallCode == .overLimit
        responseHeaders = Self.changes(response.responseHeadersToAdd)
        requestHeaders = Self.changes(response.requestHeadersToAdd)
        body = response.rawBody
        metadata = response.dynamicMetadata
        statuses = response.statuses
    }

    private static func changes(_ headers: [HeaderValue]) -> [FieldChange] {
        headers.compactMap { $0.key.isEmpty ? nil : FieldChange($0.key, $0.bytes, .append) }
    }

    /// `x-ratelimit-limit`, `-remaining` and `-reset` (draft 03): the tightest of the limits, and the policies of all.
    ///
    /// - Parameter shows: by position of the descriptor.
    func limitHeaders(shows: (Int) -> Bool) -> [FieldChange] {
        var tightest: RateLimitResponse.DescriptorStatus?
        var policies = ""
        for (index, status) in statuses.enumerated() where shows(index) {
            guard let limit = status.currentLimit else { continue }
            if status.limitRemaining < tightest?.limitRemaining ?? .max || tightest == nil { tightest = status }
            let window = Self.seconds(limit.unit)
            guard window > 0 else { continue }
            policies += ", \(limit.requestsPerUnit);w=\(window)"
            if !limit.name.isEmpty { policies += ";name=\"\(limit.name)\"" }
        }
        guard let tightest, let limit = tightest.currentLimit else { return [] }
        let reset = tightest.durationUntilReset.map { max($0.components.seconds, 0) } ?? 0
        return [
            FieldChange("x-ratelimit-limit", "\(limit.requestsPerUnit)\(policies)"),
            FieldChange("x-ratelimit-remaining", "\(tightest.limitRemaining)"),
            FieldChange("x-ratelimit-reset", "\(reset)"),
        ]
    }

    private static func seconds(_ unit: RateLimitResponse.RateLimit.Unit) -> Int {
        switch unit {
        case .second: 1
        case .minute: 60
        case .hour: 3600
        case .day: 86_400
        case .week: 604_800
        case .month: 2_592_000
        case .year: 31_536_000
        case .unknown, .unrecognized: 0
        }
    }
}

extension RateLimitRequest {
    init(domain: String, _ descriptors: [Upstream.RateLimitDescriptor], hits: UInt32) {
        self.init()
        self.domain = domain
        hitsAddend = hits
        self.descriptors = descriptors.map { descriptor in
            var message = EnvoyAPI.RateLimitDescriptor()
            message.entries = descriptor.entries.map { entry in
                var part = EnvoyAPI.RateLimitDescriptor.Entry()
                part.key = entry.key
                part.value = entry.value
                return part
            }
            if let hits = descriptor.hitsAddend { message.hitsAddend = hits }
            if let limit = descriptor.limit, let unit = RateLimitUnit(name: limit.unit) {
                var override = EnvoyAPI.RateLimitDescriptor.RateLimitOverride()
                override.requestsPerUnit = limit.requestsPerUnit
                override.unit = unit
                message.limit = override
            }
            return message
        }
    }
}

extension RateLimitUnit {
    fileprivate init?(name: String) {
        switch name {
        case "SECOND": self = .second
        case "MINUTE": self = .minute
        case "HOUR": self = .hour
        case "DAY": self = .day
        case "MONTH": self = .month
        case "YEAR": self = .year
        default: return nil
        }
    }
}
