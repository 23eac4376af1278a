internal import COpenSSL

/// A failure of cryptography: a handshake, a certificate, a key.
public struct TLSError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What was tried: `TLS handshake`, `private key`, `certificate`.
    public var operation: String
    /// Why it failed.
    public var reason: String

    /// A failure of `operation` because of `reason`.
    public init(_ operation: String, _ reason: String) {
        self.operation = operation
        self.reason = reason
    }

    /// `TLS handshake: certificate verify failed (unable to get local issuer certificate)`.
    public var description: String { "\(operation): \(reason)" }

    /// The failure that OpenSSL's error queue of this thread tells of; empties the queue.
    static func last(_ operation: String) -> TLSError {
        var reasons: [String] = []
        while true {
            let code = ERR_get_error()
            if code == 0 { break }
            let text = ERR_reason_error_string(code).map { String(cString: $0) } ?? "error \(code)"
            if !reasons.contains(text) { reasons.append(text) }
        }
        return TLSError(operation, reasons.isEmpty ? "unknown reason" : reasons.joined(separator: ", "))
    }
}

/// The pointer, or the error that OpenSSL left.
@discardableResult
func made<Value>(_ value: Value?, _ operation: @autoclosure () -> String) throws(TLSError) -> Value {
    guard let value else { throw TLSError.last(operation()) }
    return value
}

/// Throws the error that OpenSSL left unless the result says success.
func checked(_ result: Int32, _ operation: @autoclosure () -> String) throws(TLSError) {
    guard result > 0 else { throw TLSError.last(operation()) }
}

/// A memory BIO that is freed with its owner.
final class MemoryBIO {
    let pointer: OpaquePointer

    init() throws(TLSError) { pointer = try made(BIO_new(BIO_s_mem()), "memory") }

    init(_ bytes: [UInt8]) throws(TLSError) {
        pointer = try made(BIO_new(BIO_s_mem()), "memory")
        guard bytes.count <= Int32.max else { throw TLSError("memory", "\(bytes.count) bytes are too many") }
        if !bytes.isEmpty, BIO_write(pointer, bytes, Int32(bytes.count)) != Int32(bytes.count) {
            throw TLSError.last("memory")
        }
    }

    deinit { BIO_free(pointer) }

    var contents: [UInt8] {
        var start: UnsafePointer<CChar>?
        let count = copenssl_bio_bytes(pointer, &start)
        guard let start, count > 0 else { return [] }
        return Array(UnsafeRawBufferPointer(start: start, count: count))
    }
}

/// What an `i2d_…` function writes.
func encoded(_ write: (UnsafeMutablePointer<UnsafeMutablePointer<UInt8>?>?) -> Int32) -> [UInt8] {
    let count = write(nil)
    guard count > 0 else { return [] }
    return [UInt8](unsafeUninitializedCapacity: Int(count)) { buffer, initialized in
        var position = buffer.baseAddress
        initialized = Int(max(0, write(&position)))
    }
}
