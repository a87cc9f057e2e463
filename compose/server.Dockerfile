# A server: gateway, LLM gateway, turn worker and config worker are one image, four commands.
# Build from the root of the project:  docker build -f compose/server.Dockerfile -t edgewise .
# amd64 and arm64; the private Redis of `edgewise up` is not needed here.
FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY schemas schemas
COPY edge edge
COPY workers workers
RUN python -m venv /opt/edgewise \
    && /opt/edgewise/bin/pip install --no-cache-dir --constraint constraints.txt \
        ".[workers,postgres]"

FROM python:3.12-slim
RUN useradd --uid 10001 --create-home --home-dir /var/lib/edgewise edgewise \
    && install -d -o edgewise -g edgewise -m 0700 /var/lib/edgewise/home
COPY --from=build /opt/edgewise /opt/edgewise
ENV PATH=/opt/edgewise/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    EDGEWISE_HOME=/var/lib/edgewise/home
USER edgewise
WORKDIR /var/lib/edgewise
CMD ["edgewise", "gateway"]
