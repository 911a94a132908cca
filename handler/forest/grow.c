/* The trees of a document become a forest. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "grow.h"

#define MOST_FEATURES (1u << 24)

/* How many words the trees take; each has one leaf more than splits. 0: too many, or none. */
static uint64_t count_words(struct grower *grower, uint32_t leaf_words) {
    uint64_t words = 0;
    for (uint32_t i = 0; i < grower->model->trees; i++) {
        const struct tree *tree = &grower->model->tree[i];
        if (!view_whole(&tree->left, grower->nodes.left))
            return 0;
        uint64_t inner = 0;
        for (uint32_t node = 0; node < tree->nodes; node++)
            inner += grower->nodes.left[node] != -1;
        if (grower->vectors && (inner + 1) * leaf_words != tree->leaves.count)
            return 0;
        words += inner * (grower->wide ? 3 : 2) + (inner + 1) * leaf_words;
    }
    return words < MOST_WORDS ? words : 0;
}

/* Trees that count: of the first rounds, or all. 0 where there are not so many rounds. */
static uint32_t trees_of(const struct model *model, uint32_t rounds) {
    if (model->rounds.at) {
        uint32_t last = model->rounds.count, trees = 0;
        int32_t *starts = last ? some(last, sizeof *starts) : NULL;
        if (!starts)
            return 0;
        int right = view_whole(&model->rounds, starts) && starts[0] == 0 &&
                    (uint32_t)starts[last - 1] == model->trees;
        for (uint32_t i = 1; right && i < last; i++)
            right = starts[i] >= starts[i - 1];
        if (right && rounds < last)
            trees = rounds ? (uint32_t)starts[rounds] : model->trees;
        free(starts);
        return trees;
    }
    uint64_t wanted = (uint64_t)rounds * model->groups * (model->parallel ? model->parallel : 1);
    if (!rounds)
        return model->trees;
    return wanted <= model->trees ? (uint32_t)wanted : 0;
}

static int sound(struct model *model) {
    struct about *about = &model->about;
    uint32_t leaf_size = model->trees ? model->tree[0].leaf_size : 0;
    model->groups = about->classes > about->targets ? about->classes : about->targets;
    model->groups = model->groups ? model->groups : 1;
    if (!model->trees || model->noted != model->trees || model->info.count != model->trees)
        return 0;
    if (!about->features || about->features > MOST_FEATURES || model->groups > MOST_FEATURES)
        return 0;
    if ((about->classes > 1 && about->targets > 1) || !about->targets)
        return 0;
    if ((about->names && about->names != about->features) ||
        (about->types && about->types != about->features))
        return 0;
    if (model->weights.at && model->weights.count != model->trees)
        return 0;
    if (leaf_size > 1 && (leaf_size != model->groups || model->weights.at))
        return 0;
    for (uint32_t i = 0; i < model->trees; i++) {
        const struct tree *tree = &model->tree[i];
        if (!tree_alike(tree) || (tree->leaf_size != leaf_size && (leaf_size > 1 || tree->leaf_size > 1)))
            return 0;
        if (leaf_size > 1 && !tree->leaves.at)
            return 0;
        if (!tree->kinds.at != !model->tree[0].kinds.at)
            return 0;
    }
    return leaf_size > 1 || model->groups <= model->trees;
}

/* To which output each tree belongs: each of them has one, unless leaves have all. */
static int set_groups(const struct model *model, int vectors, uint32_t *group) {
    uint32_t groups = vectors ? 1 : model->groups, met = 0;
    int32_t *info = some(model->trees, sizeof *info);
    uint8_t *seen = calloc(groups, 1);
    int right = info && seen && view_whole(&model->info, info);
    for (uint32_t i = 0; right && i < model->trees; i++) {
        right = info[i] >= 0 && (uint32_t)info[i] < groups;
        if (right && !seen[info[i]])
            met += seen[info[i]] = 1;
        if (right && group)
            group[i] = (uint32_t)info[i];
    }
    free(info);
    free(seen);
    return right && met == groups;
}

static size_t aligned(size_t bytes) {
    return (bytes + 7) & ~(size_t)7;
}

/* One block of memory: the forest, its tables, its nodes; categories are put behind when known. */
static struct forest *lay(const struct model *model, struct forest like, uint64_t words) {
    int grouped = like.groups > 1 && like.leaf_words == 1;
    size_t base = aligned(sizeof like), roots = base + 4 * (size_t)like.groups;
    size_t group = roots + 4 * (size_t)model->trees;
    size_t weights = group + (grouped ? 4 * (size_t)model->trees : 0);
    size_t nodes = weights + (model->weights.at ? 4 * (size_t)model->trees : 0);
    size_t bytes = nodes + 4 * (size_t)words + 4; /* who waits at the last leaf reads a word more */
    char *block = malloc(bytes);
    if (!block)
        return NULL;
    struct forest *forest = (struct forest *)block;
    *forest = like;
    forest->bytes = bytes;
    forest->base = (float *)(block + base);
    forest->roots = (uint32_t *)(block + roots);
    forest->group = grouped ? (uint32_t *)(block + group) : NULL;
    forest->weights = model->weights.at ? (float *)(block + weights) : NULL;
    forest->nodes = (uint32_t *)(block + nodes);
    forest->cats = NULL;
    return forest;
}

static const void *moved(const void *at, const struct forest *from, const struct forest *to) {
    return at ? (const char *)to + ((const char *)at - (const char *)from) : NULL;
}

static struct forest *with_cats(struct grower *grower) {
    struct forest *old = grower->forest;
    size_t cats = 4 * (size_t)grower->cats_used;
    if (!cats)
        return old;
    struct forest *forest = malloc(old->bytes + cats);
    if (!forest)
        return NULL;
    memcpy(forest, old, old->bytes);
    forest->base = moved(old->base, old, forest);
    forest->roots = moved(old->roots, old, forest);
    forest->group = moved(old->group, old, forest);
    forest->weights = moved(old->weights, old, forest);
    forest->nodes = moved(old->nodes, old, forest);
    forest->cats = (const uint32_t *)((char *)forest + old->bytes);
    memcpy((char *)forest + old->bytes, grower->cats, cats);
    forest->bytes += cats;
    free(old);
    return forest;
}

static uint32_t bits_for(uint32_t features) {
    uint32_t bits = 1;
    while ((features - 1) >> bits)
        bits++;
    return bits;
}

static enum refusal grow(struct grower *grower, struct forest like,
                         const struct known_objective *objective, int *too_far) {
    const struct model *model = grower->model;
    like.feature_bits = grower->wide ? FIELD_BITS : bits_for(like.features);
    uint64_t words = count_words(grower, like.leaf_words);
    if (!words)
        return NOT_FOR_US;
    struct forest *forest = grower->forest = lay(model, like, words);
    if (!forest)
        return NO_MEMORY;
    if (!objective_base(model, objective, (float *)forest->base) ||
        !set_groups(model, grower->vectors, (uint32_t *)forest->group))
        return NOT_FOR_US;
    if (forest->weights) {
        view_floats(&model->weights, (float *)forest->weights);
        if (!all_finite(forest->weights, model->trees))
            return NOT_FOR_US;
    }
    grower->used = grower->cats_used = 0;
    for (uint32_t i = 0; i < model->trees; i++) { /* also of rounds that do not count */
        uint32_t *root = (uint32_t *)forest->roots + i;
        enum refusal refusal = tree_put(grower, &model->tree[i], root, too_far);
        if (refusal)
            return refusal;
    }
    struct forest *whole = with_cats(grower);
    if (!whole)
        return NO_MEMORY;
    grower->forest = whole;
    return GROWN;
}

static enum refusal read_forest(const struct wish *wish, struct model *model,
                                struct forest **grown) {
    const struct known_objective *objective = objective_of(model);
    if (!objective || !sound(model))
        return NOT_FOR_US;
    struct grower grower = {.model = model};
    struct forest like = {
        .features = model->about.features,
        .groups = model->groups,
        .trees = trees_of(model, wish->rounds),
        .leaf_words = model->tree[0].leaf_size > 1 ? model->groups : 1,
        .link = objective_link(objective, wish),
        .missing = wish->missing,
    };
    grower.vectors = like.leaf_words > 1;
    int of_classes = like.link == LINK_SOFTMAX || like.link == LINK_SOFTPROB;
    if (!like.trees || of_classes != (model->about.classes > 1) ||
        (of_classes && model->softmax != model->about.classes))
        return NOT_FOR_US;
    enum refusal refusal = NO_MEMORY;
    if (tree_room(&grower)) {
        int too_far = 0;
        refusal = grow(&grower, like, objective, &too_far);
        if (!refusal && too_far) {
            free(grower.forest);
            grower.forest = NULL;
            grower.wide = 1;
            refusal = grow(&grower, like, objective, &too_far);
        }
    }
    tree_free_room(&grower.nodes);
    free(grower.cats);
    if (refusal)
        free(grower.forest);
    else
        *grown = grower.forest;
    return refusal;
}

enum refusal forest_read(const uint8_t *data, size_t size, const struct wish *wish,
                         struct forest **grown, struct about *about) {
    struct model model;
    enum refusal refusal = NOT_FOR_US;
    *grown = NULL;
    if (model_read(&model, data, size))
        refusal = read_forest(wish, &model, grown);
    model_free(&model);
    *about = model.about;
    return refusal;
}
