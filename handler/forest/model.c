#include "model.h"

#include <stdlib.h>
#include <string.h>

/* Each key that is looked for is taken once: of several, who knows which one counts. */
typedef int (*reader)(struct source *source, struct model *model, void *into);
struct field {
    const char *key;
    reader read;
    size_t at; /* in what `into` points to */
};

static int fields(struct source *source, struct model *model, void *into,
                  const struct field *known, uint32_t *seen) {
    struct text key;
    int more;
    *seen = 0;
    if (!source_enter(source, OBJECT))
        return 0;
    while ((more = source_key(source, &key)) > 0) {
        const struct field *field = known;
        while (field->key && !text_is(key, field->key))
            field++;
        uint32_t bit = 1u << (field - known);
        if (!field->key) {
            if (!source_skip(source))
                return 0;
        } else if (*seen & bit || !field->read(source, model, (char *)into + field->at)) {
            return 0;
        }
        *seen |= field->key ? bit : 0;
    }
    return !more;
}

static int a_text(struct source *source, struct model *model, void *into) {
    (void)model;
    return source_string(source, into);
}

static int a_number(struct source *source, struct model *model, void *into) {
    struct text text;
    (void)model;
    return source_string(source, &text) && text_whole(text, into);
}

static int an_array(struct source *source, struct model *model, void *into) {
    (void)model;
    return source_numbers(source, into, 0);
}

static int truths(struct source *source, struct model *model, void *into) {
    (void)model;
    return source_numbers(source, into, 1);
}

static int its_number(struct source *source, struct model *model, void *into) {
    int64_t number;
    uint32_t expected = model->trees; /* of the tree that is being read */
    (void)into;
    return source_whole(source, &number) && number == expected;
}

static int tree_parameters(struct source *source, struct model *model, void *into) {
    static const struct field known[] = {
        {"num_nodes", a_number, offsetof(struct tree, nodes)},
        {"num_deleted", a_number, offsetof(struct tree, deleted)},
        {"size_leaf_vector", a_number, offsetof(struct tree, leaf_size)},
        {NULL, NULL, 0},
    };
    uint32_t seen;
    return fields(source, model, into, known, &seen) && (seen & 5) == 5;
}

static int one_tree(struct source *source, struct model *model, struct tree *tree) {
#define ARRAY_OF(key, member) {key, an_array, offsetof(struct tree, member)}
    static const struct field known[] = {
        {"tree_param", tree_parameters, 0},
        {"id", its_number, 0},
        ARRAY_OF("left_children", left),
        ARRAY_OF("right_children", right),
        ARRAY_OF("parents", parents),
        ARRAY_OF("split_indices", features),
        ARRAY_OF("split_conditions", thresholds),
        {"default_left", truths, offsetof(struct tree, default_left)},
        ARRAY_OF("base_weights", base_weights),
        ARRAY_OF("loss_changes", loss_changes),
        ARRAY_OF("sum_hessian", sum_hessian),
        ARRAY_OF("split_type", kinds),
        ARRAY_OF("categories_nodes", cat_nodes),
        ARRAY_OF("categories_segments", cat_starts),
        ARRAY_OF("categories_sizes", cat_sizes),
        ARRAY_OF("categories", cats),
        ARRAY_OF("leaf_weights", leaves),
        {NULL, NULL, 0},
    };
#undef ARRAY_OF
    uint32_t seen;
    memset(tree, 0, sizeof *tree);
    if (!fields(source, model, tree, known, &seen) || (seen & 0x7ff) != 0x7ff)
        return 0;
    uint32_t of_categories = seen >> 11 & 0x1f; /* all of it, or nothing */
    return !of_categories || of_categories == 0x1f;
}

static int all_trees(struct source *source, struct model *model, void *into) {
    uint32_t room = 0;
    int more;
    (void)into;
    if (model->tree || !source_enter(source, ARRAY))
        return 0; /* there are two such arrays, in two places */
    while ((more = source_item(source)) > 0) {
        if (model->trees == room) {
            room = room ? 2 * room : 32;
            struct tree *larger = realloc(model->tree, room * sizeof *larger);
            if (!larger)
                return 0;
            model->tree = larger;
        }
        if (!one_tree(source, model, &model->tree[model->trees]))
            return 0;
        model->trees++;
    }
    return !more;
}

static int forest_parameters(struct source *source, struct model *model, void *into) {
    static const struct field known[] = {
        {"num_trees", a_number, offsetof(struct model, noted)},
        {"num_parallel_tree", a_number, offsetof(struct model, parallel)},
        {NULL, NULL, 0},
    };
    uint32_t seen;
    (void)into;
    return fields(source, model, model, known, &seen) && seen & 1;
}

static int the_forest(struct source *source, struct model *model, void *into) {
    static const struct field known[] = {
        {"gbtree_model_param", forest_parameters, 0},
        {"trees", all_trees, 0},
        {"tree_info", an_array, offsetof(struct model, info)},
        {"iteration_indptr", an_array, offsetof(struct model, rounds)},
        {"weight_drop", an_array, offsetof(struct model, weights)},
        {NULL, NULL, 0},
    };
    uint32_t seen;
    (void)into;
    return fields(source, model, model, known, &seen) && (seen & 7) == 7;
}

static int inner_booster(struct source *source, struct model *model, void *into) {
    static const struct field known[] = {
        {"model", the_forest, 0},
        {NULL, NULL, 0},
    };
    uint32_t seen;
    (void)into;
    return fields(source, model, model, known, &seen) && seen;
}

static int booster(struct source *source, struct model *model, void *into) {
    static const struct field known[] = {
        {"name", a_text, offsetof(struct model, booster)},
        {"model", the_forest, 0},
        {"gbtree", inner_booster, 0},
        {"weight_drop", an_array, offsetof(struct model, weights)},
        {NULL, NULL, 0},
    };
    uint32_t seen;
    (void)into;
    if (!fields(source, model, model, known, &seen))
        return 0;
    if (text_is(model->booster, "gbtree"))
        return seen == 3;
    return text_is(model->booster, "dart") && seen == 13;
}

static int parameters(struct source *source, struct model *model, void *into) {
    static const struct field known[] = {
        {"num_feature", a_number, offsetof(struct model, about.features)},
        {"num_class", a_number, offsetof(struct model, about.classes)},
        {"base_score", a_text, offsetof(struct model, base)},
        {"num_target", a_number, offsetof(struct model, about.targets)},
        {NULL, NULL, 0},
    };
    uint32_t seen;
    (void)into;
    model->about.targets = 1;
    return fields(source, model, model, known, &seen) && (seen & 7) == 7;
}

static int softmax_parameters(struct source *source, struct model *model, void *into) {
    static const struct field known[] = {
        {"num_class", a_number, offsetof(struct model, softmax)},
        {NULL, NULL, 0},
    };
    uint32_t seen;
    (void)into;
    return fields(source, model, model, known, &seen);
}

static int objective(struct source *source, struct model *model, void *into) {
    static const struct field known[] = {
        {"name", a_text, offsetof(struct model, about.objective)},
        {"softmax_multiclass_param", softmax_parameters, 0},
        {NULL, NULL, 0},
    };
    uint32_t seen;
    (void)into;
    return fields(source, model, model, known, &seen) && seen & 1;
}

static int texts(struct source *source, struct text **texts, uint32_t *count) {
    uint32_t room = 0;
    int more;
    if (!source_enter(source, ARRAY))
        return 0;
    while ((more = source_item(source)) > 0) {
        if (*count == room) {
            room = room ? 2 * room : 16;
            struct text *larger = realloc(*texts, room * sizeof *larger);
            if (!larger)
                return 0;
            *texts = larger;
        }
        if (!source_string(source, &(*texts)[*count]))
            return 0;
        ++*count;
    }
    return !more;
}

static int names(struct source *source, struct model *model, void *into) {
    (void)into;
    return texts(source, &model->about.name_of, &model->about.names);
}

static int types(struct source *source, struct model *model, void *into) {
    (void)into;
    return texts(source, &model->about.type_of, &model->about.types);
}

static int learner(struct source *source, struct model *model, void *into) {
    static const struct field known[] = {
        {"learner_model_param", parameters, 0},
        {"gradient_booster", booster, 0},
        {"objective", objective, 0},
        {"feature_names", names, 0},
        {"feature_types", types, 0},
        {NULL, NULL, 0},
    };
    uint32_t seen;
    (void)into;
    return fields(source, model, model, known, &seen) && (seen & 7) == 7;
}

static int version(struct source *source, struct model *model, void *into) {
    struct view view;
    int32_t numbers[3];
    (void)into;
    if (!source_numbers(source, &view, 0) || view.count != 3 || !view_whole(&view, numbers))
        return 0;
    for (int i = 0; i < 3; i++) {
        if (numbers[i] < 0)
            return 0;
        model->about.version[i] = (uint32_t)numbers[i];
    }
    return 1;
}

int model_read(struct model *model, const uint8_t *data, size_t size) {
    static const struct field known[] = {
        {"learner", learner, 0},
        {"version", version, 0},
        {NULL, NULL, 0},
    };
    struct source source;
    uint32_t seen;
    memset(model, 0, sizeof *model);
    return source_open(&source, data, size) && fields(&source, model, model, known, &seen) &&
           seen == 3 && source_ended(&source);
}

void about_free(struct about *about) {
    free(about->name_of);
    free(about->type_of);
    about->name_of = about->type_of = NULL;
}

void model_free(struct model *model) {
    free(model->tree);
    model->tree = NULL;
}
