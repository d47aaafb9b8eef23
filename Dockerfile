# A student's server on a JupyterHub, or the course in a container of its own:
#
#     docker build -t course .
#     docker run --rm -p 127.0.0.1:8888:8888 course jupyter lab --ip=0.0.0.0
#
# The hub's spawner starts jupyterhub-singleuser, the last line. The hub's own version is given by
# --build-arg JUPYTERHUB=6.1. The user is called jovyan: nbgrader then takes the name from the hub.
FROM python:3.11-slim-bookworm

RUN apt-get update \
 && apt-get install -y --no-install-recommends bubblewrap git make \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 1000 jovyan

WORKDIR /srv/course
COPY --chown=jovyan . .
# PyTorch's build without CUDA is a tenth as large.
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu \
      -c constraints.txt -e '.[course]' \
 && python -m compileall -q course graders
# It must be the hub's version, whichever the constraints name.
ARG JUPYTERHUB=6.1
RUN pip install --no-cache-dir "jupyterhub~=${JUPYTERHUB}"

USER jovyan
ENV OMP_NUM_THREADS=1 JUPYTER_CONFIG_PATH=/srv/course/jupyter-config
EXPOSE 8888
CMD ["jupyterhub-singleuser"]
