"""What is slow the first time is done once, in the process that all others are forked from."""

from pathlib import Path

from handler.artifact import Artifact
from handler.formats import Format
from handler.trial import check

# One tree of one split on one feature, as XGBoost 3.2 writes it.
_MODEL = (
    b'{"learner":{"attributes":{},"feature_names":[],"feature_types":[],"gradient_booster":{"mod'
    b'el":{"cats":{"enc":[],"feature_segments":[],"sorted_idx":[]},"gbtree_model_param":{"num_pa'
    b'rallel_tree":"1","num_trees":"1"},"iteration_indptr":[0,1],"tree_info":[0],"trees":[{"base'
    b'_weights":[-0.0,-0.075,0.075],"categories":[],"categories_nodes":[],"categories_segments":'
    b'[],"categories_sizes":[],"default_left":[0,0,0],"id":0,"left_children":[1,-1,-1],"loss_cha'
    b'nges":[0.25,0.0,0.0],"parents":[2147483647,0,0],"right_children":[2,-1,-1],"split_conditio'
    b'ns":[1.0,-0.075,0.075],"split_indices":[0,0,0],"split_type":[0,0,0],"sum_hessian":[2.0,1.0'
    b',1.0],"tree_param":{"num_deleted":"0","num_feature":"1","num_nodes":"3","size_leaf_vector"'
    b':"1"}}]},"name":"gbtree"},"learner_model_param":{"base_score":"[5E-1]","boost_from_average'
    b'":"0","num_class":"0","num_feature":"1","num_target":"1"},"objective":{"name":"reg:squared'
    b'error","reg_loss_param":{"scale_pos_weight":"1"}}},"version":[3,2,0]}'
)


def warm_up() -> None:
    """Load a small model and predict with it."""
    check(Artifact(Path("warm-up.json"), Format.JSON, _MODEL))
