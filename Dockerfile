# A Spark image with the job in it: runs on its own, and as driver and executor of Spark on Kubernetes.
FROM python:3.12-slim-bookworm

# hadolint ignore=DL3008 # Debian keeps only the newest build of a package: a pinned version would break the next build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends openjdk-17-jre-headless tini \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 185 --gid 0 --home-dir /opt/spark/work-dir --no-create-home spark

# The set-up of a laptop: locked packages, jars with their checksums. Spark then moves to where Kubernetes expects it.
# Before the code, so that a changed job does not set up Spark again.
COPY requirements /opt/orders/requirements
COPY deploy /opt/orders/deploy
RUN PIP_NO_CACHE_DIR=1 /opt/orders/deploy/setup.sh \
 && mv /opt/orders/.venv/lib/python3.12/site-packages/pyspark /opt/spark \
 && ln -s /opt/spark /opt/orders/.venv/lib/python3.12/site-packages/pyspark \
 && mkdir -p /opt/spark/conf /opt/spark/work-dir \
 && cp /opt/orders/deploy/spark/* /opt/spark/conf/ \
 && chown 185:0 /opt/spark/work-dir \
 && chmod 775 /opt/spark/work-dir

# JAVA_HOME: the machine's Java, which then does not warn above each run (deploy/java/bin/java).
ENV SPARK_HOME=/opt/spark \
    JAVA_HOME=/opt/orders/deploy/java \
    PATH=/opt/orders/.venv/bin:/opt/spark/bin:$PATH \
    PYSPARK_PYTHON=/opt/orders/.venv/bin/python \
    PYSPARK_DRIVER_PYTHON=/opt/orders/.venv/bin/python \
    PYTHONPATH=/opt/orders \
    ORDERS_WAREHOUSE=/opt/spark/work-dir/warehouse \
    ORDERS_OUTPUT=/opt/spark/work-dir/output

COPY . /opt/orders

# Root owns code and jars: a job can write to its working directory, not to itself.
USER 185
WORKDIR /opt/spark/work-dir
ENTRYPOINT ["/opt/orders/deploy/docker-entrypoint.sh"]
CMD ["jobs/orders.py"]
