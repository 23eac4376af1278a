/// What a request says before its body: method, target and header fields, in bytes it owns.
///
/// The target is split: `scheme` (empty unless the client sent one), `authority` (from an absolute target, or else the `Host` field, which is
/// therefore **not** among `headers`: there is one authority, used by routing, policy and the next hop alike) and `path` with its query.
public struct RequestHead: Sendable {
    /// The header fields, without `Host`.
    public var headers = HeaderTable()
    /// The method.
    public private(set) var method = HTTPMethod.get
    /// The minor version of HTTP/1 (0 or 1).
    public internal(set) var minorVersion: UInt8 = 1
    /// How the body ends.
    public var body = BodyFraming.none
    /// Whether the client wants to send another request on the connection.
    public internal(set) var isKeepAlive = true
    /// Whether the client waits for `100 Continue` before it sends the body.
    public internal(set) var expectsContinue = false
    /// How the peer wrote it, where somebody wants that (`HTTP1Spelling.Rule`).
    public internal(set) var spelling: HTTP1Spelling?
    /// Whether the client asks to switch protocols: `Connection: upgrade` with an `Upgrade` field.
    public internal(set) var isUpgrade = false

    var methodRun = HeaderTable.Run.empty
    var schemeRun = HeaderTable.Run.empty
    var authorityRun = HeaderTable.Run.empty
    var pathRun = HeaderTable.Run.empty

    /// An empty GET request, to be filled.
    public init() {}

    /// What a `RequestHeadReader` needs, without a reference that would be counted.
    public struct Parts {
        let memory: UnsafeMutablePointer<HeaderMemory>?
        let method: HTTPMethod
        let methodRun, schemeRun, authorityRun, pathRun: HeaderTable.Run
        let isUpgrade: Bool

        /// Those of a head in which nothing is said.
        public static var none: Parts {
            @inline(__always) get {
                Parts(
                    memory: nil, method: .other, methodRun: .empty, schemeRun: .empty, authorityRun: .empty,
                    pathRun: .empty, isUpgrade: false)
            }
        }
    }

    /// What it consists of now.
    public var parts: Parts {
        @inline(__always) get {
            Parts(
                memory: headers.memory, method: method, methodRun: methodRun, schemeRun: schemeRun,
                authorityRun: authorityRun, pathRun: pathRun, isUpgrade: isUpgrade)
        }
    }

    /// The method token.
    public var methodName: RawSpan {
        @_lifetime(borrow self)
        get {
            if method == .other { return headers.span(methodRun) }
            let name = method.name
            let bytes = UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount).bytes
            return _overrideLifetime(bytes, borrowing: self)
        }
    }

    /// The scheme of an absolute target, in lower case; empty when the client sent none.
    public var scheme: RawSpan {
        @_lifetime(borrow self)
        get { headers.span(schemeRun) }
    }

    /// Host and optional port, as the client spelled them.
    public var authority: RawSpan {
        @_lifetime(borrow self)
        get { headers.span(authorityRun) }
    }

    /// Whether the request names no host.
    public var authorityIsEmpty: Bool { authorityRun.count == 0 }

    /// Whether the target is `*`: OPTIONS about the server itself (RFC 9110 §9.3.7).
    public var isAboutServer: Bool {
        let path = headers.span(pathRun)
        return path.byteCount == 1 && ByteScan.byte(path, 0) == UInt8(ascii: "*")
    }

    /// Whether the request has no path, as CONNECT has none.
    public var pathIsEmpty: Bool { pathRun.count == 0 }

    /// Path and query; `*` for OPTIONS about the server; empty for CONNECT.
    public var path: RawSpan {
        @_lifetime(borrow self)
        get { headers.span(pathRun) }
    }

    /// The method as text.
    public var methodText: String { headers.text(methodName) }

    /// The authority as text.
    public var authorityText: String { headers.text(authority) }

    /// Path and query as text.
    public var pathText: String { headers.text(path) }

    /// Sets a method that has a number.
    public mutating func setMethod(_ method: HTTPMethod) {
        precondition(method != .other, "set other methods by their token")
        self.method = method
    }

    /// Sets the method by its token.
    public mutating func setMethod(token: RawSpan) throws(HTTPFieldError) {
        let known = HTTPMethod.of(token)
        if known != .other {
            methodRun = .empty
            method = known
            return
        }
        guard HeaderTable.isName(token) else { throw HTTPFieldError(.name) }
        adoptMethod(headers.store(token))
    }

    /// Sets host and port, for instance when a route rewrites them.
    public mutating func setAuthority(_ authority: RawSpan) throws(HTTPFieldError) {
        guard RequestHead.isTargetText(authority) else { throw HTTPFieldError(.value) }
        authorityRun = headers.store(authority)
    }

    /// Sets path and query, for instance when a route rewrites them.
    public mutating func setPath(_ path: RawSpan) throws(HTTPFieldError) {
        guard RequestHead.isTargetText(path) else { throw HTTPFieldError(.value) }
        pathRun = headers.store(path)
    }

    /// Sets the scheme.
    public mutating func setScheme(_ scheme: StaticString) {
        let known = UnsafeRawBufferPointer(start: scheme.utf8Start, count: scheme.utf8CodeUnitCount).bytes
        guard !ByteScan.equal(headers.span(schemeRun), known) else { return }
        schemeRun = headers.store(known)
    }

    mutating func setRootPath() {
        let slash: StaticString = "/"
        pathRun = headers.store(UnsafeRawBufferPointer(start: slash.utf8Start, count: 1).bytes)
    }

    /// Forgets everything and keeps the memory.
    public mutating func removeAll() {
        headers.removeAll()
        method = .get
        minorVersion = 1
        body = .none
        isKeepAlive = true
        expectsContinue = false
        isUpgrade = false
        spelling = nil
        methodRun = .empty
        schemeRun = .empty
        authorityRun = .empty
        pathRun = .empty
    }

    /// Whether the authority is that, letters of either case counting as equal.
    func hasAuthority(_ other: RawSpan) -> Bool { ByteScan.equalIgnoringCase(authority, other) }

    /// Makes it a request to speak another protocol.
    public mutating func makeUpgrade(_ name: String) {
        isUpgrade = true
        try? headers.set(.upgrade, name)
    }

    /// Passes over the wish to speak another protocol.
    public mutating func dropUpgrade() {
        isUpgrade = false
        headers.remove(.upgrade)
    }

    /// Takes an extended CONNECT (RFC 8441) for what HTTP/1.1 calls an upgrade.
    mutating func becomeUpgrade() {
        method = .get
        isUpgrade = true
    }

    /// Notices `Expect: 100-continue` of an HTTP/2 request.
    mutating func adoptExpectation() {
        guard let index = headers.index(of: .expect) else { return }
        expectsContinue = headers.value(at: index, is: "100-continue")
    }

    mutating func adoptMethod(_ run: HeaderTable.Run) {
        methodRun = run
        method = HTTPMethod.of(headers.span(run))
    }

    /// No space, control or non-ASCII byte: what may stand in a request line.
    static func isTargetText(_ bytes: RawSpan) -> Bool { ByteScan.isVisible(bytes) }
}
