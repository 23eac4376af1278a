/// How log records are written: Envoy's patterns (`[%Y-%m-%d %T.%e][%t][%l][%n] %v`).
public struct LogFormat: Sendable {
    enum Part: Sendable {
        case text(String)
        case time(Character)
        case level
        case shortLevel
        case label
        case message
        case processID
        case threadID
    }

    let parts: [Part]

    /// Reads a pattern; nil when a letter means nothing to us.
    public init?(pattern: String) {
        var parts: [Part] = []
        var text = ""
        func flush() {
            if !text.isEmpty { parts.append(.text(text)) }
            text = ""
        }
        var letters = pattern.makeIterator()
        while let letter = letters.next() {
            guard letter == "%" else {
                text.append(letter)
                continue
            }
            guard let verb = letters.next() else { return nil }
            if verb == "%" {
                text.append(verb)
                continue
            }
            flush()
            switch verb {
            case "v", "j": parts.append(.message)
            // What may follow a message is escaped anyhow.
            case "_": continue
            case "n": parts.append(.label)
            case "l": parts.append(.level)
            case "L": parts.append(.shortLevel)
            case "P": parts.append(.processID)
            case "t": parts.append(.threadID)
            // Colours and the place in the source: nothing.
            case "^", "$", "g", "s", "#", "!", "@": continue
            case "Y", "C", "m", "d", "H", "M", "S", "e", "f", "F", "E", "T", "D", "z": parts.append(.time(verb))
            default: return nil
            }
        }
        flush()
        self.parts = parts
    }
}
