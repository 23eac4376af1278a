internal import HTTP
internal import Upstream

/// A field that a format names, found out about when the format is read: which pseudo header it is, or the number of its name.
struct FormatField: Sendable {
    /// What needs more than a look at the fields.
    enum Kind: Sendable { case method, path, authority, scheme, status, contentLength, field, noField }

    /// What suffices to find a field whose name has a number, and pseudo headers: nothing of it is counted.
    struct Place: Sendable {
        var kind = Kind.noField
        var id = HeaderID.other

        /// Whether the name itself is needed.
        var needsName: Bool { id == .other && (kind == .field || kind == .contentLength) }
    }

    let name: HeaderName
    let place: Place
    var kind: Kind { place.kind }
    var id: HeaderID { place.id }

    init(_ name: HeaderName) {
        self.name = name
        let id = HeaderID.of(lowercased: name.bytes.span.bytes)
        let kind: Kind =
            switch name.description {
            case ":method": .method
            case ":path": .path
            case ":authority", "host": .authority
            case ":scheme": .scheme
            case ":status": .status
            case "content-length": .contentLength
            default: name.isPseudo ? .noField : .field
            }
        place = Place(kind: kind, id: id)
    }

    init(_ name: String) { self.init(HeaderName(name)) }
}

extension HeaderTable.Parts {
    /// Appends the first field of a name.
    func append(_ field: borrowing FormatField, to bytes: inout FormatLine) -> Bool {
        let found = field.id == .other ? value(named: field.name.bytes.span.bytes) : value(of: field.id)
        guard let found else { return false }
        bytes.append(found)
        return true
    }
}
