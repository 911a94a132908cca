#include <string.h>

#include "number.h"

#define UNCOUNTED UINT64_MAX

static void blanks(struct source *source) {
    if (!source->json)
        return;
    const uint8_t *at = source->at;
    while (at < source->end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
        at++;
    source->at = at;
}

int source_open(struct source *source, const uint8_t *data, size_t size) {
    memset(source, 0, sizeof *source);
    source->at = data;
    source->end = data + size;
    source->json = !(size > 1 && data[0] == '{' && data[1] == 'L');
    return size > 0 && size <= UINT32_MAX;
}

int source_ended(struct source *source) {
    blanks(source);
    return !source->depth && source->at == source->end;
}

/* The type of the next item where its array has one for all, else 0. */
static uint8_t typed(const struct source *source) {
    return source->depth ? source->levels[source->depth - 1].of : 0;
}

enum kind source_kind(struct source *source) {
    if (typed(source))
        return NUMBER;
    blanks(source);
    if (source->at >= source->end)
        return BAD;
    switch (*source->at) {
    case '{':
        return OBJECT;
    case '[':
        return ARRAY;
    case '"':
        return source->json ? STRING : BAD;
    case 'S':
    case 'C':
        return source->json ? BAD : *source->at == 'S' ? STRING : OTHER;
    case 't':
    case 'f':
    case 'n':
        return source->json ? OTHER : BAD;
    case 'T':
    case 'F':
    case 'Z':
        return source->json ? BAD : OTHER;
    default:
        return source->json || bytes_of(*source->at) ? NUMBER : BAD;
    }
}

static int push(struct source *source, int object, uint64_t left, uint8_t of) {
    if (source->depth == MAX_DEPTH)
        return 0;
    source->levels[source->depth++] =
        (struct level){.left = left, .object = (uint8_t)object, .fresh = 1, .of = of};
    return 1;
}

/* A length of UBJ, for whose items there must be bytes. */
static int length(struct source *source, int item_bytes, uint64_t *size) {
    size_t left = (size_t)(source->end - source->at);
    if (left < 9 || *source->at != 'L')
        return 0;
    *size = big_endian(source->at + 1, 8);
    source->at += 9;
    return *size <= (left - 9) / (size_t)item_bytes;
}

int source_enter(struct source *source, enum kind kind) {
    if (source_kind(source) != kind)
        return 0;
    source->at++;
    if (kind == OBJECT)
        return push(source, 1, UNCOUNTED, 0);
    uint64_t count = UNCOUNTED;
    uint8_t of = 0;
    if (!source->json && source->end - source->at > 3) {
        if (*source->at == '$') {
            of = source->at[1];
            if (!bytes_of(of) || source->at[2] != '#')
                return 0;
            source->at += 3;
            if (!length(source, bytes_of(of), &count))
                return 0;
        } else if (*source->at == '#') {
            source->at++;
            if (!length(source, 1, &count))
                return 0;
        }
    }
    return push(source, 0, count, of);
}

/* Whether another item comes; where it does not, the level is left. */
static int goes_on(struct source *source) {
    struct level *level = &source->levels[source->depth - 1];
    uint8_t closing = level->object ? '}' : ']';
    int fresh = level->fresh;
    level->fresh = 0;
    if (level->left != UNCOUNTED) {
        if (level->left) {
            level->left--;
            return 1;
        }
        source->depth--;
        return 0;
    }
    blanks(source);
    if (source->at >= source->end)
        return -1;
    if (*source->at == closing) {
        source->at++;
        source->depth--;
        return 0;
    }
    if (source->json && !fresh) {
        if (*source->at != ',')
            return -1;
        source->at++;
        blanks(source);
        if (source->at >= source->end || *source->at == closing)
            return -1;
    }
    return 1;
}

int source_item(struct source *source) {
    return goes_on(source);
}

static int string_here(struct source *source, struct text *string, int *escaped) {
    *escaped = 0;
    if (!source->json) {
        uint64_t size;
        if (!length(source, 1, &size))
            return 0;
        *string = (struct text){source->at, (uint32_t)size};
        source->at += size;
        return is_utf8(string->at, string->size);
    }
    blanks(source);
    if (source->at >= source->end || *source->at != '"')
        return 0;
    const uint8_t *at = source->at + 1;
    string->at = at;
    for (; at < source->end && *at != '"'; at++) {
        if (*at < 0x20)
            return 0;
        if (*at == '\\') {
            *escaped = 1;
            if (++at >= source->end || !strchr("\"\\/bfnrtu", *at) || !*at)
                return 0;
            if (*at == 'u') {
                for (int i = 0; i < 4; i++)
                    if (++at >= source->end || !strchr("0123456789abcdefABCDEF", *at) || !*at)
                        return 0;
            }
        }
    }
    if (at >= source->end)
        return 0;
    string->size = (uint32_t)(at - string->at);
    source->at = at + 1;
    return is_utf8(string->at, string->size);
}

int source_key(struct source *source, struct text *key) {
    int more = goes_on(source), escaped;
    if (more < 1)
        return more;
    if (!string_here(source, key, &escaped) || escaped)
        return -1;
    if (source->json) {
        blanks(source);
        if (source->at >= source->end || *source->at != ':')
            return -1;
        source->at++;
    }
    return 1;
}

int source_string(struct source *source, struct text *string) {
    int escaped;
    if (source_kind(source) != STRING)
        return 0;
    if (!source->json)
        source->at++;
    return string_here(source, string, &escaped) && !escaped;
}

/* A number's bytes, with its type; `mark` is 0 in JSON. */
static int number_here(struct source *source, const uint8_t **from, uint8_t *mark, int *whole) {
    if (source->json) {
        blanks(source);
        const uint8_t *end = number_end(source->at, source->end, whole);
        if (!end)
            return 0;
        *from = source->at;
        *mark = 0;
        source->at = end;
        return 1;
    }
    uint8_t of = typed(source);
    if (!of) {
        if (source->at >= source->end)
            return 0;
        of = *source->at++;
    }
    int bytes = bytes_of(of);
    if (!bytes || source->end - source->at < bytes)
        return 0;
    *from = source->at;
    *mark = of;
    *whole = of != 'd' && of != 'D';
    source->at += bytes;
    return 1;
}

int source_whole(struct source *source, int64_t *value) {
    const uint8_t *from;
    uint8_t mark;
    int whole;
    if (source_kind(source) != NUMBER || !number_here(source, &from, &mark, &whole) || !whole)
        return 0;
    if (!mark)
        return json_whole(from, source->at, value);
    *value = whole_of(from, mark);
    return 1;
}

static int skip_other(struct source *source) {
    if (!source->json) {
        source->at += 1 + (*source->at == 'C');
        return source->at <= source->end;
    }
    static const char *const words[] = {"true", "false", "null"};
    for (int i = 0; i < 3; i++) {
        if (word_at(source->at, source->end, words[i])) {
            source->at += strlen(words[i]);
            return 1;
        }
    }
    return 0;
}

/* Skip a value that holds no others, or enter one that does. */
static int skip_one(struct source *source) {
    struct text string;
    const uint8_t *from;
    uint8_t mark;
    int ignored;
    enum kind kind = source_kind(source);
    switch (kind) {
    case OBJECT:
    case ARRAY:
        return source_enter(source, kind);
    case STRING:
        source->at += !source->json;
        return string_here(source, &string, &ignored);
    case NUMBER:
        return number_here(source, &from, &mark, &ignored);
    case OTHER:
        return skip_other(source);
    default:
        return 0;
    }
}

int source_skip(struct source *source) {
    uint32_t depth = source->depth;
    struct text key;
    if (!skip_one(source))
        return 0;
    while (source->depth > depth) {
        struct level *level = &source->levels[source->depth - 1];
        if (level->of && level->left != UNCOUNTED) { /* numbers, one after another */
            source->at += level->left * (uint64_t)bytes_of(level->of);
            level->left = 0;
        }
        int more = level->object ? source_key(source, &key) : goes_on(source);
        if (more < 0 || (more && !skip_one(source)))
            return 0;
    }
    return 1;
}

/* In place of a number, true or false, as old files have them. */
static int truth_here(struct source *source) {
    blanks(source);
    if (!source->json || source_kind(source) != OTHER || *source->at == 'n')
        return 0;
    return skip_other(source);
}

int source_numbers(struct source *source, struct view *view, int truths_too) {
    if (!source_enter(source, ARRAY))
        return 0;
    struct level *level = &source->levels[source->depth - 1];
    *view = (struct view){
        .at = source->at, .end = source->end, .of = level->of, .json = (uint8_t)source->json};
    if (level->of) {
        view->count = (uint32_t)level->left;
        source->at += level->left * (uint64_t)bytes_of(level->of);
        source->depth--;
        return 1;
    }
    const uint8_t *from;
    uint8_t mark;
    int more, whole;
    while ((more = goes_on(source)) > 0) {
        if (!(truths_too && truth_here(source)) &&
            (source_kind(source) != NUMBER || !number_here(source, &from, &mark, &whole)))
            return 0;
        view->count++;
    }
    return !more;
}

/* The numbers of a view were looked at when it was made: there are as many as it says. */
static struct source again(const struct view *view) {
    struct source source = {.at = view->at, .end = view->end, .json = view->json};
    return source;
}

static void next_number(struct source *source, const uint8_t **from, uint8_t *mark, int *whole) {
    if (source->json) {
        blanks(source);
        if (*source->at == ',')
            source->at++;
        blanks(source);
        *whole = 1;
        *from = source->at;
        *mark = *source->at == 't' ? 'T' : *source->at == 'f' ? 'F' : 0;
        if (*mark) {
            skip_other(source);
            return;
        }
    }
    number_here(source, from, mark, whole);
}

int view_whole(const struct view *view, int32_t *out) {
    struct source source = again(view);
    int bytes = bytes_of(view->of);
    if (view->of == 'd' || view->of == 'D')
        return !view->count;
    for (uint32_t i = 0; i < view->count; i++) {
        int64_t value = 0;
        if (view->of == 'l') {
            out[i] = (int32_t)big_endian(view->at + 4 * (size_t)i, 4);
            continue;
        }
        if (view->of) {
            value = whole_of(view->at + (size_t)i * (size_t)bytes, view->of);
        } else {
            const uint8_t *from;
            uint8_t mark;
            int whole;
            next_number(&source, &from, &mark, &whole);
            if (!whole || (!mark && !json_whole(from, source.at, &value)))
                return 0;
            if (mark)
                value = whole_of(from, mark);
        }
        if (value < INT32_MIN || value > INT32_MAX)
            return 0;
        out[i] = (int32_t)value;
    }
    return 1;
}

int view_floats(const struct view *view, float *out) {
    struct source source = again(view);
    size_t bytes = (size_t)bytes_of(view->of);
    for (uint32_t i = 0; i < view->count; i++) {
        if (view->of) {
            out[i] = float_of(view->at + i * bytes, view->of);
        } else {
            const uint8_t *from;
            uint8_t mark;
            int whole;
            next_number(&source, &from, &mark, &whole);
            out[i] = mark ? float_of(from, mark) : json_float(from, source.at, whole);
        }
    }
    return 1;
}
