# The image: Python, the program and what they load, and nothing else. No shell, no package manager.
#   docker build -t candescent-proxy .        (or podman, or buildah; docs/kubernetes.md has more)
# To pin the base by digest: --build-arg BASE=python:3.14-slim@sha256:…
ARG BASE=python:3.14-slim

FROM ${BASE} AS build
WORKDIR /src
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
COPY requirements/ requirements/
# Whether the request path is compiled to C: a quarter less CPU for it. The compiler stays in this stage.
ARG COMPILED=true
RUN [ "$COMPILED" = false ] || command -v gcc || { apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends gcc libc6-dev; }
# How much the C compiler optimises. 0 builds faster, for tests.
ARG MYPYC_OPT_LEVEL=3
# Which lock file: run, or otel for spans too (docs/operations.md).
ARG REQUIREMENTS=run
# Nothing is installed that is not in the lock files, by hash; the base's pip installs the pinned
# pip, and that the rest. Behind a package mirror, give pip
# its settings with --secret id=pip.conf,src=FILE; they do not stay in the image.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    python3 -m venv /build \
    && python3 -m venv --without-pip /app \
    && export PIP_REQUIRE_HASHES=1 PIP_ONLY_BINARY=:all: \
    && /build/bin/pip install -r requirements/pip.txt \
    && /build/bin/pip install -r requirements/build.txt \
    && { [ "$COMPILED" = false ] || /build/bin/pip install \
        -r requirements/run.txt -r requirements/compile.txt; } \
    && /build/bin/pip --python /app/bin/python3 install --no-compile -r requirements/$REQUIREMENTS.txt
COPY . .
RUN export PROXY_BUILD="$([ "$COMPILED" = false ] && echo pure || echo compiled)" \
    && /build/bin/pip --python /app/bin/python3 install --no-deps --no-index --no-compile \
        "$(/build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheel . \
            && ls /wheel/*.whl)" \
    && /app/bin/python3 tools/check_parsers.py \
    && python3 tools/image_root.py /app /image

FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="candescent-proxy" \
      org.opencontainers.image.description="A reverse proxy and sidecar for the Candescent Digital Banking API that adds OAuth 2.0 access tokens" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
COPY --from=build /image /
ENV PATH=/app/bin LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
# Blocks of large bodies are kept for the next one, not given back each time and faulted in anew.
ENV MALLOC_MMAP_THRESHOLD_=1048576 MALLOC_TRIM_THRESHOLD_=4194304
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
WORKDIR /
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["candescent-proxy", "healthcheck"]
ENTRYPOINT ["candescent-proxy"]
CMD ["run"]
