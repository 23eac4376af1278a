import EnvoyAPI
import Serialization

/// Counts requests against the rules, in windows of fixed length.
///
/// Pure: rules and time come in. Counts are in memory: those of several control planes are not added up yet, and a
/// restart begins anew.
struct RateLimitCounter: Sendable {
    /// Windows that are remembered; beyond it those that have ended go first, then requests are let through uncounted.
    static let windowsMax = 200_000
    /// Descriptors of one request at most.
    static let descriptorsMax = 100

    private struct Window: Sendable {
        var start: Int64
        var end: Int64
        var count: UInt64
    }

    /// Rules by domain.
    var rules: [String: RateLimitRules] = [:]
    private var windows: [String: Window] = [:]
    /// Requests that were not counted for want of room.
    private(set) var uncounted = 0
    /// Requests that were refused.
    private(set) var refused = 0
    /// Questions that were answered.
    private(set) var answered = 0

    init() {}

    /// Answers a question; nil when it is none.
    mutating func answer(_ request: RateLimitRequest, now: Int64) -> RateLimitResponse? {
        guard !request.domain.isEmpty, !request.descriptors.isEmpty,
            request.descriptors.count <= Self.descriptorsMax
        else { return nil }
        answered += 1
        var response = RateLimitResponse()
        response.overallCode = .ok
        for descriptor in request.descriptors {
            let status = status(of: descriptor, domain: request.domain, hits: max(1, request.hitsAddend), now: now)
            if status.code == .overLimit { response.overallCode = .overLimit }
            response.statuses.append(status)
        }
        if response.overallCode == .overLimit { refused += 1 }
        return response
    }

    private mutating func status(
        of descriptor: RateLimitDescriptor, domain: String, hits: UInt32, now: Int64
    ) -> RateLimitResponse.DescriptorStatus {
        var status = RateLimitResponse.DescriptorStatus()
        status.code = .ok
        guard let (limit, key) = rules[domain]?.limit(for: descriptor.entries) else { return status }
        guard !limit.isUnlimited else {
            status.limitRemaining = .max
            return status
        }
        let hits = descriptor.hitsAddend.map { UInt32(clamping: $0) } ?? hits
        let start = now - ((now % limit.seconds) + limit.seconds) % limit.seconds
        var window = windows[key] ?? Window(start: start, end: start + limit.seconds, count: 0)
        if window.start != start || window.end != start + limit.seconds {
            window = Window(start: start, end: start + limit.seconds, count: 0)
        }
        window.count = min(window.count + UInt64(hits), UInt64(UInt32.max) * 2)
        keep(window, key, now)
        var current = RateLimitResponse.RateLimit()
        current.name = limit.name
        current.requestsPerUnit = limit.requests
        current.unit = limit.unit
        status.currentLimit = current
        status.durationUntilReset = .seconds(window.end - now)
        let isOver = window.count > UInt64(limit.requests)
        status.limitRemaining = isOver ? 0 : limit.requests - UInt32(clamping: window.count)
        if isOver, !limit.isShadow { status.code = .overLimit }
        return status
    }

    private mutating func keep(_ window: Window, _ key: String, _ now: Int64) {
        if windows[key] == nil, windows.count >= Self.windowsMax {
            windows = windows.filter { $0.value.end > now }
            guard windows.count < Self.windowsMax else {
                uncounted += 1
                return
            }
        }
        windows[key] = window
    }
}
