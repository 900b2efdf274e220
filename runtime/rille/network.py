"""One bundle ready to run: preprocessing, inference and postprocessing behind one call.

Pipeline, evaluation, parity check and self-test all go through here, so that what is measured is
what flies.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rille.backends import Backend, open_backend, target_of
from rille.bundle import Bundle, Variant
from rille.bundle.manifest import FEATURES, Contract, Decision
from rille.errors import BundleError, RilleError
from rille.familiarity import FamiliarityCheck
from rille.golden import GoldenTest
from rille.postprocess import FeatureDecoder, classify, decide_labels
from rille.postprocess.ranges import OutputRanges
from rille.preprocess import Preprocessor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rille.postprocess.guard import OutputGuard
    from rille.preprocess import Geometry, Views
    from rille.result import Classification, Segmentation


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Milliseconds spent in the three parts of one stage."""

    preprocess_ms: float
    infer_ms: float
    postprocess_ms: float

    @property
    def total_ms(self) -> float:
        """Their sum."""
        return self.preprocess_ms + self.infer_ms + self.postprocess_ms


@dataclass(frozen=True, slots=True)
class Ready:
    """An image made ready for a network.

    Attributes:
        pixels: the image.
        tensor: the network's input; overwritten when the next image is made ready.
        geometry: where the image lies in it.
        ms: milliseconds that took.
    """

    pixels: NDArray[np.uint8]
    tensor: NDArray[Any]
    geometry: Geometry
    ms: float


class Network:
    """A network in an engine, with its preprocessing and postprocessing.

    Args:
        contract: preprocessing, labels and thresholds; usually a bundle's manifest.
        variant: the network's inputs and outputs.
        backend: the engine holding it.
        bundle: the bundle it came from, if any.
        engine: the name that `backend` was asked for by; empty for the usual one.

    Raises:
        ManifestError: the preprocessing does not make what the network takes.
    """

    def __init__(
        self,
        contract: Contract,
        variant: Variant,
        backend: Backend,
        bundle: Bundle | None = None,
        engine: str = "",
    ) -> None:
        self.contract = contract
        self.variant = variant
        self.backend = backend
        self.bundle = bundle
        self._engine = engine
        self.preprocessor = Preprocessor(contract.ops, variant.input)
        self._golden = GoldenTest(bundle, variant, self.preprocessor) if bundle else None
        self._ranges = OutputRanges.of(bundle, variant) if bundle else OutputRanges({})
        self._familiarity = FamiliarityCheck.of(bundle, variant) if bundle else None
        self._decoder = (
            FeatureDecoder(variant, contract.decision, contract.labels)
            if contract.task == "segmentation"
            else None
        )

    @classmethod
    def load(
        cls,
        bundle: Bundle,
        *,
        variant: str | None = None,
        backend: str = "",
        threads: int = 1,
    ) -> Network:
        """Load a verified bundle into an engine.

        Args:
            bundle: the bundle.
            variant: which form of the network; None for the preferred one.
            backend: name of the engine; empty for the one that runs the variant's file format.
            threads: threads for one inference.

        Raises:
            BundleError: no such variant, or the network is not what the manifest states.
            BackendError: the engine cannot be used.
        """
        _, form = bundle.variant(variant, target_of(backend))
        engine = open_backend(bundle.files[form.file], form, name=backend, threads=threads)
        return cls(bundle.manifest, form, engine, bundle, backend)

    def with_decision(self, decision: Decision) -> Network:
        """Return the same network, sharing the engine, with other thresholds."""
        contract = replace(self.contract, decision=decision)
        return Network(contract, self.variant, self.backend, self.bundle, self._engine)

    def prepare(self, pixels: NDArray[np.uint8], views: Views | None = None) -> Ready:
        """Make one image ready for `answer`.

        Args:
            pixels: (H, W, 3) RGB or (H, W) grey, uint8.
            views: of this image, where several networks share them.

        Returns:
            The network's input, which the next call overwrites.

        Raises:
            ConfigError: not an 8-bit image of one or three channels.
        """
        start = time.perf_counter_ns()
        tensor, geometry = self.preprocessor(pixels if views is None else views)
        return Ready(pixels, tensor, geometry, (time.perf_counter_ns() - start) / 1e6)

    def answer(
        self, ready: Ready, guard: OutputGuard | None = None
    ) -> tuple[Classification | Segmentation, StageTimes]:
        """Answer for the image that was last made ready.

        Args:
            ready: what `prepare` returned.
            guard: looks at the outputs of one source's pictures, in order.

        Returns:
            A `Classification` or a `Segmentation`, by the bundle's task, and the time spent, that
            of `prepare` included.

        Raises:
            InferenceError: the engine failed, or gave numbers that are not finite.
            OutputStuckError: the guard refuses the outputs.
            OutputRangeError: they are beyond what the network can give.
        """
        start = time.perf_counter_ns()
        outputs = self.backend.infer(ready.tensor)
        inferred = time.perf_counter_ns()
        self._ranges(outputs)
        if guard is not None:
            guard(outputs, ready.pixels)
        answer = self.decode(outputs, ready.geometry)
        done = time.perf_counter_ns()
        return answer, StageTimes(ready.ms, (inferred - start) / 1e6, (done - inferred) / 1e6)

    def run(
        self, pixels: NDArray[np.uint8], guard: OutputGuard | None = None
    ) -> tuple[Classification | Segmentation, StageTimes]:
        """Make one image ready and answer for it; see `prepare` and `answer`."""
        return self.answer(self.prepare(pixels), guard)

    def decode(
        self, outputs: dict[str, NDArray[Any]], geometry: Geometry
    ) -> Classification | Segmentation:
        """Turn stored outputs into an answer; see `answer`."""
        if self._decoder is not None:
            return self._decoder(outputs, geometry)
        logits = self.variant.outputs["logits"].tensor.dequantize(outputs["logits"])[0]
        decide = decide_labels if self.contract.task == "multilabel" else classify
        answer = decide(logits, self.contract.labels, self.contract.decision)
        if self._familiarity is None:
            return answer
        score = self._familiarity(outputs[FEATURES], answer.probability)
        return replace(answer, ood_score=score)

    @property
    def scores_familiarity(self) -> bool:
        """Whether answers carry an out-of-distribution score."""
        return self._familiarity is not None

    def self_test(self) -> float:
        """Run every golden image of the bundle; see `rille.golden.GoldenTest.check`.

        Returns:
            The largest difference; 0 where the bundle has no golden images.

        Raises:
            CheckFailedError: a difference is beyond the bundle's tolerance.
            InferenceError: the engine failed.
        """
        return max((self.check(k) for k in range(self.golden_count)), default=0.0)

    @property
    def golden_count(self) -> int:
        """How many golden images there are."""
        return len(self._golden) if self._golden is not None else 0

    def check(self, which: int) -> float:
        """Run one golden image, the first being number 0; see `self_test`."""
        assert self._golden is not None
        return self._golden.check(self.backend, which)

    def again(self, bundle: Bundle | None = None) -> Network:
        """Load the network a second time, for the same engine and threads; from any thread.

        An engine keeps a copy of the weights in a layout of its own, so it is the engine that a
        flipped bit spoils, and checking the bytes alone would not tell.

        Args:
            bundle: what to load; None for its own, whose bytes are checked once more.

        Returns:
            A network that gave its golden answers.

        Raises:
            DigestError: the bytes are no longer those that were verified.
            BundleError: the bundle does another task.
            BackendError: the engine cannot be built.
            CheckFailedError: its golden answers are wrong.
        """
        bundle = bundle or self.bundle
        assert bundle is not None
        if bundle.manifest.task != self.contract.task:
            raise BundleError(
                f"{bundle.where}: does {bundle.manifest.task}, but what flies does "
                f"{self.contract.task}"
            )
        forms = bundle.manifest.variants
        same = [name for name, form in forms.items() if form.file == self.variant.file]
        name, form = bundle.variant(same[0] if same else None, target_of(self._engine))
        bundle.verify(form.file)
        if bundle.manifest.familiarity is not None:
            bundle.verify(bundle.manifest.familiarity.file)
        fresh = Network.load(
            bundle, variant=name, backend=self._engine, threads=self.backend.threads
        )
        try:
            fresh.self_test()
        except RilleError:
            fresh.close()
            raise
        return fresh

    def adopt(self, fresh: Network) -> None:
        """Go on with the engine, bytes, golden answers and familiarity check of `again`.

        Args:
            fresh: of a bundle with the same digest; not to be used any more.
        """
        before, self.backend = self.backend, fresh.backend
        self.bundle, self._golden = fresh.bundle, fresh._golden
        self._familiarity = fresh._familiarity
        before.close()

    def reload(self) -> None:
        """Build the engine anew from the bundle's bytes; see `again` for what it raises."""
        self.adopt(self.again())

    def close(self) -> None:
        """Free the engine."""
        self.backend.close()
