// The text interface of libnftables. <nftables/libnftables.h> defines _GNU_SOURCE, which a header that Swift sees must
// not do (two such modules disagree about fd_set), so the few functions are declared here; the ABI is versioned.
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct nft_ctx;
struct nft_ctx *nft_ctx_new(uint32_t flags);
void nft_ctx_free(struct nft_ctx *context);
unsigned int nft_ctx_output_get_flags(struct nft_ctx *context);
void nft_ctx_output_set_flags(struct nft_ctx *context, unsigned int flags);
int nft_ctx_buffer_output(struct nft_ctx *context);
const char *nft_ctx_get_output_buffer(struct nft_ctx *context);
int nft_ctx_buffer_error(struct nft_ctx *context);
const char *nft_ctx_get_error_buffer(struct nft_ctx *context);
int nft_run_cmd_from_buffer(struct nft_ctx *context, const char *text);

/// NFT_CTX_OUTPUT_TERSE.
static const unsigned int cnftables_output_terse = 1u << 11;
