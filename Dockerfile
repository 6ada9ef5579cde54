# syntax=docker/dockerfile:1
# Three images, all with the versions of requirements.lock:
#
#   docker build -t mobileq .                       everything, for exporting
#   docker build -t mobileq:lean --target lean .    certify and bench: no torch, no TensorFlow
#   docker build -t mobileq:ci --target ci .        the repository and its tests
#
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/work" mobileq export model.pt --int8
#
# pip's index decides which build of torch comes, CPU or CUDA. Choose another one with
# --build-arg PIP_INDEX_URL=... or --build-arg PIP_EXTRA_INDEX_URL=...
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS base
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1 \
    LANG=C.UTF-8

# --- packages, from those that change least to those that change most ----------------
FROM base AS lean-packages
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
RUN python3 -m venv /opt/mobileq
WORKDIR /src
COPY requirements.lock pyproject.toml ./
COPY tools/image_requirements.py tools/
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 tools/image_requirements.py bench > bench.txt \
    && /opt/mobileq/bin/pip install -c requirements.lock -r bench.txt

FROM lean-packages AS packages
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
# escnn without what it declares and does not need: docs/decisions/0001-lock-file.md. It
# keeps what it computes beside its code, and does not start where it may not.
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 tools/image_requirements.py onnx tflite train > export.txt \
    && /opt/mobileq/bin/pip install -c requirements.lock -r export.txt joblib \
    && /opt/mobileq/bin/pip install -c requirements.lock --no-deps escnn \
    && mkdir -m 1777 "$(echo /opt/mobileq/lib/python3*/site-packages)/escnn/group/_cache"

FROM base AS wheel
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
RUN python3 -m venv /opt/build
WORKDIR /src
COPY requirements.lock ./
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/build/bin/pip install -c requirements.lock hatchling
COPY pyproject.toml README.md LICENSE ./
COPY mobileq mobileq
COPY export export
COPY android_bench android_bench
RUN /opt/build/bin/python -m hatchling build -t wheel -d /wheel

# mobileq alone, which is put on top of its packages.
FROM lean-packages AS installed
COPY --from=wheel /wheel /wheel
RUN /opt/mobileq/bin/pip install --no-cache-dir --no-deps --root /made /wheel/*.whl

# --- what the tests need: the repository, make, git ----------------------------------
FROM base AS ci
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
# Versions of Debian's packages are those of the base image's release.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git make \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 mobileq
WORKDIR /src
COPY requirements.lock pyproject.toml Makefile ./
RUN --mount=type=cache,target=/root/.cache/pip make .venv/lock-installed PYTHON=python3
COPY . .
RUN make setup PYTHON=python3 && chown 1000 /src \
    && mkdir -m 1777 "$(echo .venv/lib/python3*/site-packages)/escnn/group/_cache"
USER 1000
CMD ["make", "test-fast", "PYTHON=python3"]

# --- what runs: packages first, which a new version of mobileq leaves as they are -------
FROM base AS slim
LABEL org.opencontainers.image.title="mobileq" \
      org.opencontainers.image.description="From a trained rotation-equivariant CNN to verified INT8 files" \
      org.opencontainers.image.licenses="Apache-2.0"
# Any user may run it (--user), and has no home of its own then.
RUN useradd --create-home --uid 1000 mobileq
ENV PATH=/opt/mobileq/bin:$PATH \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /work
ENTRYPOINT ["mobileq"]
CMD ["--help"]

FROM slim AS lean
COPY --from=lean-packages /opt/mobileq /opt/mobileq
COPY --from=installed /made/opt/mobileq /opt/mobileq
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 1000

FROM slim AS runtime
COPY --from=packages /opt/mobileq /opt/mobileq
COPY --from=installed /made/opt/mobileq /opt/mobileq
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 1000
