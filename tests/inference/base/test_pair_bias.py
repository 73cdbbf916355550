"""What estimated margins add to products of two groups' scores, against its mean."""

import math

import numpy as np

from routestat.inference.base.pair_bias import MarginParts, pair_bias


def test_the_bias_of_a_pair_is_its_mean() -> None:
    """Independent margins of unequal groups: the products of different groups' scores less their bias sum to zero."""
    rng, sizes, found = np.random.default_rng(0), np.array([20, 20, 40, 60, 80, 120]), []
    for _ in range(3000):
        rows = np.array([rng.multinomial(n, rng.dirichlet([4.0, 4.0, 4.0])) for n in sizes])
        columns = np.array([rng.multinomial(n, rng.dirichlet([4.0, 4.0, 4.0])) for n in sizes])
        n = sizes.sum()
        u, v = rows - sizes[:, None] * rows.sum(0) / n, columns - sizes[:, None] * columns.sum(0) / n
        # Scores of tokens whose two choices are independent given the document, at their mean: U V' / n_g.
        z = u[:, :, None] * v[:, None, :] / sizes[:, None, None]
        parts = MarginParts(
            group=np.arange(6),
            stratum=np.zeros(6, int),
            share=sizes / n,
            rows=(u**2).sum(axis=1) / n**1.5,
            columns=(v**2).sum(axis=1) / n**1.5,
            crossed=np.einsum("gij,gi,gj->g", z, u, v) / n**2,
        )
        flat = z.reshape(6, -1)
        gram = flat @ flat.T / n
        found.append((gram.sum() - np.trace(gram), pair_bias(parts, 6).sum()))
    plain, bias = np.array(found).T
    error = (plain - bias).std() / math.sqrt(len(plain))
    assert abs((plain - bias).mean()) < 3 * error
    # It is there to be taken out.
    assert plain.mean() > 10 * error
