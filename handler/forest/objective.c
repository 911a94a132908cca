/* Objectives: what becomes of a base score and of margins, as XGBoost has it. */
#include <math.h>
#include <string.h>

#include "grow.h"

#define EPSILON 1e-6f /* XGBoost's kRtEps */

static const struct known_objective objectives[] = {
    {"reg:squarederror", LINK_NONE, SCORE},
    {"reg:linear", LINK_NONE, SCORE},
    {"reg:squaredlogerror", LINK_NONE, SCORE},
    {"reg:pseudohubererror", LINK_NONE, SCORE},
    {"reg:absoluteerror", LINK_NONE, SCORE},
    {"reg:quantileerror", LINK_NONE, SCORE},
    {"reg:logistic", LINK_LOGISTIC, PROBABILITY},
    {"binary:logistic", LINK_LOGISTIC, PROBABILITY},
    {"binary:logitraw", LINK_NONE, SCORE},
    {"binary:hinge", LINK_HINGE, SCORE},
    {"reg:gamma", LINK_EXP, POSITIVE},
    {"reg:tweedie", LINK_EXP, POSITIVE},
    {"count:poisson", LINK_EXP, POSITIVE},
    {"survival:cox", LINK_EXP, POSITIVE},
    {"survival:aft", LINK_EXP_OF_DOUBLE, POSITIVE},
    {"multi:softmax", LINK_SOFTMAX, SCORE},
    {"multi:softprob", LINK_SOFTPROB, SCORE},
    {"rank:ndcg", LINK_NONE, SCORE},
    {"rank:pairwise", LINK_NONE, SCORE},
    {"rank:map", LINK_NONE, SCORE},
    {NULL, LINK_NONE, SCORE},
};

const struct known_objective *objective_of(const struct model *model) {
    const struct known_objective *one = objectives;
    while (one->name && !text_is(model->about.objective, one->name))
        one++;
    return one->name ? one : NULL;
}

/* Quantiles come in their order since 3.4. */
enum link objective_link(const struct known_objective *objective, const struct wish *wish) {
    int since = wish->runtime[0] > 3 || (wish->runtime[0] == 3 && wish->runtime[1] >= 4);
    if (!strcmp(objective->name, "reg:quantileerror") && since)
        return LINK_SORTED;
    return objective->link;
}

static float margin_of(float score, const struct known_objective *objective) {
    if (objective->base == PROBABILITY) {
        float low = score > EPSILON ? score : EPSILON;
        float within = low < 1.0f - EPSILON ? low : 1.0f - EPSILON;
        return -logf(1.0f / within - 1.0f);
    }
    return objective->base == POSITIVE ? logf(score) : score;
}

static int base_scores(const struct model *model, struct view *view) {
    struct source source = {
        .at = model->base.at, .end = model->base.at + model->base.size, .json = 1};
    if (source_kind(&source) == ARRAY)
        return source_numbers(&source, view, 0) && source_ended(&source) && view->count;
    *view = (struct view){.at = source.at, .end = source.end, .count = 1, .json = 1};
    return source_kind(&source) == NUMBER && source_skip(&source) && source_ended(&source);
}

int objective_base(const struct model *model, const struct known_objective *objective,
                   float *base) {
    struct view view;
    uint32_t groups = model->groups;
    if (!base_scores(model, &view) || (view.count != 1 && view.count != groups))
        return 0;
    view_floats(&view, base);
    for (uint32_t i = view.count; i < groups; i++)
        base[i] = base[0];
    for (uint32_t i = 0; i < groups; i++) {
        if (!isfinite(base[i]))
            return 0;
        if (objective->base == PROBABILITY && !(base[i] >= 0.0f && base[i] <= 1.0f))
            return 0;
        if (objective->base == POSITIVE && !(base[i] > 0.0f))
            return 0;
        base[i] = margin_of(base[i], objective);
    }
    return 1;
}
