/// A header name as the data path wants it: lower-case bytes.
public struct HeaderName: Sendable, Hashable, CustomStringConvertible {
    /// The name in lower case.
    public let bytes: [UInt8]

    /// A name; upper-case letters become lower case.
    public init(_ name: String) { bytes = name.utf8.map { Bytes.lowercased($0) } }

    /// The name as text.
    public var description: String { String(decoding: bytes, as: UTF8.self) }

    /// Whether it is a pseudo header (`:path`), which no field list carries.
    public var isPseudo: Bool { bytes.first == 0x3A }
}

/// What routing reads of a request: its pseudo headers and its fields, as bytes where they lie.
///
/// The proxy conforms the offset table over its receive buffer, so that a route look-up allocates nothing. Pseudo headers
/// are never asked for through `nextField`; an absent one is an empty span. `host` counts as `authority`: a conforming
/// type gives the same bytes for both.
public protocol RequestView: ~Copyable, ~Escapable {
    /// `:method`.
    var method: Span<UInt8> { @_lifetime(borrow self) get }
    /// `:path` with its query, as it will be forwarded (normalised already).
    var path: Span<UInt8> { @_lifetime(borrow self) get }
    /// `:authority` or `Host`.
    var authority: Span<UInt8> { @_lifetime(borrow self) get }
    /// `:scheme`: `http` or `https`.
    var scheme: Span<UInt8> { @_lifetime(borrow self) get }
    /// The value of `Upgrade` when this is an upgrade request, or `:protocol` of an extended CONNECT; otherwise empty.
    var upgrade: Span<UInt8> { @_lifetime(borrow self) get }

    /// The index of the first field called `name` at or after index `start`; nil when there is none.
    ///
    /// Indexes are the conforming type's own; the look-up hands back `index + 1` to go on. Names compare in lower case.
    func nextField(named name: borrowing HeaderName, from start: Int) -> Int?

    /// The value of the field at an index that `nextField` gave.
    @_lifetime(borrow self)
    func fieldValue(at index: Int) -> Span<UInt8>
}

/// What retry decisions read of a response: its fields.
///
/// The status comes as a number beside it.
public protocol ResponseView: ~Copyable, ~Escapable {
    /// As `RequestView.nextField`.
    func nextField(named name: borrowing HeaderName, from start: Int) -> Int?
    /// As `RequestView.fieldValue`.
    @_lifetime(borrow self)
    func fieldValue(at index: Int) -> Span<UInt8>
}

extension RequestView where Self: ~Copyable, Self: ~Escapable {
    /// The bytes of a pseudo header, or nil when `name` is none of them.
    @_lifetime(borrow self)
    func pseudoHeader(_ name: borrowing HeaderName) -> Span<UInt8>? {
        switch name.bytes.count {
        case 5 where name.bytes[1] == UInt8(ascii: "p"): path
        case 7 where name.bytes[1] == UInt8(ascii: "m"): method
        case 7 where name.bytes[1] == UInt8(ascii: "s"): scheme
        case 10 where name.bytes[1] == UInt8(ascii: "a"): authority
        case 9 where name.bytes[1] == UInt8(ascii: "p"): upgrade
        default: nil
        }
    }
}
