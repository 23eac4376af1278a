internal import EnvoyAPI
internal import HTTP
internal import Upstream

/// One normaliser for routing, policy and the next hop alike (ATK-21, ATK-22).
struct PathNormalization: Sendable {
    private let normalizes: Bool
    private let mergesSlashes: Bool
    private let escapedSlashes: HttpConnectionManager.PathWithEscapedSlashesAction

    init(
        normalizes: Bool, mergesSlashes: Bool, escapedSlashes: HttpConnectionManager.PathWithEscapedSlashesAction,
        at path: String
    ) throws(ConfigurationError) {
        self.normalizes = normalizes
        self.mergesSlashes = mergesSlashes
        self.escapedSlashes = escapedSlashes
        if case .unescapeAndRedirect = escapedSlashes {
            throw ConfigurationError(
                at: path + ".path_with_escaped_slashes_action",
                "UNESCAPE_AND_REDIRECT is not supported yet; use UNESCAPE_AND_FORWARD or REJECT_REQUEST")
        }
    }

    /// Brings the path into its normal form; false when it has none (400).
    func apply(to request: inout RequestHead) -> Bool {
        guard request.method != .connect else { return true }
        let verdict = request.path.withUnsafeBytes { look($0) }
        switch verdict {
        case .clean: return true
        case .hopeless: return false
        case .dirty: break
        }
        let bytes = [UInt8](copying: request.path)
        guard let fresh = normalized(bytes) else { return false }
        do throws(HTTPFieldError) {
            try request.setPath(fresh.span.bytes)
            return true
        } catch {
            return false
        }
    }

    private enum Verdict { case clean, dirty, hopeless }

    /// Most paths need nothing: one pass finds that out without a copy.
    private func look(_ path: UnsafeRawBufferPointer) -> Verdict {
        guard let first = path.first else { return .hopeless }
        if path.count == 1 && first == UInt8(ascii: "*") { return .clean }
        guard first == UInt8(ascii: "/") else { return .hopeless }
        var previous: UInt8 = 0
        for byte in path {
            switch byte {
            case UInt8(ascii: "?"): return .clean
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

    private func normalized(_ bytes: [UInt8]) -> [UInt8]? {
        let end = bytes.firstIndex(of: UInt8(ascii: "?")) ?? bytes.count
        var path = Array(bytes[..<end])
        guard !path.contains(UInt8(ascii: "#")) else { return nil }
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
                case .unescapeAndForward: result.append(byte)
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
    private static func removeDotSegments(_ path: [UInt8]) -> [UInt8] {
        var kept: [ArraySlice<UInt8>] = []
        let segments = path.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        for (index, segment) in segments.enumerated() {
            let isLast = index == segments.count - 1
            if segment.elementsEqual([UInt8(ascii: ".")]) {
                if isLast { kept.append([]) }
            } else if segment.elementsEqual([UInt8(ascii: "."), UInt8(ascii: ".")]) {
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
