// The landing file of this target; it declares nothing.
//
// TLS: the only target that opens the COpenSSL door.
//
// Engine/    TLSConfiguration and TLSContext (what a side presents and trusts), TLSEngine (one connection, bytes in and bytes out, no I/O), TLSStream (an
//            engine over a ByteStream), IdentityChoice (which of several certificates), ClientSessions and TicketSealer (resumption).
// Verification/  PeerFacts (what a peer's certificate says), VerifiedLeafCache (whose chain need not be verified again), OCSPStaple.
// X509/      PrivateKey, Certificate, CertificateRequest, CertificateAuthority, DistinguishedName, SubjectAlternativeName; PEM and DER in and out.
// Digest/    SHA256, HMACSHA256, SecureRandom.
//
// Everything but SecureRandom, key making and ECDSA signatures is a pure function of its inputs; times are unix seconds given by the caller.
// OpenSSL's error queue belongs to the thread: it is emptied into a TLSError at the very call that failed, and before each call that reads it.
