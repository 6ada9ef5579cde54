# A reproducible export environment, with the versions of requirements.lock:
#
#   docker build -t mobileq .
#   docker run --rm --user "$(id -u)" -v "$PWD:/work" mobileq export model.pt --int8
#
# pip's index decides which build of torch comes, CPU or CUDA. Choose another one with
# --build-arg PIP_INDEX_URL=... or --build-arg PIP_EXTRA_INDEX_URL=...

FROM python:3.11-slim-bookworm AS build
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/mobileq
WORKDIR /src

# The lock alone first: a change of the package does not install it again. torch goes
# before the rest and with its dependencies, as in the Makefile.
COPY requirements.lock ./
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/mobileq/bin/pip install --constraint requirements.lock \
        "$(grep '^torch==' requirements.lock)" \
    && /opt/mobileq/bin/pip install --no-deps --requirement requirements.lock

COPY . .
RUN /opt/mobileq/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11-slim-bookworm
RUN useradd --create-home --uid 1000 mobileq
COPY --from=build /opt/mobileq /opt/mobileq
ENV PATH=/opt/mobileq/bin:$PATH
USER 1000
WORKDIR /work
ENTRYPOINT ["mobileq"]
CMD ["--help"]
