# Touchstone and all that it needs, at its pins. For the CPU, and for NVIDIA GPUs, whose CUDA libraries come with the
# packages, so that the host needs no more than its driver and the NVIDIA container toolkit:
#
#   docker build -t touchstone .
#   docker run --rm -v "$PWD/results:/touchstone/results" touchstone
#   docker build -t touchstone-gpu --build-arg PURPOSE=gpu .
#   docker run --rm --gpus all -v "$PWD/results:/touchstone/results" touchstone-gpu --device gpu
FROM python:3.11-slim-bookworm

ARG PURPOSE=cpu
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
WORKDIR /touchstone
COPY requirements requirements
RUN pip install --no-cache-dir --require-hashes -r "requirements/${PURPOSE}.txt"
COPY . .

ENV PYTHONHASHSEED=0 TF_CPP_MIN_LOG_LEVEL=3
# The main job: prove, time and train at quick scale, and write the report. Options of pytest may follow the image's name.
ENTRYPOINT ["python", "-m", "pytest", "suites/properties", "suites/claims", "benchmarks", "--scale", "quick", \
            "--precision", "float32,mixed_float16,mixed_bfloat16", "--minutes", "9.5", "--results", "results/quick", \
            "--progress", "--report", "--benchmark-quiet"]
