# Two images from one file:
#   docker build --target operator -t modelservice-operator:0.1.0 .
#   docker build --target worker   -t modelservice-worker:0.1.0 .
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1
WORKDIR /src
COPY requirements/ requirements/
RUN python -m venv /opt/build && /opt/build/bin/pip install --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md ./

FROM build AS build-operator
RUN python -m venv /opt/modelservice \
 && /opt/modelservice/bin/pip install --require-hashes -r requirements/operator.txt
COPY operator/ operator/
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/modelservice/bin/pip install --no-deps --no-index /wheels/*.whl

FROM build AS build-worker
RUN python -m venv /opt/modelservice \
 && /opt/modelservice/bin/pip install --require-hashes -r requirements/engines.txt
COPY workers/ workers/
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/modelservice/bin/pip install --no-deps --no-index /wheels/*.whl

FROM ${BASE} AS run
ENV PATH=/opt/modelservice/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /workspace
USER 65532:65532

FROM run AS worker
COPY --from=build-worker /opt/modelservice /opt/modelservice
ENTRYPOINT ["modelservice-worker"]

FROM run AS operator
COPY --from=build-operator /opt/modelservice /opt/modelservice
ENTRYPOINT ["modelservice"]
