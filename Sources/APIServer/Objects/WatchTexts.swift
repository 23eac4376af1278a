import Serialization
import Store

/// The texts of the latest changes as watches show them: thousands of watches of one kind cost one encoding.
struct WatchTexts {
    /// What a text is of.
    struct Place: Hashable {
        var type: String
        var revision: Revision
        /// Its group: an object may be seen as one of another.
        var group: String
        var version: String
        var form: ObjectForm
        /// For tables, which show ages: when.
        var seconds: Int64 = 0
        /// For tables: whether the first of a watch, which says what the columns are.
        var withColumns = false
    }

    /// Texts at most; changes are sent in the order in which they came, so few are in use at once.
    static let textsMax = 64
    /// Bytes of all texts at most.
    static let bytesMax = 4 << 20

    private var texts: [Place: [UInt8]] = [:]
    /// Oldest first.
    private var order: [Place] = []
    private var bytes = 0

    /// The text at a place, made when it is not known.
    mutating func text(at place: Place, _ make: () -> [UInt8]) -> [UInt8] {
        if let known = texts[place] { return known }
        let text = make()
        guard text.count <= Self.bytesMax / 4 else { return text }
        while order.count >= Self.textsMax || bytes + text.count > Self.bytesMax, let oldest = order.first {
            order.removeFirst()
            bytes -= texts.removeValue(forKey: oldest)?.count ?? 0
        }
        texts[place] = text
        order.append(place)
        bytes += text.count
        return text
    }
}
