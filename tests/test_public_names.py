"""Public names, arguments and attributes of results that earlier versions had still work."""

import dataclasses
import inspect
import typing

import pytest

import routestat

#: Every public function and class with its parameters.
PARAMETERS = {
    "Alphabet": "n_experts top_k",
    "Context": "sources",
    "Counts": "states routers contexts tables tokens documents clusters note",
    "Router": "layer n_experts top_k name",
    "Rows": "target n_targets group columns groups",
    "Trace": "meta documents sources n_tokens columns complete units template not_measured dummy_rows",
    "TraceMeta": "routers name model dataset source licence engine precision slot_order window extra",
    "TraceWriter": "path meta append shard_rows",
    "adjust": "p_values method",
    "adjust_log10": "log10_p method",
    "beyond_token_types": "strata rng n_swaps level",
    "cell_tests": "tables",
    "choose_order": "bits tokens level",
    "clustered_order": "strata",
    "coactivation": "pairs inclusions tokens top_k null level documents",
    "compare_laws": "a b paired per_token",
    "compare_transitions": "a b paired per_token",
    "conditional_information_interval": "strata level",
    "conditional_mutual_information": "table estimator base",
    "correlate": "a b method",
    "count": "trace layers contexts groups states memory threads progress",
    "count_paths": "trace layers n_paths capacity progress",
    "enough": "loads tokens rng tables documents draws load_target bits_target ranking_target",
    "entropy": "counts estimator base",
    "find_biclusters": "tables rng method matrix most slots",
    "fit_chain": "first counts alpha layers n_experts top_k states second orders design_effects",
    "fit_concentration": "rows symmetric",
    "fit_law": "counts",
    "fit_second_order": "table alpha strength",
    "foresee": "chain layer history ahead level rng draws",
    "half_splits": "loads rng tokens n_splits level",
    "held_out": "rows ladders forward",
    "homogeneity": "tables layers level",
    "horizons": "steps direct farthest level progress",
    "independence": "table",
    "independence_experts": "tables source_inclusions target_inclusions tokens",
    "jensen_shannon": "p q base",
    "k_best_paths": "initial transitions n_paths",
    "layer_map": "pair_tables layers top_k level",
    "layer_window": "reach",
    "load_balance": "counts tokens top_k",
    "load_chain": "path",
    "log_evidence": "counts alpha",
    "minimal_effect": "tables threshold level",
    "moved_cells": "a b paired",
    "mutual_information": "table estimator base",
    "mutual_information_interval": "tables level",
    "order_tests": "strata n_documents rng resamples",
    "permutation_p": "a b rng paired n_resamples",
    "profile_matrix": "profiles method diagonal",
    "rao_scott": "tables",
    "resolve_alpha": "rows alpha",
    "save_chain": "chain path factorised",
    "spectral_blocks": "table n_blocks rng matrix",
    "stratified_independence": "strata",
    "transition_posterior": "counts alpha grouped",
    "unseen": "counts",
    "within_documents": "tables expected level documents slots",
}

#: What functions return, by attribute.
ATTRIBUTES = {
    "beyond_token_types": (
        "beyond_bits high kept_bits kept_high kept_low log10_p low n_swaps n_tokens n_types p reason "
        "standard_error swap_sd_bits"
    ),
    "cell_tests": "columns log10_p log10_q reason rows z",
    "choose_order": "chosen gains log_loss",
    "clustered_order": "log10_p_clustered n_groups n_strata n_tokens note nu p_clustered reason",
    "coactivation": (
        "bits bits_plugin difference expected experts lift log10_p log10_p_clustered log10_q "
        "n_experts n_groups n_tokens note nu null observed p_clustered reason top_k z"
    ),
    "compare_laws": (
        "chi2 cramers_v cramers_v_corrected design_effect dof g jsd_bits jsd_bits_high jsd_bits_low "
        "jsd_bits_plugin log10_p_clustered log10_p_iid n_a n_b n_groups_a n_groups_b note nu "
        "p_clustered p_first_order paired reason share_a share_b shared total_variation "
        "total_variation_chance"
    ),
    "compare_transitions": "conditional joint",
    "conditional_information_interval": (
        "high level low mi_bits mi_bits_plugin n n_groups reason standard_error"
    ),
    "count": (
        "clusters contexts documents groups n_clusters n_documents n_tokens note routers source "
        "states table tables tokens"
    ),
    "count_paths": "documents error n_distinct n_tokens routers states tokens",
    "enough": (
        "ahead information load mi_bits_endless mi_bits_plugin n_documents n_groups n_tokens note "
        "ranking_documents ranking_groups ranking_target ranking_tau reason sizes"
    ),
    "find_biclusters": "are_real blocks design_effect explained information log10_evidence null number stability",
    "fit_chain": (
        "alpha concentration counts design_effects first gap_after initial layers log_evidence "
        "n_experts note order orders own_law own_prior posterior predict priors second states top_k "
        "transition transitions"
    ),
    "fit_law": "base fitted law",
    "fit_second_order": (
        "base contexts counts dense fitted law laws n_befores posterior row starts targets weight weights"
    ),
    "foresee": "high layer level low n_tokens note order probability",
    "half_splits": (
        "design_effect error_clustered error_iid level n_groups n_splits note p_histogram "
        "pooled_clustered pooled_design_effect pooled_error_clustered pooled_error_iid "
        "pooled_first_order pooled_iid rate_clustered rate_first_order rate_iid reading reason"
    ),
    "held_out": "bits fitted forward_bits tokens",
    "homogeneity": "conditional_entropy information layers level n_groups n_tokens note reason",
    "horizons": (
        "chain_bits difference_bits direct_bits discrepancy_bits horizons level log10_p_all "
        "log10_p_clustered log10_p_combined mean_chain_bits mean_difference_bits mean_direct_bits "
        "mean_discrepancy_bits n_groups n_replicates n_tokens note nu p_all p_clustered p_combined "
        "reason reasons sparse"
    ),
    "independence": (
        "adjusted_residuals chi2 columns cramers_v cramers_v_corrected design_effect dof expected g "
        "gk_lambda gk_lambda_reverse gk_tau gk_tau_reverse log10_p_chi2 log10_p_clustered "
        "log10_p_clustered_first_order log10_p_g mi_bits n n_groups note nu p_chi2 p_clustered "
        "p_clustered_first_order p_g reason residuals rows summary theils_u theils_u_reverse"
    ),
    "independence_experts": (
        "columns lift log10_p_clustered mi_bits_plugin n n_groups note nu p_clustered reason rows summary"
    ),
    "k_best_paths": "log2_probability n_requested probability states",
    "layer_map": (
        "cramers_v_corrected design_effect layers log10_p_clustered log10_q_clustered mi_bits "
        "mi_bits_high mi_bits_low mi_bits_plugin p_clustered reasons scarce"
    ),
    "load_balance": (
        "coefficient_of_variation dead_experts entropy_bits load load_gini load_high load_low "
        "load_max_over_mean n_groups n_tokens reason share top_k"
    ),
    "load_chain": (
        "alpha concentration counts design_effects first gap_after initial layers log_evidence "
        "n_experts note order orders own_law own_prior posterior predict priors second states top_k "
        "transition transitions"
    ),
    "minimal_effect": "high log10_p low n_groups note p reason threshold v",
    "moved_cells": "cell difference log10_p log10_q log2_ratio moved reason share_a share_b standard_error t",
    "mutual_information_interval": "high level low mi_bits mi_bits_plugin n n_groups reason standard_error",
    "order_tests": (
        "bic_documents bic_tokens chi2 dof g log10_p_chi2_iid log10_p_g_iid n_documents n_strata "
        "n_tokens note p_resampled_iid reason resampled_g_mean resampled_g_sd resamples"
    ),
    "rao_scott": (
        "chi2 chi2_first_order ddf dof eigenvalues f n n_groups ndf note p p_first_order reason summary"
    ),
    "spectral_blocks": (
        "column_labels column_order matrix method n_blocks n_column_blocks n_paired n_row_blocks "
        "reason row_labels row_order share_of_mi"
    ),
    "stratified_independence": "log10_p_clustered n_groups n_strata n_tokens note nu p_clustered reason",
    "transition_posterior": (
        "alpha concentration design_effect interval log_evidence mean mode note sample sd summary"
    ),
    "unseen": "at_least coverage n_groups n_kinds once reason seen twice",
    "within_documents": (
        "caution high log10_p_clustered low mi_bits mi_bits_plugin n_groups note nu p_clustered "
        "reason standard_error"
    ),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_arguments(name):
    """Positional arguments keep their order; an argument that has another name now is taken by its earlier one too."""
    now = inspect.signature(getattr(routestat, name)).parameters
    former = PARAMETERS[name].split()
    assert not set(former) - set(now)
    kept = [each for each in now if each in former and now[each].kind is not inspect.Parameter.KEYWORD_ONLY]
    assert kept == [each for each in former if each in kept]
    assert all(
        p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        for each, p in now.items()
        if each not in former
    )


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_attributes_of_results(name):
    result = typing.get_type_hints(getattr(routestat, name))["return"]
    fields = {each.name for each in dataclasses.fields(result)} if dataclasses.is_dataclass(result) else set()
    assert not set(ATTRIBUTES[name].split()) - fields - set(dir(result))
