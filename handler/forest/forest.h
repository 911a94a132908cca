/* A model's trees, flat: read once from XGBoost's file, then walked.
 *
 * Trees are words of 32 bits in one row, a tree after another, each in the order in which it is
 * walked: an inner node, all of its left side, all of its right side. So a left child is the next
 * word, a right child a few words on, and an inner node takes two words:
 *
 *   word 0   31 missing goes left | 30 the left child is a leaf | 29 the right child is a leaf |
 *            28 the split is of categories | 27..0 the feature and, above its bits, how many words
 *            on the right child is
 *   word 1   the threshold as a float, or where the categories are
 *   word 2   in wide forests alone: how many words on the right child is
 *
 * A leaf is one float, or one for each output where leaves are vectors.
 */
#ifndef MME_FOREST_H
#define MME_FOREST_H

#include <stddef.h>
#include <stdint.h>

enum {
    MISSING_LEFT = 1u << 31,
    LEFT_IS_LEAF = 1 << 30,
    RIGHT_IS_LEAF = 1 << 29,
    OF_CATEGORIES = 1 << 28,
};
#define FIELD_BITS 28
#define FIELD_MASK ((1u << FIELD_BITS) - 1)

/* A root that is a leaf, and a tree with splits of categories: in the roots. */
#define ROOT_IS_LEAF (1u << 31)
#define HAS_CATEGORIES (1u << 30)
#define ROOT_MASK (HAS_CATEGORIES - 1)

/* A split's categories: how many words follow, and whether they are a sorted list or bits. */
#define LISTED (1u << 31)

/* What becomes of margins. */
enum link {
    LINK_NONE,
    LINK_LOGISTIC,
    LINK_EXP,
    LINK_EXP_OF_DOUBLE,
    LINK_HINGE,
    LINK_SOFTMAX,
    LINK_SOFTPROB,
    LINK_SORTED,
};

struct forest {
    size_t bytes;       /* of all of it */
    uint32_t features;  /* that a row has */
    uint32_t groups;    /* numbers that a row's margins are */
    uint32_t trees;
    uint32_t leaf_words;   /* 1, or groups where leaves are vectors */
    uint32_t feature_bits; /* of a field; FIELD_BITS in wide forests */
    enum link link;
    float missing;          /* the number that stands for a missing value, or NaN */
    const float *base;      /* [groups] */
    const uint32_t *roots;  /* [trees], in words of nodes */
    const uint32_t *group;  /* [trees], or NULL where there is one group or leaves are vectors */
    const float *weights;   /* [trees], or NULL */
    const uint32_t *cats;   /* all categories of all splits */
    const uint32_t *nodes;
};

/* Why there is no forest. */
enum refusal {
    GROWN = 0,
    NOT_FOR_US,     /* damaged, or what XGBoost alone does */
    NO_MEMORY,
};

struct text {
    const uint8_t *at;
    uint32_t size;
};

/* What a file says of itself beside its trees; texts are in the file's bytes. */
struct about {
    struct text objective;
    uint32_t version[3];
    uint32_t features, classes, targets;
    uint32_t names, types;          /* how many */
    struct text *name_of, *type_of; /* to be freed */
};

struct wish {
    uint32_t runtime[2]; /* the XGBoost whose bits are wanted: major, minor */
    uint32_t rounds;     /* that count, from the first; 0 for all */
    float missing;
};

/* Read a model of UBJ or JSON. What it gives must be freed, `about` by about_free, whatever the
 * answer is. `data` must have one readable byte behind its end, which is not looked at as content. */
enum refusal forest_read(const uint8_t *data, size_t size, const struct wish *wish,
                         struct forest **grown, struct about *about);
void about_free(struct about *about);

/* The outputs of rows: room for rows * groups floats in out, of which rows * forest_outputs are
 * the answer. A missing value is NaN. */
uint32_t forest_outputs(const struct forest *forest, int margin);
void forest_predict(const struct forest *forest, const float *rows, size_t count, int margin,
                    float *out);
/* What stands for a missing value becomes NaN. */
void forest_mark_missing(const struct forest *forest, float *rows, size_t count);

/* Rows from text, if it is plain: count is 0 where it is not, for the general reader to look at.
 * The rows are to be freed. */
float *csv_rows(const uint8_t *text, size_t size, uint32_t features, size_t *count);
float *libsvm_rows(const uint8_t *text, size_t size, uint32_t features, uint32_t base,
                   size_t *count);

#endif
