"""Trains `models/kinds.bin`: what kind of work a request is, what kinds a bullet of a policy means, and how to match them.

    cargo build --release --example features
    python models/train/kinds.py target/release/examples/features models/kinds.bin [DIR]

DIR is the folder of the public evaluation sets: every second prompt of `tasks/scenarios.jsonl.gz` (GAIR-NLP/auto-j,
Apache-2.0) joins the training requests, the others are what `cargo bench --bench classify_quality` tests on.

Both heads are ridge regressions in their dual form on hashed n-grams, signals and the static vectors, which the program
itself computes (`features.rs`). Whole domains are left out in turn for everything that is fitted on top of them.
`src/classify/weights.rs` has the layout of the file. A few minutes on two cores, 4 GB of memory.
"""

import gzip
import itertools
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
# The share of the requests' rows, and of the bullets', that go into the file: those that change scores most. With whole
# domains left out the others are not missed; of the bullets' rows only those are dropped that are 0.
KEPT, BULLETS_KEPT = 0.65, 0.944
# How much each group of features counts, found with whole domains left out.
GROUPS = {"words": 0.7, "letters": 1.5, "ends": 0.4, "system": 0.5, "previous": 0.3, "material": 0.4, "signals": 0.5}
ASK, SYSTEM, RIDGE = 0.6, 0.3, 0.6
BULLET_GROUPS = {"words": 1.0, "letters": 1.0}
BULLET_ASK, BULLET_RIDGE = 1.0, 0.7
# A bullet means a kind from this weight of its label on.
MEANT = 0.3
# The share of dear work that may be sent down, with a margin: real requests are harder than the corpus.
SENT_DOWN = 0.02
# The policy by which that is judged, the kinds that belong to each of its bullets, and how much a request counts that
# belongs to none: the corpus has many more of them than such a pipeline.
REFERENCE = CORPUS.parent.parent / "benches/quality/orders_daily.md"
REFERENCE_KINDS = [
    "novel_failure",
    "ambiguous_requirement",
    "multi_step_reasoning",
    "root_cause",
    "impact_lineage",
    "compare",
    "parse_categorise",
    "summarise_structured",
    "status_check validate_check",
]
UNRELATED = 0.25
# Parts of a share that may belong to all bullets alike.
DOUBTS = (0, 0.01, 0.02, 0.03, 0.05, 0.08)
# How much nested examples count against prose, and for none of the bullets against the best of them: chosen on the
# corpus with that policy and two examples a bullet, and on the policies that ship with Farthing. Each policy corrects
# the first by its own examples.
EXAMPLES = (12.0, 0.5)
# Lists of several bullets in one line, drawn from the corpus, from which the weight of a line's parts is learned.
LISTS, LIST_MIN, LIST_MAX = 250, 2, 6
# The kinds of auto-j's scenarios.
SCENARIOS = {
    "business_writing": "functional_writing writing_legal_document writing_presentation_script writing_blog_post"
    " writing_social_media_post writing_job_application writing_personal_essay writing_advertisement writing_email"
    " writing_news_article writing_product_description writing_marketing_materials writing_biography",
    "creative_writing": "creative_writing writing_song_lyrics writing_cooking_recipe",
    "docs_write": "writing_technical_document writing_scientific_paper",
    "grade_evaluate": "peer_review",
    "brainstorm": "brainstorming",
    "question_generation": "question_generation",
    "plan": "planning",
    "advice": "seeking_advice",
    "question_answer": "open_question",
    "explain_concept": "explaining_general analyzing_general",
    "fact_check": "verifying_fact",
    "how_to": "asking_how_to_question",
    "opinion_judgement": "value_judgement counterfactual",
    "compare_options": "recommendation ranking",
    "rewrite_edit": "instructional_rewriting language_polishing paraphrasing text_simplification text_correction",
    "translate": "text_to_text_translation",
    "title_keywords": "title_generation keywords_extraction topic_modeling",
    "summarise_text": "text_summarization note_summarization",
    "classify_single": "classification_identification",
    "extract": "information_extraction",
    "answer_from_context": "reading_comprehension",
    "code_write": "code_generation",
    "code_fix": "code_correction_rewriting",
    "code_explain": "explaining_code",
    "code_refactor": "code_to_code_translation code_simplification",
    "roleplay": "roleplay",
    "unsafe_or_refusable": "rejecting",
    "chat_smalltalk": "chitchat",
    "exam_question": "solving_exam_question_without_math",
    "math": "math_reasoning solving_exam_question_with_math",
    "data_analysis": "data_analysis",
}


def lines(*paths):
    return [json.loads(line) for path in paths for line in path.open()]


def public(folder):
    """Every second prompt that has a scenario of its own."""
    kind = {scenario: kind for kind, scenarios in SCENARIOS.items() for scenario in scenarios.split()}
    with gzip.open(pathlib.Path(folder) / "tasks/scenarios.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    turn = lambda row: [{"role": "user", "text": row["prompt"]}]
    return [{"kind": kind[r["label"]], "domain": "auto-j", "turns": turn(r)} for r in rows[::2] if r["label"] in kind]


def listed(bullets):
    """Lines that list several things, as policies have them, with what each part means."""
    chance = np.random.default_rng(5)
    single = [b for b in bullets if len(b["kinds"]) == 1 and len(b["text"]) < 60 and "(" not in b["text"]]
    for _ in range(LISTS):
        some = [single[i] for i in chance.choice(len(single), chance.integers(LIST_MIN, LIST_MAX + 1), replace=False)]
        text = ", ".join(b["text"] for b in some[:-1]) + " and " + some[-1]["text"]
        yield {"text": text, "kinds": {kind: 1.0 for b in some for kind in b["kinds"]}}


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
        self.energy = np.asarray(x.multiply(x).sum(0)).ravel()
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

    def bytes(self, share):
        """Scale of each group, bias, scale of each column, dense weights, which rows there are, these in 8 bits."""
        moves = self.energy * (self.sparse**2).sum(1)
        kept = np.sort(np.argsort(-moves, kind="stable")[: int(share * self.size)])
        scale = np.abs(self.sparse[kept]).max(0) / 127 + 1e-12
        small = np.zeros((1 + len(kept), COLUMNS), np.int8)
        small[1:, : len(scale)] = np.rint(self.sparse[kept] / scale)
        there = np.packbits(np.isin(np.arange(self.size), kept), bitorder="little")
        half = len(self.dense) // 2
        dense = np.vstack([np.sqrt(self.ask) * self.dense[:half], np.sqrt(self.system) * self.dense[half:]])
        groups = [np.sqrt(w) for w in self.groups.values()]
        floats = [groups, self.mean, scale, dense.ravel()]
        return b"".join(np.asarray(f, "<f4").tobytes() for f in floats) + there.tobytes() + small.tobytes()


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
    program, out, *data = sys.argv[1:]
    requests = lines(*sorted((CORPUS / "requests").glob("*.jsonl")))
    prompts = [row for folder in data for row in public(folder)]
    names = sorted({r["kind"] for r in requests})
    kind = {name: number for number, name in enumerate(names)}
    bullets = lines(CORPUS / "bullets.jsonl")
    policies = lines(CORPUS / "policies.jsonl")
    in_policies = [{"text": t, "kinds": k, "policy": p["name"]} for p in policies for t, k in p["kinds"]]
    y = np.array([kind[r["kind"]] for r in requests])
    one_of = np.eye(len(names), dtype=np.float32)
    targets = one_of[np.r_[y, [kind[r["kind"]] for r in prompts]].astype(int)]
    meant = lambda rows: np.array([[r["kinds"].get(n, 0.0) for n in names] for r in rows], np.float32)
    of_requests, of_bullets = described(program, requests + prompts), described(program, bullets)
    of_policies = described(program, in_policies)
    prose = lambda texts: described(program, [{"text": t} for t in texts]) if texts else []

    # Kinds of requests, with whole domains left out.
    domains = sorted({r["domain"] for r in requests})
    domain = np.array([domains.index(r["domain"]) for r in requests])
    outside = np.zeros((len(requests), len(names)), np.float32)
    settings = (GROUPS, ROWS, ASK, SYSTEM, RIDGE)
    for fold in range(FOLDS):
        test = np.where(domain % FOLDS == fold)[0]
        train = np.r_[np.where(domain % FOLDS != fold)[0], len(requests) : len(targets)]
        head = Head(of_requests, targets, *settings, train=train)
        outside[test] = head.scores([of_requests[i] for i in test])
    loss = lambda t: -np.log(softmax(t * outside)[np.arange(len(y)), y]).mean()
    temperature = min(np.arange(8, 48, 2), key=loss)
    kinds = softmax(temperature * outside)
    print(f"{len(requests)} requests and {len(prompts)} public prompts, {len(names)} kinds, {len(domains)} domains left out in {FOLDS} turns:")
    print(f"  right {(kinds.argmax(1) == y).mean():.3f}  log loss {loss(temperature):.3f}  temperature {temperature}")

    # Kinds of bullets: trained on single bullets, tried on whole policies.
    bullet_settings = (BULLET_GROUPS, BULLET_ROWS, BULLET_ASK, 0.0, BULLET_RIDGE)
    head_of_bullets = head = Head(of_bullets, meant(bullets), *bullet_settings)
    joined = in_policies + list(listed(bullets))
    cut = [parts(r["text"]) for r in joined]
    flat = head.scores(prose([p for some in cut for p in some]))
    ends = np.cumsum([len(some) for some in cut])
    of_parts = [flat[end - len(some) : end] for end, some in zip(ends, cut)]
    proof = evidence(head.scores(of_policies + prose([r["text"] for r in joined[len(in_policies) :]])), of_parts)
    labels = meant(joined) > MEANT
    cover = LogisticRegression(C=10, max_iter=1000).fit(proof.reshape(-1, proof.shape[-1]), labels.ravel())
    covered = cover.predict_proba(proof.reshape(-1, proof.shape[-1]))[:, 1].reshape(labels.shape)
    covered, labels = covered[: len(in_policies)], labels[: len(in_policies)]
    top = labels[np.arange(len(labels)), covered.argmax(1)].mean()
    print(f"{len(bullets)} bullets; of {len(labels)} in policies the first kind is right in {top:.3f}")

    # Which bullet a request belongs to, over policies drawn from the corpus.
    chance = np.random.default_rng(1)
    asks = np.array([f["ask"] for f in of_requests[: len(requests)]], np.float32)
    about = np.array([f["ask"] for f in of_policies], np.float32)
    rare = 1 / np.bincount(y)[y]
    cases = []
    for policy in policies:
        own = np.array([i for i, r in enumerate(in_policies) if r["policy"] == policy["name"]])
        inside = rare * labels[own].any(0)[y]
        drawn = np.r_[chance.choice(len(y), 60, p=inside / inside.sum()), chance.choice(len(y), 30, p=rare / rare.sum())]
        right = labels[own][:, y[drawn]].T
        right = np.column_stack([right, ~right.any(1)])
        cases.append((covered[own], kinds[drawn], asks[drawn] @ about[own].T, right))

    def cost(theta):
        fit = np.mean([np.log((Match.shares(theta, *case[:3]) * case[3]).sum(1) + 1e-6).mean() for case in cases])
        return 0.01 * ((theta - Match.START) ** 2).sum() - fit

    theta = minimize(cost, Match.START, method="Nelder-Mead", options={"maxiter": 200}).x
    # How sure one may be is learned where every label is certain, on a policy of nine bullets: a power of the shares,
    # and a part of them that belongs to all alike, since any request may surprise.
    texts = [line[2:].strip() for line in REFERENCE.read_text().splitlines() if line.startswith("- ")]
    described_texts = prose(texts)
    cut = [parts(t) for t in texts]
    flat = head_of_bullets.scores(prose([p for some in cut for p in some]))
    ends = np.cumsum([len(some) for some in cut])
    found = evidence(head_of_bullets.scores(described_texts), [flat[e - len(some) : e] for e, some in zip(ends, cut)])
    covers = cover.predict_proba(found.reshape(-1, found.shape[-1]))[:, 1].reshape(len(texts), -1)
    near = asks @ np.array([f["ask"] for f in described_texts]).T
    belongs = np.array([next((b for b, ks in enumerate(REFERENCE_KINDS) if r["kind"] in ks.split()), 9) for r in requests])
    counts = np.where(belongs == 9, UNRELATED, 1)

    def sure(surety, doubt, *case):
        share = softmax(surety * np.log(Match.shares(theta, *case[:3]) + 1e-12))
        return (1 - doubt) * share + doubt / share.shape[1]

    def unsure(surety, doubt):
        share = sure(surety, doubt, covers, kinds, near)
        return np.average(-np.log(share[np.arange(len(y)), belongs] + 1e-9), weights=counts)

    surety, doubt = min(itertools.product(np.arange(0.5, 3, 0.1), DOUBTS), key=lambda pair: unsure(*pair))
    theta = theta * np.array([surety, 1, surety, surety, 1])
    share = sure(1, doubt, covers, kinds, near)
    mass = np.stack([share[:, [0, 1, 2, 9]].sum(1), share[:, 3:5].sum(1), share[:, 5:9].sum(1)], 1)
    dear, light = belongs < 5, (belongs >= 5) & (belongs < 9)
    down = lambda bound: (mass.argmax(1) == 2) & (mass[:, 2] >= bound)
    bound = next(b for b in np.arange(0.3, 1, 0.01) if down(b)[dear].mean() <= SENT_DOWN)
    print(f"surety {surety:.1f}, doubt {doubt:.2f}; the bullet is right in {np.average(share.argmax(1) == belongs, weights=counts):.3f}")
    print(f"work goes down from {bound:.2f}: {down(bound)[dear].mean():.3f} of dear work, keeps {down(bound)[light].mean():.3f} of light")

    shares = [Match.shares(theta, *case[:3]) for case in cases]
    hits = [case[3][np.arange(len(s)), s.argmax(1)].mean() for case, s in zip(cases, shares)]
    print(f"matching {len(cases)} policies: right {np.mean(hits):.3f}  log loss {cost(theta):.3f}  parameters {theta.round(3)}")

    # What goes into the file knows everything.
    final = Head(of_requests, targets, *settings)
    every = bullets + in_policies
    final_bullets = Head(of_bullets + of_policies, meant(every), *bullet_settings)
    text = b"".join(struct.pack("<H", len(n)) + n.encode() for n in names)
    numbers = np.r_[temperature, cover.coef_[0], cover.intercept_, theta, doubt, *EXAMPLES, bound]
    head = b"FARTKND3" + struct.pack("<III", len(names), ROWS, BULLET_ROWS) + text
    pathlib.Path(out).write_bytes(head + numbers.astype("<f4").tobytes() + final.bytes(KEPT) + final_bullets.bytes(BULLETS_KEPT))


if __name__ == "__main__":
    main()
