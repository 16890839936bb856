"""Writes hyperbolic.safetensors: geometry and attention on geoopt's PoincareBall and Lorentz manifolds, in float64.

Points are first rounded to float32, like the inputs of the package. On the hyperboloid, the first coordinate is then
recomputed from the others (geoopt's projx), because rounding it would move a point noticeably off the manifold.
"""

import math

import geoopt
import numpy as np
import torch

from golden import Golden, normal

golden = Golden("hyperbolic", f"geoopt {geoopt.__version__}, PyTorch {torch.__version__.split('+')[0]}, float64")


def f64(array):
    return torch.from_numpy(np.asarray(array)).double()


def rounded(x):
    return x.float().numpy()


class Space:
    """One manifold of geoopt, with its naming differences."""

    def __init__(self, model, c):
        self.model, self.c, self.root = model, c, math.sqrt(c)
        self.ball = geoopt.PoincareBall(c=c)
        self.is_ball = model == "poincare"
        self.manifold = self.ball if self.is_ball else geoopt.Lorentz(k=1 / c)
        self.ball.double()
        self.manifold.double()

    def lift(self, x):
        """Maps a point of the ball to the hyperboloid; geoopt's poincare_to_lorentz only covers the unit ball."""
        y = x * self.root
        square = (y * y).sum(-1, keepdim=True)
        return torch.cat([1 + square, 2 * y], -1) / (1 - square) / self.root

    def drop(self, x):
        return x[..., 1:] / (1 + self.root * x[..., :1])

    def points(self, seed, *shape, reach=0.95):
        """Points with directions from N(0, 1) and radii uniform up to `reach` of the ball's, exact in float32."""
        direction = f64(normal((seed, 0), *shape))
        radius = f64(np.random.default_rng((seed, 1)).random((*shape[:-1], 1))) * reach / self.root
        x = direction / direction.norm(dim=-1, keepdim=True) * radius
        given = rounded(x if self.is_ball else self.lift(x))
        return given, self.exact(given)

    def exact(self, given):
        return f64(given) if self.is_ball else self.manifold.projx(f64(given))

    def exp0(self, v):
        if self.is_ball:
            return self.manifold.expmap0(v)
        return self.manifold.expmap0(torch.cat([torch.zeros_like(v[..., :1]), v], -1))

    def log0(self, x):
        return self.manifold.logmap0(x) if self.is_ball else self.manifold.logmap0(x)[..., 1:]

    def distances(self, a, b):
        """[..., L, S]."""
        return self.manifold.dist(a[..., :, None, :], b[..., None, :, :])

    def midpoint(self, points, weights):
        """[..., S, D], [..., L, S] → [..., L, D] by geoopt's weighted_midpoint in the ball."""
        inner = points if self.is_ball else self.drop(points)
        rows = inner[..., None, :, :].expand(*weights.shape[:-1], *inner.shape[-2:])
        middle = self.ball.weighted_midpoint(rows, weights, reducedim=[-2], dim=-1)
        return middle if self.is_ball else self.lift(middle)


def functions(name, space, seed, count, dim, reach):
    a, x = space.points((*seed, 1), count, dim, reach=reach)
    b, y = space.points((*seed, 2), count, dim, reach=reach)
    vector = normal((*seed, 3), count, dim) * np.float32(0.4 / space.root)
    log = space.manifold.logmap(x, y)
    tangent = rounded(log * 0.5)
    exact = f64(tangent) if space.is_ball else space.manifold.proju(x, f64(tangent))
    weights = np.random.default_rng((*seed, 4)).random((3, count)).astype(np.float32)
    inner = [x, y] if space.is_ball else [space.drop(x), space.drop(y)]
    outer = (lambda point: point) if space.is_ball else space.lift
    results = {
        "distance": space.manifold.dist(x, y),
        "distanceMatrix": space.distances(x, y),
        "logMap": log,
        "expMap": space.manifold.expmap(x, exact),
        "expMap0": space.exp0(f64(vector)),
        "logMap0": space.log0(x),
        "parallelTransport": space.manifold.transp(x, y, exact),
        "mobiusAdd": outer(space.ball.mobius_add(*inner)),
        "mobiusScale": outer(space.ball.mobius_scalar_mul(torch.tensor(-0.7).double(), inner[0])),
        "midpoint": space.midpoint(x, f64(weights)),
    }
    results |= {"toLorentz": space.lift(x)} if space.is_ball else {"toPoincare": space.drop(x)}
    if space.is_ball:
        far = normal((*seed, 5), count, dim) * np.float32(1.2 / space.root)
        results |= {"far": far, "projectToBall": space.manifold.projx(f64(far))}
    results = {key: value.numpy() if torch.is_tensor(value) else value for key, value in results.items()}
    tensors = {"a": a, "b": b, "vector": vector, "tangent": tangent, "weights": weights, **results}
    config = {"curvature": -space.c, "manifold": space.model}
    golden.add(name, tensors, kind="functions", config=config, factor=-0.7)


def attention(name, space, seed, batch=2, heads=2, length=4, keys=6, dim=5, value_dim=None, tangent=False, temperature=1.0,
              mask=None, causal=False, kv_lengths=None, reach=0.95):
    """Inputs are [B, L, H · D]; weights by softmax over −distance / temperature, values joined by the midpoint."""
    value_dim = value_dim or dim
    if tangent:
        shapes = [(length, dim), (keys, dim), (keys, value_dim)]
        # Close enough to the origin that geoopt's artanh limit, 1 − 1e-7, does not affect midpoints.
        scale = np.float32(0.6 / space.root)
        given = [normal((seed, i), batch, heads, *shape) * scale for i, shape in enumerate(shapes)]
        q, k, v = (space.exp0(f64(x)) for x in given)
    else:
        (g0, q), (g1, k), (g2, v) = (
            space.points((seed, i), batch, heads, *shape, reach=reach)
            for i, shape in enumerate([(length, dim), (keys, dim), (keys, value_dim)])
        )
        given = [g0, g1, g2]
    scores = -space.distances(q, k) / temperature
    seen = torch.ones_like(scores, dtype=torch.bool)
    if mask is not None:
        seen = seen & (torch.from_numpy(mask) if mask.dtype == np.bool_ else torch.from_numpy(mask) != -math.inf)
        scores = scores if mask.dtype == np.bool_ else scores + f64(mask)
    if causal:
        seen = seen & (torch.arange(keys) <= torch.arange(length)[:, None])
    if kv_lengths is not None:
        seen = seen & (torch.arange(keys) < torch.tensor(kv_lengths).reshape(-1, 1, 1, 1))
    weights = torch.where(seen, torch.softmax(torch.where(seen, scores, -math.inf), -1), 0)
    output = space.midpoint(v, weights)
    if tangent:
        output = space.log0(output)
    joined = [x.swapaxes(1, 2).reshape(batch, x.shape[2], -1) for x in (*given, output.numpy())]
    tensors = dict(zip(("q", "k", "v", "output"), joined)) | {"weights": weights.numpy(), "mask": mask}
    config = {"curvature": -space.c, "manifold": space.model, "numHeads": heads, "temperature": temperature}
    options = {"causal": True} if causal else {}
    if kv_lengths is not None:
        options["kvLengths"] = kv_lengths
    golden.add(name, tensors, kind="attention", config=config | ({"inputs": "tangent"} if tangent else {}), options=options)


if __name__ == "__main__":
    for model in ("poincare", "lorentz"):
        # Curvatures representable in float32, which geoopt uses for them.
        for index, c in enumerate((1.0, 0.25, 2.0)):
            space = Space(model, c)
            for dim in (2, 5, 16):
                functions(f"{model} of curvature {-c}, {dim} dimensions", space, (index, dim), 6, dim, 0.95)
            attention(f"{model} attention of curvature {-c}", space, 10 + index)
            attention(f"{model} attention of curvature {-c}, tangent vectors", space, 20 + index, tangent=True)
        space = Space(model, 1.0)
        functions(f"{model}, near the boundary", space, (9, 3), 6, 3, 0.9999 if model == "poincare" else 0.99)
        seen = np.random.default_rng(5).random((4, 6)) < 0.7
        seen[0] = True
        bias = normal(6, 2, 1, 4, 6)
        bias[:, :, :, 1] = -np.inf
        attention(f"{model} attention, boolean mask", space, 30, mask=seen)
        attention(f"{model} attention, float mask, temperature 0.5", space, 31, mask=bias, temperature=0.5)
        attention(f"{model} attention, causal, one head, 66 keys", space, 32, heads=1, batch=1, length=20, keys=66, dim=3, causal=True)
        attention(f"{model} attention, lengths, values of another size", space, 33, kv_lengths=[6, 2], value_dim=3, heads=3)
        attention(f"{model} attention, temperature 4", space, 34, temperature=4.0, dim=17, length=9, keys=33, heads=1, batch=1)
    golden.write()
