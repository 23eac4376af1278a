/// The streams that we reset last: frames that were on their way to them are no error (RFC 9113 §5.1).
struct HTTP2ResetMemory {
    private static let kept = 64
    private var ids: [Int32] = []
    private var next = 0
    /// The highest that was forgotten.
    private var forgotten: Int32 = 0

    mutating func add(_ id: Int32) {
        if ids.count < Self.kept { return ids.append(id) }
        forgotten = max(forgotten, ids[next])
        ids[next] = id
        next = (next + 1) % Self.kept
    }

    func mayContain(_ id: Int32) -> Bool { id <= forgotten || ids.contains(id) }
}
