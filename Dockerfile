# The web app: docker build -t group-emotion . && docker run -p 7860:7860 group-emotion
FROM python:3.11-slim

# which wheels of PyTorch; https://download.pytorch.org/whl/cu128 for NVIDIA GPUs
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

WORKDIR /app
COPY constraints.txt ./
RUN pip install --no-cache-dir --index-url ${TORCH_INDEX} torch torchvision -c constraints.txt
COPY pyproject.toml setup.py setup.cfg README.md LICENSE THIRD_PARTY.md ./
COPY ger_datasets ./ger_datasets
COPY ger_models ./ger_models
COPY scripts ./scripts
RUN pip install --no-cache-dir ".[app]" -c constraints.txt

RUN useradd --create-home --uid 1000 app
USER app
WORKDIR /home/app
ENV HF_HOME=/home/app/.cache/huggingface PORT=7860
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['PORT'], timeout=5)"]
ENTRYPOINT ["group-emotion", "app", "--host", "0.0.0.0"]
