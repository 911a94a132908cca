#include "number.h"

#include <stdlib.h>
#include <string.h>

#define MOST_DIGITS 512
#define MOST_OF_WHOLE 18 /* of more, XGBoost makes another number */

uint64_t big_endian(const uint8_t *at, int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}

/* Bytes of a number of UBJ, 0 for what is none. */
int bytes_of(uint8_t mark) {
    switch (mark) {
    case 'i':
    case 'U':
        return 1;
    case 'I':
        return 2;
    case 'l':
    case 'd':
        return 4;
    case 'L':
    case 'D':
        return 8;
    default:
        return 0;
    }
}

int64_t whole_of(const uint8_t *at, uint8_t mark) {
    switch (mark) {
    case 'i':
        return (int8_t)at[0];
    case 'U':
        return at[0];
    case 'T': /* true or false, of JSON */
    case 'F':
        return mark == 'T';
    case 'I':
        return (int16_t)big_endian(at, 2);
    case 'l':
        return (int32_t)big_endian(at, 4);
    default:
        return (int64_t)big_endian(at, 8);
    }
}

float float_of(const uint8_t *at, uint8_t mark) {
    if (mark == 'd') {
        uint32_t bits = (uint32_t)big_endian(at, 4);
        float value;
        memcpy(&value, &bits, sizeof value);
        return value;
    }
    if (mark == 'D') {
        uint64_t bits = big_endian(at, 8);
        double value;
        memcpy(&value, &bits, sizeof value);
        return (float)value;
    }
    return (float)whole_of(at, mark);
}

int is_utf8(const uint8_t *at, size_t size) {
    const uint8_t *end = at + size;
    while (at < end) {
        uint8_t first = *at++;
        if (first < 0x80)
            continue;
        int more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
        if (first < 0xC2 || first > 0xF4 || end - at < more)
            return 0;
        uint8_t low = 0x80, high = 0xBF;
        if (first == 0xE0)
            low = 0xA0;
        else if (first == 0xED)
            high = 0x9F;
        else if (first == 0xF0)
            low = 0x90;
        else if (first == 0xF4)
            high = 0x8F;
        if (*at < low || *at > high)
            return 0;
        for (at++; --more; at++)
            if (*at < 0x80 || *at > 0xBF)
                return 0;
    }
    return 1;
}

int text_is(struct text text, const char *word) {
    return text.size == strlen(word) && !memcmp(text.at, word, text.size);
}

int text_whole(struct text text, uint32_t *value) {
    uint64_t number = 0;
    if (!text.size || text.size > 10)
        return 0;
    for (uint32_t i = 0; i < text.size; i++) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return 0;
        number = number * 10 + (text.at[i] - '0');
    }
    *value = (uint32_t)number;
    return number <= UINT32_MAX;
}

/* Numbers of JSON: the end of one that begins at `at`, or NULL. */
static const uint8_t *digits(const uint8_t *at, const uint8_t *end) {
    const uint8_t *from = at;
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return at > from ? at : NULL;
}

int word_at(const uint8_t *at, const uint8_t *end, const char *word) {
    size_t size = strlen(word);
    return (size_t)(end - at) >= size && !memcmp(at, word, size);
}

const uint8_t *number_end(const uint8_t *at, const uint8_t *end, int *whole) {
    const uint8_t *from = at;
    *whole = 0;
    if (word_at(at, end, "NaN"))
        return at + 3;
    if (at < end && *at == '-')
        at++;
    const uint8_t *first = at;
    if (!(at = digits(at, end)) || (*first == '0' && at > first + 1))
        return NULL;
    *whole = 1;
    if (at < end && *at == '.') {
        *whole = 0;
        if (!(at = digits(at + 1, end)))
            return NULL;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        *whole = 0;
        at++;
        if (at < end && (*at == '+' || *at == '-'))
            at++;
        if (!(at = digits(at, end)))
            return NULL;
    }
    if (*whole && at - first > MOST_OF_WHOLE)
        return NULL;
    return at - from < MOST_DIGITS ? at : NULL;
}

int json_whole(const uint8_t *at, const uint8_t *end, int64_t *value) {
    int negative = *at == '-';
    int64_t number = 0;
    at += negative;
    if (end - at > 18)
        return 0;
    for (; at < end; at++)
        number = number * 10 + (*at - '0');
    *value = negative ? -number : number;
    return 1;
}

float json_float(const uint8_t *at, const uint8_t *end, int whole) {
    int64_t number;
    char copy[MOST_DIGITS];
    if (whole && json_whole(at, end, &number)) /* also of -0, as XGBoost has it */
        return (float)number;
    memcpy(copy, at, (size_t)(end - at));
    copy[end - at] = 0;
    return strtof(copy, NULL);
}
