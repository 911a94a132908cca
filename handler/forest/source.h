/* One way through a document, whether it is JSON or UBJ: no recursion, no copies.
 *
 * Every function returns 0 where the document is not as it should be; then nothing more is asked.
 */
#ifndef MME_SOURCE_H
#define MME_SOURCE_H

#include "forest.h"

#define MAX_DEPTH 64

struct level {
    uint64_t left; /* items of a counted array; UNCOUNTED elsewhere */
    uint8_t object;
    uint8_t fresh; /* nothing of it has been read */
    uint8_t of;    /* the type of all items of a typed array, or 0 */
};

struct source {
    const uint8_t *at, *end;
    int json;
    uint32_t depth;
    struct level levels[MAX_DEPTH];
};

/* An array of numbers, where it is in the document. */
struct view {
    const uint8_t *at, *end; /* at is NULL: it is not there; end is the document's */
    uint32_t count;
    uint8_t of; /* a type's mark; 0: each has its own */
    uint8_t json;
};

enum kind { OBJECT, ARRAY, STRING, NUMBER, OTHER, BAD };

int source_open(struct source *source, const uint8_t *data, size_t size);
int source_ended(struct source *source); /* the one value is over, and nothing follows */

enum kind source_kind(struct source *source); /* of the value that comes next */
int source_skip(struct source *source);
int source_enter(struct source *source, enum kind kind); /* an OBJECT or an ARRAY */
/* The next key, or the next item: 1; the end of it: 0, and it is left; an error: -1. */
int source_key(struct source *source, struct text *key);
int source_item(struct source *source);
int source_string(struct source *source, struct text *string); /* without escapes in JSON */
int source_whole(struct source *source, int64_t *value);
int source_numbers(struct source *source, struct view *view, int truths_too);

/* The numbers of a view; out has view->count places. */
int view_whole(const struct view *view, int32_t *out);
int view_floats(const struct view *view, float *out);

int text_is(struct text text, const char *word);
/* A text that is all a whole number, as XGBoost writes its parameters. */
int text_whole(struct text text, uint32_t *value);

#endif
