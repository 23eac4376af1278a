internal import IO

/// One line of the address journal.
///
/// Text, one line each, with a checksum at its end: `+ OWNER ADDRESS[,ADDRESS] TIME SUM`, `- OWNER TIME SUM`; the first
/// line is `skein-addresses 1 BOOT RANGE[,RANGE] SUM`.
enum IPAMRecord: Equatable {
    /// The boot in which all this holds: namespaces do not outlive it.
    case header(boot: String, ranges: [Prefix])
    case allocated(owner: String, addresses: [IPAddress], at: MonotonicTime)
    case released(owner: String, at: MonotonicTime)

    var line: [UInt8] {
        let text: String
        switch self {
        case .header(let boot, let ranges):
            text = "skein-addresses 1 \(boot) \(ranges.map(\.description).joined(separator: ","))"
        case .allocated(let owner, let addresses, let time):
            text = "+ \(owner) \(addresses.map(\.description).joined(separator: ",")) \(time.nanoseconds)"
        case .released(let owner, let time): text = "- \(owner) \(time.nanoseconds)"
        }
        return Array("\(text) \(hex(fnv1a(text)))\n".utf8)
    }

    /// Reads a line without its end; nil when it is damaged.
    init?(_ line: Substring) {
        guard let space = line.lastIndex(of: " ") else { return nil }
        let text = String(line[..<space])
        guard line[line.index(after: space)...] == hex(fnv1a(text)) else { return nil }
        let words = text.split(separator: " ").map(String.init)
        switch (words.first, words.count) {
        case ("skein-addresses", 4) where words[1] == "1":
            let ranges = words[3].split(separator: ",").map { Prefix($0) }
            guard !ranges.contains(nil) else { return nil }
            self = .header(boot: words[2], ranges: ranges.compactMap(\.self))
        case ("+", 4):
            let addresses = words[2].split(separator: ",").map { IPAddress($0) }
            guard !addresses.contains(nil), let time = UInt64(words[3]) else { return nil }
            self = .allocated(
                owner: words[1], addresses: addresses.compactMap(\.self), at: MonotonicTime(nanoseconds: time))
        case ("-", 3):
            guard let time = UInt64(words[2]) else { return nil }
            self = .released(owner: words[1], at: MonotonicTime(nanoseconds: time))
        default: return nil
        }
    }

    /// The records of a file, and where its good part ends.
    ///
    /// A damaged end is what a crash leaves of a record that nobody was told about. Damage before a good record is
    /// something else, and refused.
    static func read(_ bytes: [UInt8], file: String) throws(NetworkError) -> (records: [IPAMRecord], isTorn: Bool) {
        var records: [IPAMRecord] = []
        var damage: Int?
        var number = 0
        var rest = bytes[...]
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            number += 1
            let line = String(decoding: rest[..<end], as: UTF8.self)
            rest = rest[(end + 1)...]
            guard let record = IPAMRecord(line[...]) else {
                damage = damage ?? number
                continue
            }
            if let damage {
                throw .damaged(
                    "\(file): line \(damage) is damaged and good ones follow; run 'skein down', which removes the file")
            }
            records.append(record)
        }
        return (records, damage != nil || !rest.isEmpty)
    }
}
