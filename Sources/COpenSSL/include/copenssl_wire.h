// A BIO on the caller's memory: no copy of its own in the common case, no system call, no allocation per record.
#pragma once
#include <openssl/bio.h>
#include <stddef.h>

// The wire as one call of OpenSSL sees it. `input` and `output` are lent for the length of a call; what finds no room in `output` goes to
// `spill`, which is the wire's own until it is taken.
typedef struct copenssl_wire {
    const unsigned char *input;
    size_t input_count;
    unsigned char *output;
    size_t output_room;
    size_t output_count;
    unsigned char *spill;
    size_t spill_count;
    size_t spill_room;
} copenssl_wire;

// A BIO that reads and writes the wire; NULL without memory. The wire must outlive it.
BIO *copenssl_wire_bio(copenssl_wire *wire);
// Frees `spill`.
void copenssl_wire_clear(copenssl_wire *wire);
