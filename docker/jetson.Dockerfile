# What flies, on a Jetson: the system's TensorRT and CUDA, cameras on a connector through GStreamer.
#
#   docker build -f docker/jetson.Dockerfile -t rille:jetpack6 --build-arg JETPACK=6 .    Orin, L4T r36
#   docker build -f docker/jetson.Dockerfile -t rille:jetpack7 --build-arg JETPACK=7 .    L4T r38
#
# Never built or run on a Jetson so far; which tags exist could not be looked up. The bases may carry
# digests (docker/README.md).
ARG JETPACK=6
ARG BASE6=nvcr.io/nvidia/l4t-jetpack:r36.4.0
# From JetPack 7 on, NVIDIA's images for servers with ARM processors are those for a Jetson too.
ARG BASE7=nvcr.io/nvidia/tensorrt:25.08-py3

FROM ${BASE6} AS jetpack6
# The driver of JetPack 6 knows CUDA 12.
ENV CUDA_PYTHON="cuda-python>=12.6,<13"

FROM ${BASE7} AS jetpack7
ENV CUDA_PYTHON="cuda-python>=13,<14"

# hadolint ignore=DL3006 # a stage of this file, whose base has a tag
FROM jetpack${JETPACK} AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
# TensorRT's Python bindings are the system's, and match its libraries.
RUN python3 -m venv --system-site-packages /opt/rille
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY runtime runtime
COPY train train
COPY export export
RUN /opt/rille/bin/pip install --no-cache-dir ".[record,signing,video,tensorrt]" "${CUDA_PYTHON}"

# hadolint ignore=DL3006 # a stage of this file, whose base has a tag
FROM jetpack${JETPACK} AS jetson
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# NVIDIA's own elements (nvarguscamerasrc, nvvidconv) are put there by its container runtime.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        python3 gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --groups video --home-dir /var/lib/rille rille \
    && install --directory --owner=rille /var/lib/rille
COPY --from=build /opt/rille /opt/rille
COPY docker/flight.toml /etc/rille/flight.toml
ENV PATH=/opt/rille/bin:/usr/local/cuda/bin:/usr/local/bin:/usr/bin:/bin \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=all \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    XDG_CACHE_HOME=/var/lib/rille/cache \
    RILLE_ENGINES=/var/lib/rille/engines
USER 10001
WORKDIR /var/lib/rille
VOLUME /var/lib/rille
EXPOSE 9464
# Building an engine may take minutes before the first frame.
HEALTHCHECK --interval=15s --timeout=5s --start-period=900s --retries=4 \
    CMD ["python3", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9464/metrics', timeout=4)"]
ENTRYPOINT ["rille"]
CMD ["run", "--supervised", "/etc/rille/flight.toml"]
