"""Tables of the tests of the order."""

import numpy as np

from tests.oracle import order_oracle as oracle
from tests.oracle.inference_oracle import tail_of_signs


def rng(seed=0):
    return np.random.default_rng(seed)


def clustered_p(cube):
    gram, bias = oracle.clustered(cube)
    products = gram - bias
    np.fill_diagonal(products, 0.0)
    return tail_of_signs(products, products.sum())
