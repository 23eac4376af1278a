// A library context that knows little, so that OpenSSL 3.0 asks few decoders and key managers for each certificate.
#pragma once
#include <openssl/types.h>

// The context, made at the first call, for the whole process; NULL (the ordinary context) when it cannot be made.
//
// It takes every algorithm from the default provider but for key managers, of which it keeps those of certificates and key exchanges that
// TLS uses, and decoders, of which it keeps those that read a certificate's public key. Private keys and PEM are read through the ordinary
// context: keys and certificates cross contexts.
OSSL_LIB_CTX *copenssl_slim_context(void);
