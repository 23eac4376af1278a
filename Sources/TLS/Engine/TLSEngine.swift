internal import COpenSSL

/// One TLS connection without its transport: bytes of the wire in and out, plain bytes out and in.
///
/// Owned by one loop, not `Sendable`. The owner feeds what it reads (`receive`), drives `handshake` or `read`, and after every call sends what
/// `takeOutput` gives. OpenSSL's error queue is emptied by the call that fails.
public final class TLSEngine {
    /// What a read gave.
    public enum ReadResult: Sendable, Hashable {
        /// So many plain bytes.
        case bytes(Int)
        /// More bytes of the wire are needed.
        case needsInput
        /// The peer has ended its direction properly.
        case end
    }

    /// The largest record (RFC 8446 §5.1): reading so much at once empties one.
    public static let recordBytes = 16 * 1024

    private let context: TLSContext
    private let ssl: OpaquePointer
    // Owned by `ssl`.
    private let input: OpaquePointer
    private let output: OpaquePointer

    /// An engine at the beginning of a connection.
    ///
    /// - Parameter serverName: for clients, the host name or address that the server's certificate must be good for.
    public init(_ context: TLSContext, serverName: String? = nil) throws(TLSError) {
        ERR_clear_error()
        self.context = context
        ssl = try made(SSL_new(context.pointer), "TLS connection")
        guard let input = BIO_new(BIO_s_mem()), let output = BIO_new(BIO_s_mem()) else {
            preconditionFailure("no memory for a TLS connection")
        }
        self.input = input
        self.output = output
        copenssl_bio_set_eof(input, -1)
        SSL_set_bio(ssl, input, output)
        if context.role == .server {
            SSL_set_accept_state(ssl)
        } else {
            SSL_set_connect_state(ssl)
            if let serverName { try expect(serverName) }
        }
    }

    deinit { SSL_free(ssl) }

    private func expect(_ name: String) throws(TLSError) {
        let parameters = SSL_get0_param(ssl)
        if X509_VERIFY_PARAM_set1_ip_asc(parameters, name) == 1 { return }
        ERR_clear_error()
        guard !name.utf8.contains(0) else { throw TLSError("TLS server name", "NUL in the name") }
        try checked(X509_VERIFY_PARAM_set1_host(parameters, name, name.utf8.count), "TLS server name \(name)")
        X509_VERIFY_PARAM_set_hostflags(parameters, UInt32(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS))
        try checked(copenssl_set_server_name(ssl, name), "TLS server name \(name)")
    }

    // MARK: The wire

    /// Takes bytes that came from the peer.
    public func receive(_ bytes: RawSpan) {
        bytes.withUnsafeBytes { buffer in
            var rest = buffer[...]
            while !rest.isEmpty {
                let count = Int32(clamping: rest.count)
                // A memory BIO takes everything or the process is out of memory.
                guard BIO_write(input, UnsafeRawBufferPointer(rebasing: rest).baseAddress, count) == count else {
                    preconditionFailure("no memory for received bytes")
                }
                rest = rest.dropFirst(Int(count))
            }
        }
    }

    /// Whether there are bytes for the peer.
    public var hasOutput: Bool { copenssl_bio_pending(output) > 0 }

    /// Moves the bytes for the peer to the end of a buffer.
    public func takeOutput(into buffer: inout [UInt8]) {
        let count = copenssl_bio_pending(output)
        guard count > 0 else { return }
        buffer.append(contentsOf: repeatElement(0, count: count))
        buffer.withUnsafeMutableBytes { bytes in
            var taken = bytes.count - count
            while taken < bytes.count {
                let read = BIO_read(output, bytes.baseAddress.map { $0 + taken }, Int32(clamping: bytes.count - taken))
                guard read > 0 else { preconditionFailure("a memory BIO gave less than it holds") }
                taken += Int(read)
            }
        }
    }

    // MARK: Plain bytes

    /// Goes on with the handshake; true when it is complete.
    public func handshake() throws(TLSError) -> Bool {
        ERR_clear_error()
        let result = SSL_do_handshake(ssl)
        if result == 1 { return true }
        if SSL_get_error(ssl, result) == SSL_ERROR_WANT_READ { return false }
        let verification = SSL_get_verify_result(ssl)
        var error = TLSError.last("TLS handshake")
        if verification != Int(X509_V_OK), context.verifiesPeer, let text = X509_verify_cert_error_string(verification)
        {
            error.reason += " (\(String(cString: text)))"
        }
        throw error
    }

    /// Decrypts into a buffer.
    public func read(into buffer: UnsafeMutableRawBufferPointer) throws(TLSError) -> ReadResult {
        ERR_clear_error()
        var count = 0
        let result = SSL_read_ex(ssl, buffer.baseAddress, buffer.count, &count)
        if result == 1 { return .bytes(count) }
        switch SSL_get_error(ssl, result) {
        case SSL_ERROR_WANT_READ: return .needsInput
        case SSL_ERROR_ZERO_RETURN: return .end
        default: throw TLSError.last("TLS read")
        }
    }

    /// Encrypts bytes.
    ///
    /// After the handshake only.
    public func write(_ bytes: RawSpan) throws(TLSError) {
        guard bytes.byteCount > 0 else { return }
        ERR_clear_error()
        var written = 0
        let result = bytes.withUnsafeBytes { SSL_write_ex(ssl, $0.baseAddress, $0.count, &written) }
        guard result == 1 else { throw TLSError.last("TLS write") }
    }

    /// Says that nothing more will be written (close_notify).
    public func shutdown() {
        ERR_clear_error()
        _ = SSL_shutdown(ssl)
        ERR_clear_error()
    }

    // MARK: Facts

    /// The peer's certificate, verified unless the configuration says otherwise; nil when it sent none.
    public var peerCertificate: Certificate? {
        get throws(TLSError) {
            guard let certificate = SSL_get1_peer_certificate(ssl) else { return nil }
            return try Certificate(adopting: certificate)
        }
    }

    /// The protocol agreed upon by ALPN.
    public var applicationProtocol: String? {
        var start: UnsafePointer<UInt8>?
        var count: UInt32 = 0
        SSL_get0_alpn_selected(ssl, &start, &count)
        guard let start, count > 0 else { return nil }
        return String(decoding: UnsafeBufferPointer(start: start, count: Int(count)), as: UTF8.self)
    }

    /// The host name the client asked for (SNI).
    public var serverName: String? {
        SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name).map { String(cString: $0) }
    }

    /// `TLSv1.3`.
    public var version: String { String(cString: SSL_get_version(ssl)) }
}
