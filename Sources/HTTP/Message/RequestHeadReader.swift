/// A request head to be read where it lies: nothing is copied and nothing retained.
///
/// What routing, retries and policies read on every request goes through it.
public struct RequestHeadReader: ~Escapable {
    private let bytes: RawSpan
    private let fields: Span<HeaderTable.Field>
    private let presence: HeaderIDSet
    private let knownMethod: HTTPMethod
    private let methodRun: HeaderTable.Run
    private let schemeRun: HeaderTable.Run
    private let authorityRun: HeaderTable.Run
    private let pathRun: HeaderTable.Run
    /// Whether the client asks to switch protocols.
    public let isUpgrade: Bool

    /// Looks at a head by what it consisted of a moment ago.
    ///
    /// For a head that is a property of an object: to borrow that from the object would copy it, and count a reference. Whoever makes the reader
    /// sees to it that the head neither changes nor goes while it is used.
    @_lifetime(immortal)
    @inline(__always)
    public init(unsafe parts: RequestHead.Parts) {
        bytes = _overrideLifetime(
            UnsafeRawBufferPointer(start: parts.memory?.pointee.bytes, count: parts.memory?.pointee.byteCount ?? 0)
                .bytes,
            copying: ())
        fields = _overrideLifetime(
            UnsafeBufferPointer(start: parts.memory?.pointee.fields, count: parts.memory?.pointee.fieldCount ?? 0).span,
            copying: ())
        presence = parts.memory?.pointee.presence ?? HeaderIDSet()
        knownMethod = parts.method
        methodRun = parts.methodRun
        schemeRun = parts.schemeRun
        authorityRun = parts.authorityRun
        pathRun = parts.pathRun
        isUpgrade = parts.isUpgrade
    }

    /// Looks at a head, which cannot change meanwhile.
    @_lifetime(borrow head)
    public init(_ head: borrowing RequestHead) {
        bytes = head.headers.bytes
        fields = head.headers.fields
        presence = head.headers.presence
        knownMethod = head.method
        methodRun = head.methodRun
        schemeRun = head.schemeRun
        authorityRun = head.authorityRun
        pathRun = head.pathRun
        isUpgrade = head.isUpgrade
    }

    /// The method token.
    public var method: RawSpan {
        @_lifetime(copy self)
        get {
            if knownMethod == .other { return span(methodRun) }
            let name = knownMethod.name
            let known = UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount).bytes
            return _overrideLifetime(known, copying: self)
        }
    }

    /// The scheme; empty when there is none.
    public var scheme: RawSpan { @_lifetime(copy self) get { span(schemeRun) } }

    /// Host and optional port.
    public var authority: RawSpan { @_lifetime(copy self) get { span(authorityRun) } }

    /// Path and query.
    public var path: RawSpan { @_lifetime(copy self) get { span(pathRun) } }

    /// The position of the first field with an id, at or after a position.
    public func index(of id: HeaderID, from start: Int = 0) -> Int? {
        guard presence.contains(id) else { return nil }
        var index = start
        while index < fields.count {
            if fields[index].id == id { return index }
            index &+= 1
        }
        return nil
    }

    /// The position of the first field with a name in lower case, at or after a position.
    public func index(named name: RawSpan, from start: Int = 0) -> Int? {
        var index = start
        while index < fields.count {
            if ByteScan.equalIgnoringCase(name, span(fields[index].name)) { return index }
            index &+= 1
        }
        return nil
    }

    /// The value of the field at a position.
    @_lifetime(copy self)
    public func value(at index: Int) -> RawSpan { span(fields[index].value) }

    @_lifetime(copy self)
    private func span(_ run: HeaderTable.Run) -> RawSpan { bytes.extracting(run.range) }
}
