# syntax=docker/dockerfile:1
# Three stages: one builds the pages for browsers, one a virtual environment from the pinned packages
# (tokens and traces among them) and the wheel, the last holds only that and Python. Runs as nobody,
# with a read-only file system but for /state. Bases are named by digest, so that a build gets what
# was tried: `docker buildx imagetools inspect python:3.13-slim` tells the newest.

ARG NODE=node:22-slim@sha256:83f487e0a63425e5b4d146fb5e5be574bcbe1b7b843d3ebafdd95eaf7767a7e5
ARG PYTHON=python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b

FROM ${NODE} AS ui
WORKDIR /build/gateway/web/ui
COPY gateway/web/ui/package.json gateway/web/ui/package-lock.json gateway/web/ui/.npmrc ./
RUN npm ci
COPY gateway/web/ui ./
COPY schema /build/schema
COPY openapi /build/openapi
RUN node build.mjs

FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
RUN python -m venv /app
COPY requirements-image.lock ./
RUN /app/bin/pip install --no-deps --require-hashes -r requirements-image.lock
COPY pyproject.toml README.md LICENSE ./
COPY gateway gateway
COPY --from=ui /build/gateway/web/static gateway/web/static
RUN /app/bin/pip install --no-deps . && /app/bin/pip uninstall --yes pip

FROM ${PYTHON}
COPY --from=build /app /app
RUN install -d -o 65534 -g 65534 -m 700 /state
ENV PATH=/app/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    GATEWAY_HOST=0.0.0.0 GATEWAY_PORT=8080 GATEWAY_LOG_FORMAT=json GATEWAY_STATE_DIR=/state
USER 65534:65534
VOLUME /state
EXPOSE 8080
# Not urllib, which would ask a proxy that is set for the container.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
  CMD ["python", "-c", "import http.client, os; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['GATEWAY_PORT']), timeout=2); c.request('GET', '/livez'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["smsc-gateway"]
CMD ["serve"]
