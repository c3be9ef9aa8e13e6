# celebattr on a CPU: onnxruntime and the int8 bundle, which lies in the wheel. No torch.
#   docker build --tag celebattr .
#   docker run --rm --volume "$PWD/photos:/photos:ro" celebattr predict /photos > rows.jsonl
FROM python:3.13-slim AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY celebattr celebattr
COPY weights weights
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.13-slim
# What is asked for besides the core: Parquet, object stores, and s3fs for those of S3's kind.
ARG EXTRAS=parquet,cloud
ARG STORES=s3fs
COPY --from=wheel /wheels /wheels
RUN python -m venv /opt/celebattr \
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
