internal import Serialization

/// A message that is kept for being shown later: as the bytes it has on the wire, a tenth of its size in memory.
///
/// Equal messages have equal bytes: maps are encoded in order.
struct PackedMessage<M: Message>: Sendable, Hashable {
    private let bytes: [UInt8]

    init(_ message: M) { bytes = message.serialized() }

    /// The message, decoded anew; empty where it cannot be, which its own bytes never are.
    var message: M {
        do throws(MessageError) {
            return try M(serialized: bytes)
        } catch {
            assertionFailure("\(M.schema.name): \(error)")
            return M()
        }
    }
}
