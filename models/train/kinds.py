"""Trains `models/kinds.bin`: what kind of work a request is, what kinds a bullet of a policy means, and how to match them.

    cargo build --release --example features
    python models/train/kinds.py target/release/examples/features models/kinds.bin

Both heads are ridge regressions in their dual form on hashed n-grams, signals and the static vectors, which the program
itself computes (`features.rs`). Whole domains are left out in turn for everything that is fitted on top of them.
`src/classify/weights.rs` has the layout of the file. A few minutes on two cores, 4 GB of memory.
"""

import json
import pathlib
import re
import struct
import subprocess
import sys

import numpy as np
import scipy.sparse as sp
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

CORPUS = pathlib.Path(__file__).parent.parent / "corpus"
ROWS, BULLET_ROWS, COLUMNS, FOLDS = 1 << 16, 1 << 14, 64, 6
# How much each group of features counts, found with whole domains left out.
GROUPS = {"words": 0.7, "letters": 1.5, "ends": 0.4, "system": 0.5, "previous": 0.3, "material": 0.4, "signals": 0.5}
ASK, SYSTEM, RIDGE = 0.6, 0.3, 0.6
BULLET_GROUPS = {"words": 1.0, "letters": 1.0}
BULLET_ASK, BULLET_RIDGE = 1.0, 0.7
# A bullet means a kind from this weight of its label on.
MEANT = 0.3


def lines(*paths):
    return [json.loads(line) for path in paths for line in path.open()]


def described(program, rows):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    out = subprocess.run([program], input=text, capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in out.splitlines()]


def matrix(features, groups, size):
    """Hashed features: each group of a request has length sqrt(weight), whatever the number of its rows."""
    at, columns, values = [], [], []
    for number, feature in enumerate(features):
        for weight, rows in zip(groups.values(), feature["rows"]):
            at += [number] * len(rows)
            columns += [row % size for row in rows]
            values += [np.sqrt(weight / max(1, len(rows)))] * len(rows)
    return sp.csr_matrix((values, (at, columns)), shape=(len(features), size), dtype=np.float32)


def rarity(x):
    """A rare feature counts more; what stands in one request alone counts nothing, as nothing can be learned from it."""
    seen = np.asarray((x > 0).sum(0)).ravel()
    weight = np.maximum(np.log(x.shape[0] / (1 + seen)) + 0.3, 0.1) / 5
    return np.where(seen < 2, 0, weight).astype(np.float32)


def vectors(features, ask, system):
    part = lambda name, weight: np.sqrt(weight) * np.array([f[name] for f in features], np.float32)
    return np.hstack([part("ask", ask), part("system", system)])


class Head:
    """Targets in [0, 1] from sparse and dense features."""

    def __init__(self, features, targets, groups, size, ask, system, ridge, train=None):
        self.groups, self.size, self.ask, self.system = groups, size, ask, system
        train = np.arange(len(features)) if train is None else train
        x = matrix([features[i] for i in train], groups, size)
        self.idf = rarity(x)
        x = x @ sp.diags(self.idf)
        dense = vectors([features[i] for i in train], ask, system)
        gram = (x @ x.T).toarray() + dense @ dense.T
        self.mean = targets[train].mean(0)
        dual = cho_solve(cho_factor(gram + ridge * np.eye(len(train), dtype=np.float32)), targets[train] - self.mean)
        self.sparse = self.idf[:, None] * (x.T @ dual)
        self.dense = dense.T @ dual

    def scores(self, features):
        x = matrix(features, self.groups, self.size)
        return x @ self.sparse + vectors(features, self.ask, self.system) @ self.dense + self.mean

    def bytes(self):
        """Scale of each group, bias, scale of each column, 8-bit rows, dense weights."""
        scale = np.abs(self.sparse).max(0) / 127 + 1e-12
        small = np.zeros((self.size, COLUMNS), np.int8)
        small[:, : len(scale)] = np.rint(self.sparse / scale)
        half = len(self.dense) // 2
        dense = np.vstack([np.sqrt(self.ask) * self.dense[:half], np.sqrt(self.system) * self.dense[half:]])
        groups = [np.sqrt(w) for w in self.groups.values()]
        floats = [groups, self.mean, scale, dense.ravel()]
        return b"".join(np.asarray(f, "<f4").tobytes() for f in floats) + small.tobytes()


def softmax(scores):
    e = np.exp(scores - scores.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def parts(text):
    """As `src/classify/bullets.rs` cuts a bullet."""
    plain = re.sub(r"\([^)]*\)", "", text)
    found = [p.strip(" .;:") for p in re.split(r",|;|/|&|\band\b|\bor\b", plain)]
    found = [p for p in found if len(p) >= 4]
    return found if len(found) > 1 else []


def evidence(own, of_parts):
    """For each bullet and kind: (bullets, kinds, 6)."""
    rows = []
    for score, some in zip(own, of_parts):
        top = score.max()
        best = some.max(0) if len(some) else score
        relative = (some / np.maximum(some.max(1, keepdims=True), 1e-3)).max(0) ** 3 if len(some) else (score / top) ** 3
        rows.append(np.stack([score, score / top, (score / top) ** 3, np.full_like(score, top), best, relative], -1))
    return np.stack(rows)


class Match:
    """How likely each bullet of a policy, or none, is what a request asks for."""

    START = np.array([1.0, 0.6, 2.0, 0.0, 1.5])

    @staticmethod
    def shares(theta, covered, kinds, cosines):
        sharpness, softness, topic, none, overlap = theta
        covered = covered**softness
        by = sharpness * np.log(kinds @ covered.T + 1e-4) + topic * cosines
        left = kinds @ np.prod(1 - covered, 0) ** overlap
        return softmax(np.column_stack([by, sharpness * np.log(np.maximum(left, 0) + 1e-4) + none]))


def main():
    program, out = sys.argv[1:]
    requests = lines(*sorted((CORPUS / "requests").glob("*.jsonl")))
    names = sorted({r["kind"] for r in requests})
    kind = {name: number for number, name in enumerate(names)}
    bullets = lines(CORPUS / "bullets.jsonl")
    policies = lines(CORPUS / "policies.jsonl")
    in_policies = [{"text": t, "kinds": k, "policy": p["name"]} for p in policies for t, k in p["kinds"]]
    y = np.array([kind[r["kind"]] for r in requests])
    targets = np.eye(len(names), dtype=np.float32)[y]
    meant = lambda rows: np.array([[r["kinds"].get(n, 0.0) for n in names] for r in rows], np.float32)
    of_requests, of_bullets = described(program, requests), described(program, bullets)
    of_policies = described(program, in_policies)
    prose = lambda texts: described(program, [{"text": t} for t in texts]) if texts else []

    # Kinds of requests, with whole domains left out.
    domains = sorted({r["domain"] for r in requests})
    domain = np.array([domains.index(r["domain"]) for r in requests])
    outside = np.zeros_like(targets)
    settings = (GROUPS, ROWS, ASK, SYSTEM, RIDGE)
    for fold in range(FOLDS):
        test = np.where(domain % FOLDS == fold)[0]
        head = Head(of_requests, targets, *settings, train=np.where(domain % FOLDS != fold)[0])
        outside[test] = head.scores([of_requests[i] for i in test])
    loss = lambda t: -np.log(softmax(t * outside)[np.arange(len(y)), y]).mean()
    temperature = min(np.arange(8, 48, 2), key=loss)
    kinds = softmax(temperature * outside)
    print(f"{len(requests)} requests, {len(names)} kinds, {len(domains)} domains left out in {FOLDS} turns:")
    print(f"  right {(kinds.argmax(1) == y).mean():.3f}  log loss {loss(temperature):.3f}  temperature {temperature}")

    # Kinds of bullets: trained on single bullets, tried on whole policies.
    bullet_settings = (BULLET_GROUPS, BULLET_ROWS, BULLET_ASK, 0.0, BULLET_RIDGE)
    head = Head(of_bullets, meant(bullets), *bullet_settings)
    cut = [parts(r["text"]) for r in in_policies]
    flat = head.scores(prose([p for some in cut for p in some]))
    ends = np.cumsum([len(some) for some in cut])
    of_parts = [flat[end - len(some) : end] for end, some in zip(ends, cut)]
    proof = evidence(head.scores(of_policies), of_parts)
    labels = meant(in_policies) > MEANT
    cover = LogisticRegression(C=10, max_iter=1000).fit(proof.reshape(-1, proof.shape[-1]), labels.ravel())
    covered = cover.predict_proba(proof.reshape(-1, proof.shape[-1]))[:, 1].reshape(labels.shape)
    top = labels[np.arange(len(labels)), covered.argmax(1)].mean()
    print(f"{len(bullets)} bullets; of {len(labels)} in policies the first kind is right in {top:.3f}")

    # Which bullet a request belongs to, over policies drawn from the corpus.
    chance = np.random.default_rng(1)
    asks = np.array([f["ask"] for f in of_requests], np.float32)
    about = np.array([f["ask"] for f in of_policies], np.float32)
    rare = 1 / np.bincount(y)[y]
    cases = []
    for policy in policies:
        own = np.array([i for i, r in enumerate(in_policies) if r["policy"] == policy["name"]])
        inside = rare * labels[own].any(0)[y]
        drawn = np.r_[chance.choice(len(y), 45, p=inside / inside.sum()), chance.choice(len(y), 25, p=rare / rare.sum())]
        right = labels[own][:, y[drawn]].T
        cases.append((covered[own], kinds[drawn], asks[drawn] @ about[own].T, np.column_stack([right, ~right.any(1)])))
    def cost(theta):
        fit = np.mean([np.log((Match.shares(theta, c, k, s) * right).sum(1) + 1e-6).mean() for c, k, s, right in cases])
        return 0.01 * ((theta - Match.START) ** 2).sum() - fit
    theta = minimize(cost, Match.START, method="Nelder-Mead", options={"maxiter": 200}).x
    hits = [right[np.arange(len(k)), Match.shares(theta, c, k, s).argmax(1)].mean() for c, k, s, right in cases]
    print(f"matching {len(cases)} policies: right {np.mean(hits):.3f}  log loss {cost(theta):.3f}  parameters {theta.round(3)}")

    # What goes into the file knows everything.
    final = Head(of_requests, targets, *settings)
    every = bullets + in_policies
    final_bullets = Head(of_bullets + of_policies, meant(every), *bullet_settings)
    text = b"".join(struct.pack("<H", len(n)) + n.encode() for n in names)
    numbers = np.r_[temperature, cover.coef_[0], cover.intercept_, theta]
    head = b"FARTKND1" + struct.pack("<III", len(names), ROWS, BULLET_ROWS) + text
    pathlib.Path(out).write_bytes(head + numbers.astype("<f4").tobytes() + final.bytes() + final_bullets.bytes())


if __name__ == "__main__":
    main()
