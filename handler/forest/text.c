/* Rows from text that is plain: numbers and their separators. Whatever else there is, the general
 * readers take or refuse with the place of the mistake; what is read here has their values. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "forest.h"

#define MOST_CELLS (25 * 1024 * 1024)
#define MOST_CHARACTERS 400 /* of a number */
#define EXACT 9007199254740992u
#define MOST_TENS 22

static const double tens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                              1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                              1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static int is_digit(uint8_t byte) {
    return byte >= '0' && byte <= '9';
}

static int is_blank(uint8_t byte) {
    return byte == ' ' || byte == '\t';
}

/* The number that begins at `at`, rounded to 64 bits and then to 32, as numpy does it; where it
 * ends, or NULL. A double that is a small whole number times a small power of ten is exact. */
static const uint8_t *number(const uint8_t *at, const uint8_t *end, float *value) {
    const uint8_t *from = at;
    uint64_t whole = 0;
    int tens_of = 0, figures = 0, negative = 0, any = 0;
    if (at < end && (*at == '-' || *at == '+'))
        negative = *at++ == '-';
    for (; at < end && is_digit(*at); at++, any = 1) {
        whole = whole * 10 + (*at - '0');
        figures += whole != 0;
    }
    if (at < end && *at == '.') {
        for (at++; at < end && is_digit(*at); at++, any = 1) {
            whole = whole * 10 + (*at - '0');
            figures += whole != 0;
            tens_of--;
        }
    }
    if (!any)
        return NULL;
    if (at < end && (*at == 'e' || *at == 'E')) {
        int power = 0, minus = 0;
        at++;
        if (at < end && (*at == '-' || *at == '+'))
            minus = *at++ == '-';
        if (at == end || !is_digit(*at))
            return NULL;
        for (; at < end && is_digit(*at); at++)
            power = power < 100000 ? power * 10 + (*at - '0') : power;
        tens_of += minus ? -power : power;
    }
    double exact;
    if (figures < 19 && whole <= EXACT && tens_of >= -MOST_TENS && tens_of <= MOST_TENS) {
        exact = (double)whole;
        exact = tens_of < 0 ? exact / tens[-tens_of] : exact * tens[tens_of];
        exact = negative ? -exact : exact;
    } else {
        char copy[MOST_CHARACTERS];
        if (at - from >= MOST_CHARACTERS)
            return NULL;
        memcpy(copy, from, (size_t)(at - from));
        copy[at - from] = 0;
        exact = strtod(copy, NULL);
    }
    *value = (float)exact;
    return isfinite(*value) ? at : NULL;
}

static size_t lines_of(const uint8_t *text, const uint8_t *end) {
    size_t lines = 1;
    while ((text = memchr(text, '\n', (size_t)(end - text)))) {
        text++;
        lines++;
    }
    return lines;
}

static const uint8_t *without_last_end(const uint8_t *text, const uint8_t *end) {
    if (end > text && end[-1] == '\n')
        end--;
    if (end > text && end[-1] == '\r')
        end--;
    return end;
}

/* Past the end of a line, or to the end of all; NULL if neither is here. */
static const uint8_t *line_end(const uint8_t *at, const uint8_t *end) {
    if (at == end)
        return at;
    if (*at == '\r' && at + 1 < end && at[1] == '\n')
        at++;
    return *at == '\n' ? at + 1 : NULL;
}

typedef const uint8_t *(*row_reader)(const uint8_t *at, const uint8_t *end, uint32_t features,
                                     uint32_t base, float *row);

/* All rows of so many lines, or NULL. */
static float *all_rows(row_reader read, const uint8_t *at, const uint8_t *end, size_t lines,
                       uint32_t features, uint32_t base, size_t *count) {
    float *rows = malloc(lines * features * sizeof *rows);
    size_t row = 0;
    for (; rows && row < lines; row++) {
        at = read(at, end, features, base, rows + row * features);
        if (!at)
            break;
    }
    if (row < lines || at != end) {
        free(rows);
        return NULL;
    }
    *count = lines;
    return rows;
}

static const uint8_t *csv_row(const uint8_t *at, const uint8_t *end, uint32_t features,
                              uint32_t base, float *row) {
    int any = 0;
    (void)base;
    for (uint32_t column = 0; column < features; column++) {
        if (column) {
            if (at == end || *at != ',')
                return NULL;
            at++;
        }
        while (at < end && is_blank(*at))
            at++;
        if (at < end && *at != ',' && *at != '\n' && *at != '\r') {
            if (!(at = number(at, end, &row[column])))
                return NULL;
            any = 1;
            while (at < end && is_blank(*at))
                at++;
        } else {
            row[column] = NAN;
        }
    }
    return any || features > 1 ? line_end(at, end) : NULL;
}

float *csv_rows(const uint8_t *text, size_t size, uint32_t features, size_t *count) {
    const uint8_t *at = text, *end = without_last_end(text, text + size);
    size_t lines = lines_of(text, end);
    *count = 0;
    if (at == end || lines > (size + 1) / features + 1)
        return NULL; /* a row has a byte for each feature at least, but for the last */
    return all_rows(csv_row, at, end, lines, features, 0, count);
}

static const uint8_t *libsvm_pair(const uint8_t *at, const uint8_t *end, uint32_t features,
                                  uint32_t base, float *row) {
    const uint8_t *from = at;
    uint32_t index = 0;
    float value;
    for (; at < end && is_digit(*at) && at - from < 9; at++)
        index = index * 10 + (*at - '0');
    if (at == from || at == end || *at != ':' || index < base || index - base >= features)
        return NULL;
    if (!isnan(row[index - base]))
        return NULL; /* it comes twice */
    at = number(at + 1, end, &value);
    if (at)
        row[index - base] = value;
    return at;
}

static const uint8_t *libsvm_row(const uint8_t *at, const uint8_t *end, uint32_t features,
                                 uint32_t base, float *row) {
    for (uint32_t i = 0; i < features; i++)
        row[i] = NAN;
    for (int tokens = 0;; tokens++) {
        while (at < end && is_blank(*at))
            at++;
        if (at == end || *at == '\n' || *at == '\r')
            return tokens ? line_end(at, end) : NULL;
        const uint8_t *from = at;
        float label;
        if (tokens || !(at = number(at, end, &label)) || (at < end && *at == ':'))
            at = libsvm_pair(from, end, features, base, row);
        if (!at || (at < end && !is_blank(*at) && *at != '\n' && *at != '\r'))
            return NULL;
    }
}

float *libsvm_rows(const uint8_t *text, size_t size, uint32_t features, uint32_t base,
                   size_t *count) {
    const uint8_t *at = text, *end = without_last_end(text, text + size);
    size_t lines = lines_of(text, end);
    *count = 0;
    if (at == end || lines > MOST_CELLS / features)
        return NULL;
    return all_rows(libsvm_row, at, end, lines, features, base, count);
}
