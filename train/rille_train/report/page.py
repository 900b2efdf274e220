"""The page itself, from the files of a run folder alone, so that it can be drawn again."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from rille.errors import ConfigError
from rille.files import write_whole
from rille.report.style import card_row, html_page
from rille.schema import read_toml
from rille_train.report.classes import calibration_plots, class_tables
from rille_train.report.craters import crater_tables
from rille_train.report.curves import learning_curves
from rille_train.report.examples import read_examples

REPORT = "report.html"
_STYLE = """
figure { margin:0; } figcaption { color:var(--dim); font-size:.9rem; margin-top:.3rem;
  overflow-wrap:anywhere; }
.grid.small { grid-template-columns:repeat(auto-fill,minmax(200px,1fr)); }
.good { color:var(--ok); } .bad { color:var(--bad); } svg { margin-bottom:.5rem; }
.cards { grid-template-columns:repeat(auto-fit,minmax(185px,1fr)); margin-bottom:.7rem; }
td.word, th.word { text-align:left; overflow-wrap:anywhere; }
dt { font-weight:600; } dd { margin:0 0 .4rem 0; color:var(--dim); }
"""
_BODY = Template("""<h1>$name $version</h1><p class="sub">$summary</p>
$cards
<p class="sub">$scored</p>
<h2>Learning curves</h2>$curves
$parts
$examples
<h2>Definitions</h2><dl>$definitions</dl>
<h2>Made from</h2><table>$provenance</table>
<h2>Recipe</h2><pre>$recipe</pre>
""")


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """What the files of a run folder say.

    Attributes:
        folder: the run folder.
        history: series by name.
        detail: content of `validation.json`.
        contract: "contract" of `contract.json`.
        provenance: "provenance" of `contract.json`.
        recipe: the resolved recipe as text.
        validate_every: epochs between two validations.
    """

    folder: Path
    history: dict[str, list[float]]
    detail: dict[str, Any]
    contract: dict[str, Any]
    provenance: dict[str, Any]
    recipe: str
    validate_every: int

    @property
    def scores(self) -> dict[str, float]:
        """The headline figures by name; runs of older versions have them one by one."""
        d = self.detail
        if "scores" in d:
            return dict(d["scores"])
        objects = {f"object_{k}": v for k, v in d.get("objects", {}).items()}
        every = {**d, **d.get("pixels", {}), **objects}
        names = ("accuracy", "macro_f1", "dice", "iou", "object_f1")
        return {name: every[name] for name in names if name in every}


def write_training_report(run: Path) -> Path:
    """Write `report.html` into the folder of a finished run, complete or not at all.

    Args:
        run: a folder with history.json, validation.json, contract.json and recipe.toml.

    Returns:
        The page's path.

    Raises:
        ConfigError: the folder is not that of a finished run.
        SinkError: the page cannot be written.
    """
    finished = read_finished(run)
    name = finished.contract["name"]
    write_whole(run / REPORT, html_page(f"rille train: {name}", _body(finished), _STYLE))
    return run / REPORT


def read_finished(run: Path) -> FinishedRun:
    """Read the files that a report is made from.

    Raises:
        ConfigError: a file is missing or is not what a run leaves.
    """
    record = _table(run / "contract.json")
    recipe = read_toml(run / "recipe.toml", ConfigError)
    try:
        return FinishedRun(
            folder=run,
            history={
                name: values
                for name, values in _table(run / "history.json").items()
                if isinstance(values, list)  # a run of two phases also notes how they compare
            },
            detail=_table(run / "validation.json"),
            contract=record["contract"],
            provenance=record["provenance"],
            recipe=(run / "recipe.toml").read_text(encoding="utf-8"),
            validate_every=int(recipe.get("fit", {}).get("validate_every", 1)),
        )
    except KeyError as wrong:
        raise ConfigError(f"{run / 'contract.json'}: has no {wrong}") from None


def _table(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such file; only a finished run has a report (finish it with: rille train)"
        ) from None
    except (OSError, ValueError) as wrong:
        raise ConfigError(f"{path}: cannot be read ({wrong})") from None
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: must hold a table")
    return table


def _body(run: FinishedRun) -> str:
    d, contract = run.detail, run.contract
    return _BODY.substitute(
        name=html.escape(contract["name"]),
        version=html.escape(contract["version"]),
        summary=html.escape(contract["summary"]),
        cards=card_row(_cards(run)),
        scored=html.escape(
            f"Final weights ({d['variant']}) on {d['images']} images of split {d['split']} of "
            f"{d['dataset']}, through the runtime, on {d['backend']}. Intervals: 95 %. "
            f"{d.get('phases', {}).get('verdict', '')}"
        ),
        curves=learning_curves(run.history, run.scores, run.validate_every),
        parts=_parts(run),
        examples=_examples(run.folder / "examples"),
        definitions=_definitions(d.get("definitions", {})),
        provenance=_provenance(run.provenance),
        recipe=html.escape(run.recipe),
    )


def _cards(run: FinishedRun) -> list[tuple[str, str]]:
    intervals = {
        "accuracy": run.detail.get("accuracy_interval_95"),
        **run.detail.get("intervals_95", {}),
    }
    scores = run.scores
    if "group_weighted_accuracy" in run.detail:
        scores["group_weighted_accuracy"] = run.detail["group_weighted_accuracy"]
    cards = []
    for name, value in scores.items():
        words, limits = name.replace("_", " "), intervals.get(name)
        if limits is not None:
            words += f": {limits[0]:.3f} to {limits[1]:.3f}"
        cards.append((f"{value:.4f}", words))
    return cards


def _parts(run: FinishedRun) -> str:
    """Return what this task has beside the scores."""
    d, parts = run.detail, []
    if "confusion" in d and "per_class" in d:
        parts.append(class_tables(d))
    if "expected_calibration_error" in d.get("calibration", {}):
        temperature = float(run.contract["decision"]["temperature"])
        plots = calibration_plots(d["calibration"], temperature)
        parts.append(f"<h2>Calibration and abstention</h2>{plots}")
    if "objects" in d:
        parts.append(crater_tables(d))
    return "".join(parts)


def _examples(folder: Path) -> str:
    examples = read_examples(folder)
    if not examples:
        return ""
    figures, marks = [], {True: "good", False: "bad", None: ""}
    for example, data in examples:
        figures.append(
            f'<figure><img alt="{html.escape(example.caption)}" src="data:image/jpeg;base64,'
            f'{base64.b64encode(data).decode()}"><figcaption class="{marks[example.good]}">'
            f"{html.escape(example.caption)}</figcaption></figure>"
        )
    photographs = examples[0][0].good is not None
    words = (
        "The surest mistakes, then right answers. Each caption starts with the truth."
        if photographs
        else "From the lowest Dice to the highest. Blue: labels; amber: answers."
    )
    size = " small" if photographs else ""
    return (
        f'<h2>Examples</h2><p class="sub">{words}</p>'
        f'<div class="grid{size}">{"".join(figures)}</div>'
    )


def _definitions(definitions: Mapping[str, str]) -> str:
    return "".join(
        f"<dt>{html.escape(name.replace('_', ' '))}</dt><dd>{html.escape(text)}</dd>"
        for name, text in definitions.items()
    )


def _provenance(provenance: Mapping[str, Any]) -> str:
    rows = {
        "data": f"{provenance['dataset']}, split {provenance['train_split']}, "
        f"{provenance['train_images']} images",
        "listing SHA-256": provenance["train_listing_sha256"],
        "parameters": f"{provenance['parameters']:,}",
        "trained with": provenance["trained_with"],
        "trained on": provenance["trained_on"],
    }
    return "".join(
        f'<tr><td>{name}</td><td class="word">{html.escape(str(value))}</td></tr>'
        for name, value in rows.items()
    )
