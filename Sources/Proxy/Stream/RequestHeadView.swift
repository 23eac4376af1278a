internal import HTTP
internal import Upstream

/// A request head as route matching reads it.
struct RequestHeadView: RequestView, ~Escapable {
    private let head: RequestHeadReader

    @_lifetime(borrow head)
    init(_ head: borrowing RequestHead) { self.head = RequestHeadReader(head) }

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

extension RequestHead {
    /// Calls the body with a view of the head, which stays where it is for that long.
    @inline(__always)
    borrowing func read<Result>(_ body: (borrowing RequestHeadView) -> Result) -> Result {
        body(RequestHeadView(self))
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
