# One image for every part; the command says which (docker-compose.yml). By itself it runs the whole service
# with the embedded Postgres and Redis:
#
#   docker run --init -p 8080:8080 -e BATCHYARD_API_KEY=... -v batchyard:/var/lib/batchyard batchyard
#
# It installs wheels only, so it runs on any x86-64 CPU. The bindings that are built for one kind of CPU
# (`make bindings`) are not in it: the bert family runs on OpenVINO here, the whisper family on both its runtimes.
FROM python:3.11-slim-bookworm

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1

RUN groupadd --system --gid 10001 batchyard \
 && useradd --system --uid 10001 --gid batchyard --home-dir /var/lib/batchyard batchyard \
 && install --directory --owner batchyard --group batchyard /var/lib/batchyard /var/cache/batchyard

WORKDIR /app

# The dependencies change rarely: in a layer of their own, installed against empty packages.
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN for package in api backends cli configs migrations store tasks; do \
      mkdir "$package" && touch "$package/__init__.py"; \
    done \
 && pip install --only-binary :all: -c constraints.txt -e ".[bert,parquet,whisper]"

COPY api api
COPY backends backends
COPY cli cli
COPY configs configs
COPY migrations migrations
COPY store store
COPY tasks tasks
RUN python -m compileall -q api backends cli configs migrations store tasks && batchyard --version

ENV BATCHYARD_HOST=0.0.0.0 \
    BATCHYARD_HOME=/var/lib/batchyard \
    BATCHYARD_MODELS=/var/cache/batchyard
USER batchyard
VOLUME ["/var/lib/batchyard", "/var/cache/batchyard"]
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["batchyard"]
CMD ["up"]
