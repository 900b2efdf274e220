"""Which of the runtime's tests run on emulated processors, and why the others do not.

Every file in `tests/runtime` stands here once; `tests/test_aarch64.py` sees to that.
"""

from __future__ import annotations

FILES = (
    "test_budget",
    "test_bundle",
    "test_bundle_agreement",
    "test_bundle_signed",
    "test_config",
    "test_ellipse",
    "test_events",
    "test_familiarity",
    "test_kernels",
    "test_kernels_masks",
    "test_levels",
    "test_metrics",
    "test_postprocess",
    "test_preprocess",
    "test_quality",
    "test_rearranged",
    "test_recording",
    "test_recording_wire",
    "test_ring",
    "test_sinks_jsonl",
    "test_slot",
    "test_tracking",
)

WHOLE_ON = "cortex-a72"
"""The processor that runs all of `FILES`, if it is among those asked for; else the first does."""

EVERYWHERE = (
    "test_bundle",
    "test_ellipse",
    "test_kernels",
    "test_kernels_masks",
    "test_metrics",
    "test_postprocess",
    "test_preprocess",
    "test_rearranged",
    "test_ring",
    "test_tracking",
)
"""Of `FILES`, those that every processor runs: networks that load and answer, arithmetic on pixels
and numbers, memory that two processes share. The others do the same whatever ARM they are on."""

_TIMES = "measures time, or waits for what an emulator takes far longer for"
_PROCESSES = "starts processes or servers, each of which takes ten seconds and more there"
_LONG = "renders or computes for minutes there"
_NOT_ARM = "nothing in it depends on the processor: files, tables and words"

_AGREE = "test_bundle_agreement.py::test_one_two_and_four_threads_agree"
_LARGE = ("mars-msl24", "moon-craters", "moon-rocks")
_SAME = "test_rearranged.py::test_the_answers_of_the_file_to_the_bit"
DESELECTED = {
    # Forty inferences for each network; one stays.
    **{f"{_AGREE}[{name}]": _LONG for name in _LARGE},
    # Twenty; three networks with one thread stay.
    **{f"{_SAME}[{name}-2]": _LONG for name in (*_LARGE, "moon-rocks-small", "moon-scene")},
    **{f"{_SAME}[{name}-1]": _LONG for name in ("mars-msl24", "moon-rocks")},
    "test_bundle_signed.py::test_the_command": _TIMES,
    "test_quality.py::test_a_run_reports_them": _TIMES,  # the engine's threads, before it runs
    "test_quality.py::test_it_is_quick": _TIMES,
}
"""File and test -> why it is left out of a file that otherwise runs."""

_NO_ENGINE = "TensorRT is not there, and its doubles are the same everywhere"

LEFT_OUT = {
    "test_bench": _TIMES,
    "test_bench_baseline": _TIMES,
    "test_bench_predict": _TIMES,
    "test_blend": _LONG,
    "test_board": _NOT_ARM,
    "test_bundle_fuzz": _LONG,
    "test_bundle_install": _LONG,
    "test_bundle_page": _NOT_ARM,
    "test_bundle_schema": _NOT_ARM,
    "test_cameras": _PROCESSES,
    "test_cli": _PROCESSES,
    "test_compare": _NOT_ARM,
    "test_crash": _PROCESSES,
    "test_data_check": _NOT_ARM,
    "test_data_command": _NOT_ARM,
    "test_datasets": _NOT_ARM,
    "test_datasets_alrl": _NOT_ARM,
    "test_datasets_msl": _NOT_ARM,
    "test_datasets_polygons": _NOT_ARM,
    "test_datasets_scenes": _NOT_ARM,
    "test_evaluate": _LONG,
    "test_first_load": _PROCESSES,
    "test_fleet": _PROCESSES,
    "test_fuzz": _LONG,
    "test_health": _TIMES,
    "test_health_supervisor": _PROCESSES,
    "test_imports": _PROCESSES,
    "test_latency": _TIMES,
    "test_light": _LONG,
    "test_pipeline": _TIMES,
    "test_pipeline_levels": _TIMES,
    "test_plan": _TIMES,
    "test_probation": _PROCESSES,
    "test_probation_flight": _PROCESSES,
    "test_radiation": _TIMES,
    "test_recording_source": _NOT_ARM,
    "test_replay": _LONG,  # the proof replays a recording itself
    "test_scene_answers": _LONG,
    "test_select": _LONG,
    "test_seu": _LONG,
    "test_sim": _LONG,
    "test_sim_dem": _LONG,
    "test_sim_orbital": _LONG,
    "test_sim_render": _LONG,
    "test_sim_rover": _LONG,
    "test_sinks": _LONG,
    "test_sinks_buffered": _TIMES,
    "test_sinks_network": _PROCESSES,
    "test_sinks_prometheus": _PROCESSES,
    "test_sinks_run": _PROCESSES,
    "test_soak": _LONG,
    "test_sources": _LONG,
    "test_sources_live": _TIMES,
    "test_sources_raw": _PROCESSES,
    "test_sources_streams": _PROCESSES,
    "test_statistics": _TIMES,
    "test_strain": _TIMES,
    "test_swap": _LONG,
    "test_tensorrt": _NO_ENGINE,
    "test_tensorrt_names": _NO_ENGINE,
    "test_vehicle": _LONG,
    "test_watch": _TIMES,
}
