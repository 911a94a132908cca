/* One tree: every index is looked at once, and nothing is taken on trust. What is not as XGBoost
 * writes it is not for us. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "grow.h"

#define NO_FEATURE 0x7fffffff /* of a node that was pruned away */
#define NO_PARENT 0x7fffffff
#define MOST_CATEGORIES (1 << 24)

int tree_alike(const struct tree *tree) {
    const struct view *of_node[] = {&tree->left,         &tree->right,       &tree->parents,
                                    &tree->features,     &tree->thresholds,  &tree->default_left,
                                    &tree->loss_changes, &tree->sum_hessian, &tree->kinds};
    for (int i = 0; i < 9; i++)
        if (of_node[i]->count != tree->nodes && of_node[i]->at)
            return 0;
    uint32_t weights = tree->base_weights.count;
    return tree->nodes > 0 &&
           (weights == tree->nodes || (tree->leaf_size > 1 && weights > tree->nodes));
}

void *some(size_t count, size_t bytes) {
    return malloc(count * bytes + 1);
}

int tree_room(struct grower *grower) {
    const struct model *model = grower->model;
    struct nodes *nodes = &grower->nodes;
    size_t most = 0, listed = 0, cats = 0, leaves = 0;
    for (uint32_t i = 0; i < model->trees; i++) {
        const struct tree *tree = &model->tree[i];
        most = tree->nodes > most ? tree->nodes : most;
        listed = tree->cat_nodes.count > listed ? tree->cat_nodes.count : listed;
        cats = tree->cats.count > cats ? tree->cats.count : cats;
        leaves = tree->leaves.count > leaves ? tree->leaves.count : leaves;
    }
    int32_t **of_node[] = {&nodes->left,         &nodes->right, &nodes->parents, &nodes->features,
                           &nodes->default_left, &nodes->kinds, &nodes->stack};
    int32_t **of_split[] = {&nodes->at, &nodes->starts, &nodes->sizes};
    int enough = 1;
    for (int i = 0; i < 7; i++)
        enough &= (*of_node[i] = some(most, sizeof(int32_t))) != NULL;
    for (int i = 0; i < 3; i++)
        enough &= (*of_split[i] = some(listed, sizeof(int32_t))) != NULL;
    enough &= (nodes->thresholds = some(most, sizeof(float))) != NULL;
    enough &= (nodes->split = some(most, sizeof(uint32_t))) != NULL;
    enough &= (nodes->patch = some(most, sizeof(uint32_t))) != NULL;
    enough &= (nodes->cats = some(cats, sizeof(int32_t))) != NULL;
    enough &= (nodes->leaves = some(leaves, sizeof(float))) != NULL;
    enough &= (nodes->taken = some(most, 1)) != NULL;
    return enough;
}

void tree_free_room(struct nodes *nodes) {
    void *all[] = {nodes->left,  nodes->right,  nodes->parents, nodes->features,
                   nodes->default_left, nodes->kinds, nodes->thresholds, nodes->split,
                   nodes->stack, nodes->patch, nodes->at, nodes->starts, nodes->sizes,
                   nodes->cats,  nodes->leaves, nodes->taken};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static int add_cats(struct grower *grower, uint32_t words) {
    uint64_t needed = (uint64_t)grower->cats_used + words;
    if (needed > grower->cats_room) {
        uint64_t larger = 2 * needed;
        uint32_t *cats = larger < MOST_WORDS ? realloc(grower->cats, larger * sizeof *cats) : NULL;
        if (!cats)
            return 0;
        grower->cats = cats;
        grower->cats_room = (uint32_t)larger;
    }
    return 1;
}

static int by_size(const void *one, const void *other) {
    int32_t a = *(const int32_t *)one, b = *(const int32_t *)other;
    return (a > b) - (a < b);
}

/* One split's categories: as bits, or as a sorted list where that is shorter. */
static int put_cats(struct grower *grower, int32_t *cats, uint32_t count) {
    qsort(cats, count, sizeof *cats, by_size);
    if (!count || cats[0] < 0 || cats[count - 1] >= MOST_CATEGORIES)
        return 0;
    uint32_t words = (uint32_t)cats[count - 1] / 32 + 1;
    int listed = count < words;
    words = listed ? count : words;
    if (!add_cats(grower, 1 + words))
        return 0;
    uint32_t *into = grower->cats + grower->cats_used;
    *into++ = words | (listed ? LISTED : 0);
    memset(into, 0, words * sizeof *into);
    for (uint32_t i = 0; i < count; i++) {
        if (listed)
            into[i] = (uint32_t)cats[i];
        else
            into[cats[i] / 32] |= 1u << cats[i] % 32;
    }
    grower->cats_used += 1 + words;
    return 1;
}

/* Which splits are of categories, and where these are. */
static int splits(struct grower *grower, const struct tree *tree, int *of_categories) {
    struct nodes *nodes = &grower->nodes;
    uint32_t categorical = 0, listed = tree->cat_nodes.count;
    *of_categories = 0;
    if (!tree->kinds.at) {
        memset(nodes->kinds, 0, tree->nodes * sizeof *nodes->kinds);
        return !listed && !tree->cats.count;
    }
    if (!view_whole(&tree->kinds, nodes->kinds))
        return 0;
    for (uint32_t i = 0; i < tree->nodes; i++) {
        if (nodes->kinds[i] != 0 && nodes->kinds[i] != 1)
            return 0;
        categorical += nodes->kinds[i]; /* also where pruning has made a leaf of the split */
    }
    if (categorical != listed || tree->cat_starts.count != listed || tree->cat_sizes.count != listed ||
        (!listed && tree->cats.count))
        return 0;
    if (!listed)
        return 1;
    *of_categories = 1;
    if (!view_whole(&tree->cat_nodes, nodes->at) || !view_whole(&tree->cat_starts, nodes->starts) ||
        !view_whole(&tree->cat_sizes, nodes->sizes) || !view_whole(&tree->cats, nodes->cats))
        return 0;
    int64_t next = 0; /* each split's are behind the last one's: so they cannot become many */
    for (uint32_t i = 0; i < listed; i++) {
        int64_t at = nodes->at[i], start = nodes->starts[i], size = nodes->sizes[i];
        if (at < 0 || at >= tree->nodes || (i && at <= nodes->at[i - 1]) || start != next ||
            size < 1 || start + size > tree->cats.count || !nodes->kinds[at])
            return 0;
        nodes->split[at] = grower->cats_used;
        if (!put_cats(grower, nodes->cats + start, (uint32_t)size))
            return 0;
        next += size;
    }
    return next == tree->cats.count;
}

/* Whether what no way leads to is what was pruned away, as XGBoost counts it. */
static int pruned(const struct nodes *nodes, const struct tree *tree, uint32_t found) {
    uint32_t deleted = 0;
    for (uint32_t i = 1; i < tree->nodes; i++)
        deleted += nodes->features[i] == NO_FEATURE && nodes->default_left[i];
    return deleted == tree->deleted && tree->nodes - found == deleted;
}

int all_finite(const float *values, uint32_t count) {
    int finite = 1;
    for (uint32_t i = 0; i < count; i++)
        finite &= isfinite(values[i]) != 0;
    return finite;
}

static int put_leaf(struct grower *grower, const struct tree *tree, int32_t node, uint32_t *into) {
    struct nodes *nodes = &grower->nodes;
    if (!grower->vectors) {
        memcpy(into, &nodes->thresholds[node], sizeof *into);
        return isfinite(nodes->thresholds[node]);
    }
    uint32_t words = grower->forest->leaf_words;
    int64_t leaf = nodes->right[node];
    if (leaf < 0 || (leaf + 1) * words > tree->leaves.count || nodes->taken[leaf])
        return 0;
    nodes->taken[leaf] = 1;
    memcpy(into, nodes->leaves + leaf * words, words * sizeof *into);
    return all_finite(nodes->leaves + leaf * words, words);
}

static int put_split(struct grower *grower, const struct tree *tree, int32_t node,
                     uint32_t *into) {
    struct nodes *nodes = &grower->nodes;
    int64_t left = nodes->left[node], right = nodes->right[node], count = tree->nodes;
    int32_t feature = nodes->features[node];
    if (left < 1 || left >= count || right < 1 || right >= count || left == right ||
        nodes->parents[left] != node || nodes->parents[right] != node)
        return 0;
    if (feature < 0 || (uint32_t)feature >= grower->forest->features)
        return 0;
    uint32_t word = (uint32_t)feature;
    word |= nodes->default_left[node] ? MISSING_LEFT : 0;
    word |= nodes->left[left] == -1 ? LEFT_IS_LEAF : 0;
    word |= nodes->left[right] == -1 ? RIGHT_IS_LEAF : 0;
    if (nodes->kinds[node]) {
        word |= OF_CATEGORIES;
        into[1] = nodes->split[node];
    } else {
        if (!isfinite(nodes->thresholds[node]))
            return 0;
        memcpy(&into[1], &nodes->thresholds[node], sizeof *into);
    }
    into[0] = word;
    return 1;
}

static int read_tree(struct grower *grower, const struct tree *tree, int *of_categories) {
    struct nodes *nodes = &grower->nodes;
    if (!view_whole(&tree->left, nodes->left) || !view_whole(&tree->right, nodes->right) ||
        !view_whole(&tree->parents, nodes->parents) ||
        !view_whole(&tree->features, nodes->features) ||
        !view_whole(&tree->default_left, nodes->default_left))
        return 0;
    view_floats(&tree->thresholds, nodes->thresholds);
    if (grower->vectors) {
        view_floats(&tree->leaves, nodes->leaves);
        memset(nodes->taken, 0, tree->nodes);
    }
    for (uint32_t i = 0; i < tree->nodes; i++)
        if (nodes->default_left[i] != 0 && nodes->default_left[i] != 1)
            return 0;
    if (nodes->parents[0] != -1 && nodes->parents[0] != NO_PARENT)
        return 0;
    return splits(grower, tree, of_categories);
}

/* Put a tree in the order in which it is walked. As a child names its parent, and a parent its two
 * children, no node is met twice, and what goes round in a circle is not met at all. */
enum refusal tree_put(struct grower *grower, const struct tree *tree, uint32_t *root,
                      int *too_far) {
    struct forest *forest = grower->forest;
    struct nodes *nodes = &grower->nodes;
    uint32_t *words = (uint32_t *)forest->nodes;
    uint32_t split_words = grower->wide ? 3 : 2, found = 0, waiting = 0;
    int of_categories;
    if (!read_tree(grower, tree, &of_categories))
        return NOT_FOR_US;
    *root = grower->used | (nodes->left[0] == -1 ? ROOT_IS_LEAF : 0) |
            (of_categories ? HAS_CATEGORIES : 0);
    int32_t node = 0;
    for (;;) {
        found++;
        if (nodes->left[node] != -1) {
            if (!put_split(grower, tree, node, words + grower->used))
                return NOT_FOR_US;
            nodes->stack[waiting] = node;
            nodes->patch[waiting++] = grower->used;
            grower->used += split_words;
            node = nodes->left[node];
            continue;
        }
        if (!put_leaf(grower, tree, node, words + grower->used))
            return NOT_FOR_US;
        grower->used += forest->leaf_words;
        if (!waiting)
            break;
        uint32_t at = nodes->patch[--waiting], on = grower->used - at;
        if (grower->wide)
            words[at + 2] = on;
        else if (on >> (FIELD_BITS - forest->feature_bits))
            *too_far = 1;
        else
            words[at] |= on << forest->feature_bits;
        node = nodes->right[nodes->stack[waiting]];
    }
    return pruned(nodes, tree, found) ? GROWN : NOT_FOR_US;
}
