import EnvoyAPI
import Serialization

/// Counts requests against the rules, in windows of fixed length.
///
/// Pure: rules, time and what other servers have counted come in. Counts are in memory: a restart begins anew.
struct RateLimitCounter: Sendable {
    /// Windows that are remembered; beyond it those that have ended go first, then requests are let through uncounted.
    static let windowsMax = 200_000
    /// Descriptors of one request at most.
    static let descriptorsMax = 100

    private struct Window: Sendable {
        var start: Int64
        var end: Int64
        var count: UInt64
        /// What the count is held against; hits beyond it are not told to others.
        var limit: UInt32
        /// Where others count the same; nil when there are no others.
        var slot: RateLimitShares.Slot?
    }

    /// Rules by domain.
    var rules: [String: RateLimitRules] = [:]
    private var windows: [String: Window] = [:]
    /// Whether several servers count together.
    var isShared = false
    /// What they have counted.
    var others = RateLimitOthers()
    /// Whether others do not know yet what was counted here.
    private var hasNews = true
    private var told = RateLimitShares().bytes
    /// Windows that others were not told of, as there were too many, in the last report.
    private(set) var untold = 0
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
        let end = start + limit.seconds
        var window: Window
        if let present = windows[key], present.start == start, present.end == end {
            window = present
        } else {
            let slot = isShared ? RateLimitShares.Slot(key: key, start: start, seconds: limit.seconds) : nil
            window = Window(start: start, end: end, count: 0, limit: limit.requests, slot: slot)
        }
        if window.count <= UInt64(limit.requests) { hasNews = true }
        window.limit = limit.requests
        window.count = min(window.count + UInt64(hits), UInt64(UInt32.max) * 2)
        keep(window, key, now)
        let count = window.count + (window.slot.map { others.count($0) } ?? 0)
        var current = RateLimitResponse.RateLimit()
        current.name = limit.name
        current.requestsPerUnit = limit.requests
        current.unit = limit.unit
        status.currentLimit = current
        status.durationUntilReset = .seconds(window.end - now)
        let isOver = count > UInt64(limit.requests)
        status.limitRemaining = isOver ? 0 : limit.requests - UInt32(clamping: count)
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

    /// What other servers are told: the windows that are open, those first that have used up a quarter of their limit.
    mutating func report(now: Int64) -> [UInt8] {
        guard hasNews else { return told }
        hasNews = false
        var shares = RateLimitShares()
        var open = 0
        for isNear in [true, false] {
            for window in windows.values {
                guard window.end > now, let slot = window.slot,
                    isNear == (window.count >= UInt64(window.limit) / 4)
                else { continue }
                open += 1
                guard shares.counts.count < RateLimitShares.windowsMax else { continue }
                shares.counts[slot] = UInt32(clamping: min(window.count, UInt64(window.limit) + 1))
            }
        }
        untold = open - shares.counts.count
        told = shares.bytes
        return told
    }
}
