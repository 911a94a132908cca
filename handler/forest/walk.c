/* From a row to its numbers, with the bits of XGBoost: leaves are added to the base score one after
 * another, in the order of the trees, as 32-bit floats. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "forest.h"

#define FEW_ROWS 8 /* are walked one by one */
#define BLOCK_ROWS 1024  /* that go through a tree one after another, at most */
#define BLOCK_BYTES (128 * 1024)
#define TOGETHER 8       /* rows that go on below the top at a time */
#define ROWS_FOR_A_LEVEL 2 /* a power of two */
#define FEW_GROUPS 16 /* are sorted one by one */
#define LEVELS 8         /* of a tree that are laid out for a block */
#define PLACES (1 << LEVELS)

static float as_float(uint32_t word) {
    float value;
    memcpy(&value, &word, sizeof value);
    return value;
}

/* XGBoost's rule: what is not a category goes left, and so does one that is not among them. */
static int goes_left(const uint32_t *cats, float value) {
    uint32_t words = cats[0] & ~LISTED;
    if (value < 0.0f || value >= 16777216.0f)
        return 1;
    uint32_t category = (uint32_t)value;
    if (!(cats[0] & LISTED))
        return category / 32 >= words || !(cats[1 + category / 32] >> category % 32 & 1);
    uint32_t low = 0, high = words;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (cats[1 + middle] < category)
            low = middle + 1;
        else
            high = middle;
    }
    return low == words || cats[1 + low] != category;
}

/* The leaf that a row comes to from a node; what is constant is known where it is inlined. */
static inline const uint32_t *walk(const struct forest *forest, const uint32_t *at,
                                   const float *row, const int wide, const int categories) {
    const uint32_t bits = wide ? FIELD_BITS : forest->feature_bits, mask = (1u << bits) - 1;
    for (;;) {
        uint32_t word = at[0];
        float value = row[word & mask];
        uint32_t left;
        if (categories && word & OF_CATEGORIES && value == value)
            left = (uint32_t)goes_left(forest->cats + at[1], value);
        else
            left = (value < as_float(at[1])) | ((value != value) & (word >> 31));
        uint32_t right_at = wide ? at[2] : (word & FIELD_MASK) >> bits;
        at += left ? (wide ? 3 : 2) : right_at;
        if (word & (left ? LEFT_IS_LEAF : RIGHT_IS_LEAF))
            return at;
    }
}

static const uint32_t *leaf_of(const struct forest *forest, uint32_t root, const float *row) {
    const uint32_t *at = forest->nodes + (root & ROOT_MASK);
    if (root & ROOT_IS_LEAF)
        return at;
    if (forest->feature_bits == FIELD_BITS)
        return walk(forest, at, row, 1, 1);
    return root & HAS_CATEGORIES ? walk(forest, at, row, 0, 1) : walk(forest, at, row, 0, 0);
}

static void add(const struct forest *forest, uint32_t tree, const uint32_t *leaf, float *out) {
    if (forest->leaf_words > 1) {
        for (uint32_t i = 0; i < forest->groups; i++)
            out[i] += as_float(leaf[i]);
        return;
    }
    float value = as_float(leaf[0]);
    if (forest->weights)
        value *= forest->weights[tree];
    out[forest->group ? forest->group[tree] : 0] += value;
}

/* The top of a tree for a block of rows: a node's children are at twice its place, so that no row
 * asks where it goes on, and a leaf above the last level stands for all that would be below it. */
struct top {
    struct {
        float threshold;
        uint32_t feature; /* above its lowest bit, which says that missing goes right */
    } node[PLACES];
    const uint32_t *below[PLACES]; /* where each way goes on: a node or a leaf */
    uint8_t is_leaf[PLACES];
    int levels, all_leaves;
};

static void lay_top(const struct forest *forest, uint32_t root, int most, struct top *top) {
    const uint32_t *at[2 * PLACES];
    uint8_t leaf[2 * PLACES];
    uint32_t bits = forest->feature_bits, mask = (1u << bits) - 1;
    int level = 0, deeper = !(root & ROOT_IS_LEAF);
    at[1] = forest->nodes + (root & ROOT_MASK);
    leaf[1] = !deeper;
    for (; deeper && level < most; level++) {
        deeper = 0;
        for (int place = 1 << level; place < 2 << level; place++) {
            if (leaf[place]) {
                top->node[place].threshold = 0;
                top->node[place].feature = 0;
                at[2 * place] = at[2 * place + 1] = at[place];
                leaf[2 * place] = leaf[2 * place + 1] = 1;
                continue;
            }
            uint32_t word = at[place][0];
            top->node[place].threshold = as_float(at[place][1]);
            top->node[place].feature = (word & mask) << 1 | !(word & MISSING_LEFT);
            at[2 * place] = at[place] + 2;
            at[2 * place + 1] = at[place] + ((word & FIELD_MASK) >> bits);
            leaf[2 * place] = (word & LEFT_IS_LEAF) != 0;
            leaf[2 * place + 1] = (word & RIGHT_IS_LEAF) != 0;
            deeper |= !(leaf[2 * place] && leaf[2 * place + 1]);
        }
    }
    int count = 1 << level;
    top->levels = level;
    top->all_leaves = 1;
    for (int i = 0; i < count; i++) {
        top->below[i] = at[count + i];
        top->is_leaf[i] = leaf[count + i];
        top->all_leaves &= leaf[count + i];
    }
}

/* Where so many rows leave the top. Constants are known where it is inlined. */
static inline void places_in(const struct top *top, const float *rows, size_t width, size_t count,
                             const int levels, const int missing, uint16_t *places) {
    for (size_t i = 0; i < count; i++, rows += width) {
        uint32_t place = 1;
        for (int level = 0; level < levels; level++) {
            uint32_t feature = top->node[place].feature;
            float value = rows[feature >> 1];
            uint32_t right = !(value < top->node[place].threshold);
            if (missing)
                right &= (uint32_t)(value == value) | feature;
            place = 2 * place + right;
        }
        places[i] = (uint16_t)(place - (1u << levels));
    }
}

static void leave_top(const struct top *top, const float *rows, size_t width, size_t count,
                      int missing, uint16_t *places) {
#define OF(levels)                                                                                 \
    case levels:                                                                                   \
        if (missing)                                                                               \
            places_in(top, rows, width, count, levels, 1, places);                                 \
        else                                                                                       \
            places_in(top, rows, width, count, levels, 0, places);                                 \
        return;
    switch (top->levels) {
        OF(0) OF(1) OF(2) OF(3) OF(4) OF(5) OF(6) OF(7) OF(8)
    }
#undef OF
}

/* Several rows go on together from the top to their leaves: those that are there wait. */
static void walk_together(const struct forest *forest, const uint32_t **at, uint32_t *there,
                          const float *rows) {
    uint32_t bits = forest->feature_bits, mask = (1u << bits) - 1, width = forest->features, all;
    do {
        all = 1;
        for (int i = 0; i < TOGETHER; i++) {
            uint32_t word = there[i] ? 0 : at[i][0];
            float value = rows[(size_t)i * width + (word & mask)];
            uint32_t left = (value < as_float(at[i][1])) | ((value != value) & (word >> 31));
            uint32_t on = left ? 2 : (word & FIELD_MASK) >> bits;
            at[i] += there[i] ? 0 : on;
            there[i] |= word & (left ? LEFT_IS_LEAF : RIGHT_IS_LEAF);
            all &= there[i] != 0;
        }
    } while (!all);
}

static void add_leaves(const struct forest *forest, uint32_t tree, const uint32_t *const *leaves,
                       size_t count, float *out) {
    if (forest->groups == 1 && !forest->weights) {
        for (size_t i = 0; i < count; i++)
            out[i] += as_float(leaves[i][0]);
        return;
    }
    for (size_t i = 0; i < count; i++)
        add(forest, tree, leaves[i], out + i * forest->groups);
}

/* A level costs twice the last one, whatever the rows, and saves each row the same. */
static int levels_for(size_t rows) {
    int levels = 0;
    while (levels < LEVELS && rows >> (levels + ROWS_FOR_A_LEVEL))
        levels++;
    return levels;
}

static void block(const struct forest *forest, const float *rows, size_t count, int missing,
                  float *out) {
    struct top top;
    int levels = levels_for(count);
    uint16_t places[BLOCK_ROWS];
    const uint32_t *at[BLOCK_ROWS];
    size_t width = forest->features;
    for (uint32_t tree = 0; tree < forest->trees; tree++) {
        uint32_t root = forest->roots[tree];
        if (root & HAS_CATEGORIES || forest->feature_bits == FIELD_BITS) {
            for (size_t i = 0; i < count; i++)
                at[i] = leaf_of(forest, root, rows + i * width);
            add_leaves(forest, tree, at, count, out);
            continue;
        }
        lay_top(forest, root, levels, &top);
        leave_top(&top, rows, width, count, missing, places);
        for (size_t i = 0; i < count; i++)
            at[i] = top.below[places[i]];
        size_t first = top.all_leaves ? count : 0;
        for (; first + TOGETHER <= count; first += TOGETHER) {
            uint32_t there[TOGETHER];
            for (int i = 0; i < TOGETHER; i++)
                there[i] = top.is_leaf[places[first + i]];
            walk_together(forest, at + first, there, rows + first * width);
        }
        for (; first < count; first++)
            if (!top.is_leaf[places[first]])
                at[first] = walk(forest, at[first], rows + first * width, 0, 0);
        add_leaves(forest, tree, at, count, out);
    }
}

static int any_missing(const float *rows, size_t count) {
    int any = 0;
    for (size_t i = 0; i < count; i++)
        any |= rows[i] != rows[i];
    return any;
}

/* So many rows that they stay in the cache while all trees are asked. */
static size_t rows_at_once(const struct forest *forest) {
    size_t rows = BLOCK_BYTES / (sizeof(float) * (forest->features + forest->groups));
    return rows < 64 ? 64 : rows < BLOCK_ROWS ? rows : BLOCK_ROWS;
}

static void blocks(const struct forest *forest, const float *rows, size_t count, float *out) {
    size_t step = rows_at_once(forest), width = forest->features;
    for (size_t i = 0; i < count; i += step) {
        size_t some = count - i < step ? count - i : step;
        const float *first = rows + i * width;
        block(forest, first, some, any_missing(first, some * width), out + i * forest->groups);
    }
}

static float logistic(float margin) {
    float power = -margin < 88.7f ? -margin : 88.7f;
    return 1.0f / (expf(power) + 1.0f + 1e-16f);
}

static void softmax(float *row, uint32_t count) {
    float most = row[0];
    double sum = 0;
    for (uint32_t i = 1; i < count; i++)
        most = fmaxf(row[i], most);
    for (uint32_t i = 0; i < count; i++) {
        row[i] = expf(row[i] - most);
        sum += row[i];
    }
    for (uint32_t i = 0; i < count; i++)
        row[i] /= (float)sum;
}

static uint32_t place_of_most(const float *row, uint32_t count) {
    uint32_t place = 0;
    for (uint32_t i = 0; i < count; i++)
        if (row[i] > row[place])
            place = i;
    return place;
}

static int compare(const void *one, const void *other) {
    float a, b;
    memcpy(&a, one, sizeof a);
    memcpy(&b, other, sizeof b);
    return (a > b) - (a < b);
}

static void sort(float *row, uint32_t count) {
    if (count > FEW_GROUPS) {
        qsort(row, count, sizeof *row, compare);
        return;
    }
    for (uint32_t i = 1; i < count; i++) {
        float value = row[i];
        uint32_t place = i;
        for (; place > 0 && row[place - 1] > value; place--)
            row[place] = row[place - 1];
        row[place] = value;
    }
}

/* Margins become what the objective says, in place; one number a row moves to the front. */
static void transform(const struct forest *forest, float *out, size_t rows) {
    uint32_t groups = forest->groups;
    size_t count = rows * groups;
    switch (forest->link) {
    case LINK_LOGISTIC:
        for (size_t i = 0; i < count; i++)
            out[i] = logistic(out[i]);
        return;
    case LINK_EXP:
        for (size_t i = 0; i < count; i++)
            out[i] = expf(out[i]);
        return;
    case LINK_EXP_OF_DOUBLE:
        for (size_t i = 0; i < count; i++)
            out[i] = (float)exp((double)out[i]);
        return;
    case LINK_HINGE:
        for (size_t i = 0; i < count; i++)
            out[i] = out[i] > 0.0f ? 1.0f : 0.0f;
        return;
    case LINK_SOFTMAX:
        for (size_t i = 0; i < rows; i++)
            out[i] = (float)place_of_most(out + i * groups, groups);
        return;
    case LINK_SOFTPROB:
        for (size_t i = 0; i < rows; i++)
            softmax(out + i * groups, groups);
        return;
    case LINK_SORTED:
        for (size_t i = 0; i < rows; i++)
            sort(out + i * groups, groups);
        return;
    case LINK_NONE:
        return;
    }
}

uint32_t forest_outputs(const struct forest *forest, int margin) {
    return forest->link == LINK_SOFTMAX && !margin ? 1 : forest->groups;
}

void forest_predict(const struct forest *forest, const float *rows, size_t count, int margin,
                    float *out) {
    size_t width = forest->features;
    for (size_t i = 0; i < count; i++)
        memcpy(out + i * forest->groups, forest->base, forest->groups * sizeof *out);
    if (count < FEW_ROWS) {
        for (size_t i = 0; i < count; i++)
            for (uint32_t tree = 0; tree < forest->trees; tree++)
                add(forest, tree, leaf_of(forest, forest->roots[tree], rows + i * width),
                    out + i * forest->groups);
    } else {
        blocks(forest, rows, count, out);
    }
    if (!margin)
        transform(forest, out, count);
}

void forest_mark_missing(const struct forest *forest, float *rows, size_t count) {
    if (isnan(forest->missing))
        return;
    for (size_t i = 0; i < count * forest->features; i++)
        if (rows[i] == forest->missing)
            rows[i] = NAN;
}
