/* The Rust libraries of the text layer (tokenizers, minijinja) behind a C ABI.
 *
 * Thread-safety: handles are immutable after load; every function may be called from any thread.
 * No call unwinds: a panic inside comes back as M2_FAULT. Output is owned by the caller, who gives
 * it back with the matching free function; on failure *error holds a message in UTF-8 instead. */
#ifndef M2_TEXT_FFI_H
#define M2_TEXT_FFI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
  M2_OK = 0,
  M2_INVALID = 1,   /* the input (a file, a template, a conversation) is at fault */
  M2_TOO_LARGE = 2, /* past the fuel or the output limit */
  M2_FAULT = 3      /* a panic in a library */
};

/* Borrowed bytes; data may be null when size is 0. */
typedef struct M2Slice {
  const uint8_t* data;
  size_t size;
} M2Slice;

/* Owned by Rust. A zeroed one is empty and need not be freed. */
typedef struct M2Buffer {
  uint8_t* data;
  size_t size;
  size_t capacity;
} M2Buffer;
void m2_buffer_free(M2Buffer buffer);

typedef struct M2Ids {
  uint32_t* data;
  size_t size;
  size_t capacity;
} M2Ids;
void m2_ids_free(M2Ids ids);

/* ---- tokenizers ---- */

typedef struct M2Tokenizer M2Tokenizer;

/* Tables over ids 0 .. size - 1, borrowed from the tokenizer. Text of id i is
 * data[offsets[i] .. offsets[i + 1]]. */
typedef struct M2Vocabulary {
  size_t size;
  const uint8_t* bytes; /* as decoded text */
  const uint32_t* byte_offsets;
  const uint8_t* strings; /* as the vocabulary spells it, UTF-8 */
  const uint32_t* string_offsets;
  const uint8_t* flags; /* M2_TOKEN_* */
} M2Vocabulary;

enum { M2_TOKEN_ADDED = 1, M2_TOKEN_SPECIAL = 2 };

/* Reads the text of a tokenizer.json. Only byte-level BPE is taken. */
int32_t m2_tokenizer_load(M2Slice json, M2Tokenizer** out, M2Buffer* error);
void m2_tokenizer_free(M2Tokenizer* tokenizer);
void m2_tokenizer_vocabulary(const M2Tokenizer* tokenizer, M2Vocabulary* out);
/* -1 when no token is spelled so. */
int32_t m2_tokenizer_token_id(const M2Tokenizer* tokenizer, M2Slice token);
/* parse_added: text that spells an added token becomes that token. `text` must be UTF-8. */
int32_t m2_tokenizer_encode(const M2Tokenizer* tokenizer, M2Slice text, int32_t parse_added,
                            M2Ids* out, M2Buffer* error);

/* ---- chat templates ---- */

typedef struct M2Template M2Template;

typedef struct M2TemplateOptions {
  uint64_t fuel;
  size_t max_output_bytes;
  /* Characters from here on up to U+10FFFF, and U+FDD0 and U+FDD1, are the caller's marks: tojson
   * leaves them alone under ensure_ascii. 0: there are none. */
  uint32_t first_mark;
} M2TemplateOptions;

int32_t m2_template_load(M2Slice name, M2Slice source, const M2TemplateOptions* options,
                         M2Template** out, M2Buffer* error);
void m2_template_free(M2Template* chat_template);
/* `context` is one map of the template's variables as a value tree:
 *   value  = 'n' | 't' | 'f' | 'i' int64 | 'd' double | 'b' text (a decimal integer) | 's' text
 *          | '[' count value... | '{' count (text value)...
 *   text   = uint32 size, UTF-8 bytes        count = uint32
 * in the machine's byte order. It carries what JSON text would lose: exact doubles, NaN, integers
 * of any size. */
int32_t m2_template_render(const M2Template* chat_template, M2Slice context, M2Buffer* out,
                           M2Buffer* error);

#ifdef __cplusplus
}
#endif

#endif /* M2_TEXT_FFI_H */
