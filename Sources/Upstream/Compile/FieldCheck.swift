internal import EnvoyAPI
internal import Serialization

/// Refuses what Skein does not act on: every field that is set must be among those the compiler reads, or in the table
/// of ignored ones (`IgnoredFields`).
enum FieldCheck {
    /// - Parameter handled: The names of the fields that the caller reads, separated by spaces.
    static func check<M: Message>(
        _ message: M, _ path: FieldPath, handles handled: String
    ) throws(ConfigurationError) {
        #if DEBUG
            assert(
                handled.split(separator: " ").allSatisfy { M.schema.number(of: String($0)) != nil },
                "\(M.schema.name) has no field in \(handled)")
            assert(
                (IgnoredFields.reasons[M.schema.name] ?? [:]).keys.allSatisfy { M.schema.number(of: $0) != nil },
                "\(M.schema.name): wrong ignored field")
        #endif
        for number in message.setFields {
            let name = M.schema.name(of: number, .proto)
            if contains(handled, word: name) || IgnoredFields.reasons[M.schema.name]?[name] != nil { continue }
            throw (path / name).unsupported()
        }
    }

    /// Whether a list of words has a word; no list is made, for this runs for every message of a configuration.
    private static func contains(_ list: String, word: String) -> Bool {
        var list = list
        var word = word
        return list.withUTF8 { list in
            word.withUTF8 { word in
                var start = 0
                while start + word.count <= list.count {
                    var end = start
                    while end < list.count, list[end] != 0x20 { end += 1 }
                    if end - start == word.count, list[start..<end].elementsEqual(word) { return true }
                    start = end + 1
                }
                return false
            }
        }
    }
}

extension Duration {
    /// A duration from a message, or a fallback; negative ones are refused.
    static func checked(
        _ duration: Duration?, default fallback: Duration, _ path: FieldPath
    ) throws(ConfigurationError) -> Duration {
        guard let duration else { return fallback }
        guard duration >= .zero else { throw path.error("\(duration) is negative") }
        return duration
    }

    /// A duration of which zero means "off", hence nil.
    static func checkedLimit(
        _ duration: Duration?, default fallback: Duration?, _ path: FieldPath
    ) throws(ConfigurationError) -> Duration? {
        guard let duration else { return fallback }
        guard duration >= .zero else { throw path.error("\(duration) is negative") }
        return duration == .zero ? nil : duration
    }
}
