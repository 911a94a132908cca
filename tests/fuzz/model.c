/* Any bytes as a model: what the reader takes predicts, the same whether rows come one by one or
 * many at once; and it is not much larger than the bytes were. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "forest.h"

#define ROWS 75       /* blocks of 64 and what is left, in eights and ones */
#define MOST_CELLS 20000 /* of all rows, or of all answers */
#define TIMES 24      /* that a forest may be as large as its file */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int truth) {
    if (!truth)
        abort();
}

static float some_value(uint64_t *state) {
    static const float edges[] = {0.0f,  -0.0f,  1.0f,        -1.0f,       0.5f,  31.0f,
                                  32.0f, 1e-45f, -1e-45f,     3e38f,       -3e38f, 65536.0f,
                                  1e6f,  4e5f,   16777215.0f, 16777216.0f, 1e10f};
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    uint32_t number = (uint32_t)(*state >> 33);
    if (number % 5 == 0)
        return NAN;
    if (number % 5 == 1)
        return edges[number / 5 % (sizeof edges / sizeof *edges)];
    return (float)(number % 4001) / 100.0f - 20.0f;
}

static void predict_all(const struct forest *forest) {
    size_t width = forest->features, groups = forest->groups;
    if (width * ROWS > MOST_CELLS || groups * ROWS > MOST_CELLS)
        return;
    float *rows = malloc(width * ROWS * sizeof *rows);
    float *one = malloc(groups * ROWS * sizeof *one), *many = malloc(groups * ROWS * sizeof *many);
    uint64_t state = forest->bytes;
    must(rows && one && many);
    for (size_t i = 0; i < width * ROWS; i++)
        rows[i] = some_value(&state);
    forest_mark_missing(forest, rows, ROWS);
    for (int margin = 0; margin < 2; margin++) {
        size_t outputs = forest_outputs(forest, margin);
        must(outputs == 1 || outputs == groups);
        forest_predict(forest, rows, ROWS, margin, many);
        for (size_t i = 0; i < ROWS; i++) {
            forest_predict(forest, rows + i * width, 1, margin, one);
            must(outputs != groups || !memcmp(one, many + i * groups, groups * sizeof *one));
        }
    }
    free(rows);
    free(one);
    free(many);
}

static void within(const uint8_t *data, size_t size, struct text text) {
    must(text.at >= data && text.size <= size && text.at + text.size <= data + size);
}

static void read_as(const uint8_t *data, size_t size, struct wish wish) {
    struct forest *forest;
    struct about about;
    enum refusal refusal = forest_read(data, size, &wish, &forest, &about);
    must((refusal == GROWN) == (forest != NULL));
    if (forest) {
        must(forest->bytes <= TIMES * size + 1024);
        must(!about.names || about.names == about.features);
        within(data, size, about.objective);
        for (uint32_t i = 0; i < about.names; i++)
            within(data, size, about.name_of[i]);
        for (uint32_t i = 0; i < about.types; i++)
            within(data, size, about.type_of[i]);
        predict_all(forest);
    }
    free(forest);
    about_free(&about);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    read_as(data, size, (struct wish){.runtime = {3, 4}, .missing = NAN});
    read_as(data, size, (struct wish){.runtime = {3, 2}, .rounds = 1, .missing = 0.0f});
    return 0;
}
