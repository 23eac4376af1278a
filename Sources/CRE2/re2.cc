#include "CRE2.h"

#include <re2/re2.h>
#include <stdlib.h>
#include <string.h>

#include <new>
#include <string>

struct cre2_regex {
    RE2 regex;
    cre2_regex(const re2::StringPiece &pattern, const RE2::Options &options) : regex(pattern, options) {}
};

static void tell(const std::string &reason, char *error, size_t error_size) {
    if (error == nullptr || error_size == 0) return;
    size_t count = reason.size() < error_size - 1 ? reason.size() : error_size - 1;
    memcpy(error, reason.data(), count);
    error[count] = 0;
}

extern "C" cre2_regex *cre2_compile(const char *pattern, size_t length, int64_t max_mem, char *error,
                                    size_t error_size) {
    RE2::Options options(RE2::Quiet);
    options.set_max_mem(max_mem);
    // Header values are bytes, not always valid UTF-8: with Latin-1 `.` sees each of them.
    options.set_encoding(RE2::Options::EncodingLatin1);
    auto *result = new (std::nothrow) cre2_regex(re2::StringPiece(pattern, length), options);
    if (result == nullptr) {
        tell("out of memory", error, error_size);
        return nullptr;
    }
    if (!result->regex.ok()) {
        tell(result->regex.error(), error, error_size);
        delete result;
        return nullptr;
    }
    return result;
}

extern "C" void cre2_free(cre2_regex *regex) { delete regex; }

extern "C" bool cre2_full_match(const cre2_regex *regex, const char *text, size_t length) {
    return RE2::FullMatch(re2::StringPiece(text, length), regex->regex);
}

extern "C" bool cre2_find(const cre2_regex *regex, const char *text, size_t length, size_t start, int64_t *bounds, int groups) {
    re2::StringPiece found[8];
    if (groups > 8) groups = 8;
    if (start > length) return false;
    if (!regex->regex.Match(re2::StringPiece(text, length), start, length, RE2::UNANCHORED, found, groups)) return false;
    for (int index = 0; index < groups; index++) {
        bool took_part = found[index].data() != nullptr;
        bounds[2 * index] = took_part ? found[index].data() - text : -1;
        bounds[2 * index + 1] = took_part ? found[index].data() - text + (int64_t)found[index].size() : -1;
    }
    return true;
}

extern "C" int cre2_program_size(const cre2_regex *regex) { return regex->regex.ProgramSize(); }

extern "C" int cre2_group_count(const cre2_regex *regex) { return regex->regex.NumberOfCapturingGroups(); }

extern "C" bool cre2_check_rewrite(const cre2_regex *regex, const char *rewrite, size_t rewrite_length, char *error,
                                   size_t error_size) {
    std::string reason;
    if (regex->regex.CheckRewriteString(re2::StringPiece(rewrite, rewrite_length), &reason)) return true;
    tell(reason, error, error_size);
    return false;
}

extern "C" char *cre2_replace_all(const cre2_regex *regex, const char *text, size_t length, const char *rewrite,
                                  size_t rewrite_length, size_t *result_length) {
    std::string copy(text, length);
    RE2::GlobalReplace(&copy, regex->regex, re2::StringPiece(rewrite, rewrite_length));
    char *result = static_cast<char *>(malloc(copy.size() + 1));
    if (result == nullptr) return nullptr;
    memcpy(result, copy.data(), copy.size());
    *result_length = copy.size();
    return result;
}

extern "C" void cre2_release(char *result) { free(result); }
