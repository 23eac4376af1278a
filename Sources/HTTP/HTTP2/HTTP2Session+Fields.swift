internal import CNGHTTP2

// Heads on their way to nghttp2: pointers into the table's own bytes, copied by nghttp2 once.
extension HTTP2Session {
    /// Names that stand in the program live forever: nghttp2 need not copy them.
    private static var staticName: UInt8 { UInt8(truncatingIfNeeded: NGHTTP2_NV_FLAG_NO_COPY_NAME.rawValue) }

    /// Values held by their stream.
    private static var heldValue: UInt8 { UInt8(truncatingIfNeeded: NGHTTP2_NV_FLAG_NO_COPY_VALUE.rawValue) }

    private static var notIndexed: UInt8 { UInt8(truncatingIfNeeded: NGHTTP2_NV_FLAG_NO_INDEX.rawValue) }

    @inline(__always)
    private func add(_ name: StaticString, _ value: UnsafeRawBufferPointer, flags: UInt8 = 0) {
        fields.append(
            UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount), value,
            flags: flags | Self.staticName)
    }

    private func add(_ name: StaticString, _ value: StaticString) {
        add(
            name, UnsafeRawBufferPointer(start: value.utf8Start, count: value.utf8CodeUnitCount),
            flags: Self.heldValue)
    }

    private func add(
        _ table: borrowing HeaderTable, _ base: UnsafeRawBufferPointer, keepsLength: Bool, isHeld: Bool
    ) {
        let held = isHeld ? Self.heldValue | Self.staticName : 0
        let lines = table.fields
        for index in 0..<lines.count {
            let field = lines[index]
            var flags = held
            switch field.id {
            case .connection, .keepAlive, .proxyConnection, .transferEncoding, .upgrade, .host: continue
            case .te where !ByteScan.equalIgnoringCase(table.span(field.value), "trailers"): continue
            case .contentLength where !keepsLength: continue
            // What changes with every message would only wash others out of HPACK's table.
            case .xRequestId, .traceparent, .grpcTimeout, .authorization, .proxyAuthorization: flags |= Self.notIndexed
            default: break
            }
            let value = UnsafeRawBufferPointer(rebasing: base[field.value.range])
            if isHeld || field.id == .other {
                fields.append(UnsafeRawBufferPointer(rebasing: base[field.name.range]), value, flags: flags)
            } else {
                add(field.id.name, value, flags: flags)
            }
        }
    }

    @inline(__always)
    private func run(_ body: (UnsafePointer<nghttp2_nv>?, Int) -> Int32) -> Int32 {
        let result = body(fields.first, fields.count)
        fields.removeAll()
        return result
    }

    private func addLength(_ count: Int) {
        let digits = scratch.write(count, at: 8)
        add("content-length", UnsafeRawBufferPointer(start: scratch.bytes + 8, count: digits))
    }

    /// A copy of bytes that stays until the stream's heads are sent; nil when there is no room for it.
    private func hold(_ bytes: UnsafeRawBufferPointer, _ stream: HTTP2Stream) -> UnsafeRawBufferPointer? {
        if stream.held == nil {
            stream.held = blocks.take()
            stream.heldBytes = 0
        }
        guard bytes.count <= HTTP2Blocks.byteCount &- stream.heldBytes, let start = bytes.baseAddress,
            let held = stream.held
        else { return nil }
        let copy = held + stream.heldBytes
        copy.copyMemory(from: start, byteCount: bytes.count)
        stream.heldBytes &+= bytes.count
        return UnsafeRawBufferPointer(start: copy, count: bytes.count)
    }

    func withRequestFields(
        _ head: borrowing RequestHead, _ stream: HTTP2Stream, _ body: (UnsafePointer<nghttp2_nv>?, Int) -> Int32
    ) -> Int32 {
        // The caller has the head for as long as this lasts.
        let bytes = head.headers.unsafeBytes
        let copy = hold(bytes, stream)
        let base = copy ?? bytes
        let held = copy == nil ? 0 : Self.heldValue
        func part(_ run: HeaderTable.Run) -> UnsafeRawBufferPointer {
            UnsafeRawBufferPointer(rebasing: base[run.range])
        }
        if head.isUpgrade {
            add(":method", "CONNECT")
        } else if head.method == .other {
            add(":method", part(head.methodRun), flags: held)
        } else {
            add(":method", head.method.name)
        }
        let isTunnel = head.method == .connect && !head.isUpgrade
        if !isTunnel {
            if head.schemeRun.count > 0 {
                add(":scheme", part(head.schemeRun), flags: held)
            } else {
                add(":scheme", "http")
            }
        }
        if head.authorityRun.count > 0 { add(":authority", part(head.authorityRun), flags: held) }
        if !isTunnel { add(":path", part(head.pathRun), flags: held) }
        if head.isUpgrade, let index = head.headers.index(of: .upgrade) {
            add(":protocol", part(head.headers.fields[index].value), flags: held)
        }
        var keepsLength = false
        switch head.body {
        case .length(let count): if !head.isUpgrade { addLength(count) }
        case .none: keepsLength = !head.isUpgrade
        case .chunked, .untilClose, .tunnel: break
        }
        add(head.headers, base, keepsLength: keepsLength, isHeld: copy != nil)
        return run(body)
    }

    func withResponseFields(
        _ head: borrowing ResponseHead, _ stream: HTTP2Stream, keepsLength: Bool,
        _ body: (UnsafePointer<nghttp2_nv>?, Int) -> Int32
    ) -> Int32 {
        let bytes = head.headers.unsafeBytes
        let copy = hold(bytes, stream)
        let base = copy ?? bytes
        if head.status == 200 {
            add(":status", "200")
        } else {
            let digits = scratch.write(Int(head.status), at: 0)
            add(":status", UnsafeRawBufferPointer(start: scratch.bytes, count: digits))
        }
        var keepsOwn = keepsLength
        if !keepsLength, head.status >= 200, head.status != 204 {
            switch head.body {
            case .length(let count): addLength(count)
            case .none: keepsOwn = true
            case .chunked, .untilClose, .tunnel: break
            }
        }
        add(head.headers, base, keepsLength: keepsOwn, isHeld: copy != nil)
        return run(body)
    }

    func withTrailerFields(
        _ table: borrowing HeaderTable, _ stream: HTTP2Stream, _ body: (UnsafePointer<nghttp2_nv>?, Int) -> Int32
    ) -> Int32 {
        let bytes = table.unsafeBytes
        let copy = hold(bytes, stream)
        add(table, copy ?? bytes, keepsLength: false, isHeld: copy != nil)
        return run(body)
    }
}
