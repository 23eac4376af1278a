internal import COpenSSL

/// A certificate and key that sign other certificates.
public struct CertificateAuthority: Sendable {
    /// The authority's certificate.
    public let certificate: Certificate
    /// The authority's key.
    public let key: PrivateKey

    /// What a leaf may be used for.
    public struct Usage: OptionSet, Sendable {
        /// The bits.
        public let rawValue: UInt8
        /// From bits.
        public init(rawValue: UInt8) { self.rawValue = rawValue }
        /// Authenticating a server.
        public static let server = Usage(rawValue: 1)
        /// Authenticating a client.
        public static let client = Usage(rawValue: 2)
    }

    /// An extension as it stands in a certificate.
    public struct Extension: Sendable {
        /// Its OID: `2.5.29.17`.
        public var oid: String
        /// Who does not know it must refuse the certificate.
        public var isCritical: Bool
        /// Its value as DER.
        public var value: [UInt8]

        /// An extension of these parts.
        public init(oid: String, isCritical: Bool = false, value: [UInt8]) {
            self.oid = oid
            self.isCritical = isCritical
            self.value = value
        }
    }

    /// What a leaf says.
    public struct Leaf: Sendable {
        /// Whom it names: for a Kubernetes user CN is the name and each O a group.
        public var subject: DistinguishedName
        /// The names it is good for.
        public var alternativeNames: [SubjectAlternativeName]
        /// What it may be used for.
        public var usage: Usage
        /// Valid from, in unix seconds.
        public var notBefore: Int64
        /// Valid to, in unix seconds.
        public var notAfter: Int64
        /// Further extensions, as they are.
        public var extensions: [Extension] = []
        /// It may sign certificates itself: an intermediate, with so many further ones below it.
        public var pathLength: Int?

        /// A leaf of these parts.
        public init(
            subject: DistinguishedName, alternativeNames: [SubjectAlternativeName] = [], usage: Usage,
            notBefore: Int64, notAfter: Int64
        ) {
            self.subject = subject
            self.alternativeNames = alternativeNames
            self.usage = usage
            self.notBefore = notBefore
            self.notAfter = notAfter
        }
    }

    /// An authority of a certificate and its key.
    public init(certificate: Certificate, key: PrivateKey) throws(TLSError) {
        guard certificate.matches(key) else {
            throw TLSError("certificate authority \(certificate.subject)", "the key belongs to another certificate")
        }
        guard certificate.isCA else {
            throw TLSError("certificate authority \(certificate.subject)", "the certificate may not sign others")
        }
        self.certificate = certificate
        self.key = key
    }

    /// An authority of a certificate that may not be one, or no longer: to test who accepts what it signs.
    public init(uncheckedCertificate certificate: Certificate, key: PrivateKey) {
        self.certificate = certificate
        self.key = key
    }

    /// Makes a self-signed authority.
    public static func make(
        subject: DistinguishedName, key: PrivateKey, notBefore: Int64, notAfter: Int64,
        pathLength: Int = 0, serial: [UInt8] = randomSerial()
    ) throws(TLSError) -> CertificateAuthority {
        ERR_clear_error()
        let draft = try made(X509_new(), "certificate authority")
        do throws(TLSError) {
            try fill(draft, subject: subject, publicKey: key.pointer, notBefore, notAfter, serial)
            try subject.write(to: X509_get_issuer_name(draft))
            // Path length 0: it signs leaves, no further authorities.
            try add(NID_basic_constraints, "critical,CA:TRUE,pathlen:\(pathLength)", to: draft, issuer: draft)
            try add(NID_key_usage, "critical,keyCertSign,cRLSign", to: draft, issuer: draft)
            try add(NID_subject_key_identifier, "hash", to: draft, issuer: draft)
            try checked(X509_sign(draft, key.pointer, key.certificateDigest), "signing a certificate")
        } catch {
            X509_free(draft)
            throw error
        }
        return try CertificateAuthority(certificate: Certificate(adopting: draft), key: key)
    }

    /// Signs a leaf for a public key.
    public func sign(
        _ leaf: Leaf, for publicKey: PublicKey, serial: [UInt8] = randomSerial()
    ) throws(TLSError) -> Certificate {
        ERR_clear_error()
        let draft = try made(X509_new(), "certificate")
        do throws(TLSError) {
            try CertificateAuthority.fill(
                draft, subject: leaf.subject, publicKey: publicKey.pointer, leaf.notBefore, leaf.notAfter, serial)
            try checked(X509_set_issuer_name(draft, X509_get_subject_name(certificate.pointer)), "certificate issuer")
            let issuer = certificate.pointer
            let constraints = leaf.pathLength.map { "critical,CA:TRUE,pathlen:\($0)" } ?? "critical,CA:FALSE"
            let usage = leaf.pathLength == nil ? "critical,digitalSignature" : "critical,keyCertSign,cRLSign"
            try CertificateAuthority.add(NID_basic_constraints, constraints, to: draft, issuer: issuer)
            try CertificateAuthority.add(NID_key_usage, usage, to: draft, issuer: issuer)
            var purposes: [String] = []
            if leaf.usage.contains(.server) { purposes.append("serverAuth") }
            if leaf.usage.contains(.client) { purposes.append("clientAuth") }
            if !purposes.isEmpty {
                try CertificateAuthority.add(
                    NID_ext_key_usage, purposes.joined(separator: ","), to: draft, issuer: issuer)
            }
            try CertificateAuthority.add(NID_subject_key_identifier, "hash", to: draft, issuer: issuer)
            try CertificateAuthority.add(NID_authority_key_identifier, "keyid", to: draft, issuer: issuer)
            if !leaf.alternativeNames.isEmpty {
                let names = try SubjectAlternativeName.makeList(leaf.alternativeNames)
                defer { copenssl_free_names(names) }
                let isCritical: Int32 = leaf.subject == DistinguishedName() ? 1 : 0  // RFC 5280 §4.2.1.6.
                try checked(
                    X509_add1_ext_i2d(draft, NID_subject_alt_name, UnsafeMutableRawPointer(names), isCritical, 0),
                    "subject alternative names")
            }
            for one in leaf.extensions { try CertificateAuthority.add(one, to: draft) }
            try checked(X509_sign(draft, key.pointer, key.certificateDigest), "signing a certificate")
        } catch {
            X509_free(draft)
            throw error
        }
        return try Certificate(adopting: draft)
    }

    /// Signs a certificate whose names we would refuse to read, as others' authorities do; DER.
    public func signUnread(
        _ leaf: Leaf, for publicKey: PublicKey, serial: [UInt8] = randomSerial()
    ) throws(TLSError) -> [UInt8] {
        ERR_clear_error()
        let draft = try made(X509_new(), "certificate")
        defer { X509_free(draft) }
        try CertificateAuthority.fill(
            draft, subject: leaf.subject, publicKey: publicKey.pointer, leaf.notBefore, leaf.notAfter, serial)
        try checked(X509_set_issuer_name(draft, X509_get_subject_name(certificate.pointer)), "certificate issuer")
        for one in leaf.extensions { try CertificateAuthority.add(one, to: draft) }
        try checked(X509_sign(draft, key.pointer, key.certificateDigest), "signing a certificate")
        return encoded { i2d_X509(draft, $0) }
    }

    /// Signs a revocation list; PEM.
    public func revocationList(
        of serials: [[UInt8]], thisUpdate: Int64, nextUpdate: Int64
    ) throws(TLSError) -> [UInt8] {
        ERR_clear_error()
        let operation = "revocation list"
        let list = try made(X509_CRL_new(), operation)
        defer { X509_CRL_free(list) }
        try checked(X509_CRL_set_version(list, 1), operation)
        try checked(X509_CRL_set_issuer_name(list, X509_get_subject_name(certificate.pointer)), operation)
        let from = try made(ASN1_TIME_set(nil, Int(thisUpdate)), operation)
        defer { ASN1_STRING_free(from) }
        let to = try made(ASN1_TIME_set(nil, Int(nextUpdate)), operation)
        defer { ASN1_STRING_free(to) }
        try checked(X509_CRL_set1_lastUpdate(list, from), operation)
        try checked(X509_CRL_set1_nextUpdate(list, to), operation)
        for serial in serials {
            let number = try made(BN_bin2bn(serial, Int32(clamping: serial.count), nil), operation)
            defer { BN_free(number) }
            let integer = try made(BN_to_ASN1_INTEGER(number, nil), operation)
            defer { ASN1_STRING_free(integer) }
            let entry = try made(X509_REVOKED_new(), operation)
            guard X509_REVOKED_set_serialNumber(entry, integer) == 1, X509_REVOKED_set_revocationDate(entry, from) == 1,
                X509_CRL_add0_revoked(list, entry) == 1
            else {
                X509_REVOKED_free(entry)
                throw TLSError.last(operation)
            }
        }
        try checked(X509_CRL_sort(list), operation)
        try checked(X509_CRL_sign(list, key.pointer, key.certificateDigest), operation)
        let bio = try MemoryBIO()
        try checked(PEM_write_bio_X509_CRL(bio.pointer, list), operation)
        return bio.contents
    }

    private static func add(_ one: Extension, to draft: OpaquePointer) throws(TLSError) {
        let operation = "certificate extension \(one.oid)"
        let object = try made(OBJ_txt2obj(one.oid, 1), operation)
        defer { ASN1_OBJECT_free(object) }
        let value = try made(ASN1_STRING_type_new(V_ASN1_OCTET_STRING), operation)
        defer { ASN1_STRING_free(value) }
        try checked(ASN1_STRING_set(value, one.value, Int32(clamping: one.value.count)), operation)
        let made = try made(X509_EXTENSION_create_by_OBJ(nil, object, one.isCritical ? 1 : 0, value), operation)
        defer { X509_EXTENSION_free(made) }
        try checked(X509_add_ext(draft, made, -1), operation)
    }

    /// A serial number nobody can guess: 16 bytes, positive.
    public static func randomSerial() -> [UInt8] {
        var bytes = SecureRandom.bytes(16)
        bytes[0] = bytes[0] & 0x7F | 0x40
        return bytes
    }

    private static func fill(
        _ draft: OpaquePointer, subject: DistinguishedName, publicKey: OpaquePointer, _ notBefore: Int64,
        _ notAfter: Int64, _ serial: [UInt8]
    ) throws(TLSError) {
        guard notBefore < notAfter else {
            throw TLSError("certificate for \(subject)", "its validity ends before it begins")
        }
        try checked(X509_set_version(draft, 2), "certificate")
        let number = try made(BN_bin2bn(serial, Int32(clamping: serial.count), nil), "serial number")
        defer { BN_free(number) }
        try made(BN_to_ASN1_INTEGER(number, X509_get_serialNumber(draft)), "serial number")
        try made(ASN1_TIME_set(X509_getm_notBefore(draft), Int(notBefore)), "certificate time")
        try made(ASN1_TIME_set(X509_getm_notAfter(draft), Int(notAfter)), "certificate time")
        try subject.write(to: X509_get_subject_name(draft))
        try checked(X509_set_pubkey(draft, publicKey), "certificate's public key")
    }

    /// Adds an extension whose value is written in this file: OpenSSL's configuration syntax is no place for outside text.
    private static func add(
        _ nid: Int32, _ value: String, to draft: OpaquePointer, issuer: OpaquePointer
    ) throws(TLSError) {
        let made = try made(copenssl_extension(draft, issuer, nid, value), "certificate extension \(value)")
        defer { X509_EXTENSION_free(made) }
        try checked(X509_add_ext(draft, made, -1), "certificate extension \(value)")
    }
}
