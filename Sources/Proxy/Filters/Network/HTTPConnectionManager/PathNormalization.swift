internal import EnvoyAPI
internal import HTTP
internal import Upstream

/// One normaliser for routing, policy and the next hop alike (ATK-21, ATK-22).
struct PathNormalization: Sendable {
    private let normalizes: Bool
    private let mergesSlashes: Bool
    private let escapedSlashes: HttpConnectionManager.PathWithEscapedSlashesAction

    init(
        normalizes: Bool, mergesSlashes: Bool, escapedSlashes: HttpConnectionManager.PathWithEscapedSlashesAction
    ) {
        self.normalizes = normalizes
        self.mergesSlashes = mergesSlashes
        self.escapedSlashes = escapedSlashes
    }

    /// What becomes of a request.
    enum Outcome: Sendable, Hashable {
        /// It goes on, with its path in normal form.
        case forward
        /// Its path has no normal form, or may not be sent so (400).
        case refuse
        /// The client is told to ask for the path that stands in the request now (307).
        case redirect
    }

    /// Brings the path into its normal form.
    func apply(to request: inout RequestHead) -> Outcome {
        guard request.method != .connect else { return .forward }
        let verdict = request.path.withUnsafeBytes { look($0) }
        switch verdict {
        case .clean: return .forward
        case .hopeless: return .refuse
        case .dirty: break
        }
        let bytes = [UInt8](copying: request.path)
        guard let fresh = normalized(bytes) else { return .refuse }
        var redirects = false
        if case .unescapeAndRedirect = escapedSlashes { redirects = Self.hasEscapedSlash(bytes) }
        do throws(HTTPFieldError) {
            try request.setPath(fresh.span.bytes)
            return redirects ? .redirect : .forward
        } catch {
            return .refuse
        }
    }

    private static func hasEscapedSlash(_ path: [UInt8]) -> Bool {
        for index in path.indices.dropLast(2) {
            if path[index] == UInt8(ascii: "?") { return false }
            guard path[index] == UInt8(ascii: "%"), let high = hex(path[index + 1]), let low = hex(path[index + 2])
            else { continue }
            if high << 4 | low == UInt8(ascii: "/") || high << 4 | low == UInt8(ascii: "\\") { return true }
        }
        return false
    }

    private enum Verdict { case clean, dirty, hopeless }

    /// Most paths need nothing: one pass finds that out without a copy.
    private func look(_ path: UnsafeRawBufferPointer) -> Verdict {
        guard let first = path.first else { return .hopeless }
        if path.count == 1 && first == UInt8(ascii: "*") { return .clean }
        guard first == UInt8(ascii: "/") else { return .hopeless }
        var previous: UInt8 = 0
        for byte in path {
            guard Self.isSpecial(byte) else {
                previous = byte
                continue
            }
            switch byte {
            case UInt8(ascii: "?"): return path.contains(UInt8(ascii: "#")) ? .hopeless : .clean
            // ATK-22: what stood before it would be routed, the whole forwarded.
            case UInt8(ascii: "#"): return .hopeless
            case UInt8(ascii: "%"): return .dirty
            case UInt8(ascii: "\\"): if normalizes { return .dirty }
            case UInt8(ascii: "."): if normalizes && previous == UInt8(ascii: "/") { return .dirty }
            case UInt8(ascii: "/"): if mergesSlashes && previous == UInt8(ascii: "/") { return .dirty }
            default: break
            }
            previous = byte
        }
        return .clean
    }

    /// `#`, `%`, `.`, `/`, `?` and the backslash; the first five as bits of a word, because nearly all bytes are others.
    @inline(__always)
    private static func isSpecial(_ byte: UInt8) -> Bool {
        byte < 64 ? (0x8000_C028_0000_0000 as UInt64 >> UInt64(byte)) & 1 != 0 : byte == UInt8(ascii: "\\")
    }

    private func normalized(_ bytes: [UInt8]) -> [UInt8]? {
        let end = bytes.firstIndex(of: UInt8(ascii: "?")) ?? bytes.count
        var path = Array(bytes[..<end])
        guard !bytes.contains(UInt8(ascii: "#")) else { return nil }
        let query = Array(bytes[end...])
        guard let decoded = decodeUnreserved(path) else { return nil }
        path = decoded
        if normalizes {
            for index in path.indices where path[index] == UInt8(ascii: "\\") { path[index] = UInt8(ascii: "/") }
            path = Self.removeDotSegments(path)
        }
        if mergesSlashes {
            var merged: [UInt8] = []
            for byte in path where byte != UInt8(ascii: "/") || merged.last != UInt8(ascii: "/") { merged.append(byte) }
            path = merged
        }
        return path + query
    }

    /// Decodes escapes of unreserved characters (RFC 3986 §6.2.2.2) and writes the others in upper case; `%2F` and
    /// `%5C` as configured.
    ///
    /// A broken escape stays as it is, `%00` is refused.
    private func decodeUnreserved(_ path: [UInt8]) -> [UInt8]? {
        var result: [UInt8] = []
        var index = 0
        while index < path.count {
            guard path[index] == UInt8(ascii: "%"), index + 2 < path.count, let high = Self.hex(path[index + 1]),
                let low = Self.hex(path[index + 2])
            else {
                result.append(path[index])
                index += 1
                continue
            }
            let byte = high << 4 | low
            if byte == 0 && normalizes { return nil }
            let isSlash = byte == UInt8(ascii: "/") || byte == UInt8(ascii: "\\")
            if isSlash {
                switch escapedSlashes {
                case .rejectRequest: return nil
                case .unescapeAndForward, .unescapeAndRedirect: result.append(byte)
                default: result += path[index...(index + 2)]
                }
            } else if normalizes && Self.isUnreserved(byte) {
                result.append(byte)
            } else {
                result += path[index...(index + 2)]
            }
            index += 3
        }
        return result
    }

    /// RFC 3986 §5.2.4; a path does not climb above the root.
    ///
    /// `..;x` climbs as well: servers that take parameters off segments would let it climb behind our back.
    private static func removeDotSegments(_ path: [UInt8]) -> [UInt8] {
        var kept: [ArraySlice<UInt8>] = []
        let segments = path.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        for (index, segment) in segments.enumerated() {
            let isLast = index == segments.count - 1
            let name = segment.prefix { $0 != UInt8(ascii: ";") }
            if name.elementsEqual([UInt8(ascii: ".")]) {
                if isLast { kept.append([]) }
            } else if name.elementsEqual([UInt8(ascii: "."), UInt8(ascii: ".")]) {
                _ = kept.popLast()
                if isLast { kept.append([]) }
            } else {
                kept.append(segment)
            }
        }
        var result: [UInt8] = []
        for segment in kept { result += [UInt8(ascii: "/")] + segment }
        return result.isEmpty ? [UInt8(ascii: "/")] : result
    }

    private static func hex(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x37
        case 0x61...0x66: byte - 0x57
        default: nil
        }
    }

    private static func isUnreserved(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E: true
        default: false
        }
    }
}
