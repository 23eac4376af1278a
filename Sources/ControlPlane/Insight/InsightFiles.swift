import IO
import Insight
import Telemetry

/// The built-in time series on disk: what is complete is appended, the rest is written anew now and then.
///
/// `@unchecked Sendable`: used on one loop. What a crash of the machine loses is at most what the kernel had not written yet: nobody waits for the disk.
final class InsightFiles: @unchecked Sendable {
    /// Ticks of a file of fine samples: a file is removed whole.
    private static let fineTicks: Int64 = 720
    /// Ticks of a file of coarse samples.
    private static let coarseTicks: Int64 = 21_600
    /// Bytes of a file that are read at most.
    private static let fileBytesMax = 256 << 20

    private let directory: String
    private let log: Logger
    private var current: [Bool: (name: String, log: SeriesLog)] = [:]
    private var hasFailed = false

    init(_ directory: String, log: Logger) {
        self.directory = directory
        self.log = log
    }

    private var unsealed: String { directory + "/unsealed" }

    /// Reads everything that is not too old.
    func load(into store: inout SeriesStore, now tick: Int64) {
        do throws(SystemError) {
            try File.makeDirectory(directory, mode: 0o700)
            let names = try File.list(directory).filter { $0.hasSuffix(".series") }.sorted()
            for name in names { read("\(directory)/\(name)", into: &store) }
            guard File.exists(unsealed) else { return }
            // What was not complete is now; it goes into a file that stays before this one is written anew.
            var blocks: [SeriesStore.Sealed] = []
            let bytes = try File.read(unsealed, limit: Self.fileBytesMax)
            _ = SeriesLog.decode(bytes) { if store.load($0) { blocks.append($0) } }
            write(blocks, now: tick)
        } catch {
            log.error("older samples are not there", ["error": "\(error)"])
        }
    }

    private func read(_ path: String, into store: inout SeriesStore) {
        do throws(SystemError) {
            let bytes = try File.read(path, limit: Self.fileBytesMax)
            let lost = SeriesLog.decode(bytes) { _ = store.load($0) }
            if lost > 0 { log.warning("the end of a file of samples is left out", ["file": path, "bytes": "\(lost)"]) }
        } catch {
            log.error("samples cannot be read", ["error": "\(error)"])
        }
    }

    /// Appends what is complete.
    func write(_ blocks: [SeriesStore.Sealed], now tick: Int64) {
        for isCoarse in [false, true] {
            let chosen = blocks.filter { $0.isCoarse == isCoarse }
            guard !chosen.isEmpty else { continue }
            let ticks = isCoarse ? Self.coarseTicks : Self.fineTicks
            let name = "\(isCoarse ? "coarse" : "fine")-\(tick / ticks * ticks)-\(Environment.processID).series"
            var file = current[isCoarse] ?? (name, SeriesLog())
            if file.name != name { file = (name, SeriesLog()) }
            let bytes = chosen.flatMap { file.log.encode($0) }
            attempt { () throws(SystemError) in
                try File.append("\(self.directory)/\(name)", bytes, mode: 0o600)
            }
            current[isCoarse] = file
        }
    }

    /// Writes what is not complete, in the place of what was not complete before; at once, since this is the end.
    func writeLast(_ store: SeriesStore) {
        attempt { () throws(SystemError) in try Self.writeUnsealed(store, to: self.unsealed, through: ".last") }
    }

    /// The same on a thread of its own: thousands of series take longer than a loop may be busy.
    func writeUnsealed(_ store: SeriesStore) async {
        let path = unsealed
        let failure = await Task.detached { () -> SystemError? in
            do throws(SystemError) {
                try Self.writeUnsealed(store, to: path, through: ".new")
                return nil
            } catch {
                return error
            }
        }.value
        attempt { () throws(SystemError) in if let failure { throw failure } }
    }

    private static func writeUnsealed(
        _ store: SeriesStore, to path: String, through suffix: String
    ) throws(SystemError) {
        var series = SeriesLog()
        let bytes = store.unsealed.flatMap { series.encode($0) }
        try File.remove(path + suffix)
        try File.append(path + suffix, bytes, mode: 0o600)
        try File.rename(path + suffix, path)
    }

    /// Removes files in which everything is too old.
    func removeOld(now tick: Int64) {
        guard let names = try? File.list(directory) else { return }
        for name in names where name.hasSuffix(".series") {
            let parts = name.split(separator: "-")
            guard parts.count > 1, let begin = Int64(parts[1]) else { continue }
            let isCoarse = parts[0] == "coarse"
            let end = begin + (isCoarse ? Self.coarseTicks : Self.fineTicks)
            let kept = (isCoarse ? Insight.coarseRetention : Insight.fineRetention) / Insight.step
            if end + kept < tick {
                attempt { () throws(SystemError) in try File.remove("\(self.directory)/\(name)") }
            }
        }
    }

    private func attempt(_ body: () throws(SystemError) -> Void) {
        do throws(SystemError) {
            try body()
            hasFailed = false
        } catch {
            if !hasFailed {
                log.error("samples cannot be written: they are kept in memory only", ["error": "\(error)"])
            }
            hasFailed = true
        }
    }
}
