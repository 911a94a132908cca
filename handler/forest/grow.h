/* From a document to a forest: what grow.c, objective.c and tree.c share. */
#ifndef MME_GROW_H
#define MME_GROW_H

#include "model.h"

#define MOST_WORDS (1u << 30) /* that a root can be at */

/* One tree's numbers, in room for the largest. */
struct nodes {
    int32_t *left, *right, *parents, *features, *default_left, *kinds;
    float *thresholds;
    uint32_t *split; /* where a node's categories are */
    int32_t *stack;
    uint32_t *patch;
    int32_t *at, *starts, *sizes, *cats;
    float *leaves;
    uint8_t *taken; /* a vector of leaves, by one of them */
};

struct grower {
    const struct model *model;
    struct forest *forest; /* NULL until its size is known */
    struct nodes nodes;
    int wide;
    uint32_t used, cats_used; /* words */
    uint32_t cats_room;
    uint32_t *cats;
    int vectors;
};

struct known_objective {
    const char *name;
    enum link link;
    enum { SCORE, PROBABILITY, POSITIVE } base; /* what its base score is */
};

/* What XGBoost makes of margins and base scores; NULL: the forest does not know the objective. */
const struct known_objective *objective_of(const struct model *model);
enum link objective_link(const struct known_objective *objective, const struct wish *wish);
/* The base scores as margins, one for each group; 0: XGBoost would not have them. */
int objective_base(const struct model *model, const struct known_objective *objective, float *base);

int all_finite(const float *values, uint32_t count);
/* Room for some numbers, also for none. */
void *some(size_t count, size_t bytes);
int tree_room(struct grower *grower);
void tree_free_room(struct nodes *nodes);
/* Whether all that a tree says of its nodes is as long as it has nodes. */
int tree_alike(const struct tree *tree);
/* Put a tree behind those that are there already. */
enum refusal tree_put(struct grower *grower, const struct tree *tree, uint32_t *root, int *too_far);

#endif
