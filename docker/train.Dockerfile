# Training and export on a workstation with NVIDIA's GPU: Keras on JAX or TensorFlow.
#
#   docker build -f docker/train.Dockerfile -t rille-train --build-arg FRAMEWORK=jax .
#   docker run --rm --gpus all -v "$PWD/data:/data:ro" -v "$PWD/runs:/runs" rille-train \
#       train moon-craters --data /data/lunar_craters --out /runs/moon-craters
#
# CUDA's libraries come with the framework's wheels; the base gives what finds the driver. Never built
# so far. BASE may carry a digest (docker/README.md).
ARG BASE=nvidia/cuda:12.6.3-base-ubuntu24.04

FROM ${BASE} AS build
ARG FRAMEWORK=jax
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/rille
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY runtime runtime
COPY train train
COPY export export
RUN /opt/rille/bin/pip install --no-cache-dir ".[train,export]"
# Export runs under TensorFlow on the processor, whatever trained. With TensorFlow as the framework its
# build for GPUs takes the place of the one for processors: both have the same files.
RUN case "${FRAMEWORK}" in \
    jax) /opt/rille/bin/pip install --no-cache-dir "jax[cuda12]>=0.5" ;; \
    tensorflow) /opt/rille/bin/pip uninstall --yes tensorflow-cpu \
        && /opt/rille/bin/pip install --no-cache-dir "tensorflow[and-cuda]>=2.20,<2.22" ;; \
    *) echo "FRAMEWORK is jax or tensorflow, not ${FRAMEWORK}" >&2; exit 2 ;; \
    esac

FROM ${BASE} AS train
ARG FRAMEWORK=jax
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home rille \
    && install --directory --owner=rille /runs
COPY --from=build /opt/rille /opt/rille
ENV PATH=/opt/rille/bin:/usr/local/bin:/usr/bin:/bin \
    KERAS_BACKEND=${FRAMEWORK} \
    PYTHONDONTWRITEBYTECODE=1 \
    XDG_CACHE_HOME=/tmp/cache \
    KERAS_HOME=/tmp/keras
USER 10001
WORKDIR /runs
VOLUME /runs
# A job, not a service: it ends when it is done.
HEALTHCHECK NONE
ENTRYPOINT ["rille"]
CMD ["train", "--help"]
