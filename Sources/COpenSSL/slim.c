#include "copenssl_slim.h"
#include <openssl/core.h>
#include <openssl/core_dispatch.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/provider.h>
#include <pthread.h>
#include <string.h>

enum { TABLE_MAX = 24 };

static OSSL_LIB_CTX *full_context;
static OSSL_PROVIDER *full_provider;
static OSSL_LIB_CTX *slim_context;
static OSSL_ALGORITHM key_managers[TABLE_MAX + 1];
static OSSL_ALGORITHM decoders[TABLE_MAX + 1];
static pthread_once_t slim_once = PTHREAD_ONCE_INIT;

// HMAC is a key manager too: the binder of a resumed session is made with it.
static const char *const kept_managers[] = {"EC", "RSA", "RSA-PSS", "X25519", "ED25519", "HMAC", "HKDF", "TLS1-PRF", NULL};
static const char *const kept_decoders[] = {"EC", "RSA", "RSA-PSS", "ED25519", "DER", NULL};

// Whether the first name in `A:B:C` is in the list.
static int is_listed(const char *names, const char *const *list) {
    size_t count = strcspn(names, ":");
    for (; *list; list++)
        if (strlen(*list) == count && strncmp(*list, names, count) == 0) return 1;
    return 0;
}

static void keep(OSSL_ALGORITHM *table, int operation, const char *const *list, const char *property) {
    int no_cache = 0;
    int count = 0;
    const OSSL_ALGORITHM *all = OSSL_PROVIDER_query_operation(full_provider, operation, &no_cache);
    for (; all && all->algorithm_names && count < TABLE_MAX; all++) {
        if (!is_listed(all->algorithm_names, list)) continue;
        if (property && !strstr(all->property_definition, property)) continue;
        table[count++] = *all;
    }
}

static const OSSL_ALGORITHM *slim_query(void *provider, int operation, int *no_cache) {
    (void)provider;
    *no_cache = 0;
    switch (operation) {
    case OSSL_OP_KEYMGMT: return key_managers;
    case OSSL_OP_DECODER: return decoders;
    case OSSL_OP_ENCODER:
    case OSSL_OP_STORE: return NULL;
    default: return OSSL_PROVIDER_query_operation(full_provider, operation, no_cache);
    }
}

// Key exchange groups are a capability, not an algorithm.
static int slim_capabilities(void *provider, const char *capability, OSSL_CALLBACK *callback, void *argument) {
    (void)provider;
    return OSSL_PROVIDER_get_capabilities(full_provider, capability, callback, argument);
}

static const OSSL_DISPATCH slim_functions[] = {
    {OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))slim_query},
    {OSSL_FUNC_PROVIDER_GET_CAPABILITIES, (void (*)(void))slim_capabilities},
    {0, NULL},
};

// The implementations are the default provider's, so they get the default provider's context.
static int slim_initialize(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *core, const OSSL_DISPATCH **functions, void **context) {
    (void)handle;
    (void)core;
    *context = OSSL_PROVIDER_get0_provider_ctx(full_provider);
    *functions = slim_functions;
    return 1;
}

static void make_slim_context(void) {
    full_context = OSSL_LIB_CTX_new();
    full_provider = full_context ? OSSL_PROVIDER_load(full_context, "default") : NULL;
    if (!full_provider) goto failed;
    keep(key_managers, OSSL_OP_KEYMGMT, kept_managers, NULL);
    keep(decoders, OSSL_OP_DECODER, kept_decoders, "structure=SubjectPublicKeyInfo");
    OSSL_LIB_CTX *fresh = OSSL_LIB_CTX_new();
    if (!fresh) goto failed;
    if (!OSSL_PROVIDER_add_builtin(fresh, "slim", slim_initialize) || !OSSL_PROVIDER_load(fresh, "slim")) {
        OSSL_LIB_CTX_free(fresh);
        goto failed;
    }
    slim_context = fresh;
    return;
failed:
    ERR_clear_error();
}

OSSL_LIB_CTX *copenssl_slim_context(void) {
    pthread_once(&slim_once, make_slim_context);
    return slim_context;
}
