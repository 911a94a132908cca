/* Numbers and texts as UBJ and JSON have them. */
#ifndef MME_NUMBER_H
#define MME_NUMBER_H

#include "source.h"

uint64_t big_endian(const uint8_t *at, int bytes);
/* Bytes of a number of UBJ, 0 for what is none; its value. */
int bytes_of(uint8_t mark);
int64_t whole_of(const uint8_t *at, uint8_t mark);
float float_of(const uint8_t *at, uint8_t mark);

int is_utf8(const uint8_t *at, size_t size);
int word_at(const uint8_t *at, const uint8_t *end, const char *word);
/* The end of a number of JSON that begins at `at`, or NULL; its value. */
const uint8_t *number_end(const uint8_t *at, const uint8_t *end, int *whole);
int json_whole(const uint8_t *at, const uint8_t *end, int64_t *value);
float json_float(const uint8_t *at, const uint8_t *end, int whole);

#endif
