#include "copenssl_wire.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static int wire_read(BIO *bio, char *bytes, size_t room, size_t *count) {
    copenssl_wire *wire = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (wire->input_count == 0) {
        BIO_set_retry_read(bio);
        *count = 0;
        return -1;
    }
    *count = room < wire->input_count ? room : wire->input_count;
    memcpy(bytes, wire->input, *count);
    wire->input += *count;
    wire->input_count -= *count;
    return 1;
}

static int wire_write(BIO *bio, const char *bytes, size_t size, size_t *count) {
    copenssl_wire *wire = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *count = 0;
    // What has spilled once goes out before anything else.
    if (wire->spill_count == 0 && size <= wire->output_room - wire->output_count) {
        memcpy(wire->output + wire->output_count, bytes, size);
        wire->output_count += size;
        *count = size;
        return 1;
    }
    if (size > wire->spill_room - wire->spill_count) {
        size_t room = wire->spill_room ? wire->spill_room : 1024;
        while (room - wire->spill_count < size) room *= 2;
        unsigned char *larger = realloc(wire->spill, room);
        if (!larger) return 0;
        wire->spill = larger;
        wire->spill_room = room;
    }
    memcpy(wire->spill + wire->spill_count, bytes, size);
    wire->spill_count += size;
    *count = size;
    return 1;
}

static long wire_control(BIO *bio, int command, long number, void *pointer) {
    (void)number;
    (void)pointer;
    const copenssl_wire *wire = BIO_get_data(bio);
    switch (command) {
    case BIO_CTRL_FLUSH:
    case BIO_CTRL_DUP: return 1;
    case BIO_CTRL_PENDING: return (long)wire->input_count;
    default: return 0;
    }
}

static BIO_METHOD *wire_method;
static pthread_once_t wire_once = PTHREAD_ONCE_INIT;

static void make_wire_method(void) {
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "wire");
    if (!method) return;
    BIO_meth_set_read_ex(method, wire_read);
    BIO_meth_set_write_ex(method, wire_write);
    BIO_meth_set_ctrl(method, wire_control);
    wire_method = method;
}

BIO *copenssl_wire_bio(copenssl_wire *wire) {
    pthread_once(&wire_once, make_wire_method);
    BIO *bio = wire_method ? BIO_new(wire_method) : NULL;
    if (!bio) return NULL;
    BIO_set_data(bio, wire);
    BIO_set_init(bio, 1);
    return bio;
}

void copenssl_wire_clear(copenssl_wire *wire) {
    free(wire->spill);
    wire->spill = NULL;
    wire->spill_count = 0;
    wire->spill_room = 0;
}
