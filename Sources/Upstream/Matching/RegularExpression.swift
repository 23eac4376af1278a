internal import CRE2

/// A compiled RE2 expression: linear time, bounded size, matching the whole value (H-4).
///
/// `@unchecked Sendable`: RE2 objects are immutable after construction and their matching is documented as thread-safe.
public final class RegularExpression: @unchecked Sendable {
    /// The pattern as it was written.
    public let pattern: String
    private let handle: OpaquePointer

    /// Longest pattern we take, in bytes (attacks.md, "user regex length").
    static let patternBytesMax = 1024
    /// Memory for the compiled program and its cache: RE2's own default is 8 MiB, far more than a route needs.
    static let memoryBytesMax: Int64 = 1 << 20

    /// Compiles a pattern; the error is RE2's own words.
    public init(_ pattern: String) throws(RegularExpressionError) {
        guard pattern.utf8.count <= Self.patternBytesMax else {
            throw RegularExpressionError(
                "\(pattern.utf8.count) bytes long, more than \(Self.patternBytesMax) are not taken")
        }
        var reason = [CChar](repeating: 0, count: 256)
        var text = Array(pattern.utf8)
        let made = text.withUnsafeMutableBytes { bytes in
            reason.withUnsafeMutableBufferPointer { error in
                cre2_compile(
                    bytes.baseAddress.map { UnsafePointer($0.assumingMemoryBound(to: CChar.self)) }, bytes.count,
                    Self.memoryBytesMax, error.baseAddress, error.count)
            }
        }
        guard let made else {
            throw RegularExpressionError(
                String(decoding: reason.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
        }
        self.pattern = pattern
        handle = made
    }

    deinit { cre2_free(handle) }

    /// Instructions of the compiled program: what the pattern costs.
    var programSize: Int { Int(cre2_program_size(handle)) }

    /// Whether the expression matches all of the bytes.
    public func matches(_ bytes: borrowing Span<UInt8>) -> Bool {
        bytes.withUnsafeBufferPointer { buffer in
            buffer.withMemoryRebound(to: CChar.self) { cre2_full_match(handle, $0.baseAddress, $0.count) }
        }
    }

    /// The first match anywhere in the bytes: where it lies, and where its first groups lie (at most `groups` of them).
    ///
    /// - Parameter start: where a match may begin at the earliest; what is before it is still seen by `^` and `\b`.
    public func find(
        in bytes: [UInt8], from start: Int = 0, groups: Int = 0
    ) -> (match: Range<Int>, groups: [Range<Int>?])? {
        let count = min(max(groups, 0), 7) + 1
        var bounds = [Int64](repeating: -1, count: count * 2)
        guard start >= 0, start <= bytes.count else { return nil }
        let isFound = bytes.withUnsafeBufferPointer { buffer in
            buffer.withMemoryRebound(to: CChar.self) { text in
                // An empty array has no address; RE2 wants one.
                withUnsafePointer(to: CChar(0)) { empty in
                    cre2_find(handle, text.baseAddress ?? empty, text.count, start, &bounds, Int32(count))
                }
            }
        }
        guard isFound else { return nil }
        let ranges = (0..<count).map { index -> Range<Int>? in
            let (low, high) = (Int(bounds[2 * index]), Int(bounds[2 * index + 1]))
            return low >= 0 && high >= low && high <= bytes.count ? low..<high : nil
        }
        return (ranges[0] ?? 0..<0, Array(ranges.dropFirst()))
    }

    /// How many groups the expression has.
    public var groupCount: Int { Int(cre2_group_count(handle)) }

    /// Why a substitution cannot be used with this expression; nil when it can.
    func refusal(ofRewrite rewrite: [UInt8]) -> String? {
        var reason = [CChar](repeating: 0, count: 256)
        let fits = rewrite.withUnsafeBufferPointer { buffer in
            buffer.withMemoryRebound(to: CChar.self) { text in
                reason.withUnsafeMutableBufferPointer {
                    cre2_check_rewrite(handle, text.baseAddress, text.count, $0.baseAddress, $0.count)
                }
            }
        }
        return fits ? nil : String(decoding: reason.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// A path without its query, with every match replaced.
    public func replacingAll(inPath path: [UInt8], with rewrite: [UInt8]) -> [UInt8] {
        let span = path.span
        return replacingAll(in: span.extracting(0..<PathMatcher.pathEnd(span)), with: rewrite)
    }

    /// The bytes with every match replaced by `rewrite`, where `\1` stands for the first group.
    func replacingAll(in bytes: borrowing Span<UInt8>, with rewrite: [UInt8]) -> [UInt8] {
        var count = 0
        let made = bytes.withUnsafeBufferPointer { buffer in
            buffer.withMemoryRebound(to: CChar.self) { text in
                rewrite.withUnsafeBufferPointer { rewriteBuffer in
                    rewriteBuffer.withMemoryRebound(to: CChar.self) {
                        cre2_replace_all(handle, text.baseAddress, text.count, $0.baseAddress, $0.count, &count)
                    }
                }
            }
        }
        guard let made else { return Bytes.copy(bytes) }
        defer { cre2_release(made) }
        return [UInt8](UnsafeRawBufferPointer(start: made, count: count))
    }
}

/// Why a pattern was refused.
public struct RegularExpressionError: Error, Sendable, Hashable, CustomStringConvertible {
    /// RE2's words, or ours for a pattern that is too long.
    public let description: String

    init(_ description: String) { self.description = description }
}
