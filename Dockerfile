# A Spark image with the jobs in it: runs on its own, and as driver and executor of Spark on Kubernetes. Nothing in it can be
# written by the job but its working directory and /tmp, so it also runs with a read-only root. docs/how-to/containers.md says how
# to build it behind a mirror and what to mount.

# Python 3.12.14 on Debian 12 for all architectures. Another base: any Debian 12 with a python3 of 3.11 to 3.13 and its venv.
ARG BASE=docker.io/library/python:3.12.14-slim-bookworm@sha256:782412e85d0f0984994c290652577d4018aff08145c85b262bb63dc0c7522254

FROM ${BASE} AS base
# man1: a slim base may lack it, and Java's package fails where it cannot link its manual there.
# hadolint ignore=DL3008 # Debian keeps only the newest build of a package: a pinned version would break the next build
RUN mkdir -p /usr/share/man/man1 \
 && apt-get update \
 && apt-get install --yes --no-install-recommends openjdk-17-jre-headless tini \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 185 --gid 0 --home-dir /opt/spark/work-dir --no-create-home spark


FROM base AS build
WORKDIR /opt/orders

# The set-up of a laptop: locked packages, jars with their checksums. Spark then moves to where Kubernetes expects it, and what
# installs packages goes. The secrets are files of yours that name mirrors; without them everything is public.
COPY requirements requirements
COPY deploy/setup.sh deploy/jars.sha256 deploy/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=ivy,target=/run/ivysettings.xml \
    --mount=type=cache,target=/root/.cache/pip \
    if [ -s /run/ivysettings.xml ]; then export ORDERS_IVY_SETTINGS=/run/ivysettings.xml; fi \
 && SPARK_LOCAL_IP=127.0.0.1 deploy/setup.sh \
 && .venv/bin/python -m pip uninstall --yes --quiet setuptools pip \
 && packages="$(echo .venv/lib/python3*/site-packages)" \
 && mv "$packages/pyspark" /opt/spark \
 && ln -s /opt/spark "$packages/pyspark"

# What is in the image, as CycloneDX has it. The tool that asks Python stays here.
COPY deploy/sbom.py deploy/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv /tmp/sbom \
 && /tmp/sbom/bin/python -m pip install --quiet --require-hashes --no-deps --requirement requirements/sbom.txt \
 && /tmp/sbom/bin/cyclonedx-py environment --output-format JSON --output-file /tmp/python.json .venv/bin/python \
 && dpkg-query --show --showformat '${Package}\t${Version}\t${Architecture}\n' >/tmp/debian.tsv \
 && /tmp/sbom/bin/python deploy/sbom.py /tmp/python.json /tmp/debian.tsv /opt/spark/jars sbom.cdx.json


FROM base
WORKDIR /opt/orders
COPY --from=build /opt/spark /opt/spark
COPY --from=build /opt/orders/.venv /opt/orders/.venv
COPY --from=build /opt/orders/sbom.cdx.json /opt/orders/sbom.cdx.json
COPY deploy/spark /opt/spark/conf
RUN mkdir /opt/spark/work-dir \
 && chown 185:0 /opt/spark/work-dir \
 && chmod 775 /opt/spark/work-dir

# JAVA_HOME: the machine's Java, which then does not warn above each run (deploy/java/bin/java).
ENV SPARK_HOME=/opt/spark \
    JAVA_HOME=/opt/orders/deploy/java \
    PATH=/opt/orders/.venv/bin:/opt/spark/bin:$PATH \
    PYSPARK_PYTHON=/opt/orders/.venv/bin/python \
    PYSPARK_DRIVER_PYTHON=/opt/orders/.venv/bin/python \
    PYTHONPATH=/opt/orders \
    PYTHONDONTWRITEBYTECODE=1 \
    ORDERS_WAREHOUSE=/opt/spark/work-dir/warehouse \
    ORDERS_OUTPUT=/opt/spark/work-dir/output

# The code comes last, so that a changed job does not set up Spark again. It is compiled here, as a job cannot write beside it,
# and everybody may read it, whatever the umask of the checkout was.
COPY spark-submit.sh /opt/orders/
COPY deploy/docker-entrypoint.sh /opt/orders/deploy/
COPY deploy/java /opt/orders/deploy/java
COPY sample_data /opt/orders/sample_data
COPY conf /opt/orders/conf
COPY etl_lib /opt/orders/etl_lib
COPY jobs /opt/orders/jobs
RUN python -m compileall -q /opt/orders/etl_lib /opt/orders/jobs \
 && chmod -R go=u-w conf deploy etl_lib jobs sample_data spark-submit.sh /opt/spark/conf

ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="orders-lakehouse" \
      org.opencontainers.image.description="Order events become trusted Delta tables: the jobs, and the Spark that runs them" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# Root owns code and jars: a job can write to its working directory, not to itself.
USER 185
WORKDIR /opt/spark/work-dir
ENTRYPOINT ["/opt/orders/deploy/docker-entrypoint.sh"]
CMD ["jobs/orders.py"]
