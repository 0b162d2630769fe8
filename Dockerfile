# The service in a container: non-root, fit for a read-only root file system, everything it writes under /data.
#
#   make image                                   (BASE=… another Python base, TORCH_INDEX=… a CPU-only torch index)
#   docker run --rm -p 127.0.0.1:8000:8000 -e GPT2SVC_API_KEY=… --read-only --tmpfs /tmp -v gpt2svc:/data gpt2svc

ARG BASE=python:3.11-slim-bookworm

# --- dependencies: a layer of its own, so that a change of code doesn't install torch again -------------------------
FROM ${BASE} AS venv
# An index to take torch from besides PyPI; the CPU-only one that pytorch.org names makes the image gigabytes smaller.
ARG TORCH_INDEX=""
WORKDIR /build
COPY pyproject.toml constraints.txt ./
RUN python3 -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
      > requirements.txt \
 && python3 -m venv /opt/gpt2svc
# A pip.conf may be lent to the build as a secret (a mirror, a proxy): it stays out of the image.
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    /opt/gpt2svc/bin/pip install --no-cache-dir --disable-pip-version-check \
      --constraint constraints.txt --requirement requirements.txt \
      ${TORCH_INDEX:+--extra-index-url "${TORCH_INDEX}"}

# --- the wheel ---------------------------------------------------------------------------------------------------------
FROM ${BASE} AS wheel
WORKDIR /build
# For the kernels of the CPU engine; without a compiler the wheel goes without them, and the engine through torch.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    python3 -m venv /opt/build && /opt/build/bin/pip install --no-cache-dir --disable-pip-version-check hatchling
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY src src
COPY alembic alembic
RUN /opt/build/bin/hatchling build --target wheel --directory /dist

# --- the image -----------------------------------------------------------------------------------------------------------
FROM ${BASE}
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin gpt2svc \
 && install --directory --owner=10001 --group=10001 --mode=0750 /data
COPY --from=venv /opt/gpt2svc /opt/gpt2svc
RUN --mount=type=bind,from=wheel,source=/dist,target=/dist \
    /opt/gpt2svc/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-index /dist/*.whl

# NOTE: beyond loopback the service refuses to start without GPT2SVC_API_KEY.
ENV PATH=/opt/gpt2svc/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    GPT2SVC_HOST=0.0.0.0 \
    GPT2SVC_PORT=8000 \
    GPT2SVC_DATA_DIR=/data
WORKDIR /data
USER 10001:10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
# It prints what /readyz says, for `docker inspect`.
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s --retries=4 \
  CMD ["python3", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['GPT2SVC_PORT']), timeout=4); c.request('GET', '/readyz'); r = c.getresponse(); print(r.read().decode()); sys.exit(r.status != 200)"]
ENTRYPOINT ["gpt2svc"]
CMD ["serve"]
