internal import COpenSSL

/// An OCSP response that a server sends along with its certificate.
public struct OCSPStaple: Sendable {
    /// The response as DER.
    public let der: [UInt8]
    /// Its `thisUpdate`, in unix seconds.
    public let thisUpdate: Int64
    /// Its `nextUpdate`, in unix seconds; nil when it has none, and then holds for ever.
    public let nextUpdate: Int64?

    /// Reads a response and checks that it speaks about a certificate.
    ///
    /// The signature is the client's to check; whether the certificate is the one meant is ours.
    public init(der: [UInt8], for certificate: Certificate) throws(TLSError) {
        ERR_clear_error()
        let operation = "OCSP response"
        let response = der.withUnsafeBufferPointer { buffer in
            var position = buffer.baseAddress
            return d2i_OCSP_RESPONSE(nil, &position, buffer.count)
        }
        let read = try made(response, operation)
        defer { OCSP_RESPONSE_free(read) }
        guard OCSP_response_status(read) == OCSP_RESPONSE_STATUS_SUCCESSFUL else {
            throw TLSError(operation, "the responder did not answer successfully")
        }
        let basic = try made(OCSP_response_get1_basic(read), operation)
        defer { OCSP_BASICRESP_free(basic) }
        guard OCSP_resp_count(basic) == 1, let single = OCSP_resp_get0(basic, 0) else {
            throw TLSError(operation, "it must speak about one certificate")
        }
        var serial: UnsafeMutablePointer<ASN1_INTEGER>?
        _ = OCSP_id_get0_info(nil, nil, nil, &serial, OCSP_SINGLERESP_get0_id(single))
        guard let serial, ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(certificate.pointer)) == 0 else {
            throw TLSError(operation, "it speaks about another certificate than that of \(certificate.subject)")
        }
        var reason: Int32 = 0
        var this: UnsafeMutablePointer<ASN1_GENERALIZEDTIME>?
        var next: UnsafeMutablePointer<ASN1_GENERALIZEDTIME>?
        _ = OCSP_single_get0_status(single, &reason, nil, &this, &next)
        thisUpdate = try Certificate.seconds(this)
        if let next { nextUpdate = try Certificate.seconds(next) } else { nextUpdate = nil }
        self.der = der
    }

    /// Whether it has run out.
    public func hasExpired(at now: Int64) -> Bool { nextUpdate.map { $0 < now } ?? false }
}
