internal import IO

/// Processor time that was used and that there was, counted from some beginning.
///
/// Two of them tell how busy the time in between was. Units are those of the source: they cancel out.
struct ProcessorUse: Sendable, Equatable {
    var used: Double
    var available: Double

    /// How much a new figure counts against the former ones: bursts of one interval are no overload (as Envoy's).
    private static let newShare = 0.05

    /// All processors of the machine; nil where the kernel does not tell.
    static func ofMachine() -> ProcessorUse? { (try? File.text("/proc/stat")).flatMap { ProcessorUse(stat: $0) } }

    /// The control group's share of them, or of its quota; nil where the kernel does not tell.
    static func ofGroup(at now: MonotonicTime) -> ProcessorUse? {
        guard let used = ControlGroup.processorMicroseconds else { return nil }
        let processors = ControlGroup.processorQuota ?? Double(Environment.processorCount)
        return ProcessorUse(used: Double(used), available: Double(now.nanoseconds) / 1000 * processors)
    }

    init(used: Double, available: Double) {
        (self.used, self.available) = (used, available)
    }

    /// Reads the first line of `/proc/stat`: time of users, nice ones, the system, idle, waiting, interrupts and more.
    init?(stat text: String) {
        let numbers = text.prefix { $0 != "\n" }.split(separator: " ").dropFirst().compactMap { Double($0) }
        guard numbers.count >= 5 else { return nil }
        available = numbers.reduce(0, +)
        used = available - numbers[3] - numbers[4]
    }

    /// The share that was used since an earlier look, damped by what was known.
    func pressure(since before: ProcessorUse, former: Double) -> Double {
        guard available > before.available else { return former }
        let share = max(0, min((used - before.used) / (available - before.available), 1))
        return share * Self.newShare + former * (1 - Self.newShare)
    }
}
