# One image for scheduler, workers and client: different versions on the two sides are the classic failure.
#   docker build -t biasvar .
# Whatever pip reads from its environment may be a build argument, so that without a network, or from a mirror:
#   pip download --dest wheels '.[cluster,s3,estimators]' hatchling # with Python 3.11 on Linux
#   docker build --network none --build-arg PIP_NO_INDEX=1 --build-arg PIP_FIND_LINKS=/source/wheels -t biasvar .
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG PIP_NO_INDEX
ARG PIP_FIND_LINKS
ARG PIP_INDEX_URL
ARG PIP_CONSTRAINT
COPY . /source
RUN python3 -m venv /opt/biasvar && /opt/biasvar/bin/pip install --no-cache-dir '/source[cluster,s3,estimators]'

FROM ${BASE}
# Numba keeps what it compiles by kind of CPU: what is compiled below serves any machine like the one that builds;
# elsewhere a worker compiles once, for ten seconds, and so the folder has to be the user's.
ENV PATH=/opt/biasvar/bin:$PATH PYTHONUNBUFFERED=1 NUMBA_CACHE_DIR=/var/cache/biasvar
RUN useradd --uid 1000 --create-home biasvar && install --directory --owner=1000 /stores /var/cache/biasvar
COPY --from=build /opt/biasvar /opt/biasvar
USER 1000
WORKDIR /stores
# Bundled studies whose functions are compiled now; all unless some are named.
ARG STUDIES
RUN python -c "import biasvar as bv; [bv.plan(bv.load(name)) for name in '$STUDIES'.split() or bv.bundled()]"
CMD ["biasvar", "--help"]
