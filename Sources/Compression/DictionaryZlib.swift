internal import CZlib

/// Packs as zlib (RFC 1950) with a dictionary that both sides know.
///
/// One stream over many pieces: each call flushes, so that what it gave out can be unpacked at once.
public final class DictionaryZlibEncoder {
    private let stream: UnsafeMutablePointer<z_stream>

    /// Sets the library up.
    public init(dictionary: [UInt8]) throws(CompressionError) {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        guard czlib_deflate_init(stream, Z_DEFAULT_COMPRESSION, 11, 4, Z_DEFAULT_STRATEGY) == Z_OK else {
            stream.deallocate()
            throw .memory
        }
        guard deflateSetDictionary(stream, dictionary, UInt32(clamping: dictionary.count)) == Z_OK else {
            deflateEnd(stream)
            stream.deallocate()
            throw .dictionary
        }
    }

    deinit {
        deflateEnd(stream)
        stream.deallocate()
    }

    /// The packed form of some bytes.
    public func encode(_ bytes: [UInt8]) throws(CompressionError) -> [UInt8] {
        var output: [UInt8] = []
        var status = Z_OK
        bytes.withUnsafeBytes { input in
            stream.pointee.next_in = inputPointer(input)
            stream.pointee.avail_in = UInt32(clamping: input.count)
            repeat {
                appendStep(&output) { room in
                    stream.pointee.next_out = room.baseAddress
                    stream.pointee.avail_out = UInt32(clamping: room.count)
                    status = deflate(stream, Z_SYNC_FLUSH)
                    return room.count - Int(stream.pointee.avail_out)
                }
            } while status == Z_OK && stream.pointee.avail_out == 0
            stream.pointee.next_in = nil
        }
        guard status == Z_OK || status == Z_BUF_ERROR else { throw .damaged }
        return output
    }
}

/// Unpacks zlib (RFC 1950) that was packed with a dictionary that both sides know, piece by piece.
public final class DictionaryZlibDecoder {
    private let stream: UnsafeMutablePointer<z_stream>
    private let dictionary: [UInt8]

    /// Sets the library up.
    public init(dictionary: [UInt8]) throws(CompressionError) {
        self.dictionary = dictionary
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        guard czlib_inflate_init(stream, 15) == Z_OK else {
            stream.deallocate()
            throw .memory
        }
    }

    deinit {
        inflateEnd(stream)
        stream.deallocate()
    }

    /// What some bytes unpack to; `tooLarge` when that is more than `outputMax` bytes.
    public func decode(_ bytes: [UInt8], upTo outputMax: Int) throws(CompressionError) -> [UInt8] {
        var output: [UInt8] = []
        var failure: CompressionError?
        bytes.withUnsafeBytes { input in
            stream.pointee.next_in = inputPointer(input)
            stream.pointee.avail_in = UInt32(clamping: input.count)
            while failure == nil {
                var status = Z_OK
                appendStep(&output) { room in
                    stream.pointee.next_out = room.baseAddress
                    stream.pointee.avail_out = UInt32(clamping: room.count)
                    status = inflate(stream, Z_SYNC_FLUSH)
                    return room.count - Int(stream.pointee.avail_out)
                }
                if output.count > outputMax { failure = .tooLarge }
                switch status {
                case Z_OK: if stream.pointee.avail_in == 0, stream.pointee.avail_out > 0 { return }
                case Z_BUF_ERROR: return
                case Z_NEED_DICT:
                    // A dictionary of another checksum is another dictionary.
                    guard inflateSetDictionary(stream, dictionary, UInt32(clamping: dictionary.count)) == Z_OK else {
                        failure = .dictionary
                        break
                    }
                case Z_MEM_ERROR: failure = .memory
                // The stream lasts as long as the connection: its end is an error, too.
                default: failure = .damaged
                }
            }
        }
        stream.pointee.next_in = nil
        if let failure { throw failure }
        return output
    }
}
