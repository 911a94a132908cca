/* What a document of XGBoost holds, before its trees are grown. */
#ifndef MME_MODEL_H
#define MME_MODEL_H

#include "source.h"

struct tree {
    uint32_t nodes, deleted, leaf_size;
    struct view left, right, parents, features, thresholds, default_left;
    struct view kinds, cat_nodes, cat_starts, cat_sizes, cats;
    struct view leaves;
    struct view base_weights, loss_changes, sum_hessian; /* XGBoost wants them there */
};

struct model {
    struct about about;
    struct text booster;
    struct text base; /* the text in which the base score is, or a list of them */
    uint32_t groups;
    uint32_t softmax; /* classes, as the objective has them */
    uint32_t trees, parallel, noted; /* noted: as many as the file says there are */
    struct tree *tree;
    struct view info, rounds, weights;
};

int model_read(struct model *model, const uint8_t *data, size_t size);
void model_free(struct model *model);

#endif
