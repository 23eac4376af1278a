internal import COpenSSL

/// One TLS connection without its transport: bytes of the wire in and out, plain bytes out and in.
///
/// Owned by one loop, not `Sendable`. Bytes of the wire are lent to a call (`handshake(taking:)`, `open`, `seal`), so that nothing is copied but
/// by the ciphers themselves; what the engine says of its own accord (alerts, tickets, key updates) waits in `takeOutput`. The calls without a
/// wire argument are for callers who have no buffers of their own: they work on bytes given before by `receive`. OpenSSL's error queue is
/// emptied by the call that fails.
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

    /// Why a handshake failed, in the words that counters have.
    public enum Refusal: Sendable, Hashable {
        /// The peer showed no certificate.
        case noCertificate
        /// Its chain does not hold.
        case chain
        /// It is somebody else.
        case name
        /// Its certificate or key is none of those that are pinned.
        case pin
    }

    /// The largest record (RFC 8446 §5.1): reading so much at once empties one.
    public static let recordBytes = 16 * 1024
    /// What a record adds to its plain bytes at most: header, nonce, padding, code.
    private static let overheadMax = 128

    let context: TLSContext
    private let ssl: OpaquePointer
    private let wire: UnsafeMutablePointer<copenssl_wire>
    /// Bytes given by `receive`, not taken yet.
    private var received: [UInt8] = []
    private var receivedOffset = 0
    private(set) var identityIndex = 0
    /// The name under which a client's session is kept.
    private var sessionName: String?
    private var sessionFacts: PeerFacts?
    /// A session was offered, and the checks that it needs are not done yet.
    private var mayBeResumed = false

    /// What the peer's certificate says; nil when it showed none, or when nobody asked.
    public internal(set) var peer: PeerFacts?
    /// Whether TLS itself failed: the peer did not just go away.
    public private(set) var hasFailed = false
    /// Why the handshake failed, as far as the peer's certificate goes.
    public internal(set) var refusal: Refusal?
    /// The words of a refusal that OpenSSL has none for.
    var refusalReason: String?
    /// Whether the peer's leaf was remembered; nil when nothing is.
    public internal(set) var wasRemembered: Bool?
    /// How long the verified chain holds.
    var chainHoldsUntil = Int64.max
    /// The peer has ended its direction, or damaged it: `open` says so at its next call, whatever bytes come.
    public private(set) var endsNext = false
    /// Whether secrets of this connection go to the context's key log.
    public var logsKeys = false

    /// An engine at the beginning of a connection.
    ///
    /// - Parameters:
    ///   - serverName: for clients, the host name or address that the server's certificate must be good for.
    ///   - indicates: for clients, the name sent as SNI when it is not to be checked against the certificate.
    ///   - sessionKey: for clients, what sessions are kept under: the host, with whatever else must agree.
    ///   - applicationProtocols: for clients, the ALPN names to offer instead of the context's.
    public init(
        _ context: TLSContext, serverName: String? = nil, indicates: String? = nil, sessionKey: String? = nil,
        applicationProtocols: [String]? = nil
    ) throws(TLSError) {
        if ERR_peek_error() != 0 { ERR_clear_error() }
        self.context = context
        ssl = try made(SSL_new(context.pointer), "TLS connection")
        wire = .allocate(capacity: 1)
        wire.initialize(to: copenssl_wire())
        guard let bio = copenssl_wire_bio(wire) else { preconditionFailure("no memory for a TLS connection") }
        SSL_set_bio(ssl, bio, bio)
        copenssl_set_owner(ssl, Unmanaged.passUnretained(self).toOpaque())
        if context.role == .server {
            SSL_set_accept_state(ssl)
        } else {
            SSL_set_connect_state(ssl)
            if let serverName { try expect(serverName) }
            if let indicates { try indicate(indicates) }
            if let sessionKey { offerSession(sessionKey) }
            if let applicationProtocols { try offer(applicationProtocols) }
        }
    }

    private func offer(_ protocols: [String]) throws(TLSError) {
        let names = try TLSContext.protocolNames(protocols)
        // Unlike others of its kind it returns 0 for success.
        guard SSL_set_alpn_protos(ssl, names, UInt32(clamping: names.count)) == 0 else {
            throw TLSError("TLS connection", "ALPN names")
        }
    }

    deinit {
        SSL_free(ssl)
        copenssl_wire_clear(wire)
        wire.deallocate()
    }

    private func expect(_ name: String) throws(TLSError) {
        let parameters = SSL_get0_param(ssl)
        if X509_VERIFY_PARAM_set1_ip_asc(parameters, name) == 1 { return }
        ERR_clear_error()
        guard !name.utf8.contains(0) else { throw TLSError("TLS server name", "NUL in the name") }
        try checked(X509_VERIFY_PARAM_set1_host(parameters, name, name.utf8.count), "TLS server name \(name)")
        X509_VERIFY_PARAM_set_hostflags(
            parameters, UInt32(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT))
        try indicate(name)
    }

    private func indicate(_ name: String) throws(TLSError) {
        guard !name.utf8.contains(0) else { throw TLSError("TLS server name", "NUL in the name") }
        try checked(copenssl_set_server_name(ssl, name), "TLS server name \(name)")
    }

    /// The engine of an OpenSSL connection, for callbacks.
    static func owner(of ssl: OpaquePointer) -> TLSEngine? {
        guard let owner = copenssl_owner(ssl) else { return nil }
        return Unmanaged<TLSEngine>.fromOpaque(owner).takeUnretainedValue()
    }

    // MARK: The wire, lent

    /// Room that `seal` needs for so many plain bytes.
    public static func sealedBytesMax(_ count: Int) -> Int {
        count + (count / recordBytes + 1) * overheadMax
    }

    /// Goes on with the handshake; true when it is complete.
    ///
    /// - Parameter taken: how many of `bytes` it used; the rest is behind the handshake.
    public func handshake(taking bytes: UnsafeRawBufferPointer, taken: inout Int) throws(TLSError) -> Bool {
        lend(bytes)
        if ERR_peek_error() != 0 { ERR_clear_error() }
        let result = SSL_do_handshake(ssl)
        taken = bytes.count - wire.pointee.input_count
        takeBack()
        if result == 1 {
            if mayBeResumed { try checkResumption() }
            return true
        }
        if SSL_get_error(ssl, result) == SSL_ERROR_WANT_READ { return false }
        throw handshakeFailure()
    }

    /// Decrypts records that came from the peer, as far as `plain` has room.
    ///
    /// - Parameter taken: how many of `bytes` it used; a part of a record is kept inside.
    public func open(
        _ bytes: UnsafeRawBufferPointer, taken: inout Int, into plain: UnsafeMutableRawBufferPointer
    ) throws(TLSError) -> ReadResult {
        lend(bytes)
        if ERR_peek_error() != 0 { ERR_clear_error() }
        var total = 0
        while total < plain.count {
            var count = 0
            let result = SSL_read_ex(ssl, plain.baseAddress.map { $0 + total }, plain.count - total, &count)
            if result == 1 {
                total += count
                // With nothing more to take in, asking again would only find that out.
                if wire.pointee.input_count == 0, total < plain.count { break }
                continue
            }
            taken = bytes.count - wire.pointee.input_count
            takeBack()
            switch SSL_get_error(ssl, result) {
            case SSL_ERROR_WANT_READ: return total > 0 ? .bytes(total) : .needsInput
            case SSL_ERROR_ZERO_RETURN:
                endsNext = true
                return total > 0 ? .bytes(total) : .end
            default:
                endsNext = true
                // What was whole before the damage is still given; the damage shows again at the next call.
                if total > 0 { return .bytes(total) }
                throw TLSError.last("TLS read")
            }
        }
        taken = bytes.count - wire.pointee.input_count
        takeBack()
        return .bytes(total)
    }

    /// Encrypts bytes into records.
    ///
    /// After the handshake only. `room` needs `sealedBytesMax` bytes; the answer is how many were written to it.
    public func seal(
        _ plain: UnsafeRawBufferPointer, into room: UnsafeMutableRawBufferPointer
    ) throws(TLSError) -> Int {
        guard !plain.isEmpty else { return 0 }
        if ERR_peek_error() != 0 { ERR_clear_error() }
        wire.pointee.output = room.baseAddress?.assumingMemoryBound(to: UInt8.self)
        wire.pointee.output_room = room.count
        wire.pointee.output_count = 0
        var written = 0
        let result = SSL_write_ex(ssl, plain.baseAddress, plain.count, &written)
        let count = wire.pointee.output_count
        wire.pointee.output = nil
        wire.pointee.output_room = 0
        wire.pointee.output_count = 0
        guard result == 1 else { throw TLSError.last("TLS write") }
        return count
    }

    private func lend(_ bytes: UnsafeRawBufferPointer) {
        wire.pointee.input = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
        wire.pointee.input_count = bytes.count
    }

    private func takeBack() {
        wire.pointee.input = nil
        wire.pointee.input_count = 0
    }

    /// Whether there are bytes for the peer.
    public var hasOutput: Bool { wire.pointee.spill_count > 0 }

    /// Gives the bytes for the peer to a closure, then forgets them.
    public func takeOutput(_ body: (UnsafeRawBufferPointer) -> Void) {
        guard wire.pointee.spill_count > 0 else { return }
        body(UnsafeRawBufferPointer(start: wire.pointee.spill, count: wire.pointee.spill_count))
        copenssl_wire_clear(wire)
    }

    // MARK: The wire, copied

    /// Takes bytes that came from the peer.
    public func receive(_ bytes: RawSpan) {
        bytes.withUnsafeBytes { received.append(contentsOf: $0) }
    }

    /// Takes back what was given by `receive` and is not used yet; nil when there is none.
    func takeReceived() -> [UInt8]? {
        guard receivedOffset < received.count else { return nil }
        defer {
            received = []
            receivedOffset = 0
        }
        return Array(received[receivedOffset...])
    }

    /// Moves the bytes for the peer to the end of a buffer.
    public func takeOutput(into buffer: inout [UInt8]) {
        takeOutput { buffer.append(contentsOf: $0) }
    }

    /// Goes on with the handshake; true when it is complete.
    public func handshake() throws(TLSError) -> Bool {
        try onReceived { bytes, taken throws(TLSError) in try handshake(taking: bytes, taken: &taken) }
    }

    /// Decrypts into a buffer.
    public func read(into buffer: UnsafeMutableRawBufferPointer) throws(TLSError) -> ReadResult {
        try onReceived { bytes, taken throws(TLSError) in try open(bytes, taken: &taken, into: buffer) }
    }

    private func onReceived<Value>(
        _ body: (UnsafeRawBufferPointer, inout Int) throws(TLSError) -> Value
    ) throws(TLSError) -> Value {
        var taken = 0
        defer {
            receivedOffset += taken
            if receivedOffset == received.count {
                received = []
                receivedOffset = 0
            }
        }
        var outcome: Result<Value, TLSError>?
        received.withUnsafeBytes { bytes in
            do throws(TLSError) {
                outcome = .success(try body(UnsafeRawBufferPointer(rebasing: bytes[receivedOffset...]), &taken))
            } catch {
                outcome = .failure(error)
            }
        }
        guard let outcome else { throw TLSError("TLS", "no outcome") }
        return try outcome.get()
    }

    /// Encrypts bytes.
    ///
    /// After the handshake only.
    public func write(_ bytes: RawSpan) throws(TLSError) {
        guard bytes.byteCount > 0 else { return }
        if ERR_peek_error() != 0 { ERR_clear_error() }
        var written = 0
        let result = bytes.withUnsafeBytes { SSL_write_ex(ssl, $0.baseAddress, $0.count, &written) }
        guard result == 1 else { throw TLSError.last("TLS write") }
    }

    /// Says that nothing more will be written (close_notify).
    public func shutdown() {
        if ERR_peek_error() != 0 { ERR_clear_error() }
        _ = SSL_shutdown(ssl)
        if ERR_peek_error() != 0 { ERR_clear_error() }
    }

    // MARK: Failure and resumption

    private func handshakeFailure() -> TLSError {
        hasFailed = true
        if copenssl_error_reason(ERR_peek_last_error()) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE {
            refusal = .noCertificate
        }
        let verification = SSL_get_verify_result(ssl)
        var error = TLSError.last("TLS handshake")
        if let refusalReason {
            error.reason += " (\(refusalReason))"
        } else if verification != Int(X509_V_OK), context.verifiesPeer,
            let text = X509_verify_cert_error_string(verification)
        {
            error.reason += " (\(String(cString: text)))"
        }
        return error
    }

    private func offerSession(_ key: String) {
        guard let sessions = context.sessions else { return }
        sessionName = key
        guard let session = sessions.take(key, at: VerifiedLeaf.now), SSL_set_session(ssl, session.pointer) == 1 else {
            return
        }
        sessionFacts = session.facts
        chainHoldsUntil = session.until
        mayBeResumed = true
    }

    /// Neither the verify callback nor CertificateVerify ran: the identity is judged again, by the policy of now.
    private func checkResumption() throws(TLSError) {
        mayBeResumed = false
        guard SSL_session_reused(ssl) == 1 else { return }
        peer = sessionFacts
        guard context.verifiesPeer, let judge = context.judge else { return }
        guard let facts = sessionFacts, judge(facts) == nil else {
            hasFailed = true
            refusal = .name
            throw TLSError("TLS handshake", "the resumed session is of a peer that is no longer accepted")
        }
    }

    func keepSession(_ session: OpaquePointer) -> Bool {
        guard let sessions = context.sessions, let sessionName, SSL_SESSION_is_resumable(session) == 1 else {
            return false
        }
        sessions.keep(ClientSession(adopting: session, facts: peer, until: chainHoldsUntil), for: sessionName)
        return true
    }

    func logKey(_ line: String) {
        if logsKeys { context.keyLog?(line) }
    }

    // MARK: Choosing a certificate

    static func choosesIdentity(_ ssl: OpaquePointer?) -> Bool {
        guard let ssl, let engine = owner(of: ssl), let choice = engine.context.choice else { return false }
        let name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name).map { String(cString: $0) }
        let wantsStaple = copenssl_wants_status(ssl) == 1
        guard
            let index = choice.find(
                serverName: name, knowsEC: knowsEC(ssl), wantsStaple: wantsStaple, at: VerifiedLeaf.now)
        else { return false }
        engine.identityIndex = index
        return choice.use(index, on: ssl)
    }

    /// Whether the client verifies ECDSA signatures.
    private static func knowsEC(_ ssl: OpaquePointer) -> Bool {
        if SSL_version(ssl) < TLS1_3_VERSION, copenssl_offers_ecdsa(ssl) != 1 { return false }
        let count = SSL_get_sigalgs(ssl, -1, nil, nil, nil, nil, nil)
        guard count > 0 else { return false }
        for index in 0..<count {
            var low: UInt8 = 0
            var high: UInt8 = 0
            _ = SSL_get_sigalgs(ssl, index, nil, nil, nil, &low, &high)
            // ecdsa_secp256r1_sha256 and its like: the low byte is 3, behind a hash.
            if low == 3, (2...6).contains(high) { return true }
        }
        return false
    }

    static func staples(_ ssl: OpaquePointer?) -> Int32 {
        guard let ssl, let engine = owner(of: ssl),
            let der = engine.context.choice?.staple(engine.identityIndex, at: VerifiedLeaf.now)
        else { return SSL_TLSEXT_ERR_NOACK }
        // OpenSSL frees it.
        guard let copy = CRYPTO_malloc(der.count, "", 0) else { return SSL_TLSEXT_ERR_NOACK }
        copy.copyMemory(from: der, byteCount: der.count)
        copenssl_set_status(ssl, copy.assumingMemoryBound(to: UInt8.self), der.count)
        return SSL_TLSEXT_ERR_OK
    }
}

extension TLSEngine {
    // MARK: Facts

    /// The peer's certificate, verified unless the configuration says otherwise; nil when it sent none.
    public var peerCertificate: Certificate? {
        get throws(TLSError) {
            guard let certificate = SSL_get1_peer_certificate(ssl) else { return nil }
            return try Certificate(adopting: certificate)
        }
    }

    /// What is known of the peer, which is let go of together with the certificates that came with its own.
    func takePeer() -> PeerFacts? {
        copenssl_drop_chains(ssl)
        defer { peer = nil }
        return peer
    }

    /// What the certificate says that we present; nil when we have none.
    public var local: PeerFacts? {
        context.presented.indices.contains(identityIndex) ? context.presented[identityIndex] : nil
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

    /// `TLS_AES_128_GCM_SHA256`, or OpenSSL's name of a suite of TLS 1.2.
    public var cipher: String {
        SSL_CIPHER_get_name(SSL_get_current_cipher(ssl)).map { String(cString: $0) } ?? ""
    }

    /// The key exchange group: `X25519`, `P-256`.
    public var group: String {
        let number = copenssl_group(ssl)
        switch number {
        case NID_X25519: return "X25519"
        case NID_X9_62_prime256v1: return "P-256"
        case NID_secp384r1: return "P-384"
        case NID_secp521r1: return "P-521"
        default: return OBJ_nid2sn(number).map { String(cString: $0) } ?? ""
        }
    }

    /// Whether an earlier session was resumed: no certificate was sent this time.
    public var isResumed: Bool { SSL_session_reused(ssl) == 1 }

    /// The session's id in hexadecimal digits.
    public var sessionID: String {
        guard let session = SSL_get_session(ssl) else { return "" }
        var count: UInt32 = 0
        guard let start = SSL_SESSION_get_id(session, &count) else { return "" }
        var text = ""
        for byte in UnsafeBufferPointer(start: start, count: Int(count)) {
            text += (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }
        return text
    }
}
