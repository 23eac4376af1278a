internal import COpenSSL

/// A certificate signing request (PKCS#10).
///
/// What it asks for is a wish; whoever signs decides what the certificate says (ATK-39).
public struct CertificateRequest: Sendable {
    /// The request as PEM.
    public let pem: [UInt8]
    /// Whom it names.
    public let subject: DistinguishedName
    /// The names it asks for.
    public let alternativeNames: [SubjectAlternativeName]
    /// The key it proves to hold.
    public let publicKey: PublicKey

    /// Makes a request for a key.
    public static func make(
        subject: DistinguishedName, alternativeNames: [SubjectAlternativeName] = [], key: PrivateKey
    ) throws(TLSError) -> CertificateRequest {
        ERR_clear_error()
        let operation = "certificate request"
        let request = try made(X509_REQ_new(), operation)
        defer { X509_REQ_free(request) }
        try checked(X509_REQ_set_version(request, 0), operation)
        try subject.write(to: X509_REQ_get_subject_name(request))
        try checked(X509_REQ_set_pubkey(request, key.pointer), operation)
        if !alternativeNames.isEmpty {
            let names = try SubjectAlternativeName.makeList(alternativeNames)
            defer { copenssl_free_names(names) }
            let extensionValue = try made(
                X509V3_EXT_i2d(NID_subject_alt_name, 0, UnsafeMutableRawPointer(names)), operation)
            var list: OpaquePointer?
            copenssl_push_extension(&list, extensionValue)
            X509_EXTENSION_free(extensionValue)
            defer { copenssl_free_extensions(list) }
            try checked(X509_REQ_add_extensions(request, list), operation)
        }
        try checked(X509_REQ_sign(request, key.pointer, key.certificateDigest), operation)
        let bio = try MemoryBIO()
        try checked(PEM_write_bio_X509_REQ(bio.pointer, request), operation)
        return try CertificateRequest(pem: bio.contents)
    }

    /// Reads a request from PEM and checks that it is signed with its own key.
    public init(pem: [UInt8]) throws(TLSError) {
        ERR_clear_error()
        let operation = "certificate request"
        let bio = try MemoryBIO(pem)
        let request = try made(PEM_read_bio_X509_REQ(bio.pointer, nil, nil, nil), operation)
        defer { X509_REQ_free(request) }
        let key = PublicKey(try made(X509_REQ_get_pubkey(request), operation))
        guard X509_REQ_verify(request, key.pointer) == 1 else {
            ERR_clear_error()
            throw TLSError(operation, "it is not signed with its own key")
        }
        self.pem = pem
        publicKey = key
        subject = try DistinguishedName(reading: X509_REQ_get_subject_name(request))
        let extensions = X509_REQ_get_extensions(request)
        defer { if let extensions { copenssl_free_extensions(extensions) } }
        var critical: Int32 = 0
        let names = X509V3_get_d2i(extensions, NID_subject_alt_name, &critical, nil)
        defer { if let names { copenssl_free_names(OpaquePointer(names)) } }
        guard names != nil || critical == -1 || extensions == nil else {
            throw TLSError(operation, "malformed or repeated subject alternative names")
        }
        alternativeNames = try SubjectAlternativeName.read(names.map { OpaquePointer($0) })
    }
}
