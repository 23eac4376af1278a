// Public keys from their numbers.
#pragma once
#include <openssl/types.h>
#include <stddef.h>

// Big-endian modulus and exponent; NULL with an error in the queue.
EVP_PKEY *copenssl_rsa_key(const unsigned char *modulus, size_t modulus_size, const unsigned char *exponent, size_t exponent_size);
// A point in uncompressed form (4, x, y) on a curve; NULL with an error in the queue, also for a point beside the curve.
EVP_PKEY *copenssl_ec_key(const char *curve, const unsigned char *point, size_t point_size);
