internal import IO

/// Settings under /proc/sys/net that we change on the host, with what they were, so that tear-down puts them back.
///
/// One line per setting, written before the change: `path old new`. A line without a change is harmless.
struct KernelSettings {
    let file: String

    private struct Entry {
        var path: String
        var old: String
        var new: String
    }

    /// Sets `/proc/sys/net/PATH`, remembering what it was.
    ///
    /// Returns the value from before our first change.
    @discardableResult
    func set(_ path: String, _ value: String) throws(NetworkError) -> String {
        let current = try KernelSettings.read(path)
        if let known = try entries().first(where: { $0.path == path }) {
            if current != value { try KernelSettings.write(path, value) }
            return known.old
        }
        guard current != value else { return current }
        try system { () throws(SystemError) in
            try File.makeDirectory(File.parent(of: file), mode: 0o700)
            try File.append(file, Array("\(path) \(current) \(value)\n".utf8), mode: 0o600, sync: true)
        }
        try KernelSettings.write(path, value)
        return current
    }

    /// Puts everything back that still is as we set it, and forgets it.
    func restore() throws(NetworkError) {
        // One that cannot be read any more (its device is gone) needs no restoring.
        for entry in try entries() where (try? KernelSettings.read(entry.path)) == entry.new {
            try KernelSettings.write(entry.path, entry.old)
        }
        try system { () throws(SystemError) in try File.remove(file) }
    }

    /// The paths that are recorded.
    func paths() throws(NetworkError) -> [String] { try entries().map(\.path) }

    /// A file that is there and cannot be read is an error: what settings were before would be forgotten.
    private func entries() throws(NetworkError) -> [Entry] {
        guard File.exists(file) else { return [] }
        let text = try system { () throws(SystemError) in try File.text(file) }
        return text.split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ").map(String.init)
            guard words.count == 3, KernelSettings.isPlain(words[0]) else { return nil }
            return Entry(path: words[0], old: words[1], new: words[2])
        }
    }

    private static func isPlain(_ path: String) -> Bool { !path.contains("..") && path.hasPrefix("ip") }

    /// The value of a setting in the namespace of the calling thread.
    static func read(_ path: String) throws(NetworkError) -> String {
        let text = try system { () throws(SystemError) in try File.text("/proc/sys/net/\(path)") }
        return String(text.split(whereSeparator: { $0 == "\n" || $0 == " " || $0 == "\t" }).first ?? "")
    }

    /// Sets it without remembering: for settings that go with their namespace or link.
    static func write(_ path: String, _ value: String) throws(NetworkError) {
        try system { () throws(SystemError) in try File.writeInPlace("/proc/sys/net/\(path)", value) }
    }
}
