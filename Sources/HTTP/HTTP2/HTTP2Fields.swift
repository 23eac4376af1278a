internal import CNGHTTP2

/// A field list on its way to nghttp2: bytes and offsets, made into pointers for the one call.
struct HTTP2Fields {
    private var bytes: [UInt8] = []
    private var runs: [(name: Range<Int>, value: Range<Int>)] = []

    static var http: RawSpan {
        @_lifetime(immortal)
        get {
            let text: StaticString = "http"
            let bytes = UnsafeRawBufferPointer(start: text.utf8Start, count: 4).bytes
            return _overrideLifetime(bytes, copying: ())
        }
    }

    mutating func append(_ name: StaticString, _ value: RawSpan) {
        let start = bytes.count
        bytes.append(name)
        let middle = bytes.count
        bytes.append(span: value)
        runs.append((start..<middle, middle..<bytes.count))
    }

    /// Adds the fields of a table but those of HTTP/1's connections (RFC 9113 §8.2.2).
    mutating func append(_ table: borrowing HeaderTable) {
        for field in table.fields {
            switch field.id {
            case .connection, .keepAlive, .proxyConnection, .transferEncoding, .upgrade, .host: continue
            case .te where !ByteScan.equalIgnoringCase(table.span(field.value), "trailers"): continue
            default: break
            }
            let start = bytes.count
            bytes.append(span: table.span(field.name))
            let middle = bytes.count
            bytes.append(span: table.span(field.value))
            runs.append((start..<middle, middle..<bytes.count))
        }
    }

    func withNameValues<Result>(_ body: (UnsafePointer<nghttp2_nv>?, Int) -> Result) -> Result {
        var bytes = bytes
        return bytes.withUnsafeMutableBufferPointer { buffer in
            let values = runs.map { run in
                nghttp2_nv(
                    name: buffer.baseAddress.map { $0 + run.name.lowerBound },
                    value: buffer.baseAddress.map { $0 + run.value.lowerBound }, namelen: run.name.count,
                    valuelen: run.value.count, flags: UInt8(NGHTTP2_NV_FLAG_NONE.rawValue))
            }
            return values.withUnsafeBufferPointer { body($0.baseAddress, $0.count) }
        }
    }
}
