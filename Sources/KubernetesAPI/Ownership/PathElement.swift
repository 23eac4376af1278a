public import Serialization

/// One step of the path to a field, in the words of FieldsV1.
public enum PathElement: Sendable, Hashable {
    /// `f:NAME`: a member of an object.
    case field(String)
    /// `k:{…}`: the element of a list that has these values in its key fields.
    case key([String: JSON])
    /// `v:VALUE`: an element of a list of plain values that is a set.
    case value(JSON)
    /// `i:N`: an element by its place; read for completeness, never written by us.
    case index(Int)

    /// As a member name of FieldsV1.
    public var encoded: String {
        switch self {
        case .field(let name): "f:" + name
        case .key(let fields): "k:" + JSON.object(fields).text
        case .value(let value): "v:" + value.text
        case .index(let index): "i:\(index)"
        }
    }

    /// From a member name of FieldsV1; `nil` when it is none.
    public init?(encoded: String) {
        let text = String(encoded.dropFirst(2))
        switch encoded.prefix(2) {
        case "f:": self = .field(text)
        case "k:":
            guard let fields = (try? JSON.parse(text))?.object, !fields.isEmpty else { return nil }
            self = .key(fields)
        case "v:":
            guard let value = try? JSON.parse(text) else { return nil }
            self = .value(value)
        case "i:":
            guard let index = Int(text), index >= 0 else { return nil }
            self = .index(index)
        default: return nil
        }
    }

    /// As conflicts name it: `.spec`, `[name="c"]`, `[="x"]`, `[0]`.
    public var description: String {
        switch self {
        case .field(let name): "." + name
        case .key(let fields):
            "[" + fields.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value.text)" }.joined(separator: ",") + "]"
        case .value(let value): "[=\(value.text)]"
        case .index(let index): "[\(index)]"
        }
    }
}
