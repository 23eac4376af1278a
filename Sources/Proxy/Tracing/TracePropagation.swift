internal import HTTP
internal import IO

/// Trace contexts in header fields: W3C (`traceparent`, `tracestate`) and B3 (`x-b3-*`, `b3`).
enum TracePropagation {
    /// What a request says about its trace.
    struct Incoming: Equatable {
        var traceHigh: UInt64 = 0
        var traceLow: UInt64
        var span: UInt64
        var parent: UInt64?
        /// nil leaves the decision to us.
        var isSampled: Bool?
        var state: [UInt8] = []
    }

    /// Longer ones are not handed on (W3C asks for 512 characters at least).
    private static let stateBytesMax = 4096

    // MARK: W3C

    static func w3c(_ headers: borrowing HeaderTable) -> Incoming? {
        guard let value = headers.value(.traceparent) else { return nil }
        guard var incoming = usual(value) ?? traceparent(value.withUnsafeBytes { Array($0) }) else { return nil }
        guard headers.hasName(beginningWith: "tracesta") else { return incoming }
        // Several fields are one list.
        var start = 0
        let name = Array("tracestate".utf8)
        while let index = headers.index(named: name.span.bytes, from: start) {
            if !incoming.state.isEmpty { incoming.state.append(UInt8(ascii: ",")) }
            incoming.state += Array(headers.valueText(at: index).utf8)
            start = index + 1
        }
        if incoming.state.count > stateBytesMax { incoming.state = [] }
        return incoming
    }

    /// `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`.
    static func traceparent(_ bytes: [UInt8]) -> Incoming? {
        let parts = bytes.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
        guard parts.count >= 4, parts[0].count == 2, parts[1].count == 32, parts[2].count == 16, parts[3].count == 2,
            let version = HexDigits.word(parts[0]), version != 0xFF, version != 0 || parts.count == 4,
            !bytes.contains(where: { $0 &- 65 < 26 }), let high = HexDigits.word(parts[1].prefix(16)),
            let low = HexDigits.word(parts[1].suffix(16)), high | low != 0, let span = HexDigits.word(parts[2]),
            span != 0, let flags = HexDigits.word(parts[3])
        else { return nil }
        return Incoming(traceHigh: high, traceLow: low, span: span, isSampled: flags & 1 == 1)
    }

    /// The same of version 0, which nearly all are: nothing is allocated.
    private static func usual(_ value: RawSpan) -> Incoming? {
        guard value.byteCount == 55 else { return nil }
        func isDash(_ offset: Int) -> Bool { value.unsafeLoad(fromByteOffset: offset, as: UInt8.self) == 0x2D }
        func word(_ offset: Int, _ count: Int) -> UInt64? {
            var word: UInt64 = 0
            for index in offset..<(offset + count) {
                let byte = value.unsafeLoad(fromByteOffset: index, as: UInt8.self)
                // Capitals are none of W3C's.
                guard byte > 90 || byte < 65, let digit = HexDigits.value(byte) else { return nil }
                word = word << 4 | UInt64(digit)
            }
            return word
        }
        guard isDash(2), isDash(35), isDash(52), word(0, 2) == 0, let high = word(3, 16), let low = word(19, 16),
            high | low != 0, let span = word(36, 16), span != 0, let flags = word(53, 2)
        else { return nil }
        return Incoming(traceHigh: high, traceLow: low, span: span, isSampled: flags & 1 == 1)
    }

    static func injectW3C(_ context: TraceContext, into headers: inout HeaderTable) {
        var text = InlineArray<55, UInt8>(repeating: UInt8(ascii: "-"))
        text[0] = UInt8(ascii: "0")
        text[1] = UInt8(ascii: "0")
        HexDigits.write(context.traceHigh, to: &text, at: 3)
        HexDigits.write(context.traceLow, to: &text, at: 19)
        HexDigits.write(context.span, to: &text, at: 36)
        text[53] = UInt8(ascii: "0")
        text[54] = context.isSampled ? UInt8(ascii: "1") : UInt8(ascii: "0")
        try? headers.set(.traceparent, text.span.bytes)
        if context.state.isEmpty { return }
        set("tracestate", context.state, &headers)
    }

    // MARK: B3

    static func b3(_ headers: borrowing HeaderTable) -> Incoming? {
        if let text = headers["b3"], let incoming = b3Single(Array(text.utf8)) { return incoming }
        guard let trace = headers["x-b3-traceid"], let span = headers["x-b3-spanid"],
            var incoming = ids(Array(trace.utf8)[...], Array(span.utf8)[...])
        else { return nil }
        if let parent = headers["x-b3-parentspanid"] { incoming.parent = HexDigits.word(Array(parent.utf8)[...]) }
        switch headers["x-b3-sampled"]?.lowercased() {
        case "1"?, "true"?: incoming.isSampled = true
        case "0"?, "false"?: incoming.isSampled = false
        default: break
        }
        if headers["x-b3-flags"] == "1" { incoming.isSampled = true }
        return incoming
    }

    /// `{trace}-{span}-{sampled}-{parent}`; the last two may be missing.
    static func b3Single(_ bytes: [UInt8]) -> Incoming? {
        let parts = bytes.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
        guard parts.count >= 2, parts.count <= 4, var incoming = ids(parts[0], parts[1]) else { return nil }
        if parts.count > 2 {
            switch String(decoding: parts[2], as: UTF8.self) {
            case "1", "d": incoming.isSampled = true
            case "0": incoming.isSampled = false
            default: return nil
            }
        }
        if parts.count > 3 {
            guard let parent = HexDigits.word(parts[3]) else { return nil }
            incoming.parent = parent
        }
        return incoming
    }

    private static func ids(_ trace: ArraySlice<UInt8>, _ span: ArraySlice<UInt8>) -> Incoming? {
        guard trace.count == 16 || trace.count == 32, span.count == 16,
            let low = HexDigits.word(trace.suffix(16)), let id = HexDigits.word(span), id != 0
        else { return nil }
        let high = trace.count == 32 ? HexDigits.word(trace.prefix(16)) : 0
        guard let high, high | low != 0 else { return nil }
        return Incoming(traceHigh: high, traceLow: low, span: id)
    }

    static func injectB3(_ context: TraceContext, into headers: inout HeaderTable) {
        var trace: [UInt8] = []
        if context.traceHigh != 0 { trace.append(hex: context.traceHigh) }
        trace.append(hex: context.traceLow)
        set("x-b3-traceid", trace, &headers)
        var span: [UInt8] = []
        context.appendSpanID(to: &span)
        set("x-b3-spanid", span, &headers)
        if let parent = context.parent {
            var text: [UInt8] = []
            text.append(hex: parent)
            set("x-b3-parentspanid", text, &headers)
        } else {
            headers.remove(named: "x-b3-parentspanid")
        }
        set("x-b3-sampled", [context.isSampled ? UInt8(ascii: "1") : UInt8(ascii: "0")], &headers)
    }

    private static func set(_ name: String, _ value: [UInt8], _ headers: inout HeaderTable) {
        headers.remove(named: name)
        let name = Array(name.utf8)
        try? headers.append(name.span.bytes, value.span.bytes)
    }
}
