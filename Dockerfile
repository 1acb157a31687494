# Two stages: the first has what building takes, the second only what running takes.

FROM python:3.11-slim-bookworm AS build
WORKDIR /build
COPY requirements.lock requirements-dev.lock ./
RUN python -m venv /opt/percorso \
 && /opt/percorso/bin/pip install --no-cache-dir --disable-pip-version-check --only-binary :all: \
      --no-deps --require-hashes -r requirements.lock \
 && python -m venv /opt/tools \
 && /opt/tools/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.lock
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
COPY migrations ./migrations
RUN /opt/tools/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir dist . \
 && /opt/percorso/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-index dist/*.whl \
 && /opt/percorso/bin/pip uninstall --yes pip

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /var/lib/percorso --create-home percorso
COPY --from=build /opt/percorso /opt/percorso
ENV PATH=/opt/percorso/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PERCORSO_HOST=0.0.0.0 \
    PERCORSO_DATA_DIR=/var/lib/percorso
USER 10001
WORKDIR /var/lib/percorso
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ.get(\"PERCORSO_PORT\", \"8000\")}/health/live', timeout=4)"]
ENTRYPOINT ["percorso"]
CMD ["serve"]
