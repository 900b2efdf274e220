"""One spoilt network on the same pictures as the clean one: what changed, and who would notice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.backends import open_backend
from rille.bundle import Bundle
from rille.errors import CheckFailedError, InferenceError, RilleError
from rille.golden import GoldenTest
from rille.network import Network
from rille.postprocess.guard import OutputGuard
from rille.postprocess.ranges import OutputRanges
from rille.postprocess.vote import LabelVote
from rille.result import Classification, Segmentation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.preprocess import Geometry

SAME_DICE = 0.99
"""A mask that overlaps the clean one by less counts as another answer."""
VOTES = (3, 5)
"""How many answers of how many must agree in the vote that is tried."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of one trial.

    Attributes:
        ended: "ran"; "refused", by an error when it was loaded; "crashed" or "hung", of the child.
        numbers: pictures for which an output number changed.
        answers: pictures for which the answer changed: label, or mask.
        refused: pictures whose outputs were refused: not finite, out of range, or stuck.
        silent: pictures for which it changed and nothing was refused.
        first_refused: the first picture that was refused; -1 for none.
        dice: least overlap of a mask with the clean one; 1 without masks.
        outvoted: pictures whose label was wrong although a vote held labels back; -1 without.
        golden: golden images whose answers were off.
    """

    ended: str = "ran"
    numbers: int = 0
    answers: int = 0
    refused: int = 0
    silent: int = 0
    first_refused: int = -1
    dice: float = 1.0
    outvoted: int = -1
    golden: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return everything."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Picture:
    """One picture, ready for the network, and what the clean one says of it."""

    pixels: NDArray[np.uint8]
    tensor: NDArray[Any]
    geometry: Geometry
    outputs: dict[str, NDArray[Any]] = field(default_factory=dict)
    answer: Classification | Segmentation | None = None


class Trial:
    """The clean network on some pictures, against which spoilt ones are held.

    Args:
        bundle: verified.
        variant: which network.
        pictures: (H, W, 3) or (H, W) uint8, in the order of a stream.

    Raises:
        BundleError, BackendError: the clean network cannot be loaded.
    """

    def __init__(self, bundle: Bundle, variant: str, pictures: Sequence[NDArray[np.uint8]]) -> None:
        _, self._form = bundle.variant(variant)
        self.model = bundle.files[self._form.file]
        self._network = Network.load(bundle, variant=variant)
        self._golden = GoldenTest(bundle, self._form, self._network.preprocessor)
        self._ranges = OutputRanges.of(bundle, self._form)
        self._pictures = [self._clean(pixels) for pixels in pictures]
        self._labels = _voted([p.answer for p in self._pictures])

    def _clean(self, pixels: NDArray[np.uint8]) -> _Picture:
        tensor, geometry = self._network.preprocessor(pixels)
        tensor = tensor.copy()
        outputs = self._network.backend.infer(tensor)
        return _Picture(pixels, tensor, geometry, outputs, self._network.decode(outputs, geometry))

    def run(self, model: bytes) -> Outcome:
        """Load spoilt bytes and hold them against the clean network; may crash the process."""
        try:
            engine = open_backend(model, self._form, threads=1)
        except RilleError:
            return Outcome(ended="refused")
        try:
            return self._compared(engine)
        finally:
            engine.close()

    def _compared(self, engine: Any) -> Outcome:
        guard = OutputGuard()
        numbers = answers = silent = 0
        refused: list[int] = []
        dice, said = 1.0, []
        for place, picture in enumerate(self._pictures):
            try:
                outputs = engine.infer(picture.tensor)
            except InferenceError:
                outputs = {}
            changed = not outputs or any(
                not np.array_equal(values, picture.outputs[role])
                for role, values in outputs.items()
            )
            numbers += changed
            answer, fine = self._answer(outputs, picture, guard)
            overlap = _overlap(answer, picture.answer)
            dice = min(dice, overlap)
            another = overlap < SAME_DICE
            answers += another
            silent += another and fine
            if not fine:
                refused.append(place)
            said.append(answer)
        return Outcome(
            numbers=numbers,
            answers=answers,
            refused=len(refused),
            silent=silent,
            first_refused=refused[0] if refused else -1,
            dice=dice,
            outvoted=self._outvoted(said),
            golden=self._off(engine),
        )

    def _answer(
        self, outputs: dict[str, NDArray[Any]], picture: _Picture, guard: OutputGuard
    ) -> tuple[Classification | Segmentation | None, bool]:
        """Return the answer, None where there is none, and whether every guard let it pass."""
        try:
            if not outputs:
                raise InferenceError("no outputs")
            answer = self._network.decode(outputs, picture.geometry)
        except (InferenceError, ValueError, ArithmeticError):
            return None, False
        try:
            self._ranges(outputs)
            guard(outputs, picture.pixels)
        except InferenceError:
            return answer, False
        return answer, True

    def _off(self, engine: Any) -> tuple[int, ...]:
        """Return the golden images whose answers are off."""
        found = []
        for which in range(len(self._golden)):
            try:
                self._golden.check(engine, which)
            except (CheckFailedError, InferenceError):
                found.append(which)
        return tuple(found)

    def _outvoted(self, said: Sequence[Classification | Segmentation | None]) -> int:
        if self._labels is None:
            return -1
        labels = _voted(said)
        return sum(a != b for a, b in zip(labels or [], self._labels, strict=False))


def _voted(
    answers: Sequence[Classification | Segmentation | None],
) -> list[str] | None:
    """Return the labels that a vote publishes; None where the network gives none."""
    if any(isinstance(answer, Segmentation) for answer in answers):
        return None
    vote = LabelVote(*VOTES)
    return [vote(a).label if isinstance(a, Classification) else "" for a in answers]


def _overlap(
    answer: Classification | Segmentation | None, clean: Classification | Segmentation | None
) -> float:
    """Return 1 for the same answer: of labels 1 or 0, of masks the Dice coefficient."""
    if isinstance(answer, Classification) and isinstance(clean, Classification):
        return float((answer.label, answer.label_id) == (clean.label, clean.label_id))
    if not isinstance(answer, Segmentation) or not isinstance(clean, Segmentation):
        return 0.0
    both = ((answer.mask == clean.mask) & (clean.mask > 0)).sum()
    sizes = (answer.mask > 0).sum() + (clean.mask > 0).sum()
    return float(2 * both / sizes) if sizes else 1.0
