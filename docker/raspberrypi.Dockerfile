# What flies, on a Raspberry Pi 4 or 5 (arm64), and without camera tools on any machine.
#
#   docker build -f docker/raspberrypi.Dockerfile -t rille:pi .
#   docker build -f docker/raspberrypi.Dockerfile -t rille --target runtime .
#
# Never built or run on a Raspberry Pi so far. BASE may carry a digest (docker/README.md).
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
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
RUN /opt/rille/bin/pip install --no-cache-dir ".[record,signing,video]"

FROM ${BASE} AS runtime
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --groups video --home-dir /var/lib/rille rille \
    && install --directory --owner=rille /var/lib/rille
COPY --from=build /opt/rille /opt/rille
COPY docker/flight.toml /etc/rille/flight.toml
ENV PATH=/opt/rille/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    XDG_CACHE_HOME=/var/lib/rille/cache
USER 10001
WORKDIR /var/lib/rille
VOLUME /var/lib/rille
EXPOSE 9464
# Metrics are served by the run itself, which its supervisor starts again when it dies or hangs.
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s --retries=4 \
    CMD ["python3", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9464/metrics', timeout=4)"]
ENTRYPOINT ["rille"]
CMD ["run", "--supervised", "/etc/rille/flight.toml"]

# The key of Raspberry Pi's archive, refused unless it is the one that signs it.
FROM build AS key
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ADD https://archive.raspberrypi.com/debian/raspberrypi.gpg.key /key/raspberrypi.asc
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gpg \
    && rm -rf /var/lib/apt/lists/* \
    && gpg --show-keys --with-colons /key/raspberrypi.asc | grep --quiet ':82B129927FA3303E:' \
    && chmod 0644 /key/raspberrypi.asc

FROM runtime AS raspberrypi
USER 0
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
COPY --from=key /key/raspberrypi.asc /usr/share/keyrings/raspberrypi.asc
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && echo 'deb [signed-by=/usr/share/keyrings/raspberrypi.asc] https://archive.raspberrypi.com/debian bookworm main' \
        > /etc/apt/sources.list.d/raspberrypi.list \
    && apt-get update \
    && apt-get install --yes --no-install-recommends rpicam-apps-lite \
    && rm -rf /var/lib/apt/lists/*
USER 10001
