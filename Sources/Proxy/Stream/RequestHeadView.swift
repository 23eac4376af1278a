internal import HTTP
internal import Upstream

/// A request head as route matching reads it.
struct RequestHeadView: RequestView, ~Escapable {
    private let head: RequestHeadReader

    @_lifetime(borrow head)
    init(_ head: borrowing RequestHead) { self.head = RequestHeadReader(head) }

    /// See `RequestHeadReader.init(unsafe:)`.
    @_lifetime(immortal)
    @inline(__always)
    init(unsafe parts: RequestHead.Parts) { head = RequestHeadReader(unsafe: parts) }

    var method: Span<UInt8> { @_lifetime(borrow self) get { head.method.octets } }
    var path: Span<UInt8> { @_lifetime(borrow self) get { head.path.octets } }
    var authority: Span<UInt8> { @_lifetime(borrow self) get { head.authority.octets } }
    var scheme: Span<UInt8> { @_lifetime(borrow self) get { head.scheme.octets } }
    var upgrade: Span<UInt8> {
        @_lifetime(borrow self) get {
            guard head.isUpgrade, let index = head.index(of: .upgrade) else { return Span() }
            return head.value(at: index).octets
        }
    }

    func nextField(named name: borrowing HeaderName, from start: Int) -> Int? {
        head.index(named: name.bytes.span.bytes, from: start)
    }

    @_lifetime(borrow self)
    func fieldValue(at index: Int) -> Span<UInt8> { head.value(at: index).octets }
}

extension RequestHeadView {
    /// Whether there is a field with an id.
    func contains(_ id: HeaderID) -> Bool { head.index(of: id) != nil }

    /// Whether the value of the first field with an id begins so.
    func value(_ id: HeaderID, hasPrefix prefix: StaticString) -> Bool {
        guard let index = head.index(of: id) else { return false }
        return head.value(at: index).withUnsafeBytes { value in
            value.starts(with: UnsafeBufferPointer(start: prefix.utf8Start, count: prefix.utf8CodeUnitCount))
        }
    }

    /// Appends a field or a pseudo header; says whether there is one.
    func append(_ field: borrowing FormatField, to bytes: inout FormatLine) -> Bool {
        guard field.place.needsName else { return append(field.place, to: &bytes) }
        guard let found = head.index(named: field.name.bytes.span.bytes) else { return false }
        bytes.append(span: head.value(at: found))
        return true
    }

    /// The same of a field that is found without its name.
    func append(_ place: FormatField.Place, to bytes: inout FormatLine) -> Bool {
        let value: RawSpan
        switch place.kind {
        case .method: value = head.method
        case .path: value = head.path
        case .authority: value = head.authority
        case .scheme: value = head.scheme
        case .status, .noField: return false
        case .field, .contentLength:
            guard let found = head.index(of: place.id) else { return false }
            bytes.append(span: head.value(at: found))
            return true
        }
        guard value.byteCount > 0 else { return false }
        bytes.append(span: value)
        return true
    }
}

extension RequestHead {
    /// Calls the body with a view of the head, which stays where it is for that long.
    @inline(__always)
    borrowing func read<Result>(_ body: (borrowing RequestHeadView) -> Result) -> Result {
        body(RequestHeadView(self))
    }
}

extension HTTPStream {
    /// Calls the body with a view of the request, which it must not change: nothing is copied for it.
    @inline(__always)
    func readRequest<Result>(_ body: (borrowing RequestHeadView) -> Result) -> Result {
        let result = body(RequestHeadView(unsafe: request.parts))
        // The stream has the head, and outlives the view.
        withExtendedLifetime(self) {}
        return result
    }
}

/// A response head as retry decisions read it.
struct ResponseHeadView: ResponseView {
    let head: ResponseHead

    func nextField(named name: borrowing HeaderName, from start: Int) -> Int? {
        head.headers.index(named: name.bytes.span.bytes, from: start)
    }

    @_lifetime(borrow self)
    func fieldValue(at index: Int) -> Span<UInt8> { head.headers.value(at: index).octets }
}

extension RawSpan {
    /// The same bytes, typed.
    var octets: Span<UInt8> {
        @_lifetime(copy self) get { unsafe _unsafeView(as: UInt8.self) }
    }
}

/// Copies, for code that runs on few requests.
extension RequestHead {
    var methodBytes: [UInt8] { [UInt8](copying: methodName) }
    var pathBytes: [UInt8] { [UInt8](copying: path) }
    var authorityBytes: [UInt8] { [UInt8](copying: authority) }
}
