# celebattr on a CPU: onnxruntime and the int8 bundle, which lies in the wheel. No torch.
#   docker build --tag celebattr:0.1.0 .
#   docker run --rm --volume "$PWD/photos:/photos:ro" celebattr:0.1.0 predict /photos > rows.jsonl
# A tag moves: --build-arg PYTHON=python@sha256:... pins the base by its digest.
ARG PYTHON=python:3.13-slim-trixie
FROM ${PYTHON} AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY celebattr celebattr
COPY weights weights
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM ${PYTHON}
# What is asked for besides the core: Parquet, object stores, and s3fs for those of S3's kind.
ARG EXTRAS=parquet,cloud
ARG STORES=s3fs
COPY --from=wheel /wheels /wheels
COPY deploy/requirements.txt /wheels/
# First what is pinned, by version and hash; other extras and stores bring more.
RUN python -m venv /opt/celebattr \
    && /opt/celebattr/bin/python -m pip install --no-cache-dir --require-hashes \
        --requirement /wheels/requirements.txt \
    && /opt/celebattr/bin/python -m pip install --no-cache-dir "$(echo /wheels/*.whl)[${EXTRAS}]" ${STORES} \
    && rm -r /wheels \
    && useradd --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin celebattr
ENV PATH=/opt/celebattr/bin:$PATH PYTHONUNBUFFERED=1
# A number, so that Kubernetes' runAsNonRoot can tell. Nothing is written but what --output names.
USER 10001:10001
WORKDIR /data
# Starts the program, which finds its bundles and reads their cards.
HEALTHCHECK --interval=5m --timeout=30s CMD ["celebattr", "info"]
ENTRYPOINT ["celebattr"]
CMD ["--help"]
