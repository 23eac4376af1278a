/// A header field that is put into many messages: checked once, and kept as HTTP/1 writes it.
public struct PreparedField: Sendable {
    /// Which field it is.
    public let id: HeaderID
    /// `name: value` CR LF.
    let line: [UInt8]
    let nameCount: Int

    /// A field whose value is a number that is not negative.
    public init(_ id: HeaderID, number: Int) {
        self.init(id, wellFormed: Array(String(max(number, 0)).utf8).span.bytes)
    }

    /// Refuses a value that would not survive being written.
    ///
    /// - Parameter id: A known name, not `.other`.
    public init(_ id: HeaderID, _ value: RawSpan) throws(HTTPFieldError) {
        let kept = ByteScan.trimmed(value, 0..<value.byteCount)
        guard HeaderTable.isValue(value.extracting(kept)) else { throw HTTPFieldError(.value) }
        self.init(id, wellFormed: value.extracting(kept))
    }

    private init(_ id: HeaderID, wellFormed value: RawSpan) {
        precondition(id != .other, "HeaderID.other has no name")
        let name = id.name
        var line: [UInt8] = []
        line.reserveCapacity(name.utf8CodeUnitCount + value.byteCount + HeaderMemory.lineBytes)
        line.append(name)
        line.append(": ")
        line.append(span: value)
        line.append("\r\n")
        self.id = id
        self.line = line
        nameCount = name.utf8CodeUnitCount
    }
}
