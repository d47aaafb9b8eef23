# A student's server on a JupyterHub, or the course in a container of its own:
#
#     docker build -t course .
#     docker run --rm -p 127.0.0.1:8888:8888 course jupyter lab --ip=0.0.0.0
#
# The hub's spawner starts jupyterhub-singleuser, the last line. The hub's own version is given by
# --build-arg JUPYTERHUB=5.4.
FROM python:3.11-slim-bookworm

RUN apt-get update \
 && apt-get install -y --no-install-recommends bubblewrap git make \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 1000 student

WORKDIR /srv/course
COPY --chown=student . .
ARG JUPYTERHUB=5.4
# PyTorch's build without CUDA is a tenth as large.
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu \
      -c constraints.txt -e '.[course]' "jupyterhub~=${JUPYTERHUB}" \
 && python -m compileall -q course graders

USER student
ENV OMP_NUM_THREADS=1 JUPYTER_CONFIG_PATH=/srv/course/jupyter-config
EXPOSE 8888
CMD ["jupyterhub-singleuser"]
