# A device with a microphone and a speaker (/dev/snd), such as a Raspberry Pi.
# Build from the root of the project:  docker build -f compose/device.Dockerfile -t edgewise-device .
FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY schemas schemas
COPY edge edge
COPY workers workers
RUN python -m venv /opt/edgewise \
    && /opt/edgewise/bin/pip install --no-cache-dir --constraint constraints.txt ".[edge]"

FROM python:3.12-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libportaudio2 libasound2-plugins \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home --groups audio edgewise
COPY --from=build /opt/edgewise /opt/edgewise
ENV PATH=/opt/edgewise/bin:$PATH PYTHONUNBUFFERED=1
USER edgewise
WORKDIR /home/edgewise
HEALTHCHECK --interval=60s --timeout=20s CMD ["edgewise-device", "devices"]
CMD ["edgewise-device", "run"]
