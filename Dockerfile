# The base image of both stages: they must have the same Python in the same place.
# Its digest says which, since a tag can be moved: this is 3.11.16 for every platform.  To follow
# the tag, write here what `docker buildx imagetools inspect python:3.11-slim` shows.
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim@sha256:9c900dea9e8fb7e16277c179b555cc72d29a352dbc33cff48ad5a0412fd5bfc7

FROM ${PYTHON_IMAGE} AS builder
# Nothing but /opt/evc leaves this stage: on a base whose Python is Debian's, pip may install here.
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore \
    PIP_BREAK_SYSTEM_PACKAGES=1
WORKDIR /build
COPY requirements/build.txt requirements/run.txt requirements/
RUN python -m venv --without-pip /opt/evc \
 && pip install --require-hashes -r requirements/build.txt \
 && pip --python /opt/evc/bin/python install --no-compile --require-hashes -r requirements/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY image/slim.py image/slim.py
RUN pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
 && pip --python /opt/evc/bin/python install --no-compile --no-deps dist/*.whl \
 && python image/slim.py "$(/opt/evc/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="evc" \
      org.opencontainers.image.description="The EphemeralVolumeClaim operator" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=builder /opt/evc /opt/evc
# It starts as it is shipped. This also leaves compiled what it imports of the standard library:
# official images have none of it compiled, and on a read-only root every start would do that again.
RUN /opt/evc/bin/python -m evc run --help > /dev/null \
 && /opt/evc/bin/python -c 'import evc.app'
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# By number, so that Kubernetes can see that it is not root.
USER 65532:65532
ENTRYPOINT ["/opt/evc/bin/python", "-m", "evc"]
CMD ["run"]
