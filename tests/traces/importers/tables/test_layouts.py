"""Which column means what."""

import pytest

from routestat.errors import FormatError
from routestat.traces.importers.tables.columns import Columns, parse_columns
from routestat.traces.importers.tables.layouts import recognise, settle_form
from routestat.traces.importers.tables.names import plain


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Layer ID", "layer_id"),
        ("layerId", "layer_id"),
        (" Top-K IDs ", "top_k_ids"),
        ("e0", "e0"),
        ("STEP", "step"),
    ],
)
def test_names_are_explained_in_plain_words(name, words):
    assert plain(name) == words


@pytest.mark.parametrize(
    ("header", "option"),
    [
        ("request,step,layer,e0,e1", "document=request,position=step,layer=layer,experts=e0+e1"),
        (
            "req_id,token_idx,layer,topk_ids",
            "document=req_id,position=token_idx,layer=layer,experts=topk_ids",
        ),
        (
            "Layer ID,Batch Number,Token,Activated Expert IDs",
            "document=Batch Number,layer=Layer ID,experts=Activated Expert IDs,token=Token",
        ),
        (
            "turn,phase,step,layer,slot,expert,weight,residency,expert_bytes,dropped",
            "document=turn,position=step,layer=layer,expert=expert,slot=slot,weight=weight,phase=phase",
        ),
        ("prompt_id,pos,layer_idx,expert_1,expert_2,w1,w2", None),
        ("prompt_id,pos,layer,e0", "document=prompt_id,position=pos,layer=layer,experts=e0"),
        ("prompt_id,req,pos,layer,e0", "document=req,position=pos,layer=layer,experts=e0,cluster=prompt_id"),
        ("token_id,layer,expert_id,rank", "layer=layer,expert=expert_id,token=token_id"),
    ],
)
def test_public_layouts_are_recognised(header, option):
    found = recognise(header.split(","))
    if option is not None:
        assert found.to_option() == option
    else:
        assert found.experts == ("expert_1", "expert_2")
        assert found.weights == ("w1", "w2")


def test_numbered_columns_are_in_the_order_of_their_numbers():
    held = ["layer", *(f"e{slot}" for slot in (10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0))]
    assert recognise(held).experts == tuple(f"e{slot}" for slot in range(11))
    # A gap: these are no slots.
    assert recognise(["layer", "e0", "e2"]).experts == ()


def test_experts_are_lists_or_one_a_row_by_their_values():
    held = ["layer", "experts"]
    assert settle_form(recognise(held), {"experts": ["[1, 2]"]}).listed
    assert settle_form(recognise(held), {"experts": [[1, 2]]}).listed
    assert settle_form(recognise(held), {"experts": ["3", "4"]}).expert == "experts"
    assert settle_form(recognise(["layer", "expert"]), {"expert": ["3 4"]}).experts == ("expert",)


def test_a_column_called_token_holds_ids_or_positions():
    held = ["layer", "token", "e0"]
    rising = {"layer": ["0", "1", "0", "1"], "token": ["0", "0", "1", "1"], "e0": ["1"] * 4}
    assert settle_form(recognise(held), rising).position == "token"
    assert settle_form(recognise(held), {**rising, "token": ["17", "17", "5", "5"]}).token == "token"
    assert settle_form(recognise(held), {**rising, "token": ["a", "a", "b", "b"]}).token == ""


def test_columns_are_named_exactly_alike_or_by_pattern():
    held = ["Req", "l", "e0", "e1", "e10", "stage"]
    found = parse_columns("x", "document=req,layer=l,experts=e*,phase=", held)
    assert found == Columns(
        document="Req",
        layer="l",
        experts=("e0", "e1", "e10"),
        named=("document", "layer", "experts", "phase"),
    )
    # What is said to be absent is not recognised either.
    assert recognise(held, found).phase == ""


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("layer", "--columns wants role=column, got 'layer'"),
        ("layers=l", "no such role; the roles are document, position"),
        ("layer=l,layer=e0", "layer is named twice"),
        ("layer=block", "x: no column block for layer (--columns); it has l, e0, e1"),
        ("layer=l,position=l", "column l is named for two roles"),
        ("layer=e0+e1", "layer is one column, e0+e1 are 2"),
        ("experts=e0,expert=e1", "either experts"),
    ],
)
def test_columns_that_cannot_be(said, words):
    with pytest.raises(FormatError) as error:
        parse_columns("x", said, ["l", "e0", "e1"])
    assert words in str(error.value)
