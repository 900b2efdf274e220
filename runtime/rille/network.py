"""One bundle ready to run: preprocessing, inference and postprocessing behind one call.

Pipeline, evaluation, parity check and self-test all go through here, so that what is measured is
what flies.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.backends import Backend, open_backend, target_of
from rille.bundle import Bundle, Variant
from rille.bundle.manifest import Contract, Decision
from rille.errors import CheckFailedError
from rille.images import decode_image
from rille.postprocess import FeatureDecoder, classify, decide_labels
from rille.preprocess import Preprocessor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.preprocess import Geometry
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


class Network:
    """A network in an engine, with its preprocessing and postprocessing.

    Args:
        contract: preprocessing, labels and thresholds; usually a bundle's manifest.
        variant: the network's inputs and outputs.
        backend: the engine holding it.
        bundle: the bundle it came from, if any.

    Raises:
        ManifestError: the preprocessing does not make what the network takes.
    """

    def __init__(
        self,
        contract: Contract,
        variant: Variant,
        backend: Backend,
        bundle: Bundle | None = None,
    ) -> None:
        self.contract = contract
        self.variant = variant
        self.backend = backend
        self.bundle = bundle
        self.preprocessor = Preprocessor(contract.ops, variant.input)
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
        return cls(bundle.manifest, form, engine, bundle)

    def with_decision(self, decision: Decision) -> Network:
        """Return the same network, sharing the engine, with other thresholds."""
        return Network(
            replace(self.contract, decision=decision), self.variant, self.backend, self.bundle
        )

    def run(self, pixels: NDArray[np.uint8]) -> tuple[Classification | Segmentation, StageTimes]:
        """Answer for one image.

        Args:
            pixels: (H, W, 3) RGB or (H, W) grey, uint8.

        Returns:
            A `Classification` or a `Segmentation`, by the bundle's task, and the time spent.

        Raises:
            InferenceError: the engine failed, or gave numbers that are not finite.
        """
        start = time.perf_counter_ns()
        tensor, geometry = self.preprocessor(pixels)
        ready = time.perf_counter_ns()
        outputs = self.backend.infer(tensor)
        inferred = time.perf_counter_ns()
        answer = self.decode(outputs, geometry)
        done = time.perf_counter_ns()
        times = StageTimes((ready - start) / 1e6, (inferred - ready) / 1e6, (done - inferred) / 1e6)
        return answer, times

    def decode(
        self, outputs: dict[str, NDArray[Any]], geometry: Geometry
    ) -> Classification | Segmentation:
        """Turn stored outputs into an answer; see `run`."""
        if self._decoder is not None:
            return self._decoder(outputs, geometry)
        logits = self.variant.outputs["logits"].tensor.dequantize(outputs["logits"])[0]
        answer = decide_labels if self.contract.task == "multilabel" else classify
        return answer(logits, self.contract.labels, self.contract.decision)

    def self_test(self) -> float:
        """Run the bundle's golden image and compare every output number with the stored one.

        Returns:
            The largest difference: steps of an integer type, thousandths for float32; 0 where the
            bundle has no golden image.

        Raises:
            CheckFailedError: the difference is beyond the bundle's tolerance.
            InferenceError: the engine failed.
        """
        if self.bundle is None or self.bundle.manifest.golden_image is None:
            return 0.0
        manifest = self.bundle.manifest
        name = str(manifest.golden_image)
        image = decode_image(self.bundle.files[name], name)
        outputs = self.backend.infer(self.preprocessor(image)[0])
        worst = 0.0
        for role, name in self.variant.golden.items():
            spec = self.variant.outputs[role].tensor
            golden = np.frombuffer(self.bundle.files[name], spec.numpy_dtype)
            if golden.size != outputs[role].size:
                raise CheckFailedError(
                    f"{self.bundle.where}: golden output {name} has {golden.size} numbers, "
                    f"the network gives {outputs[role].size}"
                )
            gap = np.abs(outputs[role].ravel().astype(np.float64) - golden)
            gap = gap * 1000 if spec.dtype == "float32" else gap
            share = self.variant.golden_share
            if share is not None:  # in units of the manifest's tolerance
                largest = float(np.abs(golden).max()) * (1000 if spec.dtype == "float32" else 1)
                gap = gap / max(share * largest, 1e-9) * manifest.golden_tolerance
            # `not <=` also catches NaN.
            if not gap.max() <= manifest.golden_tolerance:
                raise CheckFailedError(
                    f"{self.bundle.where}: self-test failed: output {role} differs from the golden "
                    f"one by up to {gap.max():.3g} (allowed: {manifest.golden_tolerance}) on "
                    f"{self.backend.name}"
                )
            worst = max(worst, float(gap.max()))
        return worst

    def close(self) -> None:
        """Free the engine."""
        self.backend.close()
