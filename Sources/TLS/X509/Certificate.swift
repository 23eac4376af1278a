internal import COpenSSL

/// An X.509 certificate.
///
/// `@unchecked Sendable`: the OpenSSL object is never changed after it was made here, and is counted atomically (docs/threads.md).
public final class Certificate: @unchecked Sendable, Hashable {
    let pointer: OpaquePointer
    /// The certificate as DER.
    public let der: [UInt8]
    /// Whom it names.
    public let subject: DistinguishedName
    /// Who signed it.
    public let issuer: DistinguishedName
    /// The names it is good for.
    public let alternativeNames: [SubjectAlternativeName]
    /// Valid from, in unix seconds.
    public let notBefore: Int64
    /// Valid to, in unix seconds.
    public let notAfter: Int64

    /// Takes over a reference.
    init(adopting pointer: OpaquePointer) throws(TLSError) {
        do throws(TLSError) {
            der = encoded { i2d_X509(pointer, $0) }
            guard !der.isEmpty else { throw TLSError.last("certificate") }
            subject = try DistinguishedName(reading: X509_get_subject_name(pointer))
            issuer = try DistinguishedName(reading: X509_get_issuer_name(pointer))
            var critical: Int32 = 0
            let names = X509_get_ext_d2i(pointer, NID_subject_alt_name, &critical, nil)
            defer { if let names { copenssl_free_names(OpaquePointer(names)) } }
            // -1: there is none. -2: more than one, which different readers would read differently.
            guard names != nil || critical == -1 else {
                throw TLSError("certificate", "malformed or repeated subject alternative names")
            }
            alternativeNames = try SubjectAlternativeName.read(names.map { OpaquePointer($0) })
            notBefore = try Certificate.seconds(X509_get0_notBefore(pointer))
            notAfter = try Certificate.seconds(X509_get0_notAfter(pointer))
        } catch {
            X509_free(pointer)
            throw error
        }
        self.pointer = pointer
    }

    deinit { X509_free(pointer) }

    /// Reads a certificate from DER.
    public convenience init(der: [UInt8]) throws(TLSError) {
        ERR_clear_error()
        let certificate = der.withUnsafeBufferPointer { buffer in
            var position = buffer.baseAddress
            return d2i_X509(nil, &position, buffer.count)
        }
        try self.init(adopting: made(certificate, "certificate DER"))
    }

    /// Reads the first certificate in a PEM text.
    public convenience init(pem: [UInt8]) throws(TLSError) {
        ERR_clear_error()
        let bio = try MemoryBIO(pem)
        try self.init(adopting: made(PEM_read_bio_X509(bio.pointer, nil, nil, nil), "certificate PEM"))
    }

    /// Reads all certificates of a PEM text: a chain or a bundle.
    ///
    /// At least one.
    ///
    /// - Parameter skippingDamaged: leaves out those that we refuse to read: a system's bundle is not ours to mend.
    public static func all(pem: [UInt8], skippingDamaged: Bool = false) throws(TLSError) -> [Certificate] {
        ERR_clear_error()
        let bio = try MemoryBIO(pem)
        var result: [Certificate] = []
        while let next = PEM_read_bio_X509(bio.pointer, nil, nil, nil) {
            do throws(TLSError) {
                result.append(try Certificate(adopting: next))
            } catch {
                if !skippingDamaged { throw error }
            }
        }
        let error = ERR_peek_last_error()
        let isEnd = error != 0 && copenssl_error_reason(error) == PEM_R_NO_START_LINE
        guard isEnd || error == 0, !result.isEmpty else { throw TLSError.last("certificates PEM") }
        ERR_clear_error()
        return result
    }

    /// The certificate as PEM.
    public var pem: [UInt8] {
        guard let bio = try? MemoryBIO(), PEM_write_bio_X509(bio.pointer, pointer) == 1 else { return [] }
        return bio.contents
    }

    /// SHA-256 of the DER.
    public var fingerprint: [UInt8] { TLS.SHA256.hash(der) }

    /// The public key.
    public var publicKey: PublicKey {
        get throws(TLSError) { PublicKey(try made(X509_get_pubkey(pointer), "certificate's public key")) }
    }

    /// The public key as the certificate itself has it (SubjectPublicKeyInfo, DER).
    ///
    /// Nothing is read for that: keys of certificates that came by TLS may be held in a form that cannot be written.
    public var publicKeyDER: [UInt8] { encoded { i2d_X509_PUBKEY(X509_get_X509_PUBKEY(pointer), $0) } }

    /// Whether it may sign certificates.
    public var isCA: Bool { X509_check_ca(pointer) == 1 }

    /// The serial number, big-endian.
    public var serial: [UInt8] {
        guard let number = X509_get0_serialNumber(pointer), let start = ASN1_STRING_get0_data(number) else { return [] }
        return Array(UnsafeBufferPointer(start: start, count: Int(max(0, ASN1_STRING_length(number)))))
    }

    /// Whether the key belongs to this certificate.
    public func matches(_ key: PrivateKey) -> Bool {
        defer { ERR_clear_error() }
        return X509_check_private_key(pointer, key.pointer) == 1
    }

    /// Whether this certificate was signed with another's key.
    public func isSigned(by issuer: Certificate) -> Bool {
        defer { ERR_clear_error() }
        return X509_verify(pointer, X509_get0_pubkey(issuer.pointer)) == 1
    }

    static func seconds(_ time: UnsafePointer<ASN1_TIME>?) throws(TLSError) -> Int64 {
        var days: Int32 = 0
        var seconds: Int32 = 0
        guard let epoch = ASN1_TIME_set(nil, 0) else { throw TLSError.last("certificate time") }
        defer { ASN1_STRING_free(epoch) }
        try checked(ASN1_TIME_diff(&days, &seconds, epoch, time), "certificate time")
        return Int64(days) * 86_400 + Int64(seconds)
    }

    /// Equal when byte for byte the same.
    public static func == (left: Certificate, right: Certificate) -> Bool { left.der == right.der }

    /// Hashes the DER.
    public func hash(into hasher: inout Hasher) { hasher.combine(der) }
}
