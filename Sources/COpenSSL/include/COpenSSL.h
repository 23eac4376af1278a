// The OpenSSL door: headers, and functions for what OpenSSL defines as macros. No logic, but for what must be C: a BIO (wire.c) and a provider
// (slim.c).
#pragma once
#include "copenssl_keys.h"
#include "copenssl_slim.h"
#include "copenssl_wire.h"
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/ocsp.h>
#include <openssl/param_build.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

static inline int copenssl_set_min_version(SSL_CTX *context, int version) { return SSL_CTX_set_min_proto_version(context, version); }
static inline int copenssl_set_max_version(SSL_CTX *context, int version) { return SSL_CTX_set_max_proto_version(context, version); }
static inline int copenssl_set_signature_algorithms(SSL_CTX *context, const char *list) { return (int)SSL_CTX_set1_sigalgs_list(context, list); }
static inline void copenssl_allow_tickets(SSL_CTX *context) { SSL_CTX_clear_options(context, SSL_OP_NO_TICKET); }
static inline void copenssl_prefer_server_ciphers(SSL_CTX *context) { SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE); }
static inline void copenssl_set_session_cache_mode(SSL_CTX *context, long mode) { SSL_CTX_set_session_cache_mode(context, mode); }
static inline void copenssl_set_session_cache_size(SSL_CTX *context, long size) { SSL_CTX_sess_set_cache_size(context, size); }
static inline void copenssl_set_ticket_callback(SSL_CTX *context, int (*callback)(SSL *, unsigned char *, unsigned char *, EVP_CIPHER_CTX *, EVP_MAC_CTX *, int)) {
    SSL_CTX_set_tlsext_ticket_key_evp_cb(context, callback);
}
static inline void copenssl_set_server_name_callback(SSL_CTX *context, int (*callback)(SSL *, int *, void *), void *user) {
    SSL_CTX_set_tlsext_servername_callback(context, callback);
    SSL_CTX_set_tlsext_servername_arg(context, user);
}
static inline void copenssl_set_status_callback(SSL_CTX *context, int (*callback)(SSL *, void *), void *user) {
    SSL_CTX_set_tlsext_status_cb(context, callback);
    SSL_CTX_set_tlsext_status_arg(context, user);
}
static inline void copenssl_set_status(SSL *ssl, unsigned char *bytes, long count) { SSL_set_tlsext_status_ocsp_resp(ssl, bytes, count); }
static inline int copenssl_wants_status(SSL *ssl) { return SSL_get_tlsext_status_type(ssl) == TLSEXT_STATUSTYPE_ocsp; }
// Whether the client offers a suite that is signed with ECDSA; before TLS 1.3 suites say so.
static inline int copenssl_offers_ecdsa(SSL *ssl) {
    const STACK_OF(SSL_CIPHER) *ciphers = SSL_get_client_ciphers(ssl);
    for (int index = 0; index < sk_SSL_CIPHER_num(ciphers); index++)
        if (SSL_CIPHER_get_auth_nid(sk_SSL_CIPHER_value(ciphers, index)) == NID_auth_ecdsa) return 1;
    return 0;
}
static inline void copenssl_set_owner(SSL *ssl, void *owner) { SSL_set_app_data(ssl, owner); }
static inline void *copenssl_owner(const SSL *ssl) { return SSL_get_app_data(ssl); }
static inline SSL *copenssl_verifying(X509_STORE_CTX *store) { return X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()); }
static inline int copenssl_chain_count(const STACK_OF(X509) *chain) { return sk_X509_num(chain); }
static inline X509 *copenssl_chain_at(const STACK_OF(X509) *chain, int index) { return sk_X509_value(chain, index); }
// Verified and read, the certificates beside the leaf are wanted by nobody: the lists stay with the connection, empty.
static inline void copenssl_drop_chains(const SSL *ssl) {
    STACK_OF(X509) *lists[] = {SSL_get_peer_cert_chain(ssl), SSL_get0_verified_chain(ssl)};
    for (int list = 0; list < 2; list++) {
        while (lists[list] != NULL && sk_X509_num(lists[list]) > 0) X509_free(sk_X509_pop(lists[list]));
    }
}
static inline int copenssl_group(SSL *ssl) { return (int)SSL_get_negotiated_group(ssl); }
static inline int copenssl_set_chain(SSL *ssl, STACK_OF(X509) *chain) { return (int)SSL_set1_chain(ssl, chain); }
static inline STACK_OF(X509) *copenssl_new_chain(void) { return sk_X509_new_null(); }
static inline int copenssl_push_certificate(STACK_OF(X509) *chain, X509 *certificate) { return X509_up_ref(certificate) && sk_X509_push(chain, certificate) > 0; }
static inline void copenssl_free_chain(STACK_OF(X509) *chain) { sk_X509_pop_free(chain, X509_free); }
static inline int copenssl_print_name(BIO *bio, const X509_NAME *name) { return X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB); }
static inline void copenssl_set_mode(SSL_CTX *context, long mode) { SSL_CTX_set_mode(context, mode); }
static inline int copenssl_add_chain(SSL_CTX *context, X509 *certificate) { return (int)SSL_CTX_add1_chain_cert(context, certificate); }
static inline void copenssl_set_options(SSL_CTX *context) {
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
}
static inline int copenssl_set_groups(SSL_CTX *context, const char *list) { return (int)SSL_CTX_set1_groups_list(context, list); }
static inline int copenssl_set_server_name(SSL *ssl, const char *name) { return (int)SSL_set_tlsext_host_name(ssl, name); }
static inline void copenssl_no_session_cache(SSL_CTX *context) { SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF); }
static inline size_t copenssl_bio_pending(BIO *bio) { return BIO_ctrl_pending(bio); }
static inline void copenssl_bio_set_eof(BIO *bio, int value) { BIO_set_mem_eof_return(bio, value); }
static inline long copenssl_bio_bytes(BIO *bio, const char **bytes) { return BIO_get_mem_data(bio, (char **)bytes); }
static inline int copenssl_set_mac_key(EVP_MAC_CTX *context, unsigned char *key, size_t size) {
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string("key", key, size), OSSL_PARAM_construct_utf8_string("digest", (char *)"SHA256", 0), OSSL_PARAM_END};
    return EVP_MAC_CTX_set_params(context, parameters);
}
static inline EVP_PKEY *copenssl_make_ec(const char *curve) { return EVP_EC_gen(curve); }
static inline EVP_PKEY *copenssl_make_rsa(unsigned bits) { return EVP_RSA_gen(bits); }
static inline EVP_PKEY *copenssl_make_ed25519(void) { return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"); }
static inline EVP_PKEY *copenssl_make_x25519(void) { return EVP_PKEY_Q_keygen(NULL, NULL, "X25519"); }
static inline int copenssl_error_reason(unsigned long error) { return ERR_GET_REASON(error); }
static inline int copenssl_name_count(const GENERAL_NAMES *names) { return sk_GENERAL_NAME_num(names); }
static inline GENERAL_NAME *copenssl_name_at(const GENERAL_NAMES *names, int index) { return sk_GENERAL_NAME_value(names, index); }
static inline void copenssl_free_names(GENERAL_NAMES *names) { sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free); }
static inline GENERAL_NAMES *copenssl_new_names(void) { return sk_GENERAL_NAME_new_null(); }
static inline int copenssl_push_name(GENERAL_NAMES *names, GENERAL_NAME *name) { return sk_GENERAL_NAME_push(names, name); }
static inline void copenssl_push_extension(STACK_OF(X509_EXTENSION) **list, X509_EXTENSION *extension) { X509v3_add_ext(list, extension, -1); }
static inline void copenssl_free_extensions(STACK_OF(X509_EXTENSION) *list) { sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free); }
static inline X509_EXTENSION *copenssl_extension(X509 *subject, X509 *issuer, int nid, const char *value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, subject, NULL, NULL, 0);
    return X509V3_EXT_conf_nid(NULL, &context, nid, value);
}
