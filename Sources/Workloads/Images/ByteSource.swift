internal import Compression
internal import IO
internal import TLS

/// A run of bytes that is read in order: part of a file, unpacked or not, with its digest.
protocol ByteSource: AnyObject {
    /// Up to `count` bytes; none at the end.
    func read(upTo count: Int) throws(WorkloadError) -> [UInt8]
}

/// Part of a file as it is.
final class FileSource: ByteSource {
    private let file: FileReader
    private var position: Int
    private let end: Int

    init(_ file: FileReader, offset: Int = 0, count: Int? = nil) {
        self.file = file
        position = offset
        end = min(file.size, offset + (count ?? file.size))
    }

    func read(upTo count: Int) throws(WorkloadError) -> [UInt8] {
        do throws(SystemError) {
            let bytes = try file.read(at: position, upTo: min(count, max(0, end - position)))
            position += bytes.count
            return bytes
        } catch {
            throw WorkloadError("ImportFailed", "image archive", error)
        }
    }
}

/// Unpacks gzip (RFC 1952), bounded: what unpacks to more than `limit` bytes is refused.
final class GzipSource: ByteSource {
    private static let blockBytes = 64 << 10

    private let source: any ByteSource
    private let decoder: GzipDecoder
    private var input: [UInt8] = []
    private var used = 0
    private var total = 0
    private let limit: Int

    init(_ source: any ByteSource, limit: Int) throws(WorkloadError) {
        self.source = source
        self.limit = limit
        do throws(CompressionError) {
            // Some writers join several gzip members (RFC 1952 section 2.2).
            decoder = try GzipDecoder(takesZlib: true, joinsMembers: true)
        } catch {
            throw WorkloadError("ImportFailed", "image archive: zlib cannot be set up")
        }
    }

    /// Whether the bytes begin as gzip does.
    static func isGzip(_ bytes: [UInt8]) -> Bool { bytes.starts(with: [0x1F, 0x8B]) }

    func read(upTo count: Int) throws(WorkloadError) -> [UInt8] {
        while !decoder.hasEnded {
            if used >= input.count {
                input = try source.read(upTo: GzipSource.blockBytes)
                used = 0
                guard !input.isEmpty else {
                    if decoder.isBetweenMembers { return [] }
                    throw WorkloadError("ImportFailed", "image archive: the gzip data is cut short")
                }
            }
            var output: [UInt8] = []
            let taken = input.withUnsafeBytes { bytes in
                try? decoder.decode(
                    UnsafeRawBufferPointer(rebasing: bytes.dropFirst(used)), upTo: count, into: &output)
            }
            guard let taken else { throw WorkloadError("ImportFailed", "image archive: damaged gzip data") }
            used += taken
            total += output.count
            guard total <= limit else {
                throw WorkloadError("ImportFailed", "image archive: unpacks to more than \(limit >> 20) MiB")
            }
            if !output.isEmpty { return output }
        }
        return []
    }
}

/// Passes bytes on and computes their SHA-256.
final class DigestSource: ByteSource {
    private let source: any ByteSource
    private let digest = SHA256Digest()

    init(_ source: any ByteSource) { self.source = source }

    func read(upTo count: Int) throws(WorkloadError) -> [UInt8] {
        let bytes = try source.read(upTo: count)
        digest.update(bytes)
        return bytes
    }

    /// Reads what is left and says the digest of everything, `sha256:` and 64 digits.
    func finish() throws(WorkloadError) -> String {
        while !(try read(upTo: 256 << 10)).isEmpty {}
        let digits = digest.finish().map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }
        return "sha256:" + digits.joined()
    }
}
