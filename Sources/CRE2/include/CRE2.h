// The RE2 door: linear-time regular expressions. No logic. RE2 is C++; these functions are its C face.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
typedef struct cre2_regex cre2_regex;

/// Compiles a pattern with at most `max_mem` bytes of program. NULL when it is refused; then the reason stands in
/// `error` (at most `error_size` bytes, zero-terminated).
cre2_regex *cre2_compile(const char *pattern, size_t length, int64_t max_mem, char *error, size_t error_size);
void cre2_free(cre2_regex *regex);
/// True when the pattern matches the whole text.
bool cre2_full_match(const cre2_regex *regex, const char *text, size_t length);
/// Finds the first match anywhere at or behind `start` in the text; what is before is still seen by `^` and `\b`. `bounds` takes start and end of the match and of each group, `groups` pairs
/// in all; -1 for a group that took no part. False when there is no match.
bool cre2_find(const cre2_regex *regex, const char *text, size_t length, size_t start, int64_t *bounds, int groups);
/// Size of the compiled program: what a pattern costs.
int cre2_program_size(const cre2_regex *regex);
/// Number of capturing groups.
int cre2_group_count(const cre2_regex *regex);
/// Whether `rewrite` names only groups that exist; otherwise false and the reason in `error`.
bool cre2_check_rewrite(const cre2_regex *regex, const char *rewrite, size_t rewrite_length, char *error,
                        size_t error_size);
/// Replaces every match in `text` by `rewrite` (with \1 … groups). The result is malloc'ed; its length goes to
/// `*result_length`; give it back with cre2_release. NULL when memory is short.
char *cre2_replace_all(const cre2_regex *regex, const char *text, size_t length, const char *rewrite,
                       size_t rewrite_length, size_t *result_length);
void cre2_release(char *result);
#ifdef __cplusplus
}
#endif
