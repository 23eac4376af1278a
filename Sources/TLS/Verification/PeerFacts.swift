internal import COpenSSL

/// Why a peer is refused whose certificates are in order.
public enum PeerRefusal: Sendable, Hashable {
    /// It has none of the names that are accepted.
    case name
    /// Its certificate or key is none of those that are pinned.
    case pin
    /// Anything else.
    case other(String)
}

/// What a peer's certificate says: read once, shared by all connections that present it.
public final class PeerFacts: Sendable {
    /// A name of the certificate.
    public enum Name: Sendable, Hashable {
        /// A host name, perhaps with a wildcard label.
        case dns(String)
        /// A URI, for instance a SPIFFE id.
        case uri(String)
        /// A mail address.
        case email(String)
        /// An address: 4 or 16 bytes.
        case ip([UInt8])
        /// An OTHERNAME: its type, and its value where that is a text.
        case other(oid: String, value: String)
    }

    /// The certificates as the peer sent them, leaf first; DER.
    public let chain: [[UInt8]]
    /// Subject in the form of RFC 2253.
    public let subject: String
    /// Issuer in the form of RFC 2253.
    public let issuer: String
    /// Common name of the subject; empty when there is none.
    public let commonName: String
    /// Serial number in hexadecimal digits, lower case.
    public let serial: String
    /// Names in their order.
    public let names: [Name]
    /// Valid from, in unix seconds.
    public let notBefore: Int64
    /// Valid to, in unix seconds.
    public let notAfter: Int64
    /// SHA-256 of the DER.
    public let fingerprint: [UInt8]
    /// SHA-256 of the public key's DER (SubjectPublicKeyInfo).
    public let keyFingerprint: [UInt8]
    /// SHA-256 of the certificate at the end of the verified chain; nil when none was verified.
    public let authority: [UInt8]?
    /// Whether the certificate may sign others, which no peer of ours does.
    public let maySign: Bool
    /// Whether the chain was verified, or only the key was proved.
    public let isVerified: Bool

    /// URI names, in order.
    public var uris: [String] { names.compactMap { if case .uri(let text) = $0 { text } else { nil } } }
    /// DNS names, in order.
    public var dnsNames: [String] { names.compactMap { if case .dns(let text) = $0 { text } else { nil } } }
    /// Mail addresses, in order.
    public var emails: [String] { names.compactMap { if case .email(let text) = $0 { text } else { nil } } }
    /// Addresses, in order.
    public var addresses: [[UInt8]] { names.compactMap { if case .ip(let bytes) = $0 { bytes } else { nil } } }
    /// SHA-1 of the DER: a name that others use, no proof of anything.
    public var fingerprintSHA1: [UInt8] { SHA1.hash(chain.first ?? []) }
    /// The leaf's DER.
    public var der: [UInt8] { chain.first ?? [] }

    /// Facts that somebody states without a certificate: for explaining what would become of a connection, never for one that exists.
    public init(stating names: [Name]) {
        self.names = names
        chain = []
        subject = ""
        issuer = ""
        commonName = ""
        serial = ""
        notBefore = 0
        notAfter = .max
        fingerprint = []
        keyFingerprint = []
        authority = nil
        maySign = false
        isVerified = true
    }

    /// Reads a certificate and those that came with it.
    ///
    /// Refuses names with NUL or control characters, names of which there are two lists, and texts that are no UTF-8: different readers would
    /// read them differently (ATK-26).
    ///
    /// - Parameter verified: the chain that OpenSSL built.
    init(_ leaf: OpaquePointer, chain others: OpaquePointer?, verified: OpaquePointer?) throws(TLSError) {
        isVerified = verified != nil
        let last = verified.flatMap { copenssl_chain_at($0, copenssl_chain_count($0) - 1) }
        authority = last.map { last in SHA256.hash(encoded { i2d_X509(last, $0) }) }
        let usage = X509_get_key_usage(leaf)
        let signs = UInt32(KU_KEY_CERT_SIGN | KU_CRL_SIGN)
        maySign = X509_check_ca(leaf) > 0 || (usage != UInt32.max && usage & signs != 0)
        var chain = [encoded { i2d_X509(leaf, $0) }]
        if let others {
            for index in 0..<max(0, copenssl_chain_count(others)) {
                guard let other = copenssl_chain_at(others, index), other != leaf else { continue }
                chain.append(encoded { i2d_X509(other, $0) })
            }
        }
        self.chain = chain
        subject = try PeerFacts.text(X509_get_subject_name(leaf))
        issuer = try PeerFacts.text(X509_get_issuer_name(leaf))
        commonName = try PeerFacts.commonName(X509_get_subject_name(leaf))
        serial = PeerFacts.serial(leaf)
        names = try PeerFacts.names(leaf)
        notBefore = try Certificate.seconds(X509_get0_notBefore(leaf))
        notAfter = try Certificate.seconds(X509_get0_notAfter(leaf))
        fingerprint = SHA256.hash(chain[0])
        keyFingerprint = SHA256.hash(encoded { i2d_X509_PUBKEY(X509_get_X509_PUBKEY(leaf), $0) })
    }

    /// The facts of a certificate that no peer has sent: for `/certs` and for tests.
    public convenience init(_ certificate: Certificate) throws(TLSError) {
        try self.init(certificate.pointer, chain: nil, verified: nil)
    }

    private static func text(_ name: OpaquePointer?) throws(TLSError) -> String {
        let bio = try MemoryBIO()
        guard copenssl_print_name(bio.pointer, name) >= 0 else { throw TLSError.last("certificate name") }
        guard let text = String(validating: bio.contents, as: UTF8.self) else {
            throw TLSError("certificate name", "invalid UTF-8")
        }
        return text
    }

    private static func commonName(_ name: OpaquePointer?) throws(TLSError) -> String {
        let index = X509_NAME_get_index_by_NID(name, NID_commonName, -1)
        guard index >= 0 else { return "" }
        var utf8: UnsafeMutablePointer<UInt8>?
        let count = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, index)))
        guard count >= 0, let utf8 else { throw TLSError.last("certificate common name") }
        defer { CRYPTO_free(utf8, "", 0) }
        let bytes = UnsafeBufferPointer(start: utf8, count: Int(count))
        guard !bytes.contains(0), let text = String(validating: bytes, as: UTF8.self) else {
            throw TLSError("certificate common name", "NUL or invalid UTF-8")
        }
        return text
    }

    private static func serial(_ leaf: OpaquePointer) -> String {
        guard let number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(leaf), nil) else { return "" }
        defer { BN_free(number) }
        guard let text = BN_bn2hex(number) else { return "" }
        defer { CRYPTO_free(text, "", 0) }
        return String(cString: text).lowercased()
    }

    private static func names(_ leaf: OpaquePointer) throws(TLSError) -> [Name] {
        var critical: Int32 = 0
        let list = X509_get_ext_d2i(leaf, NID_subject_alt_name, &critical, nil)
        guard let list else {
            // -1: there is none. -2: more than one.
            guard critical == -1 else {
                ERR_clear_error()
                throw TLSError("certificate", "malformed or repeated subject alternative names")
            }
            return []
        }
        let names = OpaquePointer(list)
        defer { copenssl_free_names(names) }
        var result: [Name] = []
        for index in 0..<max(0, copenssl_name_count(names)) {
            guard let name = copenssl_name_at(names, index) else { continue }
            switch name.pointee.type {
            case GEN_DNS: result.append(.dns(try printable(name.pointee.d.dNSName)))
            case GEN_URI: result.append(.uri(try printable(name.pointee.d.uniformResourceIdentifier)))
            case GEN_EMAIL: result.append(.email(try printable(name.pointee.d.rfc822Name)))
            case GEN_IPADD:
                let bytes = bytes(name.pointee.d.iPAddress)
                guard bytes.count == 4 || bytes.count == 16 else {
                    throw TLSError("subject alternative name", "an address of \(bytes.count) bytes")
                }
                result.append(.ip(bytes))
            case GEN_OTHERNAME:
                if let other = try other(name) { result.append(other) }
            default: continue
            }
        }
        return result
    }

    private static func other(_ name: UnsafeMutablePointer<GENERAL_NAME>) throws(TLSError) -> Name? {
        var type: OpaquePointer?
        var value: UnsafeMutablePointer<ASN1_TYPE>?
        guard GENERAL_NAME_get0_otherName(name, &type, &value) == 1, let value else { return nil }
        switch value.pointee.type {
        case V_ASN1_UTF8STRING, V_ASN1_IA5STRING, V_ASN1_PRINTABLESTRING: break
        default: return nil
        }
        let bytes = bytes(value.pointee.value.asn1_string)
        guard bytes.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }), let text = String(validating: bytes, as: UTF8.self) else {
            throw TLSError("subject alternative name", "control characters or invalid UTF-8 in an OTHERNAME")
        }
        var oid = [CChar](repeating: 0, count: 128)
        guard OBJ_obj2txt(&oid, 128, type, 1) > 0 else { return nil }
        return .other(
            oid: String(decoding: oid.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self), value: text)
    }

    private static func bytes(_ string: UnsafePointer<ASN1_STRING>?) -> [UInt8] {
        guard let string, let start = ASN1_STRING_get0_data(string) else { return [] }
        return Array(UnsafeBufferPointer(start: start, count: Int(max(0, ASN1_STRING_length(string)))))
    }

    private static func printable(_ string: UnsafePointer<ASN1_STRING>?) throws(TLSError) -> String {
        let bytes = bytes(string)
        guard bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw TLSError("subject alternative name", "a character that is not printable ASCII")
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
