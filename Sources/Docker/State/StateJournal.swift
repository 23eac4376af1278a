internal import IO
internal import Serialization

/// The plugin's state on disk: a line for each change, rewritten whole now and then.
///
///     SUM {"boot":"…"}      the first line: the boot of which the containers are
///     SUM {"network":{…}}   one record a line, in the order in which they happened
///
/// A line counts when its sum (FNV-1a, 16 digits) fits: what a crash has cut short has not happened. Networks and pools are
/// synced to the disk before the engine hears of them; containers do not outlive the machine's crash anyway.
///
/// `@unchecked Sendable`: touched by the plugin's loop only.
final class StateJournal: @unchecked Sendable {
    private let path: String
    private let lock: FileLock
    private var lines = 0
    /// Whether the last write may have left a part of a line.
    private var isTorn = false

    /// What was found on disk.
    struct Found {
        var state = PluginState()
        /// Numbers of lines that are not as we write them, before the last one.
        var damaged: [Int] = []
        /// Whether the machine has been started since: no link of a container is left.
        var isEarlierBoot = false
    }

    /// Lines more than live ones before the file is written anew.
    static let slack = 4096

    /// Takes the directory; EWOULDBLOCK when another process has it.
    init(directory: String) throws(SystemError) {
        try File.makeDirectory(directory, mode: 0o700)
        lock = try FileLock("\(directory)/lock")
        path = "\(directory)/journal"
    }

    /// This boot of the machine.
    static func currentBoot() throws(SystemError) -> String {
        let text = String(decoding: try File.readPrefix("/proc/sys/kernel/random/boot_id", 36), as: UTF8.self)
        return String(text.prefix { !$0.isWhitespace })
    }

    /// Reads what is there, and begins the file anew with it.
    func open(boot: String) throws(SystemError) -> Found {
        var found = Found()
        if File.exists(path) {
            found = StateJournal.read(try File.text(path), boot: boot)
            if found.isEarlierBoot {
                for id in found.state.endpoints.keys { found.state.apply(.noEndpoint(id)) }
            }
        }
        try rewrite(found.state, boot: boot)
        return found
    }

    /// The state in a file's text.
    static func read(_ text: String, boot: String) -> Found {
        var found = Found()
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() where !line.isEmpty {
            guard let json = value(of: line) else {
                // The last line may have been cut short by a crash: it has not happened.
                if index < lines.count - 1 { found.damaged.append(index + 1) }
                continue
            }
            if let other = json["boot"]?.string {
                found.isEarlierBoot = other != boot
            } else if let record = PluginState.Record(json) {
                found.state.apply(record)
            } else {
                found.damaged.append(index + 1)
            }
        }
        return found
    }

    /// Writes records down; when this returns they have happened.
    func append(_ records: [PluginState.Record], state: PluginState, boot: String) throws(SystemError) {
        guard !records.isEmpty else { return }
        if lines > state.networks.count + state.endpoints.count + StateJournal.slack {
            let held = state.pools.values.reduce(0) { $0 + $1.taken.count + 1 }
            if lines > 2 * held + StateJournal.slack { return try rewrite(state, boot: boot) }
        }
        let text = (isTorn ? "\n" : "") + records.map { StateJournal.line($0.json) }.joined()
        isTorn = true
        try File.append(path, Array(text.utf8), mode: 0o600, sync: records.contains(where: \.isLasting))
        isTorn = false
        lines += records.count
    }

    private func rewrite(_ state: PluginState, boot: String) throws(SystemError) {
        let records = state.records
        let text = StateJournal.line(["boot": .string(boot)]) + records.map { StateJournal.line($0.json) }.joined()
        try File.write(path, Array(text.utf8), mode: 0o600)
        lines = records.count + 1
        isTorn = false
    }

    /// A line of the file.
    static func line(_ json: JSON) -> String {
        let text = json.text
        return "\(sum(text)) \(text)\n"
    }

    private static func value(of line: Substring) -> JSON? {
        guard let space = line.firstIndex(of: " ") else { return nil }
        let text = String(line[line.index(after: space)...])
        guard sum(text) == line[..<space] else { return nil }
        return try? JSON.parse(text)
    }

    private static func sum(_ text: String) -> String {
        let value = text.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
