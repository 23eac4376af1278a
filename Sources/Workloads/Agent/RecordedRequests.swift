internal import IO
public import Serialization

/// The requests that the node's proxies have recorded, kept beyond a proxy's life: what `skein diff --against recorded` compares.
///
/// Two files of JSON lines in the agent's directory: the second takes over when the first is full, so the oldest go in large pieces.
public struct RecordedRequests: Sendable {
    /// Bytes of one file at most; as much as one proxy keeps is in both together.
    static let fileBytesMax = 8 << 20
    /// Bytes of one proxy's answer at most.
    static let pageBytesMax = 16 << 20

    private let directory: String

    /// Below an agent's data directory.
    public init(_ layout: NodeLayout) { directory = layout.node + "/recorded" }

    private var newer: String { directory + "/newer.jsonl" }
    private var older: String { directory + "/older.jsonl" }

    /// Everything that is kept, the oldest first; lines that a crash has cut are left out.
    public var lines: [JSON] {
        [older, newer].flatMap { file in
            ((try? File.read(file)) ?? []).split(separator: 0x0A).compactMap { try? JSON.parse(Array($0)) }
        }
    }

    /// Keeps a proxy's lines, each with its pod; the answer is the latest time in them, in milliseconds since 1970.
    func add(_ page: [UInt8], pod: String) throws(SystemError) -> Int64? {
        var latest: Int64?
        var text: [UInt8] = []
        for line in page.split(separator: 0x0A) {
            guard var json = try? JSON.parse(Array(line)), case .object = json else { continue }
            if let time = json["time_ms"]?.int { latest = max(latest ?? .min, Int64(time)) }
            json["pod"] = .string(pod)
            text += json.bytes + [0x0A]
        }
        guard !text.isEmpty else { return latest }
        try File.makeDirectory(directory, mode: 0o700)
        if Int(File.size(newer) ?? 0) + text.count > Self.fileBytesMax, File.exists(newer) {
            try File.rename(newer, older)
        }
        try File.append(newer, text, mode: 0o600)
        return latest
    }
}
