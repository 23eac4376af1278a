internal import IO

/// How many requests may be under way at the same time: Envoy's gradient controller.
///
/// Now and then few requests are let through, and their time is taken for that of an idle upstream. Between, the limit follows the ratio of
/// that time to the present one. Pure: time and randomness are arguments, and there are no timers: what is due happens at the next request.
struct GradientController: Sendable {
    struct Settings: Sendable {
        /// 0 to 1.
        var percentile = 0.5
        var limitMax: UInt64 = 1000
        var updateInterval: Duration = .milliseconds(100)
        /// How often the least time is measured anew.
        var measureInterval: Duration = .seconds(60)
        /// In place of measuring.
        var fixedTime: Duration?
        var measureCount = 50
        /// Share of `measureInterval`, 0 to 1, by which it is longer by chance.
        var jitter = 0.15
        var limitMin: UInt64 = 3
        /// Share of the least time that is allowed beside it.
        var buffer = 0.25
    }

    /// What `/stats` shows.
    struct Figures: Hashable {
        var limit: UInt64 = 0
        var gradient: UInt64 = 0
        var headroom: UInt64 = 0
        var isMeasuring = false
        var leastMilliseconds: UInt64 = 0
        var sampleMilliseconds: UInt64 = 0
    }

    /// Times kept of one window; of more, each takes the place of one by chance.
    private static let samplesMax = 16_384

    let settings: Settings
    private(set) var limit: UInt64
    private(set) var outstanding: UInt64 = 0
    private(set) var figures = Figures()
    /// The limit from before a measurement; 0 is none.
    private var deferredLimit: UInt64 = 0
    private var least: Double = 0
    private var samples: [Double] = []
    private var sampleCount = 0
    private var epoch: MonotonicTime
    private var nextMeasurement = MonotonicTime.never
    private var windowEnd: MonotonicTime
    private var timesAtMinimum = 0

    init(_ settings: Settings, at now: MonotonicTime) {
        self.settings = settings
        limit = settings.limitMin
        epoch = now
        windowEnd = now + settings.updateInterval
        figures.limit = limit
        if let fixed = settings.fixedTime {
            least = Self.seconds(fixed)
            figures.leastMilliseconds = UInt64(least * 1000)
        } else {
            measure(now)
        }
    }

    private var isMeasuring: Bool { deferredLimit > 0 }

    private static func seconds(_ duration: Duration) -> Double { Double(duration.wholeNanoseconds) / 1e9 }

    /// Whether one more request may go on; if so it counts until `record` or `cancel`.
    mutating func admit(at now: MonotonicTime) -> Bool {
        advance(now)
        guard outstanding < limit else { return false }
        outstanding += 1
        return true
    }

    /// A request ended with an answer.
    mutating func record(began: MonotonicTime, at now: MonotonicTime, random: UInt64) {
        if outstanding > 0 { outstanding -= 1 }
        advance(now)
        // A request from before the measurement says nothing about an idle upstream.
        guard began >= epoch else { return }
        let sample = now > began ? Self.seconds(now - began) : 0
        sampleCount += 1
        if samples.count < Self.samplesMax {
            samples.append(sample)
        } else {
            samples[Int(random % UInt64(Self.samplesMax))] = sample
        }
        if isMeasuring, sampleCount >= settings.measureCount { endMeasurement(now, random) }
    }

    /// A request ended without an answer.
    mutating func cancel() {
        if outstanding > 0 { outstanding -= 1 }
    }

    private mutating func advance(_ now: MonotonicTime) {
        if !isMeasuring, settings.fixedTime == nil, nextMeasurement <= now { measure(now) }
        guard windowEnd <= now else { return }
        windowEnd = now + settings.updateInterval
        guard !isMeasuring, !samples.isEmpty else { return }
        let sample = takeSample()
        figures.sampleMilliseconds = UInt64(sample * 1000)
        setLimit(nextLimit(sample), now)
    }

    private mutating func measure(_ now: MonotonicTime) {
        deferredLimit = limit
        figures.isMeasuring = true
        setLimit(settings.limitMin, now)
        samples = []
        sampleCount = 0
        epoch = now
    }

    private mutating func endMeasurement(_ now: MonotonicTime, _ random: UInt64) {
        least = takeSample()
        figures.leastMilliseconds = UInt64(least * 1000)
        figures.isMeasuring = false
        let former = deferredLimit
        setLimit(former, now)
        deferredLimit = 0
        let share = Double(random >> 11) / Double(UInt64(1) << 53)
        let pause = Double(settings.measureInterval.wholeNanoseconds) * (1 + settings.jitter * share)
        nextMeasurement = now + .nanoseconds(Int64(min(pause, 1e18)))
        windowEnd = now + settings.updateInterval
    }

    private mutating func takeSample() -> Double {
        let sorted = samples.sorted()
        samples = []
        sampleCount = 0
        guard !sorted.isEmpty else { return 0 }
        let rank = Int((Double(sorted.count) * settings.percentile).rounded(.up)) - 1
        return sorted[min(max(rank, 0), sorted.count - 1)]
    }

    /// The limit that follows from a window's time.
    private mutating func nextLimit(_ sample: Double) -> UInt64 {
        let raw = sample > 0 ? least * (1 + settings.buffer) / sample : 2
        let gradient = max(0.5, min(2, raw))
        figures.gradient = UInt64(gradient)
        let limit = Double(limit) * gradient
        // Room for a burst.
        let headroom = limit.squareRoot()
        figures.headroom = UInt64(headroom)
        return max(settings.limitMin, min(settings.limitMax, UInt64(limit + headroom)))
    }

    private mutating func setLimit(_ new: UInt64, _ now: MonotonicTime) {
        let atMinimum = !isMeasuring && limit == settings.limitMin && new == settings.limitMin
        timesAtMinimum = atMinimum ? timesAtMinimum + 1 : 0
        limit = new
        figures.limit = new
        // Five windows at the minimum: perhaps what was measured is not the least time.
        if timesAtMinimum >= 5, settings.fixedTime == nil { nextMeasurement = now }
    }
}
